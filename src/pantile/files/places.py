"""Where arrays and results lie on disk, to tell whether writing to one changes another."""

from __future__ import annotations

import math
import os
import sys
from typing import Any, NamedTuple

import numpy as np

from .mapping import Mapping, mapping_of, span_of
from .read.objects import ObjectReader

__all__ = ["Spot", "meet", "spot_of", "spots_beside"]


class Spot(NamedTuple):
    """A place on disk: the path with links followed, the dataset inside ("": all), the range of bytes."""

    path: str
    inside: str = ""
    begin: float = 0
    end: float = math.inf


def spot_of(store: Any) -> Spot | None:
    """Where a reader, a sink or an array lies; None for what lies in memory, or elsewhere."""
    store = store.source if isinstance(store, ObjectReader) else store
    if isinstance(store, np.ndarray):
        mapping = mapping_of(store)
        return None if mapping is None else _spot_of_mapping(mapping)
    if _is_instance(store, "zarr", "Array"):
        root = getattr(store.store, "root", None)
        return None if root is None else Spot(os.path.realpath(os.path.join(root, store.path)))
    if _is_instance(store, "h5py", "Dataset"):
        return Spot(os.path.realpath(store.file.filename), store.name)
    place = getattr(store, "place", store)  # of a reader; a sink is one
    if isinstance(getattr(place, "mapping", None), Mapping):
        return _spot_of_mapping(place.mapping)
    path, dataset = getattr(place, "path", None), getattr(place, "dataset", "")
    if not isinstance(path, str):
        return None
    return Spot(os.path.realpath(path), f"/{dataset.strip('/')}" if dataset else "")


def spots_beside(spot: Spot) -> list[Spot]:
    """The places beside a result that a run writes to before the result is whole."""
    partial = f"{spot.path}.partial"
    kinds = partial + os.path.splitext(spot.path)[1]
    names = [partial, kinds, f"{spot.path}.journal", f"{spot.path}.pantile-previous"]
    return [Spot(os.path.realpath(name)) for name in names]


def meet(one: Spot | None, other: Spot | None) -> bool:
    """Whether two places overlap, or one is a directory that holds the other."""
    if one is None or other is None:
        return False
    if one.path != other.path:
        return f"{one.path}/".startswith(f"{other.path}/") or f"{other.path}/".startswith(
            f"{one.path}/"
        )
    other_parts = one.inside and other.inside and one.inside != other.inside
    return not other_parts and one.begin < other.end and other.begin < one.end


def _spot_of_mapping(mapping: Mapping) -> Spot:
    low, high = span_of(mapping.shape, mapping.strides)
    begin, end = mapping.offset + low, mapping.offset + high + mapping.dtype.itemsize
    return Spot(os.path.realpath(mapping.path), "", begin, end)


def _is_instance(store: Any, package: str, name: str) -> bool:
    """Whether an object is of a class of a package, which is not imported for that."""
    module = sys.modules.get(package)
    return module is not None and isinstance(store, getattr(module, name))

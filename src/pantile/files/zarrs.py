"""Zarr arrays, v2 and v3, and the levels of OME-Zarr images."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, ClassVar

from .extras import needed
from .faults import check_index

__all__ = ["ZarrPlace", "find_array", "is_array", "is_zarr"]

_MARKS = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class ZarrPlace:
    """A Zarr array in a local directory."""

    path: str
    kind: ClassVar[str] = "Zarr"

    def open(self) -> Any:
        return needed("zarr", "reading Zarr").open_array(self.path, mode="r")

    def inside(self) -> dict[str, Any]:
        return {}


def is_zarr(path: str) -> bool:
    """Whether ``path`` is the directory of a Zarr array or group."""
    return any(os.path.isfile(os.path.join(path, mark)) for mark in _MARKS)


def is_array(path: str) -> bool:
    """Whether ``path`` is the directory of a Zarr array, by its metadata alone."""
    try:
        with open(os.path.join(path, "zarr.json"), encoding="utf-8") as file:
            return bool(json.load(file).get("node_type") == "array")
    except FileNotFoundError:
        return os.path.isfile(os.path.join(path, ".zarray"))
    except (OSError, ValueError, AttributeError):
        return False


def find_array(path: str, dataset: str | None, series: int | None, level: int | None) -> str:
    """The directory of the array that is meant in ``path``.

    ``dataset`` names what is inside a group; ``series`` and ``level`` choose in the multiscales
    metadata of OME-Zarr 0.4 and 0.5.
    """
    zarr = needed("zarr", "reading Zarr")
    place = path if dataset is None else os.path.join(path, *dataset.strip("/").split("/"))
    if not is_zarr(place):
        held = _children(zarr.open_group(path, mode="r")) if is_zarr(path) else "nothing"
        raise ValueError(f"dataset={dataset!r} is not in {path}: it holds {held}")
    node = zarr.open(place, mode="r")
    if isinstance(node, zarr.Group):
        return os.path.join(place, *_chosen(place, node, series, level).split("/"))
    if level or series:
        raise ValueError(f"level= and series= choose in an OME-Zarr group, {place} is an array")
    return place


def _chosen(place: str, group: Any, series: int | None, level: int | None) -> str:
    images = dict(group.attrs).get("ome", group.attrs).get("multiscales")
    if not images:
        return _only(place, group, series, level)
    check_index(place, "series", series or 0, len(images))
    levels = images[series or 0]["datasets"]
    check_index(place, "level", level or 0, len(levels))
    return str(levels[level or 0]["path"])


def _only(place: str, group: Any, series: int | None, level: int | None) -> str:
    """The name of the only array in a plain group."""
    arrays = sorted(group.array_keys())
    if level or series:
        raise ValueError(f"{place} is a group without OME-Zarr levels: it holds {_children(group)}")
    if len(arrays) != 1 or any(True for _ in group.group_keys()):
        raise ValueError(f"dataset= must name one array in {place}: it holds {_children(group)}")
    return str(arrays[0])


def _children(group: Any) -> str:
    names = sorted(group.keys())
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") or "no arrays"

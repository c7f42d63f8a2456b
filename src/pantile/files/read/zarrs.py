"""Zarr arrays, v2 and v3, and the levels of OME-Zarr images."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, ClassVar

from ..extras import import_optional
from ..faults import check_index

__all__ = ["ZarrPlace", "find_array", "holds_only", "is_array", "is_zarr"]

_MARKS = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class ZarrPlace:
    """A Zarr array in a local directory; ``axes`` is what an OME-Zarr group says of them: names, then kinds."""

    path: str
    axes: tuple[tuple[str, str], ...] = ()
    kind: ClassVar[str] = "Zarr"

    def open(self) -> Any:
        return import_optional("zarr", "reading Zarr").open_array(self.path, mode="r")

    def dims(self) -> Any:
        """The names in the metadata of the image, or of the array (``_ARRAY_DIMENSIONS`` in version 2)."""
        return [name for name, _ in self.axes] or _dimension_names(self.open())

    def channel_axis(self) -> int | None:
        """Where OME-Zarr has an axis of channels."""
        return next((k for k, (_, kind) in enumerate(self.axes) if kind == "channel"), None)

    def inside(self) -> dict[str, Any]:
        return {}


def _dimension_names(array: Any) -> Any:
    names = getattr(array.metadata, "dimension_names", None)
    return names or dict(array.attrs).get("_ARRAY_DIMENSIONS")


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


def holds_only(path: str, name: str) -> bool:
    """Whether ``path`` is a Zarr group of the array ``name`` and coordinates."""
    if not is_zarr(path) or is_array(path):
        return False
    group = import_optional("zarr", "reading Zarr").open_group(path, mode="r")
    arrays = _without_coordinates(group, sorted(group.array_keys()))
    return arrays == [name] and not any(True for _ in group.group_keys())


def find_array(path: str, dataset: str | None, series: int | None, level: int | None) -> ZarrPlace:
    """The array that is meant in ``path``.

    ``dataset`` names what is inside a group; ``series`` and ``level`` choose in the multiscales
    metadata of OME-Zarr 0.4 and 0.5.
    """
    zarr = import_optional("zarr", "reading Zarr")
    place = path if dataset is None else os.path.join(path, *dataset.strip("/").split("/"))
    if not is_zarr(place):
        held = _list_children(zarr.open_group(path, mode="r")) if is_zarr(path) else "nothing"
        raise ValueError(f"dataset={dataset!r} is not in {path}: it holds {held}")
    node = zarr.open(place, mode="r")
    if isinstance(node, zarr.Group):
        name, axes = _choose(place, node, series, level)
        return ZarrPlace(os.path.join(place, *name.split("/")), axes)
    if level or series:
        raise ValueError(f"level= and series= choose in an OME-Zarr group, {place} is an array")
    return ZarrPlace(place)


def _choose(
    place: str, group: Any, series: int | None, level: int | None
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The name of the array in a group, and what the group says of its axes."""
    images = dict(group.attrs).get("ome", group.attrs).get("multiscales")
    if not images:
        return _find_only_array(place, group, series, level), ()
    check_index(place, "series", series or 0, len(images))
    levels = images[series or 0]["datasets"]
    check_index(place, "level", level or 0, len(levels))
    return str(levels[level or 0]["path"]), _read_axes(images[series or 0])


def _read_axes(image: Any) -> tuple[tuple[str, str], ...]:
    """Names and kinds of the axes; version 0.3 has names alone, earlier ones have none."""
    found = []
    for axis in image.get("axes") or ():
        axis = axis if isinstance(axis, dict) else {"name": axis}
        name = str(axis.get("name", ""))
        found.append((name, str(axis.get("type", "channel" if name == "c" else ""))))
    return tuple(found)


def _find_only_array(place: str, group: Any, series: int | None, level: int | None) -> str:
    """The name of the only array in a plain group, coordinates along its axes aside."""
    arrays = sorted(group.array_keys())
    if len(arrays) > 1:
        arrays = _without_coordinates(group, arrays)
    if level or series:
        raise ValueError(
            f"{place} is a group without OME-Zarr levels: it holds {_list_children(group)}"
        )
    if len(arrays) != 1 or any(True for _ in group.group_keys()):
        raise ValueError(
            f"dataset= must name one array in {place}: it holds {_list_children(group)}"
        )
    return str(arrays[0])


def _without_coordinates(group: Any, names: list[str]) -> list[str]:
    """The arrays that are no coordinates of others, as xarray stores them."""
    dims = {name: tuple(_dimension_names(group[name]) or ()) for name in names}
    coordinates_named = {
        name
        for each in (group, *(group[n] for n in names))
        for name in str(each.attrs.get("coordinates", "")).split()
    }
    used = {d for name, own in dims.items() if len(own) > 1 for d in own}
    coordinates = {
        name
        for name in names
        if name in coordinates_named or (dims[name] == (name,) and name in used)
    }
    scalars = {name for name in names if not group[name].ndim}
    return [name for name in names if name not in coordinates | scalars]


def _list_children(group: Any) -> str:
    names = sorted(group.keys())
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") or "no arrays"

"""Images and how patches lie in them, stacked: rows of the matrix, and how they are cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files.mapping import Mapping, mapping_of
from ...geometry.tiles import Bounds
from ...kernels.flat import as_bits, flat, strided_by_items
from ...kernels.read import read_block
from ...kernels.walk import runs_of, stacked
from ...verbs.extract import check_pad_value, copy_patches, fill_stack
from ...verbs.frame import Frame, as_array, frame_of

__all__ = ["Array", "Part", "Rows", "Stack", "as_rows", "images_in", "parts_of"]

Array = NDArray[Any]
Rows = range | NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """One image with its axes in canonical order, and how a grid lies in it."""

    image: Array = field(repr=False)
    frame: Frame

    @property
    def n_rows(self) -> int:
        return self.frame.n_patches

    @cached_property
    def breaks(self) -> list[int]:
        return self.frame.breaks(0, self.frame.counts[self.frame.along])

    def read(self, bounds: Bounds) -> Array:
        """Elements of the canonical image, padded where they lie outside."""
        grid = self.frame.grid
        return read_block(self.image, bounds, self.frame.margins, grid.pad_mode, grid.pad_value)

    def cut(self, rows: NDArray[np.int64], out: Array) -> None:
        """The patches of ``rows`` as the columns of ``out``, ``(features, n)``."""
        frame = self.frame
        if not len(rows):
            return
        runs = runs_of(rows, frame.counts, self.breaks, frame.along)
        columns = out.reshape(*frame.patch_shape, len(rows))
        stack = np.moveaxis(columns, -1, 0)[None]
        bounds = self._bounds(runs.each().at) if not frame.inside else None
        if bounds is None or as_bits(out.dtype) is None:
            fill_stack(stack, self.image, frame, runs, len(rows))
            return
        goal = stacked(flat(stack, as_bits(out.dtype)), len(rows), frame.n_batch)
        origin = tuple(begin for begin, _ in bounds)
        copy_patches(goal, self.read(bounds), origin, frame, runs, out.strides[1] <= out.strides[0])

    def row(self, number: int) -> Array:
        """One patch, flat: what `cut` of one row gives, without the work that only many are worth."""
        axes, begins = self.frame.axes, []
        for axis in reversed(axes):
            number, i = divmod(number, axis.count)
            begins.append(axis.start(i))
        places = zip(axes, reversed(begins), strict=True)
        values = self.read(tuple((begin, begin + axis.extent) for axis, begin in places))
        return values[tuple(slice(None, None, axis.dilation) for axis in axes)].reshape(-1)

    def _bounds(self, at: Sequence[NDArray[np.int64]]) -> Bounds | None:
        """What the patches span, None where that is far more than they hold."""
        bounds = tuple(
            (axis.start(int(i.min())), axis.start(int(i.max())) + axis.extent)
            for axis, i in zip(self.frame.axes, at, strict=True)
        )
        span = math.prod(end - begin for begin, end in bounds)
        return bounds if span <= 2 * len(at[0]) * self.frame.features + 65536 else None

    def column(self, feature: int) -> Part:
        """The same rows with only one feature."""
        at = np.unravel_index(feature, self.frame.patch)
        axes = tuple(
            replace(axis, patch=1, offset=axis.offset + int(a) * axis.dilation)
            for axis, a in zip(self.frame.axes, at, strict=True)
        )
        return Part(self.image, replace(self.frame, axes=axes))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (mapping_of(self.image) or np.asarray(self.image), self.frame)


def _rebuilt(image: Mapping | Array, frame: Frame) -> Part:
    """A part from its elements, or from their place in a file."""
    return Part(image.whole() if isinstance(image, Mapping) else image, frame)


def images_in(image: Any) -> list[Any] | None:
    """The images of a list of images, None of one image, as nested lists of numbers are too."""
    objects = isinstance(image, np.ndarray) and image.dtype == object and image.ndim == 1
    if not (objects or isinstance(image, list | tuple)):
        return None
    return list(image) if any(getattr(i, "ndim", 0) for i in image) else None


def parts_of(
    image: Any, patch: Any, step: Any, axes: Any, channel_axis: Any
) -> tuple[tuple[Part, ...], bool]:
    """The parts of one image or a list of images, and whether it was a list."""
    images = images_in(image)
    if images is None:
        return (_part_of(image, patch, step, axes, channel_axis),), False
    grids = list(patch) if _are_grids(patch) else [patch] * len(images)
    if len(grids) != len(images):
        raise ValueError(f"{len(grids)} grids for {len(images)} images: give one grid per image")
    pairs = zip(images, grids, strict=True)
    parts = tuple(_part_of(i, g, step, axes, channel_axis) for i, g in pairs)
    shapes = {part.frame.patch_shape for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"all images must give patches of one shape, got {sorted(shapes)}")
    return parts, True


def _are_grids(patch: Any) -> bool:
    return isinstance(patch, list | tuple) and any(hasattr(item, "axis_grids") for item in patch)


def _part_of(image: Any, patch: Any, step: Any, axes: Any, channel_axis: Any) -> Part:
    array = as_array(image)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"image must hold numbers, got dtype {array.dtype}")
    frame = frame_of(array.shape, patch, step, axes=axes, channel_axis=channel_axis)
    check_pad_value(frame, array.dtype)
    # kernels walk forward only; a reversed image is copied here, once
    return Part(strided_by_items(frame.canonical(array)), frame)


class Stack:
    """Parts one below the other: the matrix with all its rows."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        self.dtype = np.result_type(*(part.image.dtype for part in parts))
        self.features = parts[0].frame.features
        self.ends = np.cumsum([part.n_rows for part in parts])
        self.n_rows = int(self.ends[-1])

    def begin(self, k: int) -> int:
        return int(self.ends[k]) - self.parts[k].n_rows

    def pieces(self, rows: NDArray[np.int64]) -> list[tuple[int, Any, NDArray[np.int64]]]:
        """Part, where its rows stand among ``rows``, and their numbers in the part."""
        if len(self.parts) == 1:
            return [(0, slice(0, len(rows)), rows)]
        owner = np.searchsorted(self.ends, rows, side="right")
        found: list[tuple[int, Any, NDArray[np.int64]]] = []
        for k in np.unique(owner).tolist():
            at = np.flatnonzero(owner == k)
            whole = int(at[-1] - at[0]) == len(at) - 1
            place = slice(int(at[0]), int(at[-1]) + 1) if whole else at
            found.append((k, place, rows[place] - self.begin(k)))
        return found

    def cut(self, rows: NDArray[np.int64], out: Array) -> None:
        """The patches of ``rows`` as the columns of ``out``, ``(features, n)``."""
        for k, place, local in self.pieces(rows):
            part = self.parts[k]
            if isinstance(place, slice) and part.image.dtype == out.dtype:
                part.cut(local, out[:, place])
            elif len(local):
                columns = np.empty((len(out), len(local)), part.image.dtype)
                part.cut(local, columns)
                out[:, place] = columns

    def row(self, number: int) -> Array:
        """One patch, flat, a new array."""
        k = int(np.searchsorted(self.ends, number, side="right"))
        return self.parts[k].row(number - self.begin(k)).astype(self.dtype)

    def column(self, feature: int) -> Stack:
        return Stack(tuple(part.column(feature) for part in self.parts))


def as_rows(rows: Rows, begin: int, end: int) -> NDArray[np.int64]:
    """Rows ``begin`` to ``end`` of a selection, as numbers in the stack."""
    chosen = rows[begin:end]
    if isinstance(chosen, range):
        return np.arange(chosen.start, chosen.stop, chosen.step, dtype=np.int64)
    return chosen.astype(np.int64, copy=False)

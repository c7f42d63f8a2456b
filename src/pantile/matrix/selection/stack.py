"""Images with their grids, one below the other: all rows that there are, and how they are cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files.mapping import Mapping, mapping_of
from ...geometry.frame import Frame, frame_of
from ...geometry.rect import Rect
from ...kernels.memory import as_bits, ensure_item_strides, flatten
from ...kernels.offsets import find_runs, place_in_stack
from ...kernels.read import read_block
from ...ops.arrays import as_array
from ...ops.extract import check_pad_value, copy_patches, fill_stack

__all__ = ["Array", "GriddedImage", "Stack", "grid_images", "list_images"]

Array = NDArray[Any]


@dataclass(frozen=True)
class GriddedImage:
    """The elements of one image, axes in canonical order, and how a grid lies on it."""

    values: Array = field(repr=False)
    frame: Frame

    @property
    def n_rows(self) -> int:
        return self.frame.n_patches

    @cached_property
    def breaks(self) -> list[int]:
        """Where runs of patches end: the kernels walk from one break to the next."""
        return self.frame.breaks(0, self.frame.counts[self.frame.along])

    def read(self, bounds: Rect) -> Array:
        """The elements in ``bounds``, padded where these lie outside the image."""
        grid = self.frame.grid
        return read_block(self.values, bounds, self.frame.margins, grid.pad_mode, grid.pad_value)

    def cut(self, rows: NDArray[np.int64], out: Array) -> None:
        """Write the patches numbered ``rows`` into the columns of ``out``, ``(features, n)``."""
        frame = self.frame
        if not len(rows):
            return
        runs = find_runs(rows, frame.counts, self.breaks, frame.along)
        columns = out.reshape(*frame.patch_shape, len(rows))
        stack = np.moveaxis(columns, -1, 0)[None]
        bounds = self._span(runs.each().at) if not frame.inside else None
        if bounds is None or as_bits(out.dtype) is None:
            fill_stack(stack, self.values, frame, runs, len(rows))
            return
        goal = place_in_stack(flatten(stack, as_bits(out.dtype)), len(rows), frame.n_batch)
        origin = tuple(begin for begin, _ in bounds)
        copy_patches(goal, self.read(bounds), origin, frame, runs)

    def cut_row(self, number: int) -> Array:
        """One patch, flat: the same as `cut` of one row, but faster for that one."""
        axes, begins = self.frame.axes, []
        for axis in reversed(axes):
            number, i = divmod(number, axis.count)
            begins.append(axis.start(i))
        places = zip(axes, reversed(begins), strict=True)
        values = self.read(tuple((begin, begin + axis.extent) for axis, begin in places))
        return values[tuple(slice(None, None, axis.dilation) for axis in axes)].reshape(-1)

    def _span(self, at: Sequence[NDArray[np.int64]]) -> Rect | None:
        """The elements that patches reach over; None where these are far more than the patches hold."""
        bounds = tuple(
            (axis.start(int(i.min())), axis.start(int(i.max())) + axis.extent)
            for axis, i in zip(self.frame.axes, at, strict=True)
        )
        span = math.prod(end - begin for begin, end in bounds)
        return bounds if span <= 2 * len(at[0]) * self.frame.features + 65536 else None

    def pick_feature(self, feature: int) -> GriddedImage:
        """The same rows with one feature only."""
        at = np.unravel_index(feature, self.frame.patch)
        axes = tuple(
            replace(axis, patch=1, offset=axis.offset + int(a) * axis.dilation)
            for axis, a in zip(self.frame.axes, at, strict=True)
        )
        return GriddedImage(self.values, replace(self.frame, axes=axes))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (mapping_of(self.values) or np.asarray(self.values), self.frame)


def _rebuild(values: Mapping | Array, frame: Frame) -> GriddedImage:
    """An image from its elements, or from their place in a file."""
    return GriddedImage(values.whole() if isinstance(values, Mapping) else values, frame)


def list_images(image: Any) -> list[Any] | None:
    """The images of a list of images; None for one image, which nested lists of numbers are too."""
    objects = isinstance(image, np.ndarray) and image.dtype == object and image.ndim == 1
    if not (objects or isinstance(image, list | tuple)):
        return None
    return list(image) if any(getattr(i, "ndim", 0) for i in image) else None


def grid_images(
    image: Any, patch: Any, step: Any, axes: Any, channel_axis: Any
) -> tuple[tuple[GriddedImage, ...], bool]:
    """Each image with its grid, and whether a list of images was given."""
    images = list_images(image)
    if images is None:
        return (_grid_image(image, patch, step, axes, channel_axis),), False
    grids = list(patch) if _are_grids(patch) else [patch] * len(images)
    if len(grids) != len(images):
        raise ValueError(f"{len(grids)} grids for {len(images)} images: give one grid per image")
    pairs = zip(images, grids, strict=True)
    found = tuple(_grid_image(i, g, step, axes, channel_axis) for i, g in pairs)
    shapes = {each.frame.patch_shape for each in found}
    if len(shapes) > 1:
        raise ValueError(f"all images must give patches of one shape, got {sorted(shapes)}")
    return found, True


def _are_grids(patch: Any) -> bool:
    return isinstance(patch, list | tuple) and any(hasattr(item, "axis_grids") for item in patch)


def _grid_image(image: Any, patch: Any, step: Any, axes: Any, channel_axis: Any) -> GriddedImage:
    array = as_array(image)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"image must hold numbers, got dtype {array.dtype}")
    frame = frame_of(array.shape, patch, step, axes=axes, channel_axis=channel_axis)
    check_pad_value(frame, array.dtype)
    # kernels walk forward only; a reversed image is copied here, once
    return GriddedImage(ensure_item_strides(frame.canonical(array)), frame)


class Stack:
    """Images one below the other: the matrix with all its rows."""

    def __init__(self, images: tuple[GriddedImage, ...]) -> None:
        self.images = images
        self.dtype = np.result_type(*(image.values.dtype for image in images))
        self.features = images[0].frame.features
        self.ends = np.cumsum([image.n_rows for image in images])
        self.n_rows = int(self.ends[-1])

    def begin(self, k: int) -> int:
        """The number of image ``k``'s first row."""
        return int(self.ends[k]) - self.images[k].n_rows

    def split(self, rows: NDArray[np.int64]) -> list[tuple[int, Any, NDArray[np.int64]]]:
        """For each image that has some of ``rows``: which image, where among ``rows``, and their
        numbers in the image."""
        if len(self.images) == 1:
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
        """Write the patches numbered ``rows`` into the columns of ``out``, ``(features, n)``."""
        for k, place, local in self.split(rows):
            image = self.images[k]
            if isinstance(place, slice) and image.values.dtype == out.dtype:
                image.cut(local, out[:, place])
            elif len(local):
                columns = np.empty((len(out), len(local)), image.values.dtype)
                image.cut(local, columns)
                out[:, place] = columns

    def cut_row(self, number: int) -> Array:
        """One patch, flat, a new array."""
        k = int(np.searchsorted(self.ends, number, side="right"))
        return self.images[k].cut_row(number - self.begin(k)).astype(self.dtype)

    def pick_feature(self, feature: int) -> Stack:
        """The same rows with one feature only."""
        return Stack(tuple(image.pick_feature(feature) for image in self.images))

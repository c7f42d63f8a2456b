"""Products with few vectors: each patch is multiplied where it lies in the image, and none is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ...kernels.memory import ensure_item_strides, flatten, to_native
from ...kernels.offsets import Operand, Runs, find_runs, place_on_image
from ...kernels.parallel import each_in_parallel
from ...kernels.products import backproject, project, square_columns
from ...kernels.read import read_block
from ...ops.extract import readable
from ..boxes.fourier import run_in_lanes
from ..selection.selection import Selection
from ..selection.stack import Array, GriddedImage

__all__ = ["each_row", "multiply_directly", "multiply_transposed_directly", "square_each_column"]

Loop = Callable[[Operand, Runs, tuple[int, ...], Array], None]


def multiply_directly(selection: Selection, right: Array, out: Array) -> None:
    """``out = X @ right``, a column at a time."""
    vectors = np.ascontiguousarray(right.T)
    leaf = selection.limits.product_leaf_elements
    for rows, image, numbers in _split(selection):
        sums = np.zeros((len(vectors), len(numbers)), out.dtype)
        for source, runs in _place(image, numbers):
            task = partial(_project, image, source, vectors, sums)
            each_in_parallel(task, runs.leaves(selection.features, leaf))
        out[rows] = sums.T


def _project(image: GriddedImage, source: Operand, vectors: Array, sums: Array, runs: Runs) -> None:
    """Write the products of some patches with each vector into ``sums``."""
    for vector, column in zip(vectors, sums, strict=True):
        project(_place_vector(image, vector), source, runs, image.frame.patch, column)


def each_row(selection: Selection, loop: Loop) -> Array:
    """What a loop over patches where they lie makes of each row."""
    found = np.zeros(selection.n_rows, selection.work)
    leaf = selection.limits.product_leaf_elements
    for rows, image, numbers in _split(selection):
        sums = np.zeros(len(numbers), found.dtype)
        for source, runs in _place(image, numbers):

            def work(
                some: Runs,
                source: Operand = source,
                sums: Array = sums,
                image: GriddedImage = image,
            ) -> None:
                loop(source, some, image.frame.patch, sums)

            each_in_parallel(work, runs.leaves(selection.features, leaf))
        found[rows] = sums
    return found


def square_each_column(selection: Selection, shift: Array) -> Array:
    """The sums over all rows of each sample less its ``shift``, and of the squares of that, ``(2, features)``."""
    total = np.zeros((2, selection.features))
    leaf = selection.limits.product_leaf_elements
    for _, image, numbers in _split(selection):
        for source, runs in _place(image, numbers):

            def work(
                lane: list[Runs], source: Operand = source, image: GriddedImage = image
            ) -> Array:
                found = np.zeros((2, selection.features))
                for some in lane:
                    square_columns(source, some, image.frame.patch, shift, found)
                return found

            total += sum(run_in_lanes(work, runs.leaves(selection.features, leaf)))
    return total


def multiply_transposed_directly(selection: Selection, right: Array) -> Array:
    """``X.T @ right``, a column at a time."""
    total = np.zeros((right.shape[1], selection.features), right.dtype)
    leaf = selection.limits.product_leaf_elements
    for rows, image, numbers in _split(selection):
        weights = np.ascontiguousarray(right[rows].T)
        for source, runs in _place(image, numbers):
            task = partial(_backproject_lane, image, source, weights)
            total += sum(run_in_lanes(task, runs.leaves(selection.features, leaf)))
    return total.T


def _backproject_lane(
    image: GriddedImage, source: Operand, weights: Array, lane: list[Runs]
) -> Array:
    """The sum of some patches, each times its weights."""
    total = np.zeros((len(weights), image.frame.features), weights.dtype)
    for runs in lane:
        for vector, column in zip(total, weights, strict=True):
            backproject(_place_vector(image, vector), source, runs, image.frame.patch, column)
    return total


def _split(selection: Selection) -> Iterator[tuple[Any, GriddedImage, Array]]:
    """Some rows at a time: where they are in the selection, their image, and their numbers in it."""
    size = selection.limits.numbered_rows
    for begin in range(0, selection.n_rows, size):
        numbers = selection.row_numbers(begin, min(begin + size, selection.n_rows))
        for k, place, local in selection.stack.split(numbers):
            whole = isinstance(place, slice)
            rows = slice(begin + place.start, begin + place.stop) if whole else begin + place
            yield rows, selection.stack.images[k], local


def _place(image: GriddedImage, rows: Array) -> Iterator[tuple[Operand, Runs]]:
    """Blocks of the image, padded where they must be, and the patches of ``rows`` in each."""
    frame, grid = image.frame, image.frame.grid
    ranges = tuple((0, n) for n in frame.counts)
    for runs, bounds in readable(frame, find_runs(rows, frame.counts, image.breaks, frame.along)):
        block, origin = image.values, (0,) * len(frame.axes)
        if bounds is not None:
            block = read_block(block, bounds, frame.margins, grid.pad_mode, grid.pad_value)
            origin = tuple(begin for begin, _ in bounds)
        memory = flatten(to_native(ensure_item_strides(block)))
        yield place_on_image(memory, frame.axes, origin, ranges, frame.gap, frame.along), runs


def _place_vector(image: GriddedImage, vector: Array) -> Operand:
    """A vector of one number per sample, as an operand in which every patch lies at its place among the rows."""
    memory, strides = flatten(vector.reshape(image.frame.patch))
    return Operand(memory, lambda runs: runs.sequence, strides, 1)

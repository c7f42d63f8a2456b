"""Graphs of tasks over the regions of a dask array: one task per region, then what joins their results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.frame import Frame
from ...geometry.limits import Limits
from ...ops.chunked import Bits, Tasks, chunked, is_dask, new_array
from ..selection.stack import Array
from .regions import AsIs, spread_rows
from .tasks import Shared, add, gather, map_rows, sum_rows, take_rows

__all__ = ["RegionGraph"]

Index = tuple[int, ...]
Reader = Callable[[Index], list[Any]]


class RegionGraph:
    """The regions of an image, which follow its chunks, and the graphs that results are computed by.

    ``mask`` says which patches are selected, ``(*counts,)`` on canonical axes; None is all.
    """

    def __init__(
        self,
        image: Any,
        frame: Frame,
        mask: NDArray[np.bool_] | None,
        center: bool,
        scale: bool,
        limits: Limits,
    ) -> None:
        self.image, self.frame, self.mask, self.limits = image, frame, mask, limits
        fits = partial(_fits, frame, limits.region_bytes)
        self.layout = chunked(image, frame, fits, limits.graph_read_bytes)
        self.shared = Shared(self.layout, center, scale, limits)

    @property
    def n_regions(self) -> int:
        return math.prod(self.layout.shape)

    @property
    def rows(self) -> range | NDArray[np.int64]:
        """The numbers of the selected rows."""
        return range(self.frame.n_patches) if self.mask is None else np.flatnonzero(self.mask)

    def take(
        self, at: NDArray[np.int64], numbers: NDArray[np.int64], width: int, dtype: Any
    ) -> Any:
        """Rows ``numbers``, of the shape of ``at``, as one block of a dask array; ``at`` names the result."""
        tasks, name, read = self._begin("patch-rows", at)
        found, places = [], []
        for index, place, local in spread_rows(self.layout, numbers):
            key = (f"{name}-part", *index)
            tasks.put(key, take_rows, tasks.ref(f"{name}-shared"), index, AsIs(local), *read(index))
            found.append(tasks.ref(key))
            places.append(place)
        shape = (*at.shape, width)
        tasks.put((name, *(0,) * len(shape)), gather, AsIs(*places), shape, dtype, *found)
        return new_array(tasks, name, [(n,) for n in shape], dtype, {}, self.image)

    def map_regions(
        self, what: str, function: Any, width: Index, dtype: Any, value: Any = None
    ) -> Any:
        """``function(matrix, value)`` of every region, ``(rows, *width)``, in the order of rows."""
        tasks, name, read = self._begin(what, function, value)
        given, sources = _keep(tasks, name, value)
        kept, tail = self._grid_axes, (0,) * len(width)
        regions = dict(self._regions())
        for index in self.layout.indices():
            counts = self.layout.tile(index).counts
            shape = (*(counts[k] for k in kept), *width)
            key = (name, *(index[k] for k in kept), *tail)
            if index in regions:
                args = function, index, regions[index], shape, dtype, given
                tasks.put(key, map_rows, tasks.ref(f"{name}-shared"), *args, *read(index))
            else:
                tasks.put(key, np.zeros, shape, dtype)
        chunks = [*self._grid_chunks, *([n] for n in width)]
        whole = new_array(tasks, name, chunks, dtype, {}, self.image, *sources)
        flat = whole.reshape(-1, *width)
        return flat if self.mask is None else flat[np.asarray(self.rows)]

    def sum_regions(
        self,
        what: str,
        function: Any,
        shape: Index,
        dtype: Any,
        combine: Callable[..., Any] = add,
        finish: Callable[[Any], Array] = np.asarray,
        blocks: Any = None,
    ) -> Any:
        """``finish`` of the sum of ``function(matrix, block)`` over all regions.

        ``combine`` adds some partial sums, in a tree. ``blocks`` is a dask array on the grid (see
        `place_on_grid`), whose block at a region ``function`` is given.
        """
        tasks, name, read = self._begin(what, function, finish, blocks)
        parts = []
        for index, mask in self._regions():
            key = (f"{name}-part", *index)
            block = None if blocks is None else tasks.ref(self._block_key(index, blocks))
            args = function, index, mask, block
            tasks.put(key, sum_rows, tasks.ref(f"{name}-shared"), *args, *read(index))
            parts.append(key)
        root = _join(tasks, f"{name}-tree", parts, combine, self.limits.tree_sums)
        tasks.put((name, *(0,) * len(shape)), finish, tasks.ref(root))
        sources = [self.image] if blocks is None else [self.image, blocks]
        return new_array(tasks, name, [(n,) for n in shape], dtype, {}, *sources)

    def place_on_grid(self, right: Any, expression: str) -> Any:
        """``(n_rows, ...)`` as a dask array ``(*counts, ...)`` in the chunks of the regions."""
        import dask.array

        counts = tuple(self.frame.counts[k] for k in self._grid_axes)
        tail = tuple(right.shape[1:])
        if is_dask(right):
            if self.mask is not None:
                raise TypeError(
                    f"{expression} with where= or a slice takes an array in memory: U.compute()"
                )
            shaped = right.reshape(*counts, *tail)
        else:
            values = right
            if self.mask is not None:
                values = np.zeros((self.frame.n_patches, *tail), right.dtype)
                values[np.asarray(self.rows)] = right
            shaped = dask.array.from_array(values.reshape(*counts, *tail), chunks=-1)
        chunks = (*map(tuple, self._grid_chunks), *tail)
        return shaped.rechunk(chunks)

    def _begin(self, what: str, *asked: Any) -> tuple[Tasks, str, Reader]:
        """Tasks with what they share, the result's name, and what reads the image for a region."""
        from dask.base import tokenize

        token = tokenize(self.image, self.shared, self.mask, *asked)
        tasks, name = Tasks(), f"{what}-{token}"
        tasks.keep(f"{name}-shared", self.shared)
        return tasks, name, self.layout.read_tasks(tasks, self.image, f"patch-read-{token}")

    def _regions(self) -> Iterator[tuple[Index, Bits | None]]:
        """Regions that have selected rows, and which of theirs; None is all."""
        for index in self.layout.indices():
            ranges = self.layout.tile(index).ranges
            mask = None if self.mask is None else self.mask[tuple(slice(*r) for r in ranges)]
            if mask is None or mask.any():
                yield index, None if mask is None else Bits.of(mask)

    @property
    def _grid_axes(self) -> list[int]:
        """All canonical axes but the channel axis, along which there is one patch."""
        return [k for k in range(len(self.frame.axes)) if k != self.frame.channel]

    @property
    def _grid_chunks(self) -> list[list[int]]:
        """How many patches the regions have along each of these axes."""
        return [[end - begin for begin, end in self.layout.tiles[k]] for k in self._grid_axes]

    def _block_key(self, index: Index, blocks: Any) -> tuple[Any, ...]:
        """The key of the block of ``blocks`` at a region."""
        at = tuple(index[k] for k in self._grid_axes)
        return (blocks.name, *at, *(0,) * (blocks.ndim - len(at)))


def _fits(frame: Frame, nbytes: int, lengths: Sequence[int]) -> bool:
    """Whether a region of so many starts of patches takes no more than ``nbytes`` in float64."""
    rows = zip(lengths, frame.axes, strict=True)
    return 8 * math.prod(n + axis.extent - 1 for n, axis in rows) <= nbytes


def _join(tasks: Tasks, name: str, level: list[Any], combine: Callable[..., Any], size: int) -> Any:
    """Tasks that combine the results of some keys, ``size`` at a time, until one is left: its key."""
    depth = 0
    while len(level) > 1:
        groups = [level[k : k + size] for k in range(0, len(level), size)]
        level = [(name, depth, k) for k in range(len(groups))]
        for key, group in zip(level, groups, strict=True):
            tasks.put(key, combine, *map(tasks.ref, group))
        depth += 1
    return level[0]


def _keep(tasks: Tasks, name: str, value: Any) -> tuple[Any, list[Any]]:
    """How tasks get a small array, and the dask arrays it comes from: it is in the graph once."""
    if value is None:
        return None, []
    if is_dask(value):
        one = value.rechunk(-1)
        return tasks.ref((one.name, *(0,) * one.ndim)), [one]
    tasks.keep(f"{name}-given", value)
    return tasks.ref(f"{name}-given"), []

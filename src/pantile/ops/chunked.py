"""Dask arrays below the verbs: tiles of patches that follow the chunks, and the tasks that read them."""

from __future__ import annotations

import itertools
import math
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.arrays import unmasked
from ..geometry.boundary import segments
from ..geometry.frame import Frame
from ..geometry.rect import Rect, intersect, shape_of, slices
from ..geometry.tiling import Tile
from ..kernels.read import read_block
from .arrays import unlabelled

__all__ = [
    "Bits",
    "Chunked",
    "Parts",
    "Tasks",
    "check_chunks",
    "chunked",
    "holds_dask",
    "is_dask",
    "new_array",
]

_WHOLE = 0.5  # of a chunk: a task that needs more of it takes all of it, and no copy is made

Array = NDArray[Any]
Index = tuple[int, ...]


def is_dask(image: Any) -> bool:
    """Whether ``image`` is a dask array; dask is not imported to find out."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(image, getattr(module, "Array", ()))


def holds_dask(image: Any) -> bool:
    """Whether ``image`` is a dask array, with labels or without, or a list that has one."""
    images = image if isinstance(image, list | tuple) else [image]
    return any(is_dask(unlabelled(each)) for each in images)


def check_chunks(image: Any) -> None:
    """Raise `ValueError` or `TypeError` for a dask array whose blocks cannot be found or read."""
    if math.isnan(sum(map(sum, image.chunks))):
        raise ValueError(
            "image has chunks of unknown size: call image.compute_chunk_sizes() first, or make it from known ones"
        )
    if 0 in image.shape or not image.ndim:
        raise ValueError(
            f"image must have at least one axis and one element, got shape {image.shape}"
        )
    kind = type(image._meta)
    if kind is not np.ndarray:
        raise TypeError(
            f"image must have chunks that are NumPy arrays, got {kind.__name__}: convert them first,"
            " image.map_blocks(np.asarray) or image.map_blocks(np.ma.filled, ...)"
        )
    if not hasattr(image, "dask") or hasattr(image, "expr"):
        raise TypeError(
            "dask's array.query-planning is experimental and not known to pantile: set it to False"
        )


class Tasks(dict[Any, Any]):
    """The tasks of one layer of a graph, in the form that the installed dask prefers."""

    def __init__(self) -> None:
        try:
            from dask.task_spec import Task, TaskRef
        except ImportError:  # before 2025 tasks were tuples, and keys stood for themselves
            self._task: Any = None
            self.ref: Callable[[Any], Any] = lambda key: key
        else:
            self._task, self.ref = Task, TaskRef

    def put(self, key: Any, function: Callable[..., Any], *args: Any) -> None:
        """The task ``function(*args)``; what ``ref`` gave among ``args`` is replaced by that key's result."""
        task = self._task
        self[key] = (function, *args) if task is None else task(key, function, *args)

    def keep(self, key: Any, value: Any) -> None:
        """Something that many tasks share, in the graph once."""
        self.put(key, _itself, value)


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Bits:
    """A boolean array in an eighth of its memory."""

    packed: NDArray[np.uint8]
    shape: Index

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Bits | None:
        """None where all of it is True."""
        return None if mask.all() else cls(np.packbits(mask), mask.shape)

    @property
    def array(self) -> NDArray[np.bool_]:
        whole = np.unpackbits(self.packed, count=math.prod(self.shape))
        return whole.astype(bool).reshape(self.shape)


@dataclass(frozen=True)
class Chunked:
    """How tiles follow the chunks of a dask array, as plain tables, one per canonical axis.

    ``chunks`` is where chunks begin (and the size), ``cuts`` where blocks of the output begin (and
    the size), ``tiles`` the patches of each tile: those that start in a block.
    """

    frame: Frame
    dtype: np.dtype[Any]
    chunks: tuple[tuple[int, ...], ...]
    cuts: tuple[tuple[int, ...], ...]
    tiles: tuple[Rect, ...]

    @cached_property
    def shape(self) -> Index:
        """How many tiles along each axis."""
        return tuple(len(t) for t in self.tiles)

    def indices(self) -> Iterator[Index]:
        return itertools.product(*map(range, self.shape))

    def tile(self, index: Index) -> Tile:
        return Tile(index, tuple(t[i] for t, i in zip(self.tiles, index, strict=True)))

    @cached_property
    def reads(self) -> tuple[list[list[tuple[int, int, int]]], ...]:
        """Per axis and tile: the chunks it reads, and which elements of each (of the image)."""
        mode = self.frame.grid.pad_mode
        return tuple(
            [_reads(axis, tile, chunks, mode) for tile in tiles]
            for axis, tiles, chunks in zip(self.frame.axes, self.tiles, self.chunks, strict=True)
        )

    def block(self, index: Index, arrays: Sequence[Array]) -> Array:
        """The elements a tile's patches reach over, padding included, from what `read_tasks` hands to its task."""
        grid, parts = self.frame.grid, Parts(self.frame.shape, self.dtype)
        for where, array in zip(self._wanted(index), arrays, strict=True):
            bounds = tuple((begin, end) for _, begin, end in where)
            values = self.frame.canonical(np.asarray(unmasked(array), self.dtype))
            if values.shape != tuple(e - b for b, e in bounds):
                values = values[self._within(where)]
            parts.parts.append((bounds, values))
        span = self.tile(index).span(self.frame.axes)
        return read_block(parts, span, self.frame.margins, grid.pad_mode, grid.pad_value)

    def _wanted(self, index: Index) -> Iterator[tuple[tuple[int, int, int], ...]]:
        return itertools.product(*(r[i] for r, i in zip(self.reads, index, strict=True)))

    def _within(self, where: Sequence[tuple[int, int, int]]) -> tuple[slice, ...]:
        """The elements as slices of their chunk."""
        rows = zip(self.chunks, where, strict=True)
        return tuple(slice(begin - c[k], end - c[k]) for c, (k, begin, end) in rows)

    def read_tasks(self, tasks: Tasks, image: Any, name: str) -> Callable[[Index], list[Any]]:
        """A function that gives what a tile's task needs of the image, adding tasks that cut strips off chunks.

        So only strips of neighbouring chunks travel between workers.
        """
        order, source = self.frame.order, image.name
        back = [order.index(k) for k in range(len(order))]
        sizes = [np.diff(c).tolist() for c in self.chunks]

        def found(index: Index) -> list[Any]:
            refs = []
            for where in self._wanted(index):
                share = math.prod((e - b) / s[k] for (k, b, e), s in zip(where, sizes, strict=True))
                at = tuple(where[k][0] for k in back)
                key = (source, *at)
                if share <= _WHOLE:
                    within = self._within(where)
                    tasks.put(
                        (name, *index, *at), _strip, tasks.ref(key), *(within[k] for k in back)
                    )
                    key = (name, *index, *at)
                refs.append(tasks.ref(key))
            return refs

        return found


def _strip(chunk: Any, *place: slice) -> Array:
    """A copy, so that the chunk can be let go."""
    return np.array(unmasked(chunk)[place])


def _reads(
    axis: AxisGrid, tile: tuple[int, int], chunks: Sequence[int], mode: str
) -> list[tuple[int, int, int]]:
    begin, end = axis.start(tile[0]), axis.start(tile[1] - 1) + axis.extent
    wanted: dict[int, tuple[int, int]] = {}
    for segment in segments(begin, end, axis.size, mode):
        low, high = segment.source.start, segment.source.stop
        for k in range(bisect_right(chunks, low) - 1, bisect_left(chunks, high)):
            part = max(low, chunks[k]), min(high, chunks[k + 1])
            if part[0] == part[1]:  # a chunk of no elements
                continue
            known = wanted.get(k, part)
            wanted[k] = min(known[0], part[0]), max(known[1], part[1])
    return [(k, *wanted[k]) for k in sorted(wanted)]


class Parts:
    """Some parts of an image, read as if they were the whole: nothing else of it may be asked for."""

    def __init__(self, shape: Index, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.parts: list[tuple[Rect, Array]] = []

    def __getitem__(self, key: tuple[slice, ...]) -> Array:
        wanted = tuple([(s.start, s.stop) for s in key])
        out: Array | None = None
        for bounds, values in self.parts:
            shared = intersect(bounds, wanted)
            if shared is None:
                continue
            part = values[slices(shared, bounds)]
            if shared == wanted:
                return part
            if out is None:
                out = np.empty(shape_of(wanted), self.dtype)
            out[slices(shared, wanted)] = part
        return np.empty(shape_of(wanted), self.dtype) if out is None else out


def chunked(
    image: Any, frame: Frame, fits: Callable[[Sequence[int]], bool], most_read: int
) -> Chunked:
    """Tiles that follow the chunks of ``image``.

    Chunks thinner than a patch are taken together, and blocks of a size that is not ``fits(sizes)``
    are cut into equal parts. Raises `MemoryError` where a task would read more than ``most_read`` bytes.
    """
    chunks = tuple((0, *itertools.accumulate(image.chunks[a])) for a in frame.order)
    cuts = [
        [0, axis.size] if k == frame.channel else _thick(begins, axis.extent)
        for k, (begins, axis) in enumerate(zip(chunks, frame.axes, strict=True))
    ]
    lengths = _fitting(cuts, frame, fits)
    cut = tuple(tuple(_parted(c, n)) for c, n in zip(cuts, lengths, strict=True))
    tiles = tuple(_tiles(axis, c) for axis, c in zip(frame.axes, cut, strict=True))
    found = Chunked(frame, np.dtype(image.dtype), chunks, cut, tiles)
    _check_reads(found, most_read)
    return found


def _thick(begins: Sequence[int], extent: int) -> list[int]:
    """Chunk boundaries, without those less than a patch behind the one before."""
    kept = [0]
    for begin in begins[1:-1]:
        if begin - kept[-1] >= extent:
            kept.append(begin)
    return [*kept, begins[-1]]


def _fitting(
    cuts: Sequence[Sequence[int]], frame: Frame, fits: Callable[[Sequence[int]], bool]
) -> list[int]:
    """Sizes of blocks per axis: the largest there are, halved where they hold most patches until they fit."""
    lengths = [int(np.diff(c).max()) for c in cuts]
    for least in ([a.extent for a in frame.axes], [max(1, a.longest_gap) for a in frame.axes]):
        while not fits(lengths):
            free = [k for k, n in enumerate(lengths) if n > least[k] and k != frame.channel]
            if not free:
                break
            k = max(free, key=lambda k: lengths[k] / frame.axes[k].extent)
            lengths[k] = max(least[k], -(-lengths[k] // 2))
    return lengths


def _parted(cuts: Sequence[int], length: int) -> Iterator[int]:
    for begin, end in itertools.pairwise(cuts):
        parts = -(-(end - begin) // length)
        yield from (begin + (end - begin) * i // parts for i in range(parts))
    yield cuts[-1]


def _tiles(axis: AxisGrid, cuts: Sequence[int]) -> Rect:
    """The patches that start in each block; those before the image go with the first, none are left out."""
    firsts = [0, *(axis.first_reaching(c) for c in cuts[1:-1]), axis.count]
    return tuple((a, b) for a, b in itertools.pairwise(firsts) if a < b)


def _check_reads(found: Chunked, most: int) -> None:
    sizes = (max(sum(e - b for _, b, e in tile) for tile in axis) for axis in found.reads)
    nbytes = math.prod(sizes) * found.dtype.itemsize
    if nbytes > most:
        raise MemoryError(
            f"one task would read {nbytes / 1e9:.3g} GB of the image (at most {most / 1e9:.3g} GB):"
            f" use a smaller patch, or pad the image first where pad_mode={found.frame.grid.pad_mode!r} needs"
            " whole rows of it"
        )


def new_array(
    tasks: Tasks,
    name: str,
    chunks: Sequence[Sequence[int]],
    dtype: Any,
    below: dict[str, Tasks],
    *sources: Any,
) -> Any:
    """A dask array of the blocks among ``tasks``, which need those of the layers ``below`` and of other dask arrays."""
    import dask.array
    from dask.highlevelgraph import HighLevelGraph

    layers: dict[str, Any] = {}
    needs: dict[str, set[str]] = {}
    names: set[str] = set()
    for source in sources:
        layers |= source.dask.layers
        needs |= source.dask.dependencies
        names |= set(source.__dask_layers__())
    for layer, its_tasks in below.items():
        layers[layer], needs[layer] = dict(its_tasks), set(names)
        names.add(layer)
    layers[name], needs[name] = dict(tasks), names
    whole = tuple(tuple(int(n) for n in c) for c in chunks)
    return dask.array.Array(HighLevelGraph(layers, needs), name, whole, dtype=dtype)

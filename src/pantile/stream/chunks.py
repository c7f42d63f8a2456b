"""Chunks of an image that several tiles need: which, how often, and a bounded store so that each is decoded once."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import unmasked
from ..geometry.boundary import segments
from ..geometry.frame import Frame
from ..geometry.rect import Index, Rect, contains, intersect, slices, whole
from ..geometry.tiling import Tile, Tiling
from .source import in_canonical, units_of

if TYPE_CHECKING:
    from .job import Job

__all__ = ["ChunkStore", "Reading", "Touches"]

Array = NDArray[Any]

_MAPPED_BYTES, _MAPPINGS = 1 << 18, 1 << 12  # at least, and at most: a process may have 2^16
_READ_BYTES = 1 << 20  # of chunks that one call reads: what decodes them holds them twice


@dataclass(frozen=True)
class Touches:
    """Which chunks the tiles of a grid read, per canonical axis; the chunks of a tile are the product.

    ``per_tile[axis][tile]`` are the chunk numbers, each once, padding included: what lies outside
    the image is made of chunks inside.
    """

    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    per_tile: tuple[tuple[Sequence[int], ...], ...]
    paired: tuple[bool, ...]  # axes along which the last two tiles come together

    @classmethod
    def of(cls, frame: Frame, tiling: Tiling, sizes: Sequence[int]) -> Touches:
        mode, found = frame.grid.pad_mode, []
        for k, (axis, size) in enumerate(zip(frame.axes, sizes, strict=True)):
            spans = tiling.spans(k, axis)
            found.append(tuple([_touched(b, e, axis.size, size, mode) for b, e in spans]))
        counts = tuple(-(-a.size // s) for a, s in zip(frame.axes, sizes, strict=True))
        return cls(tuple(sizes), counts, tuple(found), tiling.paired)

    @cached_property
    def needed(self) -> tuple[dict[int, tuple[int, int, int]], ...]:
        """Per axis, the chunks that are read at all: by how many tiles, which is the first one, and which the last."""
        found = []
        for tiles in self.per_tile:
            axis: dict[int, tuple[int, int, int]] = {}
            for number, touched in enumerate(tiles):
                for chunk in touched:
                    count, first, _ = axis.get(chunk, (0, number, 0))
                    axis[chunk] = count + 1, first, number
            found.append(axis)
        return tuple(found)

    def chunks(self, tile: Index) -> Iterator[Index]:
        """The chunks of one tile, in C order."""
        return itertools.product(*(axis[t] for axis, t in zip(self.per_tile, tile, strict=True)))

    def reads(self, level: int) -> int:
        """How many chunks are decoded where tiles that are alike in their first ``level`` axes share them."""
        each = (sum(map(len, tiles)) for tiles in self.per_tile[:level])
        return math.prod(each) * math.prod(map(len, self.needed[level:]))

    def reads_of(self, level: int, tiles: Iterable[Tile]) -> int:
        """`reads` where only some tiles are worked on."""
        total = 0
        in_order = sorted(tiles, key=lambda tile: tile.index)
        for _, alike in itertools.groupby(in_order, lambda tile: tile.index[:level]):
            seen = np.zeros(self.counts, bool)
            for tile in alike:
                rows = zip(self.per_tile, tile.index, strict=True)
                seen[np.ix_(*(list(axis[t]) for axis, t in rows))] = True
            total += int(seen.sum())
        return total

    def kept(self, level: int, workers: int) -> int:
        """The most chunks that are waiting for a later tile at once, tiles in order and few of them at a time."""
        most = [max(map(len, tiles)) for tiles in self.per_tile]
        if level >= len(most):
            return 0
        # one that wraps around is read by the first tile and the last one, and waits for all between
        end = len(self.per_tile[level]) - self.paired[level]
        waits = [0] * (end + 1)
        for _, first, last in self.needed[level].values():
            waits[min(first, end - 1)] += 1
            waits[min(last + 1, end)] -= 1
        along = max(itertools.accumulate(waits))
        layers = math.prod(most[:level]) << sum(self.paired[:level])  # paired ones share none
        row = layers * along * math.prod(map(len, self.needed[level + 1 :]))
        ahead = 0 if workers == 1 else (workers + 1) * math.prod(most)
        return min(row + ahead, math.prod(map(len, self.needed)))

    def use(self, level: int, chunk: Index) -> tuple[int, Index]:
        """How many tiles, alike in their first ``level`` axes, read a chunk, and the last of them on the other axes."""
        rows = [axis[c] for axis, c in zip(self.needed[level:], chunk[level:], strict=True)]
        return math.prod(n for n, _, _ in rows), tuple(last for _, _, last in rows)


def _lengths_read(frame: Frame, tiling: Tiling, sizes: Sequence[int] | None) -> list[list[int]]:
    """Per canonical axis and tile: how many elements are read, in whole chunks where there are sizes of chunks."""
    mode, found = frame.grid.pad_mode, []
    for k, axis in enumerate(frame.axes):
        spans = tiling.spans(k, axis)
        if sizes is None:
            found.append([_span_read(b, e, axis.size, mode) for b, e in spans])
        else:
            size = sizes[k]
            found.append([len(_touched(b, e, axis.size, size, mode)) * size for b, e in spans])
    return found


def _span_read(begin: int, end: int, size: int, mode: str) -> int:
    if begin >= 0 and end <= size:
        return end - begin
    sources = (s.source for s in segments(begin, end, size, mode))
    return sum(max(0, part.stop - part.start) for part in sources)


def _touched(begin: int, end: int, size: int, chunk: int, mode: str) -> Sequence[int]:
    if begin >= 0 and end <= size:
        return range(begin // chunk, -(-end // chunk))
    parts = [s.source for s in segments(begin, end, size, mode)]
    found = [range(p.start // chunk, -(-p.stop // chunk)) for p in parts if p.start < p.stop]
    return tuple(sorted(set(itertools.chain(*found))))


@dataclass(frozen=True)
class Reading:
    """What of an image is read for the tiles of a job: which chunks, how often, and what is kept of them.

    ``sharing``: tiles alike in so many first axes share decoded chunks; None: none do.
    """

    job: Job
    tiling: Tiling
    sharing: int | None = None
    workers: int = 1

    @cached_property
    def chunks(self) -> tuple[int, ...] | None:
        """What of the image is decoded at once, per canonical axis."""
        source = self.job.source
        if isinstance(source, np.ndarray):
            return None
        return in_canonical(units_of(source), self.job.frame)

    @cached_property
    def elements(self) -> tuple[int, int]:
        """Elements that are read in all, and that there are; of an image in chunks, in whole ones."""
        frame, chunks = self.job.frame, self.chunks
        sizes = chunks or (1,) * len(frame.axes)
        whole = math.prod([-(-a.size // c) * c for a, c in zip(frame.axes, sizes, strict=True)])
        if getattr(self.job.source, "held", False):  # decoded when it is first read, and kept
            return whole, whole
        mine = None if self.job.mask is None else (t for t in self.tiling if self.job.size(t))
        if self.sharing is not None and self.touches is not None:
            touches, level = self.touches, self.sharing
            count = touches.reads(level) if mine is None else touches.reads_of(level, mine)
            return count * math.prod(sizes), whole
        lengths = _lengths_read(frame, self.tiling, chunks)
        if mine is None:
            return math.prod(map(sum, lengths)), whole
        found = (zip(lengths, tile.index, strict=True) for tile in mine)
        return sum(math.prod(axis[t] for axis, t in rows) for rows in found), whole

    @property
    def times(self) -> float:
        """How often an element is read, or a chunk where there are chunks, on average."""
        read, there = self.elements
        return read / there

    @cached_property
    def touches(self) -> Touches | None:
        """Which tiles read which chunks; None where nothing is gained by keeping chunks."""
        if self.chunks is None or getattr(self.job.source, "held", False):
            return None
        return Touches.of(self.job.frame, self.tiling, self.chunks)

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded chunks that are kept for later tiles, at most."""
        return self._kept * math.prod(self.chunks or ()) * self.job.dtype.itemsize

    @property
    def _kept(self) -> int:
        if self.sharing is None or self.touches is None:
            return 0
        return self.touches.kept(self.sharing, self.workers)

    def store(self) -> ChunkStore | None:
        """What reads the image for tiles that share its chunks, or that need some of them more than once."""
        frame = self.job.frame
        if (self.sharing is None and frame.inside) or self.touches is None:
            return None
        level = len(frame.axes) if self.sharing is None else self.sharing
        return ChunkStore(self.job.source, frame, self.tiling, self.touches, level, self._kept)


def _mapped(values: Array) -> Array:
    """A copy in memory that goes back to the system with it.

    On the heap, large chunks that stay among arrays of ``func`` that go leave holes as large as themselves.
    """
    found = np.frombuffer(mmap(-1, values.nbytes), values.dtype).reshape(values.shape)
    found[...] = values
    return found


class _Kept:
    """A decoded chunk that waits for other tiles."""

    def __init__(self, values: Array, left: int, last: int) -> None:
        self.values, self.left, self.last = values, left, last


class _Coming:
    """A chunk that another thread is decoding."""

    def __init__(self) -> None:
        self.there = threading.Event()
        self.values: Array | None = None


class ChunkStore:
    """Reads tiles of an image in chunks. What a later tile needs too is kept, up to ``most`` chunks.

    A chunk that two threads want is decoded by one of them. ``level``: tiles share chunks where their
    first ``level`` axes are alike (all axes: none do, and each tile only reads none of its own twice).
    """

    def __init__(
        self, source: Any, frame: Frame, tiling: Tiling, touches: Touches, level: int, most: int
    ) -> None:
        self.source, self.frame, self.tiling, self.touches = source, frame, tiling, touches
        self.level, self.most = level, most
        nbytes = math.prod(touches.sizes) * np.dtype(source.dtype).itemsize
        self.at_once = max(1, _READ_BYTES // nbytes)  # chunks
        self._apart = nbytes >= _MAPPED_BYTES and most <= _MAPPINGS
        self._lock = threading.Lock()
        self._kept: dict[tuple[Index, Index], _Kept] = {}
        self._coming: dict[tuple[Index, Index], _Coming] = {}
        self._reading: set[int] = set()
        self._swept = -1

    @contextmanager
    def reading(self, tile: Tile) -> Iterator[_TileSource]:
        """The image as a tile reads it, each chunk at most once."""
        number = self.tiling.number(tile.index)
        with self._lock:
            self._reading.add(number)
        inside = contains(whole(self.frame.shape), tile.span(self.frame.axes))
        try:
            yield _TileSource(self, tile.index[: self.level], again=not inside)
        finally:
            with self._lock:
                self._reading.discard(number)
                self._used(tile)

    def chunks(self, prefix: Index, wanted: list[Index]) -> dict[Index, Array]:
        """Chunks by their numbers (canonical axes), from the store or decoded now."""
        found: dict[Index, Array] = {}
        while wanted:
            mine, theirs = self._claim(prefix, wanted, found)
            try:
                for box in _boxes(mine, self.at_once):
                    for chunk, values in self._decoded(box):
                        found[chunk] = self._put(prefix, chunk, values)
            finally:
                self._release(prefix, mine)
            wanted = []
            for chunk, coming in theirs.items():
                coming.there.wait()
                if coming.values is None:  # the other one failed: see for ourselves
                    wanted.append(chunk)
                else:
                    found[chunk] = coming.values
        return found

    def _claim(
        self, prefix: Index, wanted: list[Index], found: dict[Index, Array]
    ) -> tuple[list[Index], dict[Index, _Coming]]:
        mine, theirs = [], {}
        with self._lock:
            for chunk in wanted:
                key = prefix, chunk
                if key in self._kept:
                    found[chunk] = self._kept[key].values
                elif key in self._coming:
                    theirs[chunk] = self._coming[key]
                else:
                    self._coming[key] = _Coming()
                    mine.append(chunk)
        return mine, theirs

    def _release(self, prefix: Index, mine: list[Index]) -> None:
        with self._lock:
            for chunk in mine:
                coming = self._coming.pop((prefix, chunk), None)
                if coming is not None:
                    coming.there.set()

    def _decoded(self, box: tuple[range, ...]) -> Iterator[tuple[Index, Array]]:
        """Neighbouring chunks, read at once, as views of what was read."""
        sizes, shape, order = self.touches.sizes, self.frame.shape, self.frame.order
        begins = [r.start * s for r, s in zip(box, sizes, strict=True)]
        ends = [min(r.stop * s, n) for r, s, n in zip(box, sizes, shape, strict=True)]
        place = [slice(begins[order.index(a)], ends[order.index(a)]) for a in range(len(order))]
        values = unmasked(self.source[tuple(place)]).transpose(order)
        for chunk in itertools.product(*box):
            rows = zip(chunk, sizes, begins, strict=True)
            yield chunk, values[tuple(slice(c * s - b, (c + 1) * s - b) for c, s, b in rows)]

    def _put(self, prefix: Index, chunk: Index, values: Array) -> Array:
        """Tell who waits for a chunk, and keep it where a later tile needs it and there is room."""
        users, last = self.touches.use(self.level, chunk)
        with self._lock:
            room = users > 1 and self._room()
        if room:
            # so that the rest of the box can go
            values = _mapped(values) if self._apart else values.copy(order="K")
        with self._lock:
            if room and self._room():
                number = self.tiling.number((*prefix, *last))
                self._kept[prefix, chunk] = _Kept(values, users, number)
            coming = self._coming.pop((prefix, chunk))
            coming.values = values
            coming.there.set()
        return values

    def _room(self) -> bool:
        """Whether one more can be kept; if not, those go that only tiles before the ones at work needed."""
        oldest = min(self._reading, default=0)
        if len(self._kept) >= self.most and oldest > self._swept:
            self._swept = oldest
            for key in [k for k, kept in self._kept.items() if kept.last < oldest]:
                del self._kept[key]
        return len(self._kept) < self.most

    def _used(self, tile: Tile) -> None:
        """Let go of chunks that this tile was the last to read."""
        if not self._kept:
            return
        for chunk in self.touches.chunks(tile.index):
            key = tile.index[: self.level], chunk
            kept = self._kept.get(key)
            if kept is not None:
                kept.left -= 1
                if not kept.left:
                    del self._kept[key]


class _TileSource:
    """An image seen by one tile, its axes in canonical order.

    The chunks it has read stay until it is gone if it reads ``again``, as padding is made of what is inside.
    """

    def __init__(self, store: ChunkStore, prefix: Index, again: bool) -> None:
        self.store, self.prefix, self.again = store, prefix, again
        self.shape, self.dtype = store.frame.shape, np.dtype(store.source.dtype)
        self._mine: dict[Index, Array] = {}

    def __getitem__(self, key: tuple[slice, ...]) -> Array:
        bounds = tuple([(s.start, s.stop) for s in key])
        out = np.empty([e - b for b, e in bounds], self.dtype)
        if not out.size:
            return out
        rows = zip(bounds, self.store.touches.sizes, strict=True)
        wanted = itertools.product(*(range(b // s, -(-e // s)) for (b, e), s in rows))
        for box in _boxes(wanted, self.store.at_once):
            found = self._read([*itertools.product(*box)])
            for chunk, values in found.items():
                self._copy(chunk, values, out, bounds)
        return out

    def _read(self, wanted: list[Index]) -> dict[Index, Array]:
        missing = [chunk for chunk in wanted if chunk not in self._mine]
        found = self.store.chunks(self.prefix, missing)
        if not self.again:
            return found
        self._mine |= found
        return {chunk: self._mine[chunk] for chunk in wanted}

    def _copy(self, chunk: Index, values: Array, out: Array, bounds: Rect) -> None:
        """Copy what of a chunk lies in ``bounds``."""
        rows = zip(chunk, self.store.touches.sizes, strict=True)
        place = tuple([(c * s, (c + 1) * s) for c, s in rows])
        part = intersect(bounds, place)
        assert part is not None, "only chunks that are touched are wanted"
        out[slices(part, bounds)] = values[slices(part, place)]


def _boxes(chunks: Iterable[Index], most: int) -> Iterator[tuple[range, ...]]:
    """Chunks as few boxes of at most so many neighbours, so that few calls read them."""
    left = dict.fromkeys(sorted(chunks))
    while left:
        first = next(iter(left))
        box = [range(c, c + 1) for c in first]
        for axis in reversed(range(len(first))):
            while True:
                end = box[axis].stop
                more = [*box[:axis], range(end, end + 1), *box[axis + 1 :]]
                if math.prod(map(len, more)) > most:
                    break
                if not all(chunk in left for chunk in itertools.product(*more)):
                    break
                box[axis] = range(box[axis].start, end + 1)
        for chunk in itertools.product(*box):
            del left[chunk]
        yield tuple(box)

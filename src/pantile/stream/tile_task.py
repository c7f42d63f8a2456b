"""One tile's work: cut a batch, call ``func``, merge, until the tile is done."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.frame import Frame
from ..geometry.schedule import along
from ..geometry.tiling import Tile
from ..kernels.loops import copy_runs
from ..kernels.memory import as_bits, ensure_item_strides, flatten
from ..kernels.offsets import (
    Operand,
    Runs,
    find_all_runs,
    find_runs,
    lies_by_feature,
    place_in_list,
    place_on_image,
)
from ..merge.batch import Area, PatchBatch
from ..merge.reduction import State
from ..merge.weighted import Weighted
from .job import Indexed, Job, Kind, Result, as_results, describe_kinds, kind_of

__all__ = [
    "Cancelled",
    "Cutter",
    "TileResult",
    "TileWork",
    "batch_sizes",
    "call_on",
    "empty_batch",
    "numbers_of",
    "run_tile",
    "where_of",
]


Lasting = Callable[[int, Area], State | None]


class Cancelled(Exception):
    """The run was stopped; the tile's work is not wanted any more."""


@dataclass
class TileResult:
    """A tile's accumulators, or its results on the grid, with the kinds of results they were made from."""

    tile: Tile
    kinds: list[Kind]
    states: list[State]


def run_tile(
    job: Job,
    tile: Tile,
    block: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    progress: Callable[[int], None] | None = None,
    cancelled: threading.Event | None = None,
    learn: Callable[[list[Kind]], None] | None = None,
    spare: list[NDArray[Any]] | None = None,
    lasting: Lasting | None = None,
) -> TileResult:
    """Every selected patch of a tile through ``func`` once, from a block of what they reach over.

    ``learn`` is called with the kinds of results as soon as the first are there; ``spare`` are
    buffers of tiles that are done, and get this one's; ``lasting`` gives the state of what a result's
    patches reach over, where it is the image's own.
    """
    work = TileWork(job, tile, mask, lasting)
    batches = _batches(job, tile, block, work.runs, [] if spare is None else spare)
    del block  # it goes once the last batch is cut
    for part, batch in batches:
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        try:
            value = call_on(job, batch, tile, part)
        except Exception as error:
            error.add_note(f"pantile: in func, {where_of(job.frame, tile, part)}")
            raise
        try:
            results = as_results(value, part.n)
            if work.first and learn is not None:
                learn([kind_of(result) for result in results])
            work.take(results, part)
        except Exception as error:
            error.add_note(f"pantile: with what func returned {where_of(job.frame, tile, part)}")
            raise
        if progress is not None:
            progress(part.n)
    return work.result()


class TileWork:
    """A tile that is worked on: its patches as runs, and what their results have added up to."""

    def __init__(
        self,
        job: Job,
        tile: Tile,
        mask: NDArray[np.bool_] | None,
        lasting: Lasting | None = None,
    ) -> None:
        self.job, self.tile, self._lasting = job, tile, lasting
        self.runs = _runs(job.frame, tile, mask)
        self.left = self.runs.n  # patches whose results are not taken yet
        self._taken: _Merged | _OnGrid | None = None

    @property
    def first(self) -> bool:
        """Whether no result was taken yet."""
        return self._taken is None

    def take(self, results: list[Result], part: Runs) -> None:
        """Add what ``func`` gave for ``part`` of the patches; parts come in order."""
        kinds = [kind_of(result) for result in results]
        if self._taken is None:
            of = self.job, self.tile, self.runs, kinds
            self._taken = _OnGrid(*of) if self.job.rule is None else _Merged(*of, self._lasting)
        elif kinds != self._taken.kinds:
            raise ValueError(
                "func must return the same kind of result every time:"
                f" first {describe_kinds(self._taken.kinds)}, now {describe_kinds(kinds)}"
            )
        self._taken.take(results, part)
        self.left -= part.n

    def result(self) -> TileResult:
        """The tile's piece, once all its results are taken."""
        taken, self._taken = self._taken, None  # the piece is let go of as soon as it can be
        assert taken is not None, "tiles without patches are not run"
        return TileResult(self.tile, taken.kinds, taken.states)


def batch_sizes(job: Job, tile: Tile, mask: NDArray[np.bool_] | None = None) -> list[int]:
    """How many patches each call of ``func`` gets, for one tile."""
    return [part.n for part in _split(job, _runs(job.frame, tile, mask))]


def _split(job: Job, runs: Runs) -> list[Runs]:
    """The patches of each call of ``func``: exactly as many as the caller wants, or runs in equal parts."""
    return runs.filled(job.batch) if job.exact else runs.split(job.batch)


def _runs(frame: Frame, tile: Tile, mask: NDArray[np.bool_] | None) -> Runs:
    breaks = frame.breaks(*tile.ranges[frame.along])
    if mask is None:
        return find_all_runs(tile.counts, breaks, frame.along)
    return find_runs(np.flatnonzero(mask), tile.counts, breaks, frame.along)


def _batches(
    job: Job, tile: Tile, block: NDArray[Any], runs: Runs, spare: list[NDArray[Any]]
) -> Iterator[tuple[Runs, NDArray[Any]]]:
    """The tile's patches, some at a time, in a buffer that is used again."""
    frame = job.frame
    block = ensure_item_strides(block)
    source = _source(job, tile, block)
    parts = _split(job, runs)
    buffer = _take_buffer(spare, max([p.n for p in parts]) * frame.features, block.dtype)
    feature = job.layout == "feature"
    made: dict[int, tuple[NDArray[Any], Operand]] = {}  # few sizes come again and again
    for part in parts:
        last = part is parts[-1]
        if part.n not in made:
            view = _batch_view(buffer, part.n, frame.patch_shape, feature)
            made[part.n] = view, place_in_list(flatten(view, as_bits(view.dtype)), frame.n_batch)
        batch, goal = made[part.n]
        copy_runs(goal, source, part, frame.patch)
        if last:
            del block, source
        yield part, batch
    spare.append(buffer)


def _take_buffer(spare: list[NDArray[Any]], size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A buffer of a tile that is done, or a new one: the system has its memory ready (a tenth of a millisecond)."""
    try:
        buffer = spare.pop()
    except IndexError:
        return np.empty(size, dtype=dtype)
    return buffer if buffer.size >= size and buffer.dtype == dtype else np.empty(size, dtype=dtype)


def _source(job: Job, tile: Tile, block: NDArray[Any]) -> Operand:
    """The elements that a tile's patches reach over, as where they are cut from."""
    frame, memory = job.frame, flatten(block, as_bits(block.dtype))
    origin = [begin for begin, _ in job.reach(tile)]
    return place_on_image(memory, frame.axes, origin, tile.ranges, frame.gap, frame.along)


class Cutter:
    """Cuts patches of a tile into batches that others have a part in."""

    def __init__(self, job: Job, tile: Tile, block: NDArray[Any]) -> None:
        self.job, self.tile = job, tile
        self.block = ensure_item_strides(block)
        self.source = _source(job, tile, self.block)

    def cut(self, part: Runs, into: NDArray[Any]) -> None:
        """The patches of ``part`` into the entries of a batch that are theirs."""
        frame = self.job.frame
        goal = place_in_list(flatten(into, as_bits(into.dtype)), frame.n_batch)
        copy_runs(goal, self.source, part, frame.patch)


def empty_batch(job: Job, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Room for ``n`` patches in the layout of the job."""
    frame = job.frame
    buffer = np.empty(n * frame.features, dtype=dtype)
    return _batch_view(buffer, n, frame.patch_shape, job.layout == "feature")


def _batch_view(
    buffer: NDArray[Any], n: int, patch: tuple[int, ...], feature: bool
) -> NDArray[Any]:
    batch = buffer[: n * math.prod(patch)]
    if feature:
        return batch.reshape(*patch, n).transpose(len(patch), *range(len(patch)))
    return batch.reshape(n, *patch)


def call_on(job: Job, batch: NDArray[Any], tile: Tile, part: Runs) -> Any:
    """``func(batch)``, with the indices of the patches where it wants them."""
    if not isinstance(job.func, Indexed):
        return job.func(batch)
    return job.func.func(batch, numbers_of(job, tile, part))


def numbers_of(job: Job, tile: Tile, part: Runs) -> NDArray[np.int64]:
    """Flat indices of a tile's patches in the whole grid."""
    at = [a + begin for a, (begin, _) in zip(part.each().at, tile.ranges, strict=True)]
    return np.ravel_multi_index(tuple(at), job.frame.counts)


class _Merged:
    """Results that merge into accumulators of the tile's span."""

    def __init__(
        self, job: Job, tile: Tile, runs: Runs, kinds: list[Kind], lasting: Lasting | None
    ) -> None:
        self.kinds, self.lasting = kinds, lasting
        self.single = runs.n == 1
        self.goals: list[tuple[Area, Any, Any]] = []
        self.states: list[State] = []
        for kind in kinds:
            merged = job.merged(kind)
            follows = merged.frame.follows(job.frame)
            area = Area.of(merged.frame, along(follows, tile.ranges, (0, 1)))
            self.goals.append((area, merged, None if merged.frame is job.frame else follows))

    def take(self, results: list[Result], runs: Runs) -> None:
        for k, result in enumerate(results):
            reduction, frame = self.goals[k][1].reduction, self.goals[k][1].frame
            values, weights = _taken_apart(result, frame)
            reduction.check(values)
            readable = ensure_item_strides(reduction.readable(values))
            if not self._put(k, readable):
                self._add(k, readable, runs, weights)

    def _put(self, k: int, patches: NDArray[Any]) -> bool:
        """Whether the only patch of a tile is its piece as it is."""
        area, merged, _ = self.goals[k]
        if not self.single or area.shape != merged.frame.patch:
            return False
        state = merged.reduction.of_one(patches.reshape(area.shape))
        self.states += [] if state is None else [state]
        return state is not None

    def _add(
        self, k: int, patches: NDArray[Any], runs: Runs, weights: NDArray[np.float64] | None
    ) -> None:
        area, merged, follows = self.goals[k]
        reduction, frame = merged.reduction, merged.frame
        if k == len(self.states):
            state = None if self.lasting is None else self.lasting(k, area)
            self.states.append(reduction.init(area.shape) if state is None else state)
        source = place_in_list(reduction.memory(patches), frame.n_batch)
        mine = runs if follows is None else _on_axes(runs, follows, frame)
        feature = lies_by_feature(source, frame.patch)
        each: dict[str, Any] = {}
        if weights is not None and weights.ndim == 1:
            each = {"patch_weights": weights, "first": int(mine.sequence[0])}
        elif weights is not None:
            each = {"sample_weights": place_in_list(flatten(weights), frame.n_batch)}
        reduction.add(self.states[k], PatchBatch(area, source, mine, frame.patch, feature, **each))


def _taken_apart(
    result: NDArray[Any] | Weighted, frame: Frame
) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Patches and what they weigh: one number each, or one per sample, which they are multiplied with."""
    if not isinstance(result, Weighted):
        return result, None
    if result.per == "patch":
        return result.patches, result.weights.astype(np.float64, copy=False)
    channel = None if frame.channel is None else frame.channel - frame.n_batch + 1
    weights = ensure_item_strides(result.spread(channel).astype(np.float64, copy=False))
    return result.patches * weights, weights


def _on_axes(runs: Runs, follows: tuple[int | None, ...], frame: Frame) -> Runs:
    """Runs as positions on the axes of a result, whose channel axis may have come or gone."""
    zeros = np.zeros(len(runs.lengths), dtype=np.int64)
    return runs.on_axes(lambda at: along(follows, at, zeros), frame.along)


class _OnGrid:
    """Results that stand on the grid: one entry per patch of the tile."""

    def __init__(self, job: Job, tile: Tile, runs: Runs, kinds: list[Kind]) -> None:
        if any(kind.weights for kind in kinds):
            raise ValueError(
                "func returned pantile.Weighted, and with merge=None nothing is weighted: return the patches"
            )
        self.kinds = kinds
        self.states: list[State] = [(np.empty((runs.n, *k.shape), dtype=k.dtype),) for k in kinds]

    def take(self, results: list[Result], runs: Runs) -> None:
        begin = int(runs.sequence[0])
        for (stored,), result in zip(self.states, results, strict=True):
            stored[begin : begin + runs.n] = result


def where_of(frame: Frame, tile: Tile, runs: Runs) -> str:
    """Which patches a batch holds, and the region of the image they span."""
    firsts = [a + begin for a, (begin, _) in zip(runs.at, tile.ranges, strict=True)]
    lasts = list(firsts)
    lasts[runs.along] = lasts[runs.along] + runs.lengths - 1
    regions = []
    for axis, f, n in zip(frame.axes, firsts, lasts, strict=True):
        begin, end = axis.span(int(f.min()), int(n.max()) + 1)
        regions.append(f"{max(0, begin)}:{min(axis.size, end)}")
    first = tuple(int(f[0]) for f in firsts)
    last = tuple(int(n[-1]) for n in lasts)
    return f"for {runs.n} patches from {first} to {last}, image region [{', '.join(regions)}]"

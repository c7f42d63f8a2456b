"""One tile's work: cut a batch, call ``func``, merge, until the tile is done."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Bounds, Tile
from ..kernels.flat import as_bits, flat, strided_by_items
from ..kernels.walk import (
    Operand,
    Runs,
    feature_tables,
    full_runs,
    line_tables,
    listed,
    placed,
    runs_of,
)
from ..verbs.deposit import Deposit
from ..verbs.frame import Frame, exchanged
from ..verbs.merges import Rule, check_sums
from ..verbs.reductions import State, region_of
from .numbered import called
from .outputs import Kind, Output, as_results, kind_of, output_of

__all__ = ["Cancelled", "Job", "TileResult", "batch_sizes", "reach", "run_tile"]


class Cancelled(Exception):
    """The run was stopped; the tile's work is not wanted any more."""


@dataclass(frozen=True)
class Job:
    """What every tile has in common; small, and picklable if ``func`` is."""

    func: Callable[[NDArray[Any]], Any]
    frame: Frame
    rule: Rule | None  # None: results stand on the grid
    dtype: np.dtype[Any]
    layout: str
    batch: int
    scale: tuple[int, ...]
    whole: bool  # every patch takes part

    def output(self, kind: Kind) -> Output:
        """What results of ``kind`` merge into; made once, as its weight sums take a pass over each axis."""
        assert self.rule is not None
        if kind not in self._outputs:
            self._outputs[kind] = output_of(kind, self.frame, self.rule, self.scale, self.whole)
        return self._outputs[kind]

    @cached_property
    def _outputs(self) -> dict[Kind, Output]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_outputs"}


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
    told: Callable[[list[Kind]], None] | None = None,
    origin: tuple[int, ...] | None = None,
) -> TileResult:
    """Every selected patch of a tile through ``func`` once, from a block that holds the tile's span.

    A block of less, of what the selected patches `reach` over, begins at ``origin`` (canonical axes).
    ``told`` is called with the kinds of results as soon as the first are there.
    """
    runs = _runs(job.frame, tile, mask)
    merged: _Merged | _Listed | None = None
    if origin is None:
        origin = tuple(begin for begin, _ in tile.span(job.frame.axes))
    for part, batch in _batches(job, tile, block, runs, origin):
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        try:
            value = called(job.func, batch, job.frame, tile, part)
        except Exception as error:
            error.add_note(f"pantile: in func, {_where(job.frame, tile, part)}")
            raise
        try:
            results = as_results(value, part.n)
            if merged is None:
                kinds = [kind_of(r) for r in results]
                if told is not None:
                    told(kinds)
                merged = _Listed(runs, kinds) if job.rule is None else _Merged(job, tile, kinds)
            merged.take(results, part)
        except Exception as error:
            error.add_note(f"pantile: with what func returned {_where(job.frame, tile, part)}")
            raise
        if progress is not None:
            progress(part.n)
    assert merged is not None, "tiles without patches are not run"
    return TileResult(tile, merged.kinds, merged.states)


def reach(frame: Frame, tile: Tile, mask: NDArray[np.bool_] | None) -> Bounds:
    """The elements that a tile's selected patches reach over, halo included; all of its span without a mask."""
    if mask is None or mask.all() or not mask.any():
        return tile.span(frame.axes)
    found = []
    for k, (axis, (begin, _)) in enumerate(zip(frame.axes, tile.ranges, strict=True)):
        taken = np.flatnonzero(mask.any(tuple(j for j in range(mask.ndim) if j != k)))
        first, last = begin + int(taken[0]), begin + int(taken[-1])
        found.append((axis.start(first), axis.start(last) + axis.extent))
    return tuple(found)


def _runs(frame: Frame, tile: Tile, mask: NDArray[np.bool_] | None) -> Runs:
    breaks = frame.breaks(*tile.ranges[frame.along])
    if mask is None:
        return full_runs(tile.counts, breaks, frame.along)
    return runs_of(np.flatnonzero(mask), tile.counts, breaks, frame.along)


def batch_sizes(job: Job, tile: Tile, mask: NDArray[np.bool_] | None = None) -> list[int]:
    """How many patches each call of ``func`` gets, for one tile."""
    return [part.n for part in _runs(job.frame, tile, mask).split(job.batch)]


def _batches(
    job: Job, tile: Tile, block: NDArray[Any], runs: Runs, origin: tuple[int, ...]
) -> Iterator[tuple[Runs, NDArray[Any]]]:
    """The tile's patches, some at a time, in a buffer that is used again."""
    from ..kernels.loops import copy_by_feature, copy_by_patch

    frame = job.frame
    block = strided_by_items(block)
    source = placed(
        flat(block, as_bits(block.dtype)), frame.axes, origin, tile.ranges, frame.gap, frame.along
    )
    parts = runs.split(job.batch)
    buffer = np.empty(max(p.n for p in parts) * frame.features, dtype=block.dtype)
    feature = job.layout == "feature"
    kernel, tables = (copy_by_feature, feature_tables) if feature else (copy_by_patch, line_tables)
    made: dict[int, tuple[NDArray[Any], Operand]] = {}  # few sizes come again and again
    for part in parts:
        if part.n not in made:
            view = _batch_view(buffer, part.n, frame.patch_shape, feature)
            made[part.n] = view, listed(flat(view, as_bits(view.dtype)), frame.n_batch)
        batch, goal = made[part.n]
        kernel(goal.memory, source.memory, *tables((goal, source), part, frame.patch))
        yield part, batch


def _batch_view(
    buffer: NDArray[Any], n: int, patch: tuple[int, ...], feature: bool
) -> NDArray[Any]:
    batch = buffer[: n * math.prod(patch)]
    if feature:
        return batch.reshape(*patch, n).transpose(len(patch), *range(len(patch)))
    return batch.reshape(n, *patch)


class _Merged:
    """Results that merge into accumulators of the tile's span."""

    def __init__(self, job: Job, tile: Tile, kinds: list[Kind]) -> None:
        self.frame, self.kinds = job.frame, kinds
        self.outputs = [job.output(kind) for kind in kinds]
        self.regions, self.states = [], []
        for output in self.outputs:
            frame = output.frame
            ranges = exchanged(tile.ranges, job.frame, frame, (0, 1))
            region, shape = region_of(frame.axes, ranges, frame.gap, frame.along)
            self.regions.append(region)
            self.states.append(output.reduction.init(shape))

    def take(self, results: list[NDArray[Any]], runs: Runs) -> None:
        _same_kinds(self.kinds, results)
        for output, region, state, result in zip(
            self.outputs, self.regions, self.states, results, strict=True
        ):
            reduction, frame = output.reduction, output.frame
            check_sums(reduction, result)
            readable = strided_by_items(reduction.readable(result))
            source = listed(reduction.memory(readable), frame.n_batch)
            feature = _by_feature(source, frame)
            reduction.add(
                state, Deposit(region, source, self._mine(runs, frame), frame.patch, feature)
            )

    def _mine(self, runs: Runs, frame: Frame) -> Runs:
        """Runs as positions on the axes of the result, whose channel axis may have come or gone."""
        if frame.channel == self.frame.channel:
            return runs
        zeros = np.zeros(len(runs.lengths), dtype=np.int64)
        return runs.on_axes(lambda at: exchanged(at, self.frame, frame, zeros), frame.along)


def _by_feature(source: Operand, frame: Frame) -> bool:
    steps = [s for s, p in zip(source.strides, frame.patch, strict=True) if p > 1]
    return bool(steps) and source.along < min(steps)


def _same_kinds(kinds: list[Kind], results: list[NDArray[Any]]) -> None:
    found = [kind_of(r) for r in results]
    if found != kinds:
        raise ValueError(
            f"func must return the same kind of result every time: first {_said(kinds)}, now {_said(found)}"
        )


def _said(kinds: list[Kind]) -> str:
    return ", ".join(f"(n, {', '.join(map(str, k.shape))}) {k.dtype}" for k in kinds)


class _Listed:
    """Results that stand on the grid: one entry per patch of the tile."""

    def __init__(self, runs: Runs, kinds: list[Kind]) -> None:
        self.kinds = kinds
        self.states: list[State] = [(np.empty((runs.n, *k.shape), dtype=k.dtype),) for k in kinds]

    def take(self, results: list[NDArray[Any]], runs: Runs) -> None:
        _same_kinds(self.kinds, results)
        begin = int(runs.sequence[0])
        for (stored,), result in zip(self.states, results, strict=True):
            stored[begin : begin + runs.n] = result


def _where(frame: Frame, tile: Tile, runs: Runs) -> str:
    """Which patches a batch holds, and the region of the image they span."""
    firsts = [a + begin for a, (begin, _) in zip(runs.at, tile.ranges, strict=True)]
    lasts = list(firsts)
    lasts[runs.along] = lasts[runs.along] + runs.lengths - 1
    region = ", ".join(
        f"{max(0, axis.start(int(f.min())))}:{min(axis.size, axis.start(int(n.max())) + axis.extent)}"
        for axis, f, n in zip(frame.axes, firsts, lasts, strict=True)
    )
    first = tuple(int(f[0]) for f in firsts)
    last = tuple(int(n[-1]) for n in lasts)
    return f"for {runs.n} patches from {first} to {last}, image region [{region}]"

"""How large batches and tiles are, and how many tiles are at work: chosen so that what is held fits.

What reaches the bits (tiles, batches, layout) depends on the job and the budget, never on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..geometry.tiles import Tiling, choose_lengths, span_size
from ..kernels.flat import as_bits
from ..verbs.custom import Merge
from ..verbs.frame import Frame
from .arguments import as_bytes
from .plan import Plan, readable
from .tile import Job

__all__ = ["batch_size", "faster_layout", "fitted", "state_bytes", "with_workers"]

# bytes of a batch: it and what func makes of it stay in cache, and it is worth a call (with 8 MiB a
# function that makes several arrays took 1.2 to 2.2 times as long, and twice the memory)
_BATCH = 2 << 20
_STATE = 16 << 20  # bytes of a tile's accumulators
_TILES = 16  # as many at least where the work is worth it, so that workers end together
_ABOUT = 1.05  # times that share is as good: halves of odd counts are rounded up
_LEAST = 2  # batches that make a tile worth its overhead
# tiles at work that a budget should allow, if they need not be tiny for it
_TOGETHER = (4, 2, 1)
_SMALL = 8  # times smaller than usual is tiny
_BETTER = 1.5  # times fewer reads of chunks are worth tiles of another shape


def batch_size(frame: Frame, dtype: np.dtype[Any], batch_bytes: int | str | None) -> int:
    """How many patches a batch holds, at least one."""
    if as_bits(dtype) is None:
        raise TypeError(f"image must hold numbers, got dtype {dtype}")
    size = _BATCH if batch_bytes is None else as_bytes(batch_bytes, "batch_bytes")
    return min(frame.n_patches, max(1, size // (frame.features * dtype.itemsize)))


def faster_layout(frame: Frame) -> str:
    """Feature layout where a run of patches lies on neighbouring elements; measured in decision 0004."""
    last = frame.along == len(frame.axes) - 1
    return "feature" if last and frame.axes[frame.along].longest_gap == 1 else "patch"


def state_bytes(job: Job) -> float:
    """Bytes of accumulators per element, as if results had the image's dtype."""
    if job.rule is None:
        return float(job.dtype.itemsize)
    if job.dtype.kind == "c" and not isinstance(job.rule.merge, Merge):
        return 16.0
    weights = None if job.rule.trims else job.rule.weights
    plain = replace(job.rule, weights=weights if isinstance(weights, str) else None)
    return plain.reduction(job.frame, job.dtype, job.whole).itemsize


def fitted(drawn: Plan) -> Plan:
    """The plan with tiles and, where there is a budget, batches and workers that keep within it."""
    if drawn.memory is None:
        return _tiled(drawn, _STATE)
    tried = []
    for together in _TOGETHER:
        for plan in _shrinking(drawn, together):
            if _held(plan, together) <= drawn.memory:
                return with_workers(plan)
            tried.append(plan)
    return with_workers(min(tried, key=lambda plan: _held(plan, 1)))


def with_workers(plan: Plan) -> Plan:
    """The plan with as many of its workers as its budget allows; a MemoryError where that is none."""
    if plan.memory is None:
        return plan
    for workers in range(plan.workers, 0, -1):
        if _held(plan, workers) <= plan.memory:
            return replace(plan, workers=workers)
    elsewhere = ", or give out= a path or an array on disk" if plan.outs is None else ""
    raise MemoryError(
        f"this needs at least {readable(_held(plan, 1))} beside the image"
        f" ({readable(plan.result_bytes)} of it the result), but memory={readable(plan.memory)}:"
        f" allow more{elsewhere}"
    )


def _held(plan: Plan, workers: int) -> int:
    return replace(plan, workers=workers).projected_bytes


def _shrinking(drawn: Plan, together: int) -> Iterator[Plan]:
    """Plans with ever smaller tiles and batches, down to tiny ones only for a single tile at work."""
    assert drawn.memory is not None
    state, batch = float(_STATE), drawn.job.batch
    floor = 1.0 if together == 1 else _STATE / _SMALL
    few = 1 if together == 1 else -(-batch // _SMALL)
    while True:
        tried = _tiled(replace(drawn, job=replace(drawn.job, batch=batch)), state)
        yield tried
        if batch > few and tried.batch_bytes * 8 * together > drawn.memory:
            batch = max(few, batch // 2)
        elif max(tried.tiling.lengths) > 1 and state / 2 >= floor:
            state /= 2
        elif batch > few:
            batch = max(few, batch // 2)
        else:
            return


def _tiled(drawn: Plan, state: float) -> Plan:
    """The plan with tiles of at most ``state`` bytes of accumulators: as wide as memory rows, or
    following the chunks that are read and written where that spares much."""
    frame = drawn.job.frame
    wide = replace(drawn, tiling=Tiling(frame.axes, _lengths(drawn, state, None)))
    units = _units(drawn)
    if units is None:
        return wide
    lengths = _lengths(drawn, state, units)
    shapes = [lengths, _whole_chunks(drawn, lengths)]
    near = [replace(drawn, tiling=Tiling(frame.axes, n)) for n in shapes]
    best = min(near, key=lambda p: p.reads)
    spares = wide.reads > _BETTER * best.reads
    return best if spares or wide.projected_bytes > _BETTER * best.projected_bytes else wide


def _units(drawn: Plan) -> tuple[int, ...] | None:
    """Per axis, the larger of what is read and what is written at once."""
    known = [sizes for sizes in (drawn.chunks, drawn.unit) if sizes is not None]
    return tuple(map(max, zip(*known, strict=True))) if known else None


def _whole_chunks(drawn: Plan, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Tiles that begin where chunks of the image begin, along the axes on which they can."""
    found = []
    for axis, n, chunk in zip(
        drawn.job.frame.axes, lengths, drawn.chunks or (1,) * len(lengths), strict=True
    ):
        patches = math.lcm(chunk, max(1, axis.gap)) // max(1, axis.gap)
        found.append(n // patches * patches if not axis.even and n >= patches else n)
    return tuple(found)


def _lengths(drawn: Plan, state: float, units: tuple[int, ...] | None) -> tuple[int, ...]:
    """Patches per tile: enough tiles to share out, none with more than ``state`` bytes of accumulators."""
    frame = drawn.job.frame
    least = _LEAST * drawn.job.batch * frame.features
    share = max(least, frame.n_patches * frame.features / _TILES) * _ABOUT
    return choose_lengths(
        frame.axes,
        lambda n: math.prod(n) * frame.features / share,
        lambda n: span_size(frame.axes, n) * drawn.state_bytes / state,
        units,
    )

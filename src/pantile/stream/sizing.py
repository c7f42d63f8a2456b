"""How large batches and tiles are, and how many tiles are at work: chosen so that what is held fits.

What reaches the bits (tiles, batches, layout) depends on the job and the budget, never on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..geometry.frame import Frame
from ..geometry.tiling import choose_lengths
from ..kernels.memory import as_bits
from .plan import Plan, readable_size

__all__ = ["batch_size", "faster_layout", "fit_plan", "with_fitting_strips"]

_ABOUT = 1.05  # times that share is as good: halves of odd counts are rounded up
# tiles at work that a budget should allow, if they need not be tiny for it
_TOGETHER = (4, 2, 1)
_SMALL = 8  # times smaller than usual is tiny
# elements of a block that become values at a time, at least: each part takes 0.2 ms
_STRIP = 1 << 14
_BLOCK = 1 << 18  # elements of a block that is more than one chunk, at least
_CLASSES = 4  # times as many channels are expected of func as it gets, where finalize reduces them
_MORE = 3  # times tiles are made smaller than they must be, to keep chunks in what is left
_BETTER = 1.5  # times fewer reads of chunks are worth tiles of another shape


def batch_size(frame: Frame, dtype: np.dtype[Any], nbytes: int) -> int:
    """How many patches a batch of ``nbytes`` holds, at least one."""
    if as_bits(dtype) is None:
        raise TypeError(f"image must hold numbers, got dtype {dtype}")
    return min(frame.n_patches, max(1, nbytes // (frame.features * dtype.itemsize)))


def faster_layout(frame: Frame) -> str:
    """Feature layout where a run of patches lies on neighbouring elements; measured in decision 0004."""
    last = frame.along == len(frame.axes) - 1
    return "feature" if last and frame.axes[frame.along].longest_gap == 1 else "patch"


def fit_plan(drawn: Plan) -> Plan:
    """The plan with tiles and, where there is a budget, batches and workers that keep within it."""
    usual = drawn.resources.limits.tile_state_bytes
    if drawn.job.finalize is not None and not drawn.job.kinds:
        usual //= _CLASSES
    if drawn.memory is None:
        return _share_chunks(_tile(drawn, usual))
    tried = []
    for together in _TOGETHER:
        fitting: list[Plan] = []
        for plan in _shrink(drawn, usual, together):
            tried.append(plan)
            if _held(plan, together) > drawn.memory:
                continue
            fitting.append(plan)
            if len(fitting) > _MORE or _shared_reads(plan, together) < _BETTER:
                break
        if fitting:
            return with_allowed_workers(_choose_by_reads(fitting, together))
    return with_allowed_workers(min(tried, key=lambda plan: _held(plan, 1)))


def _choose_by_reads(plans: list[Plan], together: int) -> Plan:
    """The plan with the largest tiles, or one whose smaller ones leave room to keep chunks, where that spares much."""
    best = plans[0]
    for plan in plans[1:]:
        if _shared_reads(plan, together) * _BETTER < _shared_reads(best, together):
            best = plan
    return best


def _shared_reads(plan: Plan, together: int) -> float:
    """How often chunks are read by threads, so many at work: tiles must not depend on who really is."""
    resources = replace(plan.resources, workers=together, executor=None)
    return _share_chunks(replace(plan, resources=resources)).reads


def with_allowed_workers(plan: Plan) -> Plan:
    """The plan with as many of its workers as its budget allows; a MemoryError where that is none."""
    if plan.memory is None:
        return _share_chunks(plan)
    for workers in range(plan.workers, 0, -1):
        if _held(plan, workers) <= plan.memory:
            return _share_chunks(plan.with_workers(workers))
    elsewhere = ""
    smaller = (
        ""
        if plan.job.kinds
        else "; where func returns less than it gets, plan(..., trial=True).run() sees that"
    )
    if plan.destination.places is None:
        elsewhere = ", or give out= a path or an array on disk"
    raise MemoryError(
        f"this needs at least {readable_size(_held(plan, 1))} beside the image"
        f" ({readable_size(plan.result_bytes)} of it the result), but memory={readable_size(plan.memory)}:"
        f" allow more{elsewhere}{smaller}"
    )


def with_fitting_strips(plan: Plan) -> Plan:
    """The plan, whose tiles and blocks are given, as its budget allows."""
    if plan.memory is None:
        return with_allowed_workers(plan)
    for tried in _strips(plan):
        if _held(tried, 1) <= plan.memory:
            break
    return with_allowed_workers(tried)


def _share_chunks(plan: Plan) -> Plan:
    """The plan with chunks kept for as many later tiles as there is room for, where threads share them."""
    if not plan.resources.in_this_process or len(plan.tiling) == 1 or plan.reading.touches is None:
        return plan
    if plan.job.whole and plan.reads <= 1:
        return plan
    room = plan.resources.limits.kept_chunk_bytes
    if plan.memory is not None:
        room = plan.memory - plan.projected_bytes
    for level in range(len(plan.tiling.shape)):
        shared = replace(plan, resources=replace(plan.resources, sharing=level))
        if shared.reading.kept_bytes <= room and shared.reads < plan.reads:
            return shared
    return plan


def _held(plan: Plan, workers: int) -> int:
    return plan.with_workers(workers).projected_bytes


def _shrink(drawn: Plan, usual: float, together: int) -> Iterator[Plan]:
    """Plans with ever smaller tiles and batches, down to tiny ones only for a single tile at work."""
    assert drawn.memory is not None
    state, batch = float(usual), drawn.job.batch
    floor = 1.0 if together == 1 else usual / _SMALL
    few = 1 if together == 1 else -(-batch // _SMALL)
    if drawn.job.exact:
        few = batch  # as the caller wants it
    while True:
        tried = _tile(drawn.with_tiles(drawn.tiling.lengths, batch), state)
        yield tried
        if batch > few and tried.batch_bytes * 8 * together > drawn.memory:
            batch = max(few, batch // 2)
        elif max(tried.tiling.lengths) > 1 and state / 2 >= floor:
            state /= 2
        elif batch > few:
            batch = max(few, batch // 2)
        else:
            break
    if together == 1:
        few_elements = min(_BLOCK, tried.resources.limits.block_elements)
        yield from _strips(_with_limits(tried, block_elements=few_elements))


def _strips(plan: Plan) -> Iterator[Plan]:
    """The plan, and with ever smaller strips of blocks."""
    yield plan
    while (strip := plan.resources.limits.strip_elements // 2) >= _STRIP:
        plan = _with_limits(plan, strip_elements=strip)
        yield plan


def _with_limits(plan: Plan, **limits: Any) -> Plan:
    resources = plan.resources
    return replace(plan, resources=replace(resources, limits=replace(resources.limits, **limits)))


def _tile(drawn: Plan, state: float) -> Plan:
    """The plan with tiles of at most ``state`` bytes of accumulators: as wide as memory rows, or
    following the chunks that are read and written where that spares much."""
    wide = drawn.with_tiles(_lengths(drawn, state, None))
    units = _units(drawn)
    if units is None:
        return wide
    lengths = _lengths(drawn, state, units)
    near = [drawn.with_tiles(n) for n in (lengths, _whole_chunks(drawn, lengths))]
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
        patches = axis.spacing.aligned(chunk)
        found.append(n // patches * patches if patches and n >= patches else n)
    return tuple(found)


def _lengths(drawn: Plan, state: float, units: tuple[int, ...] | None) -> tuple[int, ...]:
    """Patches per tile: enough tiles to share out, none with more than ``state`` bytes of accumulators."""
    frame, limits = drawn.job.frame, drawn.resources.limits
    least = limits.tile_batches * drawn.job.batch * frame.features
    share = max(least, frame.n_patches * frame.features / limits.least_tiles) * _ABOUT
    return choose_lengths(
        frame.axes,
        lambda n: math.prod(n) * frame.features / share,
        lambda n: drawn.state_bytes(n) / state,
        units,
    )

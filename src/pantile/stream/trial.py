"""What a plan learns before the run from patches that go through ``func``: what it returns, and how long it takes."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from ..geometry.tiling import Tile
from ..kernels.libraries import limit_libraries
from .job import Job, Kind, as_results, calls_at_once, kind_of
from .plan import Plan
from .tile_task import Cutter, TileWork, call_on, empty_batch

__all__ = ["timed", "with_kinds"]


def with_kinds(drawn: Plan) -> Plan:
    """The plan, its tiles not chosen yet, knowing what ``func`` returns; raises what is wrong with that."""
    tile = _first_batch(drawn.job)
    if tile is None:
        return drawn
    with limit_libraries(_at_once(drawn)):
        _, _, kinds = _try(drawn.job, tile)
    return replace(drawn, job=replace(drawn.job, kinds=tuple(kinds)))


def timed(plan: Plan) -> Plan:
    """The plan with the seconds it will take: as many batches, one after the other, as each worker has."""
    job = plan.job
    tile = next((tile for tile in plan.tiling if job.size(tile)), None)
    if tile is None:
        return replace(plan, seconds=0.0)
    at_once = max(1, min(_at_once(plan), sum(plan.batches.values())))
    with limit_libraries(at_once):
        spent, n, _ = _try(job, tile)
    return replace(plan, seconds=spent * math.ceil(plan.n_patches / n / at_once))


def _at_once(plan: Plan) -> int:
    """How many calls of ``func`` there may be at a time."""
    return min(calls_at_once(plan.job.func) or plan.workers, plan.workers)


def _first_batch(job: Job) -> Tile | None:
    """The first patch that takes part, with as many as the caller wants in a batch; None where there is none."""
    along, counts = job.frame.along, job.frame.counts
    first = 0 if job.mask is None else int(job.mask.argmax())
    if not math.prod(counts) or not (job.mask is None or job.mask.any()):
        return None
    at = [int(i) for i in np.unravel_index(first, counts)]
    ends = [i + 1 for i in at]
    ends[along] = min(at[along] + (job.batch if job.exact else 1), counts[along])
    return Tile((0,) * len(counts), tuple(zip(at, ends, strict=True)))


def _try(job: Job, tile: Tile) -> tuple[float, int, list[Kind]]:
    """The first batch of a tile, cut, worked on and merged: its seconds, patches, and kinds of results."""
    block = job.read(tile)
    work = TileWork(job, tile, job.selection(tile))
    part = (work.runs.filled if job.exact else work.runs.split)(job.batch)[0]
    batch, begin = empty_batch(job, part.n, block.dtype), time.perf_counter()
    Cutter(job, tile, block).cut(part, batch)
    results = as_results(call_on(job, batch, tile, part), part.n)
    kinds = [kind_of(result) for result in results]
    work.take(results, part)
    return time.perf_counter() - begin, part.n, kinds

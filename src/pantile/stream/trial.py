"""How long a plan will take, from one batch that is cut, worked on and merged before."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from ..kernels.libraries import limit_libraries
from .job import as_results, calls_at_once
from .plan import Plan
from .tile_task import Cutter, TileWork, call_on, empty_batch

__all__ = ["timed"]


def timed(plan: Plan) -> Plan:
    """The plan with the seconds it will take: as many batches, one after the other, as each worker has."""
    job = plan.job
    tile = next((tile for tile in plan.tiling if job.size(tile)), None)
    if tile is None:
        return replace(plan, seconds=0.0)
    calls = calls_at_once(job.func) or plan.workers
    at_once = max(1, min(calls, plan.workers, sum(plan.batches.values())))
    block = job.read(tile)
    part = TileWork(job, tile, job.selection(tile)).runs.filled(job.batch)[0]
    batch = empty_batch(job, part.n, block.dtype)
    spent = []
    with limit_libraries(at_once):
        for _ in range(2):  # the first call of a function does much that later ones need not
            work, begin = TileWork(job, tile, job.selection(tile)), time.perf_counter()
            Cutter(job, tile, block).cut(part, batch)
            work.take(as_results(call_on(job, batch, tile, part), part.n), part)
            spent.append(time.perf_counter() - begin)
    rounds = math.ceil(plan.n_patches / part.n / at_once)
    return replace(plan, seconds=min(spent) * rounds)

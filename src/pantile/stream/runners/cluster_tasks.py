"""What the workers of a cluster do: functions of what other tasks have made, which dask sends them."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ...geometry.rect import Index
from ...geometry.schedule import Schedule
from ...kernels.daemons import POLL
from ..block_task import Form, Result, make_result
from ..job import Kind
from ..tile_task import Cancelled, TileResult
from .base import check_kinds
from .processes import Kit, do_tile, with_source

__all__ = ["Goal", "end_run", "learn_forms", "make_block", "make_piece", "unpack", "unpack_goals"]


class Goal(NamedTuple):
    """What block tasks of one result need: how it is made, where it is cut, where it is written, for which run."""

    result: Result
    schedule: Schedule
    places: Sequence[Any]  # None for one that is sent back
    run: str


_gate = threading.Lock()
_writing: Counter[str] = Counter()  # blocks that this worker is writing, by run
_ended: set[str] = set()  # runs that were given up


@contextmanager
def _writing_for(run: str) -> Iterator[None]:
    """Write for a run that has not been given up."""
    with _gate:
        if run in _ended:
            raise Cancelled
        _writing[run] += 1
    try:
        yield
    finally:
        with _gate:
            _writing[run] -= 1


async def end_run(run: str) -> None:
    """Let no task of a run begin to write on this worker; return once none is at it.

    A task that is under way cannot be cancelled, and would write into what the next run has staged.
    """
    with _gate:
        _ended.add(run)
    while _writing[run]:
        await asyncio.sleep(POLL)


def unpack(job: Any) -> Kit:
    kit: Kit = pickle.loads(job)
    return kit


def make_piece(kit: Kit, source: Any, index: Index) -> TileResult:
    """A tile's piece; ``source`` is the image where the kit comes without it."""
    return do_tile(kit if source is None else with_source(kit, source), index)


def learn_forms(
    kit: Kit, known: bytes, outcome: TileResult
) -> tuple[list[Kind], list[tuple[Form, ...]]]:
    """What the results are, as the first piece tells."""
    forms = pickle.loads(known)
    found = [
        make_result(kit.job, kind, forms[k] if k < len(forms) else [], (outcome.tile, state)).forms
        for k, (kind, state) in enumerate(zip(outcome.kinds, outcome.states, strict=True))
    ]
    return outcome.kinds, found


def unpack_goals(kit: Kit, data: bytes) -> list[Goal]:
    kinds, forms, schedules, places, run = pickle.loads(data)
    return [
        Goal(make_result(kit.job, kind, form), schedule, place, run)
        for kind, form, schedule, place in zip(kinds, forms, schedules, places, strict=True)
    ]


def make_block(
    kit: Kit,
    goals: list[Goal],
    k: int,
    block: Index,
    indices: list[Index],
    outcomes: list[TileResult | None],
) -> Any:
    """Make a block of the ``k``-th result from its pieces, and write it, or send it back."""
    result, schedule, places, run = goals[k]
    kinds = [goal.result.kind for goal in goals]
    pieces = []
    for index, outcome in zip(indices, outcomes, strict=True):
        if outcome is not None:
            check_kinds(kinds, outcome.kinds)
        state = None if outcome is None else outcome.states[k]
        pieces.append((schedule.span(index), result.piece(kit.tiling.tile(index), state)))
    where, images = result.block(schedule.bounds(block), pieces, kit.limits)
    if any(place is None for place in places):
        return where, tuple([np.ascontiguousarray(image) for image in images])
    with _writing_for(run):
        for place, image in zip(places, images, strict=True):
            place[where] = image
            place.sync()  # by the process that wrote
    return None

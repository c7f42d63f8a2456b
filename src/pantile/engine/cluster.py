"""Tiles and blocks as tasks of a ``dask.distributed`` cluster: elements go from worker to worker, not through here.

A tile's piece is a task; a block is a task that takes the pieces which reach into it, and writes
where its worker can reach the place, so that the client sees neither. What all tasks have in common is one task
too, which any worker can make again: when workers die, what was lost with them is computed again.
"""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Bounds, Index, Tile
from .outputs import Kind
from .plan import Plan
from .processes import kit_of, packed, work_on
from .results import Form, Result, make_result
from .run import POLL, Run, check_kinds
from .sources import gathered, is_held
from .tile import Cancelled, TileResult

__all__ = ["ClusterRun"]

_EMBEDDED = 1 << 20  # bytes of a job that go with a task; larger ones are copied to every worker


class _Goal(NamedTuple):
    """What block tasks of one result need: how it is made, where it is written (None: sent back), for which run."""

    result: Result
    place: Any
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


async def _end(run: str) -> None:
    """Let no task of a run begin to write on this worker; return once none is at it.

    A task that is under way cannot be cancelled, and would write into what the next run has staged.
    """
    with _gate:
        _ended.add(run)
    while _writing[run]:
        await asyncio.sleep(POLL)


def _unpacked(job: Any) -> Plan:
    kit: Plan = pickle.loads(job)
    return kit


def _piece(kit: Plan, source: Any, index: Index) -> TileResult:
    return work_on(kit if source is None else replace(kit, source=source), index)


def _told(kit: Plan, known: bytes, outcome: TileResult) -> tuple[list[Kind], list[Form]]:
    """What the results are, as the first piece tells."""
    forms = pickle.loads(known)
    found = [
        make_result(kit, kind, forms[k] if k < len(forms) else None, (outcome.tile, state)).form
        for k, (kind, state) in enumerate(zip(outcome.kinds, outcome.states, strict=True))
    ]
    return outcome.kinds, found


def _goals(kit: Plan, data: bytes) -> list[_Goal]:
    kinds, forms, places, run = pickle.loads(data)
    return [
        _Goal(make_result(kit, kind, form), place, run)
        for kind, form, place in zip(kinds, forms, places, strict=True)
    ]


def _block(
    kit: Plan,
    goals: list[_Goal],
    k: int,
    bounds: Bounds,
    indices: list[Index],
    outcomes: list[TileResult | None],
) -> Any:
    """Make a block of the ``k``-th result from its pieces, and write it, or send it back."""
    result, place, run = goals[k]
    kinds = [goal.result.kind for goal in goals]
    pieces = []
    for index, outcome in zip(indices, outcomes, strict=True):
        if outcome is not None:
            check_kinds(kinds, outcome.kinds)
        tile = kit.tiling.tile(index)
        state = None if outcome is None else outcome.states[k]
        span = result.tile(tile).span(result.frame.axes)
        pieces.append((span, result.state(tile, state, kit.selection(tile))))
    where, values = result.slab(bounds, pieces)
    if place is None:
        return where, np.ascontiguousarray(values)
    with _writing_for(run):
        place[where] = values
        place.sync()  # by the process that wrote
    return None


class ClusterRun(Run):
    """Hands tiles and blocks to a client, a bounded number at a time, and forgets them as soon as they are done."""

    patience = 0.0  # tasks under way are kept from writing instead
    client: Any

    @contextmanager
    def workers(self) -> Iterator[None]:
        self.client = self.plan.executor
        self.name = f"pantile-{uuid.uuid4().hex[:12]}"
        self.pieces: dict[Index, Any] = {}  # futures, None for tiles without patches
        self.tiles: dict[Index, Tile] = {}
        self.numbers: dict[Index, int] = {}  # where they come among all tiles
        self.owed: dict[Index, int] = {}  # blocks that still need them
        self.blocks: dict[tuple[int, Index], Any] = {}
        self.goals: Any = None
        self.ahead = 0
        self._send_job()
        if self.targets:
            self._send_goals()
        try:
            yield
        except BaseException:
            with suppress(Exception):
                self.client.cancel([*filter(None, self.pieces.values()), *self.blocks.values()])
            if self.goals is not None:
                with suppress(Exception):
                    self.client.run(_end, self.name, on_error="ignore")
            raise
        finally:
            self.pieces, self.blocks, self.job_future, self.goals = {}, {}, None, None
            self.source = None
            self.at_work = {}

    def _send_job(self) -> None:
        """The job, and an image in memory, to the cluster, once."""
        dumps = import_module("cloudpickle").dumps  # it comes with dask
        held = is_held(self.plan.source)
        kit = kit_of(self.plan)
        data = packed(replace(kit, source=None) if held else kit, dumps)
        if len(data) > _EMBEDDED:
            data = self.client.scatter(data, broadcast=True, hash=False)
        self.job_future = self._submit("job", _unpacked, data)
        self.source = None
        if held:
            self.source = self.client.scatter(
                gathered(self.plan.source), broadcast=True, hash=False
            )

    def _submit(self, what: str, function: Any, *args: Any) -> Any:
        return self.client.submit(function, *args, key=f"{self.name}-{what}", pure=False)

    # tiles

    def may_start(self, number: int) -> bool:
        """Twice as many tasks as workers are on their way; none long before a block that is not done."""
        oldest = min(self.numbers.values(), default=number)
        ahead = max(self.plan.waiting, self.ahead) + 2 * self.plan.workers
        known = bool(self.targets) or len(self.at_work) < self.plan.workers
        on_the_way = len(self.at_work) + len(self.blocks)
        return known and on_the_way < 3 * self.plan.workers and number - oldest < ahead

    def submit(self, tile: Tile, mask: NDArray[np.bool_] | None) -> Any:
        name = "piece-" + "-".join(map(str, tile.index))
        future = self._submit(name, _piece, self.job_future, self.source, tile.index)
        self._owe(tile, future)
        return future

    def _deliver_idle(self, tile: Tile) -> None:
        self._owe(tile, None)

    def _owe(self, tile: Tile, future: Any) -> None:
        self.pieces[tile.index], self.tiles[tile.index] = future, tile
        self.numbers[tile.index] = int(np.ravel_multi_index(tile.index, self.plan.tiling.shape))
        if self.targets:
            self._count_blocks(tile)

    def _count_blocks(self, tile: Tile) -> None:
        """A tile is on its way: the blocks for which it was the last to be can be too."""
        served = [
            (target, block)
            for target in self.targets
            for block in target.assembly.awaits(target.result.tile(tile).index)
        ]
        self.owed[tile.index] = len(served)
        for target, block in served:
            owners = self._owners(target, block)
            if all(index in self.owed for index in owners):
                self._start_block(target, block, owners)
        if not served:
            self._forget(tile.index)

    def _owners(self, target: Any, block: Index) -> list[Index]:
        """The tiles of the job that reach into a block, in C order."""
        return [target.result.job_index(owner) for owner in target.assembly.blocks.owners(block)]

    def _start_block(self, target: Any, block: Index, owners: list[Index]) -> None:
        key = (target.k, block)
        name = "block-" + "-".join(map(str, (target.k, *block)))
        pieces = [self.pieces[index] for index in owners]
        bounds = target.assembly.blocks.bounds(block)
        future = self._submit(
            name, _block, self.job_future, self.goals, target.k, bounds, owners, pieces
        )
        self.blocks[key] = future
        future.add_done_callback(lambda f: self.finished.put((key, f)))  # type: ignore[arg-type]

    @property
    def busy(self) -> bool:
        return bool(self.at_work or self.blocks)

    def _take(self) -> None:
        try:
            number, future = self.finished.get(timeout=POLL)
        except queue.Empty:
            return
        if isinstance(number, tuple):
            self._take_block(number, future)
        else:
            del self.at_work[number]
            self.take(number, future)

    def take(self, number: int, future: Any) -> None:
        if future.status != "finished":
            self._fail(future)
        tile = self.plan.tiling.tile(
            tuple(int(i) for i in np.unravel_index(number, self.plan.tiling.shape))
        )
        self.count(self.size(tile))
        if not self.targets:
            self._learn(future)

    def _fail(self, future: Any) -> None:
        """Raise what went wrong in a task, with advice where workers died."""
        try:
            future.result()
        except Exception as error:
            if type(error).__name__ in ("KilledWorker", "FutureCancelledError", "CancelledError"):
                error.add_note(
                    "pantile: workers died (out of memory?), or tasks were cancelled;"
                    + (
                        " the same call with resume=True goes on from what is done"
                        if self.plan.staged
                        else " give out= a path that workers can reach, and resume=True goes on from what is done"
                    )
                )
            raise
        raise AssertionError("a task failed without an error")

    # results

    def _learn(self, future: Any) -> None:
        """Make the places of the results, once the first piece has told what they are."""
        known = [self.form(k) for k in range(len(self.plan.outs or (None,)))]
        told = self._submit("told", _told, self.job_future, pickle.dumps(known), future)
        kinds, forms = told.result()
        self.staging.make(
            [make_result(self.plan, kind, form) for kind, form in zip(kinds, forms, strict=True)]
        )
        self._make_targets()
        self._send_goals()
        for tile in list(self.tiles.values()):
            self._count_blocks(tile)

    def _send_goals(self) -> None:
        results = self.staging.results
        places = [place if hasattr(place, "commit") else None for place in self.staging.places]
        known = [r.kind for r in results], [r.form for r in results], places, self.name
        self.goals = self._submit("goals", _goals, self.job_future, pickle.dumps(known))
        self.ahead = max(target.assembly.blocks.reach for target in self.targets) + 1

    def _take_block(self, key: Any, future: Any) -> None:
        k, block = key
        if future.status != "finished":
            self._fail(future)
        value = future.result()
        if value is None:
            self.staging.note(k, block)
        else:
            self.staging.put(k, block, *value)
        del self.blocks[key]
        for index in self._owners(self.targets[k], block):
            self.owed[index] -= 1
            if not self.owed[index]:
                self._forget(index)

    def _forget(self, index: Index) -> None:
        """Nobody needs a piece any more: its worker lets go of it."""
        self.pieces.pop(index, None)
        self.tiles.pop(index, None)
        self.numbers.pop(index, None)
        self.owed.pop(index, None)

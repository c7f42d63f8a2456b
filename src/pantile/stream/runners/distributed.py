"""Tiles and blocks as tasks of a ``dask.distributed`` cluster: elements go from worker to worker, not through here.

A tile's piece is a task; a block is a task that takes the pieces which reach into it, and writes
where its worker can reach the place, so that the client sees neither. What all tasks have in common is one task
too, which any worker can make again: when workers die, what was lost with them is computed again.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import numpy as np

from ...geometry.rect import Index
from ...geometry.schedule import Ledger
from ...geometry.tiling import Tile
from ..block_task import make_result
from ..source import is_held, load_whole
from .base import Run
from .cluster_tasks import end_run, learn_forms, make_block, make_piece, unpack, unpack_goals
from .processes import kit_of, pack, with_source

__all__ = ["ClusterRun"]


class ClusterRun(Run):
    """Hands tiles and blocks to a client, a bounded number at a time, and forgets them as soon as they are done."""

    patience = 0.0  # tasks under way are kept from writing instead
    client: Any

    @contextmanager
    def workers(self) -> Iterator[None]:
        self.client = self.plan.resources.executor
        self.name = f"pantile-{uuid.uuid4().hex[:12]}"
        self.pieces: dict[Index, Any] = {}  # futures, None for tiles without patches
        self.ledger = None
        self.goals: Any = None
        self.ahead = 0
        self._send_job()
        if self.staging.results:
            self._send_goals()
        try:
            yield
        except BaseException:
            with suppress(Exception):
                self.client.cancel([*filter(None, self.pieces.values()), *self.at_work.values()])
            if self.goals is not None:
                with suppress(Exception):
                    self.client.run(end_run, self.name, on_error="ignore")
            raise
        finally:
            self.pieces, self.at_work = {}, {}
            self.job_future = self.goals = self.source = None

    def _send_job(self) -> None:
        """The job, and an image in memory, to the cluster, once."""
        dumps = import_module("cloudpickle").dumps  # it comes with dask
        kit, source = kit_of(self.plan), self.job.source
        held = is_held(source)
        data = pack(with_source(kit, None) if held else kit, dumps)
        if len(data) > kit.limits.cluster_job_bytes:
            data = self.client.scatter(data, broadcast=True, hash=False)
        self.job_future = self._submit("job", unpack, data)
        self.source = None
        if held:
            self.source = self.client.scatter(load_whole(source), broadcast=True, hash=False)

    def _submit(self, what: str, function: Any, *args: Any) -> Any:
        return self.client.submit(function, *args, key=f"{self.name}-{what}", pure=False)

    # tiles

    def may_start(self, number: int) -> bool:
        """Twice as many tasks as workers are on their way; none long before a block that is not done."""
        shape, workers = self.plan.tiling.shape, self.plan.workers
        oldest = min(
            [int(np.ravel_multi_index(index, shape)) for index in self.pieces], default=number
        )
        ahead = max(self.plan.waiting, self.ahead) + 2 * workers
        known = self.ledger is not None or len(self.at_work) < workers
        return known and len(self.at_work) < 3 * workers and number - oldest < ahead

    def submit(self, tile: Tile) -> Any:
        name = "piece-" + "-".join(map(str, tile.index))
        future = self._submit(name, make_piece, self.job_future, self.source, tile.index)
        self._expect(tile.index, future)
        return future

    def pass_over(self, tile: Tile) -> None:
        self._expect(tile.index, None)

    def _expect(self, tile: Index, future: Any) -> None:
        """A tile's piece is on its way: the blocks that lacked no other can be too."""
        self.pieces[tile] = future
        if self.ledger is not None:
            self._start_blocks(self.ledger.deliver(tile))
            self._forget([tile])

    def _start_blocks(self, ready: Sequence[tuple[int, Index]]) -> None:
        assert self.ledger is not None
        for k, block in ready:
            owners = self.ledger.schedules[k].owners(block)
            name = "block-" + "-".join(map(str, (k, *block)))
            shared = self.job_future, self.goals
            pieces = [self.pieces[index] for index in owners]
            future = self._submit(name, make_block, *shared, k, block, owners, pieces)
            self.watch((k, block), future)

    def take(self, number: Any, future: Any) -> None:
        if future.status != "finished":
            self._fail(future)
        if isinstance(number, tuple):
            self._take_block(number[0], number[1], future.result())
            return
        tile = self.plan.tiling.tile(
            tuple([int(i) for i in np.unravel_index(number, self.plan.tiling.shape)])
        )
        self.count(self.job.size(tile))
        if self.ledger is None:
            self._learn(future)

    def _fail(self, future: Any) -> None:
        """Raise what went wrong in a task, with advice where workers died."""
        try:
            future.result()
        except Exception as error:
            if type(error).__name__ in ("KilledWorker", "FutureCancelledError", "CancelledError"):
                again = "the same call with resume=True goes on from what is done"
                if not self.plan.destination.staged:
                    again = (
                        "give out= a path that workers can reach, and resume=True goes on from"
                        " what is done"
                    )
                error.add_note(
                    f"pantile: workers died (out of memory?), or tasks were cancelled; {again}"
                )
            raise
        raise AssertionError("a task failed without an error")

    # blocks

    def _learn(self, future: Any) -> None:
        """Make the places of the results, once the first piece has told what they are."""
        n = len(self.plan.destination.places or (None,))
        known = [self.forms(k) for k in range(-(-n // self.staging.images))]
        learnt = self._submit("learn", learn_forms, self.job_future, pickle.dumps(known), future)
        kinds, forms = learnt.result()
        self.staging.make(
            [make_result(self.job, kind, form) for kind, form in zip(kinds, forms, strict=True)]
        )
        self._send_goals()
        for tile in list(self.pieces):
            self._start_blocks(self.ledger.deliver(tile))  # type: ignore[union-attr]
            self._forget([tile])

    def _send_goals(self) -> None:
        staging, schedules = self.staging, self.schedules()
        places = [p if hasattr(p, "commit") else None for p in staging.places]
        mine = [[places[p] for p in staging.of(k)] for k in range(len(staging.results))]
        kinds = [result.kind for result in staging.results]
        forms = [result.forms for result in staging.results]
        data = pickle.dumps((kinds, forms, schedules, mine, self.name))
        self.goals = self._submit("goals", unpack_goals, self.job_future, data)
        self.ledger = Ledger(schedules, staging.done)
        self.ahead = max([schedule.reach for schedule in schedules]) + 1
        staging.total = sum(map(len, schedules))

    def _take_block(self, k: int, block: Index, made: Any) -> None:
        assert self.ledger is not None
        if made is not None:
            self.staging.put(k, *made)
        self.staging.note(k, block)
        self._forget(self.ledger.finish(k, block))

    def _forget(self, tiles: Sequence[Index]) -> None:
        """Of pieces that nobody needs any more, their workers let go."""
        assert self.ledger is not None
        for tile in tiles:
            if not any(self.ledger.keeps(k, tile) for k in range(len(self.ledger.schedules))):
                self.pieces.pop(tile, None)

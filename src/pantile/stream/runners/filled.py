"""Batches of exactly so many patches, filled across tiles; the next ones are cut while ``func`` works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.tiling import Tile
from ...kernels.daemons import POLL
from ...kernels.offsets import Runs
from ..job import Indexed, as_results, kind_of
from ..plan import Plan
from ..progress import Report
from ..tile_task import Cutter, TileWork, empty_batch, numbers_of, where_of
from .threads import ThreadRun

__all__ = ["FilledRun"]


@dataclass(frozen=True)
class _Share:
    """Which patches of a tile are in a batch, and which entries of it they are."""

    work: TileWork
    part: Runs
    begin: int

    @property
    def entries(self) -> slice:
        return slice(self.begin, self.begin + self.part.n)


@dataclass(frozen=True)
class _Batch:
    """Patches for one call of ``func``, from one tile or several that follow each other."""

    number: int
    patches: NDArray[Any]
    shares: list[_Share]

    def __str__(self) -> str:
        said = [where_of(s.work.job.frame, s.work.tile, s.part) for s in self.shares]
        return " and ".join(said)


class FilledRun(ThreadRun):
    """Each thread cuts a batch, has ``func`` work on it, adds what it gave, and begins again.

    One thread cuts at a time, and what ``func`` gives is added in the order of the batches, so
    that results do not depend on the number of threads. While one is in ``func`` another cuts the
    next batch or adds the last one: what is cut ahead are as many batches as there are threads.
    """

    def __init__(self, plan: Plan, report: Report | None) -> None:
        super().__init__(plan, report)
        self.cutting, self.turn = Lock(), Condition()
        self.added = 0  # batches whose results are taken
        self.batches = self._cut_all()

    @property
    def at_once(self) -> int:
        return min(self.plan.workers, max(1, sum(self.plan.batches.values())))

    def hand_out(self) -> None:
        if self.at_once == 1 and isinstance(self.plan.resources.executor, str | None):
            self._loop(self._count_and_tell)
            self.tell()
            return
        try:
            for k in range(self.at_once):
                # in a copy of the caller's context, so that numpy.errstate holds in every thread
                future = self.executor.submit(copy_context().run, self._guarded, self.count)
                self.watch(k, future)
            while self.at_work:
                self._take()
                self.tell()
        except BaseException as error:
            self._stop(error)
            raise

    def _count_and_tell(self, n: int) -> None:
        self.count(n)
        self.tell()

    def _guarded(self, count: Callable[[int], None]) -> None:
        try:
            self._loop(count)
        except BaseException:
            self.failed.set()
            raise

    def _loop(self, count: Callable[[int], None]) -> None:
        while True:
            with self.cutting:
                self.check()
                batch = next(self.batches, None)
            if batch is None:
                return
            n, complete = len(batch.patches), self._add(batch, self._call(batch))
            del batch  # what func gave and its patches are let go of before blocks are made
            while complete:
                self.deliver(complete.pop(0).result())
            count(n)

    # cutting

    def _cut_all(self) -> Iterator[_Batch]:
        """The batches, one after the other; only the last may be smaller."""
        most, number = self.job.batch, 0
        patches: NDArray[Any] | None = None
        shares: list[_Share] = []
        filled = 0
        for tile in self._tiles():
            block = self.job.read(tile, self.store)
            work = TileWork(self.job, tile, self.job.selection(tile), self.lasting)
            cutter = Cutter(self.job, tile, block)
            for part in work.runs.filled(most, most - filled):
                if patches is None:
                    patches = empty_batch(self.job, most, block.dtype)
                share = _Share(work, part, filled)
                cutter.cut(part, patches[share.entries])
                shares.append(share)
                filled += part.n
                if filled == most:
                    yield _Batch(number, patches, shares)
                    number, patches, shares, filled = number + 1, None, [], 0
            del block, cutter
        if patches is not None:
            yield _Batch(number, patches[:filled], shares)

    def _tiles(self) -> Iterator[Tile]:
        for _, tile in self.waiting():
            mask = self.job.selection(tile)
            if mask is not None and not mask.any():
                self.pass_over(tile)
            else:
                yield tile

    # the call, and what it gave

    def _call(self, batch: _Batch) -> Any:
        func = self.job.func
        try:
            if not isinstance(func, Indexed):
                return func(batch.patches)
            numbers = [numbers_of(self.job, s.work.tile, s.part) for s in batch.shares]
            return func.func(batch.patches, np.concatenate(numbers))
        except Exception as error:
            error.add_note(f"pantile: in func, {batch}")
            raise

    def _add(self, batch: _Batch, value: Any) -> list[TileWork]:
        """Add what ``func`` gave when its turn has come; returns the tiles that are complete."""
        with self.turn:
            while self.added < batch.number:
                self.check()
                self.turn.wait(POLL)
            try:
                results = as_results(value, len(batch.patches))
                if self.assembly is None and self.job.finalize is None:
                    self.prepare([kind_of(result) for result in results])
                for share in batch.shares:
                    share.work.take([r[share.entries] for r in results], share.part)
            except Exception as error:
                error.add_note(f"pantile: with what func returned {batch}")
                raise
            # while it is its turn: a tile that the next batch completes is the next one's
            complete = [share.work for share in batch.shares if not share.work.left]
            self.added += 1
            self.turn.notify_all()
        return complete

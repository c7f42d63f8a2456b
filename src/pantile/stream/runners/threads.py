"""Tiles in threads of this process, from cut to written blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from ...geometry.tiling import Tile
from ...kernels.daemons import PATIENCE, Threads
from ...kernels.libraries import limit_libraries, limit_thread, share_of
from ..job import calls_at_once
from ..plan import Plan
from ..progress import Report
from ..tile_task import Cancelled
from ..turns import InTurns, Turns
from .base import Run

__all__ = ["SupportsSubmit", "ThreadRun"]


class SupportsSubmit(Protocol):
    """A pool of `concurrent.futures`, a ``dask.distributed`` client, or anything alike."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any: ...


class ThreadRun(Run):
    """Tiles in threads of this process: its own, or a pool of the caller's."""

    def __init__(self, plan: Plan, report: Report | None) -> None:
        super().__init__(plan, report)
        # no method of this object: a cycle would keep the image until the next collection of garbage
        self.check = partial(_check, self.failed, self.cancelled)
        if self.at_once > 1 and calls_at_once(self.job.func) is None:
            turns = Turns(self.check)
            self.job = self.job.calling(lambda func: InTurns(func, turns))

    @property
    def at_once(self) -> int:
        """How many threads there is work for."""
        return min(self.plan.workers, self.plan.tasks)

    @contextmanager
    def workers(self) -> Iterator[None]:
        at_once = self.at_once
        calls = calls_at_once(self.job.func)
        busy = (
            at_once if calls is None else min(at_once, calls)
        )  # threads that libraries share cores with
        with limit_libraries(busy):
            if not isinstance(self.plan.resources.executor, str | None):
                self.executor: Any = self.plan.resources.executor
                yield
                return
            prepare = partial(limit_thread, share_of(busy))
            self.executor = own = Threads(at_once, "pantile", prepare)
            try:
                yield
            finally:
                own.close(0 if self.at_work else PATIENCE)

    def submit(self, tile: Tile) -> Any:
        # in a copy of the caller's context, so that numpy.errstate holds in every thread
        return self.executor.submit(copy_context().run, self._work, tile)

    def take(self, number: int, future: Any) -> None:
        if not isinstance(future.exception(), Cancelled):  # else another's error is on its way
            future.result()

    def _work(self, tile: Tile) -> None:
        self.check()
        try:
            self.work(tile, self.count)
        except BaseException:
            self.failed.set()
            raise


def _check(failed: threading.Event, cancelled: threading.Event) -> None:
    """Raise where a run has failed or was stopped."""
    if failed.is_set() or cancelled.is_set():
        raise Cancelled

"""Tiles in threads of this process, from cut to written blocks."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from ...geometry.tiling import Tile
from ...kernels.libraries import limit_libraries, limit_thread, share_of
from ..job import calls_at_once
from ..plan import Plan
from ..progress import Report
from ..tile_task import Cancelled
from ..turns import InTurns, Turns
from .base import PATIENCE, Run

__all__ = ["SupportsSubmit", "ThreadRun", "Threads"]


class SupportsSubmit(Protocol):
    """A pool of `concurrent.futures`, a ``dask.distributed`` client, or anything alike."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any: ...


_left: list[threading.Thread] = []  # still in a func that did not return in time


@atexit.register
def _wait_for_left() -> None:
    """Let calls of func return before Python ends: a thread that it ends inside C++ takes the program with it."""
    _join(_left, PATIENCE)


def _join(threads: list[threading.Thread], patience: float) -> list[threading.Thread]:
    """Wait for threads to end; returns those that have not."""
    end = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [thread for thread in threads if thread.is_alive()]


class Threads:
    """A few daemon threads: unlike a `ThreadPoolExecutor`'s, they never keep an interrupted program alive.

    Each calls ``prepare`` before its first task.
    """

    def __init__(self, workers: int, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
        self._tasks: queue.SimpleQueue[
            tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None
        ]
        self._tasks = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"pantile-{k}", daemon=True)
            for k in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._tasks.put((future, function, args))
        return future

    def close(self, patience: float = PATIENCE) -> None:
        """Have the threads end; those that are still in ``func`` after ``patience`` seconds are left to it."""
        for _ in self._threads:
            self._tasks.put(None)
        left = _join(self._threads, patience)
        _left[:] = [thread for thread in _left if thread.is_alive()] + left

    def _work(self) -> None:
        self._prepare()
        while (task := self._tasks.get()) is not None:
            future, function, args = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)
            del task, future, function, args  # an idle thread keeps nothing alive


class ThreadRun(Run):
    """Tiles in threads of this process: its own, or a pool of the caller's."""

    def __init__(self, plan: Plan, report: Report | None) -> None:
        super().__init__(plan, report)
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
            self.executor = own = Threads(at_once, prepare)
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

    def check(self) -> None:
        """Raise where the run has failed or was stopped."""
        if self.failed.is_set() or self.cancelled.is_set():
            raise Cancelled

    def _work(self, tile: Tile) -> None:
        self.check()
        try:
            self.work(tile, self.count)
        except BaseException:
            self.failed.set()
            raise

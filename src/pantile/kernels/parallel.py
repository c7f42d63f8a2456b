"""Leaf tasks on a pool of threads: kernels that release the GIL and wait for nobody."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

from .daemons import POLL, Threads

__all__ = ["cores", "each_in_parallel"]

_pools: dict[int, Threads] = {}
_lock = threading.Lock()


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each_in_parallel(task: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Call ``task`` on every item, on all cores; the first exception is raised once all have ended."""
    threads = min(cores(), len(items))
    if threads < 2:
        for item in items:
            task(item)
        return
    gate = _Gate(task, items)
    try:
        for _ in range(threads):
            # each in a copy of the caller's context, so that numpy.errstate holds in every thread
            _pool().submit(copy_context().run, gate.run)
        gate.wait()
    except BaseException:  # one of a task, or Ctrl-C, wherever it came in
        gate.close()
        raise


class _Gate:
    """Hands out items until it is closed; then nothing begins, and what has begun is waited for.

    (`concurrent.futures.wait` may leave futures locked where Ctrl-C interrupts it.)
    """

    def __init__(self, task: Callable[[Any], None], items: Sequence[Any]) -> None:
        self.task, self.items, self.left = task, items, len(items)
        self.begun, self.at_work, self.closed = 0, 0, False
        self.errors: list[tuple[int, BaseException]] = []
        self.changed = threading.Condition()

    def run(self) -> None:
        """Work on one item after the other until none is left."""
        while (number := self._take()) is not None:
            try:
                self.task(self.items[number])
            except BaseException as error:
                self.errors.append((number, error))
            finally:
                with self.changed:
                    self.at_work -= 1
                    self.left -= 1
                    if self.closed or not self.left:
                        self.changed.notify_all()

    def _take(self) -> int | None:
        with self.changed:
            if self.closed or self.begun == len(self.items):
                return None
            self.begun, self.at_work = self.begun + 1, self.at_work + 1
            return self.begun - 1

    def wait(self) -> None:
        """Until all have ended; raises the first exception."""
        with self.changed:
            while self.left:
                self.changed.wait(POLL)  # a Ctrl-C just before a wait begins is heard when it ends
        errors, self.errors = self.errors, []  # else they would keep each other alive
        if errors:
            raise min(errors, key=lambda found: found[0])[1]

    def close(self) -> None:
        with self.changed:
            self.closed = True
            while self.at_work:
                self.changed.wait()


def _pool() -> Threads:
    # threads do not survive a fork, so each process has a pool of its own
    pid = os.getpid()
    with _lock:
        if pid not in _pools:
            _pools.clear()
            _pools[pid] = Threads(cores(), "pantile loops")
        return _pools[pid]


@atexit.register
def _close() -> None:
    """Let loops end before Python does: a thread that it ends inside them takes the program with it."""
    pool = _pools.pop(os.getpid(), None)
    if pool is not None:
        pool.close()

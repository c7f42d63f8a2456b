"""Leaf tasks on a pool of threads: kernels that release the GIL and wait for nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

__all__ = ["cores", "each_in_parallel"]

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each_in_parallel(task: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Call ``task`` on every item, on all cores; the first exception is raised once all have ended."""
    if len(items) < 2 or cores() < 2:
        for item in items:
            task(item)
        return
    gate = _Gate(task, len(items))
    try:
        for number, item in enumerate(items):
            # each in a copy of the caller's context, so that numpy.errstate holds in every thread
            _pool().submit(copy_context().run, gate.run, number, item)
        gate.wait()
    except BaseException:  # one of a task, or Ctrl-C, wherever it came in
        gate.close()
        raise


class _Gate:
    """Lets a task run until it is closed; then what has not begun does nothing, and what has is waited for.

    (`concurrent.futures.wait` may leave futures locked where Ctrl-C interrupts it.)
    """

    def __init__(self, task: Callable[[Any], None], n: int) -> None:
        self.task, self.left = task, n
        self.at_work, self.closed = 0, False
        self.errors: list[tuple[int, BaseException]] = []
        self.changed = threading.Condition()

    def run(self, number: int, item: Any) -> None:
        with self.changed:
            if self.closed:
                return
            self.at_work += 1
        try:
            self.task(item)
        except BaseException as error:
            self.errors.append((number, error))
        finally:
            with self.changed:
                self.at_work -= 1
                self.left -= 1
                self.changed.notify_all()

    def wait(self) -> None:
        """Until all have ended; raises the first exception."""
        with self.changed:
            while self.left:
                self.changed.wait()
        errors, self.errors = self.errors, []  # else they would keep each other alive
        if errors:
            raise min(errors, key=lambda found: found[0])[1]

    def close(self) -> None:
        with self.changed:
            self.closed = True
            while self.at_work:
                self.changed.wait()


def _pool() -> ThreadPoolExecutor:
    # threads do not survive a fork, so each process has a pool of its own
    pid = os.getpid()
    with _lock:
        if pid not in _pools:
            _pools.clear()
            _pools[pid] = ThreadPoolExecutor(cores(), thread_name_prefix="pantile")
        return _pools[pid]

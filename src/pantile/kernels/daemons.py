"""A few threads that never keep an interrupted program alive."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["PATIENCE", "POLL", "Threads"]

POLL = 0.1  # seconds between looks of whoever waits: at the progress, for a Ctrl-C, whether a run has ended
PATIENCE = 10.0  # seconds that an error, or the end of the program, waits for what is at work

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

    def __init__(self, workers: int, name: str, prepare: Callable[[], None] = lambda: None) -> None:
        self._prepare = prepare
        self._tasks: queue.SimpleQueue[
            tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None
        ]
        self._tasks = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{k}", daemon=True)
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

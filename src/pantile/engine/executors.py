"""Where tasks run: our own threads, the caller's for one worker, or anything with ``submit``."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

__all__ = ["Inline", "SupportsSubmit", "Threads"]


class SupportsSubmit(Protocol):
    """A pool of `concurrent.futures`, a ``dask.distributed`` client, or anything alike."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any: ...


class Inline:
    """Runs each task at once, in the caller's thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing to end."""


class Threads:
    """A few daemon threads: unlike a `ThreadPoolExecutor`'s, they never keep an interrupted program alive."""

    def __init__(self, workers: int) -> None:
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

    def close(self) -> None:
        """Let the threads end once they have done what they are at."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, function, args = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)
            del task, future, function, args  # an idle thread keeps nothing alive

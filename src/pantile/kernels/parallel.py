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
    # each in a copy of the caller's context, so that numpy.errstate holds in every thread
    futures = [_pool().submit(copy_context().run, task, item) for item in items]
    for future in futures:
        future.exception()
    for future in futures:
        future.result()


def _pool() -> ThreadPoolExecutor:
    # threads do not survive a fork, so each process has a pool of its own
    pid = os.getpid()
    with _lock:
        if pid not in _pools:
            _pools.clear()
            _pools[pid] = ThreadPoolExecutor(cores(), thread_name_prefix="pantile")
        return _pools[pid]

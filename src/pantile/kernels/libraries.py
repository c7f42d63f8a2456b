"""Threads of other libraries (BLAS, OpenMP, torch), kept from multiplying with ours.

Two of our threads that each call a BLAS with two threads of its own are four on two cores, which is
slower than one. While several of ours are at work, each library gets its share: cores / workers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .parallel import cores

__all__ = ["limit_libraries", "limit_process", "limit_thread", "share_of"]


def share_of(workers: int) -> int:
    """How many threads a library may use in each of ``workers`` threads."""
    return max(1, cores() // max(1, workers))


def _torch() -> Any:
    """The module, if it is there and not on its way in."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "set_num_threads") else None


class _Loaded:
    """The libraries with threads that are loaded: found anew when modules were imported since."""

    def __init__(self) -> None:
        self._modules = -1
        self._found: list[Any] = []

    def __call__(self, api: str) -> list[Any]:
        if self._modules != len(sys.modules):
            from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

            self._modules = len(sys.modules)
            self._found = ThreadpoolController().lib_controllers
        return [library for library in self._found if library.user_api == api]


class _Limits:
    """Limits that hold for the whole process, while any run asks for them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded = _Loaded()
        self._asked: list[int] = []
        self._before: dict[str, tuple[Any, int]] = {}  # file of a BLAS: itself, its threads
        self._torch_before: int | None = None

    def enter(self, share: int) -> int | None:
        """Hold the libraries to ``share``; returns how many threads torch had in this thread."""
        with self.lock:
            in_force = min(self._asked, default=None)
            self._asked.append(share)
            self._hold_blas()
            return self._hold_torch(in_force)

    def leave(self, share: int, torch_before: int | None) -> None:
        with self.lock:
            self._asked.remove(share)
            self._hold_blas()
            torch = _torch()
            if torch is not None and torch_before is not None:
                torch.set_num_threads(torch_before)
            if not self._asked:
                self._torch_before = None

    def _hold_blas(self) -> None:
        most = min(self._asked, default=None)
        if most is not None:
            for library in self.loaded("blas"):
                self._before.setdefault(library.filepath, (library, library.num_threads))
        for library, before in self._before.values():
            library.set_num_threads(before if most is None else min(before, most))
        if most is None:
            self._before.clear()

    def _hold_torch(self, in_force: int | None) -> int | None:
        """Torch holds a number for threads to come, and one for each that has used it."""
        torch = _torch()
        if torch is None:
            return None
        mine: int = torch.get_num_threads()
        if in_force is None or self._torch_before is None:
            self._torch_before = mine
        before = self._torch_before if mine == in_force else mine
        torch.set_num_threads(min(before, *self._asked))
        return before


_limits = _Limits()
if hasattr(os, "register_at_fork"):  # a thread that does not live on in the child may hold the lock
    os.register_at_fork(after_in_child=_limits.__init__)  # type: ignore[misc]


@contextmanager
def limit_libraries(workers: int) -> Iterator[None]:
    """Hold BLAS and torch to their share of the cores while ``workers`` threads of ours are at work.

    Never raises a limit that is lower already; what was there before is there again at the end.
    """
    if workers < 2:
        yield
        return
    share = share_of(workers)
    before = _limits.enter(share)
    try:
        yield
    finally:
        _limits.leave(share, before)


def limit_thread(share: int) -> None:
    """Hold OpenMP to ``share`` threads in the calling thread, which has a number of its own."""
    with _limits.lock:
        for library in _limits.loaded("openmp"):
            library.set_num_threads(min(share, library.num_threads))


def limit_process(share: int) -> None:
    """Hold every library to ``share`` threads for good: this process is a worker of ours."""
    with _limits.lock:
        for library in (*_limits.loaded("blas"), *_limits.loaded("openmp")):
            library.set_num_threads(min(share, library.num_threads))
        torch = _torch()
        if torch is not None:
            torch.set_num_threads(min(share, torch.get_num_threads()))

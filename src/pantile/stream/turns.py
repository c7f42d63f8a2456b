"""How many threads are in ``func`` at once: all, or one at a time where that is faster.

What loops in Python holds the interpreter's lock: several threads hand it to and fro and are slower
than one. No result depends on how many there are, so the run may find out as it goes. It watches how
much of a processor the threads in ``func`` get between them; where several get about that of one, some
calls are made one at a time, and it stays with what brought more patches a second.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..kernels.daemons import POLL

__all__ = ["InTurns", "Turns", "Window"]

_LEAST_SECONDS, _LEAST_CALLS = 0.1, 2  # of calls that are compared
_CROWD = 1.5  # threads in func on average, below which none waits for another
_ALONE = 0.6, 1.4  # processors that threads get between them when they wait for each other's lock
_GAIN = 1.1  # times the patches a second that one at a time must bring


@dataclass
class Window:
    """What calls took that began after a moment."""

    since: float
    calls: int = 0
    patches: int = 0
    seconds: float = 0.0  # in func, of all threads together
    computing: float = 0.0  # seconds of them with a processor
    beside: float = 0.0  # seconds of each call times the threads that were in func meanwhile

    def add(self, n: int, seconds: float, computing: float, threads: float) -> None:
        """A call on ``n`` patches, and how many threads were in ``func`` meanwhile, on average."""
        self.calls += 1
        self.patches += n
        self.seconds += seconds
        self.computing += computing
        self.beside += seconds * threads

    @property
    def threads(self) -> float:
        """How many were in ``func`` at once, on average."""
        return self.beside / self.seconds

    @property
    def rate(self) -> float:
        """Patches a second, of all threads together."""
        return self.patches * self.threads / self.seconds

    @property
    def is_enough(self) -> bool:
        return self.calls >= _LEAST_CALLS and self.seconds >= _LEAST_SECONDS * self.threads

    @property
    def waits_for_a_lock(self) -> bool:
        """Whether several threads got about one processor between them: a core each would be more,
        and whoever waits for a disk, a server or an accelerator needs none."""
        processors = self.computing / self.seconds * self.threads
        return self.threads >= _CROWD and _ALONE[0] <= processors <= _ALONE[1]


class Turns:
    """Lets threads into ``func``: any number, or one at a time.

    ``check`` raises, in those that wait, where the run has ended.
    """

    def __init__(
        self, check: Callable[[], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._check, self._clock = check, clock
        self._changed = threading.Condition()
        self._inside, self._since = 0, 0.0  # so many threads, since then
        self._stayed = 0.0  # seconds in func, of all threads together, until then
        self._rate_of_all = 0.0
        # what is done once (imports, compiling) tells nothing, so the first calls are left out
        self._window: Window | None = Window(math.inf)
        self.one_at_a_time = False

    def enter(self) -> tuple[float, float]:
        """Wait for the turn; returns what `leave` wants to know."""
        with self._changed:
            while self.one_at_a_time and self._inside:
                self._changed.wait(POLL)
                self._check()
            now = self._change(1)
            return now, self._stayed

    def leave(self, entered: tuple[float, float], n: int, computing: float) -> None:
        """The turn is over: a call on ``n`` patches that had a processor for ``computing`` seconds."""
        with self._changed:
            now = self._change(-1)
            if self._window is not None:
                self._note(self._window, now, entered, n, computing)
            if self.one_at_a_time:
                self._changed.notify()

    def _change(self, by: int) -> float:
        """One thread more, or less; returns when that was."""
        now = self._clock()
        self._stayed += self._inside * (now - self._since)
        self._inside, self._since = self._inside + by, now
        return now

    def _note(
        self, window: Window, now: float, entered: tuple[float, float], n: int, computing: float
    ) -> None:
        begin, stayed = entered
        if window.since == math.inf:
            self._window = Window(now)
        elif begin >= window.since:
            seconds = max(now - begin, 1e-9)  # a clock may stand still
            window.add(n, seconds, computing, (self._stayed - stayed) / seconds)
            if window.is_enough:
                self._window = self._decide(window, now)

    def _decide(self, window: Window, now: float) -> Window | None:
        """What follows from the calls of a window; returns the next one."""
        if self.one_at_a_time:
            self.one_at_a_time = window.rate >= _GAIN * self._rate_of_all
            self._changed.notify_all()
            return None
        if window.waits_for_a_lock:
            self._rate_of_all = window.rate
            self.one_at_a_time = True
        return Window(now)


@dataclass(frozen=True)
class InTurns:
    """A ``func`` that threads call in turns."""

    func: Callable[..., Any]
    turns: Turns

    def __call__(self, patches: Any, *more: Any) -> Any:
        entered, computed = self.turns.enter(), time.thread_time()
        try:
            return self.func(patches, *more)
        finally:
            self.turns.leave(entered, len(patches), time.thread_time() - computed)

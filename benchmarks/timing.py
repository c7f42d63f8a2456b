"""Times for several tasks, taken in turns so that a busy machine slows all of them alike.

Rounds of every task; a machine that is slower for a while then shows in the spread of every task
instead of in the ratio of two. Each round has an order of its own, for a task pays for what the one
before it left behind: freed pages, caches, idle threads. Nothing here decides pass or fail: times are
reported, never tested.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

__all__ = ["Task", "Timing", "interleave"]

Task = Callable[[], Any]

SHORTEST = 2e-3
"""Seconds a sample lasts at least: a shorter task runs several times in one sample."""


@dataclass(frozen=True)
class Timing:
    """Seconds per run, one value a sample, and what a reader must know about them."""

    seconds: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def worst(self) -> float:
        return max(self.seconds)


@dataclass
class _Runner:
    """One task, its samples so far, and why it takes part no more."""

    task: Task
    budget: float
    loops: int = 1
    samples: list[float] = field(default_factory=list)
    note: str = ""

    def warm_up(self, inspect: Callable[[Any], None]) -> None:
        """Run unmeasured, `inspect` the result, choose `loops`; a run over budget is the last."""
        first, result = _clock(self.task)
        inspect(result)
        del result
        if first > self.budget:
            self._retire(first, "one cold run")
        elif first < self.budget / 8:  # a second run shows how short a task is once compiled
            self.loops = max(1, int(SHORTEST / max(_clock(self.task)[0], 1e-7)))

    def sample(self) -> None:
        """Add one sample, unless the budget is spent."""
        if self.note:
            return
        seconds = _clock(self._loop)[0]
        self.samples.append(seconds / self.loops)
        if sum(self.samples) * self.loops > self.budget:
            self.note = f"{len(self.samples)} runs"

    def _loop(self) -> Any:
        for _ in range(self.loops - 1):
            self.task()
        return self.task()  # handed on, so that freeing it is not timed

    def _retire(self, seconds: float, note: str) -> None:
        self.samples.append(seconds)
        self.note = note


def interleave(
    tasks: Mapping[str, Task],
    *,
    repeat: int = 5,
    budget: float = 20.0,
    inspect: Callable[[str, Any], None] = lambda name, result: None,  # noqa: ARG005
) -> dict[str, Timing]:
    """Return the times of `tasks`, `repeat` samples each taken in turns after a warm-up.

    A task that has used `budget` seconds drops out of the rounds that are left and says so in its
    note. `inspect(name, result)` sees the result of each task's first run.
    """
    runners = {name: _Runner(task, budget) for name, task in tasks.items()}
    with _no_collector():
        for name, runner in runners.items():
            runner.warm_up(partial(inspect, name))
        for turn in range(repeat):
            for runner in Random(turn).sample(list(runners.values()), len(runners)):
                runner.sample()
    return {name: Timing(tuple(each.samples), each.note) for name, each in runners.items()}


def _clock(task: Task) -> tuple[float, Any]:
    start = perf_counter()
    result = task()
    return perf_counter() - start, result


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

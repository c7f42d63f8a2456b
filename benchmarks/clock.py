"""One process of `benchmarks.versus`: it makes what one source tree is timed on, and times what it is told to."""

from __future__ import annotations

import gc
import json
import os
import sys
from time import perf_counter, process_time
from typing import Any

import pantile as pt
from benchmarks.timed import tasks
from benchmarks.timing import Task

__all__ = ["main"]


def main() -> int:
    """Answer ``names``, ``quick names`` and ``LOOPS NAME``: seconds a call, so many in a row."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything prints is not an answer

    def answer(**found: Any) -> None:
        print(json.dumps(found), file=answers, flush=True)

    answer(pantile=os.path.dirname(pt.__file__))
    made: dict[str, Task] = {}
    for line in sys.stdin:
        loops, _, name = line.strip().partition(" ")
        if not loops.isdigit():
            made = dict(tasks(quick=loops == "quick"))
            answer(names=list(made))
            continue
        try:
            wall, cpu = _seconds(made[name], int(loops))
            answer(wall=wall, cpu=cpu)
        except Exception as error:
            answer(died=f"{type(error).__name__}: {error}")
    return 0


def _seconds(task: Task, loops: int) -> tuple[float, float]:
    """Seconds a call: by the clock, and of processor time, in all threads and in processes that ended."""
    gc.collect()
    gc.disable()
    wall, cpu = perf_counter(), _processor()
    for _ in range(loops):
        task()
    found = (perf_counter() - wall) / loops, (_processor() - cpu) / loops
    gc.enable()
    return found


def _processor() -> float:
    ended = os.times()
    return process_time() + ended.children_user + ended.children_system


if __name__ == "__main__":
    sys.exit(main())

"""One process of `benchmarks.versus`: it makes what one source tree is timed on, and times what it is told to."""

from __future__ import annotations

import gc
import json
import os
import sys
from time import perf_counter
from typing import Any

import pantile as pt
from benchmarks.timed import tasks
from benchmarks.timing import Task

__all__ = ["main"]


def main() -> int:
    """Answer ``names``, ``quick names`` and ``LOOPS NAME``: seconds a call, of so many in a row."""
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
            answer(seconds=_seconds(made[name], int(loops)))
        except Exception as error:
            answer(died=f"{type(error).__name__}: {error}")
    return 0


def _seconds(task: Task, loops: int) -> float:
    gc.collect()
    gc.disable()
    start = perf_counter()
    for _ in range(loops):
        task()
    seconds = (perf_counter() - start) / loops
    gc.enable()
    return seconds


if __name__ == "__main__":
    sys.exit(main())

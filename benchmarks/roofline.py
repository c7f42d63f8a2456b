"""What the memory of this machine can do: copy, read and fill, on one thread and on all."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.cases import Array
from benchmarks.report import cores
from benchmarks.timing import Timing, interleave

__all__ = ["Bandwidth", "roofline"]

Move = Callable[[Array, Array], object]
MOVES: dict[str, tuple[Move, int]] = {
    "copy": (lambda source, target: np.copyto(target, source), 2),
    "read": (lambda source, target: source.sum(), 1),  # noqa: ARG005
    "fill": (lambda source, target: target.fill(1), 1),  # noqa: ARG005
}


@dataclass(frozen=True)
class Bandwidth:
    """One way to move memory: bytes that are read and written, and how long that takes."""

    move: str
    threads: int
    nbytes: int
    timing: Timing

    @property
    def gigabytes(self) -> float:
        """1e9 bytes a second."""
        return self.nbytes / self.timing.median / 1e9


def roofline(megabytes: int = 256, repeat: int = 7) -> list[Bandwidth]:
    """Move arrays of so many megabytes, far more than the caches hold, by NumPy's own loops."""
    source, target = (np.ones(megabytes * 125_000) for _ in range(2))
    with ThreadPoolExecutor(cores()) as pool:
        tasks, moved = {}, {}
        for name, (move, passes) in MOVES.items():
            for threads in sorted({1, cores()}):
                key = f"{name} {threads}"
                tasks[key] = partial(_spread, pool, move, source, target, threads)
                moved[key] = (name, threads, passes * source.nbytes)
        timings = interleave(tasks, repeat=repeat)
    return [Bandwidth(*moved[key], timing) for key, timing in timings.items()]


def _spread(pool: ThreadPoolExecutor, move: Move, source: Array, target: Array, n: int) -> None:
    parts = zip(np.array_split(source, n), np.array_split(target, n), strict=True)
    if n == 1:
        move(source, target)
        return
    for future in [pool.submit(move, *part) for part in parts]:
        future.result()

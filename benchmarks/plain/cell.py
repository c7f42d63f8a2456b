"""A cell of the table: one operation on one case, ours and the plain ways of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.cases import Array, Case
from benchmarks.timing import Task

__all__ = ["Cell", "Make", "Sides", "agree", "regime"]


class Sides(NamedTuple):
    """What is timed: our call, and the plain ways by name."""

    ours: Task
    plain: Mapping[str, Task]


Make = Callable[[Case], Sides]


@dataclass(frozen=True)
class Cell:
    """One operation on one case; inputs are made when it is its turn."""

    operation: str
    what: str
    case: Case
    make: Make

    @property
    def name(self) -> str:
        case = self.case
        patch, step = case.patch[0], case.step[0]
        shape = "x".join(map(str, case.shape))
        return f"{self.operation} {self.what}, {patch}/{step} of {shape} {case.dtype}"

    def sides(self) -> Sides:
        return self.make(self.case)


def regime(case: Case) -> str:
    """How far patches overlap, in words."""
    patch, step = case.patch[0], case.step[0]
    if step == patch:
        return "side by side"
    if step in (1, 4):
        return f"step {step}"
    return "half overlap"


def agree(ours: object, other: object) -> bool:
    """Whether two results are one: integers to the last digit, floats to 1e-4 of the largest."""
    a, b = np.asarray(ours), np.asarray(other)
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        return bool((a == b).all())
    return _close(a, b)


def _close(a: Array, b: Array) -> bool:
    largest = float(np.abs(a).max(initial=0))
    return np.allclose(a, b, rtol=1e-4, atol=1e-4 * largest)

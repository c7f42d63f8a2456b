"""What happens where the step does not divide: one function per tail, each giving the places of patches.

A tail takes the room that a patch has to move in (the padded length less the patch's extent), and
the step, and gives a `Spacing`: where patches start, counted from the first place a patch can have.
To add one, write its function and its row in `TAILS`, and name it in `Tail`.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["FARTHEST", "TAILS", "TAIL_NAMES", "Even", "Spacing", "Steps", "Tail", "places_of"]

Tail = Literal["shift", "respace", "pad", "drop", "center", "error"]
TAIL_NAMES: tuple[str, ...] = get_args(Tail)
FARTHEST = 1 << 62  # positions are int64
_EXACT = 1 << 30  # numbers whose squares, twice, fit int64


@dataclass(frozen=True, slots=True)
class Steps:
    """``count`` places, ``step`` apart from ``first`` on; the last one is pulled back to ``last``."""

    count: int
    last: int
    step: int
    first: int = 0

    def at(self, i: int) -> int:
        return min(self.first + i * self.step, self.last)

    def at_each(self, i: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.minimum(self.first + i * self.step, self.last)

    def first_from(self, place: int) -> int:
        """The first place that is at or behind ``place``, ``count`` where none is."""
        if place > self.last:
            return self.count
        return min(max(0, -((self.first - place) // self.step)), self.count - 1)

    @property
    def uniform(self) -> bool:
        """Whether neighbours are always the same distance apart."""
        return self.count < 3 or self.last - self.first == (self.count - 1) * self.step

    @property
    def longest(self) -> int:
        """The largest distance between neighbours, 0 where there is one place."""
        return 0 if self.count < 2 else min(self.step, self.last - self.first)

    def breaks(self, begin: int, end: int) -> list[int]:
        """Places behind ``begin``, before ``end``, that do not lie the usual distance behind the one before."""
        return [] if self.uniform or end < self.count or end - begin < 2 else [end - 1]

    def stretches(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Places ``begin`` to ``end`` as ranges that `Steps` can say each."""
        return [(begin, end)]

    def aligned(self, unit: int) -> int:
        """After how many places one lies a multiple of ``unit`` farther; 0 where none need to."""
        gap = max(1, self.longest)
        return int(np.lcm(unit, gap)) // gap


@dataclass(frozen=True, slots=True)
class Even:
    """``count`` places from 0 to ``last``, as equally far apart as whole numbers allow."""

    count: int
    last: int
    step: int  # that was asked for

    def at(self, i: int) -> int:
        gaps = self.count - 1
        return (2 * i * self.last + gaps) // (2 * gaps) if gaps else 0

    def at_each(self, i: NDArray[np.int64]) -> NDArray[np.int64]:
        gaps = self.count - 1
        if not gaps:
            return np.zeros_like(i)
        each, rest = divmod(self.last, gaps)  # apart: their product with i may be past int64
        exact: NDArray[Any] = i if gaps < _EXACT else i.astype(object)
        found: NDArray[np.int64] = exact * each + (2 * exact * rest + gaps) // (2 * gaps)
        return found.astype(np.int64)

    def first_from(self, place: int) -> int:
        return bisect_left(range(self.count), place, key=self.at)

    @property
    def uniform(self) -> bool:
        return self.count < 3 or self.last % (self.count - 1) == 0

    @property
    def longest(self) -> int:
        return 0 if self.count < 2 else -(-self.last // (self.count - 1))

    def breaks(self, begin: int, end: int) -> list[int]:
        if self.uniform or end - begin < 2:
            return []
        gaps = np.diff(self.at_each(np.arange(begin, end, dtype=np.int64)))
        usual = self.at(1) - self.at(0)
        return [begin + int(i) + 1 for i in np.flatnonzero(gaps != usual)]

    def stretches(self, begin: int, end: int) -> list[tuple[int, int]]:
        if self.uniform or end - begin < 3:
            return [(begin, end)]
        gaps = np.diff(self.at_each(np.arange(begin, end, dtype=np.int64)))
        turns = [begin, *(begin + 1 + np.flatnonzero(np.diff(gaps))).tolist(), end]
        return [(b, e) for b, e in itertools.pairwise(turns) if b < e]

    def aligned(self, unit: int) -> int:
        return 0


Spacing = Steps | Even


def _shift(room: int, step: int) -> Spacing:
    return Steps(-(-room // step) + 1, room, step)


def _respace(room: int, step: int) -> Spacing:
    return Even(-(-room // step) + 1, room, step)


def _pad(room: int, step: int) -> Spacing:
    """Also where a patch does not fit: it reaches as far past the end as it must."""
    count = -(-max(room, 0) // step) + 1
    return Steps(count, (count - 1) * step, step)


def _drop(room: int, step: int) -> Spacing:
    return Steps(room // step + 1, room // step * step, step)


def _center(room: int, step: int) -> Spacing:
    """What is left over is shared by both ends, the larger half at the far one."""
    last = room // step * step
    first = (room - last) // 2
    return Steps(room // step + 1, first + last, step, first)


TAILS: dict[str, Callable[[int, int], Spacing]] = {
    "shift": _shift,
    "respace": _respace,
    "pad": _pad,
    "drop": _drop,
    "center": _center,
    "error": _drop,  # with nothing to drop: `resolve_axis` has refused it otherwise
}


def places_of(tail: str, room: int, step: int) -> Spacing:
    """Where patches start that can move over ``room`` elements."""
    step = step if tail == "pad" else min(step, room + 1)
    return TAILS[tail](room, step)

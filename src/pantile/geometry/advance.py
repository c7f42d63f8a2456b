"""How far tiles have come that are done in order: what they have reached, and what is complete.

Along one axis, tiles before tile ``t`` reach up to ``reached[t]``, and what lies before ``complete[t]``
needs none behind them. On several axes, with groups of tiles in C order, they have reached
``V(g) = reached[g0] * n1 * ... + (reached[g0 + 1] - reached[g0]) * V(g1, ...)`` elements, and completed
as many with ``complete`` in its place: where the first axis is done, all of the others counts, and in
the layer at work what the others have. Within a group, tiles come in C order, too. The most that is
reached and not complete is found axis by axis, since only the widths of a layer reach into the next sum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .rect import Rect
from .tiling import grouped

__all__ = ["Advance", "most_pending"]

_KINDS = 8  # of layers that differ, beyond which they are taken for one with the worst of each

Ints: TypeAlias = NDArray[np.int64]
# of a group: reached and complete before each of its tiles and behind the last, from where it begins
Steps: TypeAlias = tuple[tuple[int, int], ...]


class Advance(NamedTuple):
    """How tiles come forward along one axis: groups that do it alike, with where each of them begins."""

    size: int
    kinds: dict[Steps, tuple[Ints, Ints]]

    @classmethod
    def of(cls, spans: Rect, needs: Rect, cuts: Sequence[int], paired: bool) -> Advance:
        """Tiles that reach over ``spans``; block ``b``, from ``cuts[b]``, needs tiles of the range ``needs[b]``."""
        size, n = cuts[-1], len(spans)
        ends = np.array([high for _, high in needs])
        complete = np.array(cuts)[np.searchsorted(ends, np.arange(n + 1), side="right")]
        far = np.minimum([0, *(end for _, end in spans)], size)
        reached = np.maximum(np.maximum.accumulate(far), complete)
        found: dict[Steps, list[int]] = {}
        for group in grouped(range(n), n, paired):
            first, upto = group.start, range(group.start, group.stop + 1)
            steps = [
                (int(reached[t] - reached[first]), int(complete[t] - complete[first])) for t in upto
            ]
            found.setdefault(tuple(steps), []).append(first)
        single = [steps for steps in found if len(steps) == 2]
        if len(single) > _KINDS:
            worst = max(r for _, (r, _) in single), min(c for _, (_, c) in single)
            alike = [t for steps in single for t in found.pop(steps)]
            found[(0, 0), worst] = alike
        return cls(size, {steps: (reached[at], complete[at]) for steps, at in found.items()})


def most_pending(axes: Sequence[Advance]) -> int:
    """Elements, at most, that are reached and not complete before any of the tiles."""
    return _between_groups(axes, 1, 1, ())


def _between_groups(
    axes: Sequence[Advance], reached: int, complete: int, chosen: tuple[Steps, ...]
) -> int:
    """The most of what is pending in a layer, so wide on the axes before, and in the groups ``chosen`` on them."""
    if not axes:
        return _within_group(chosen, 1, 1)
    axis, *later = axes
    rest, most = math.prod([a.size for a in later]), 0
    for steps, (far, done) in axis.kinds.items():
        here = int((reached * far - complete * done).max()) * rest
        r, c = steps[-1]
        most = max(most, here + _between_groups(later, reached * r, complete * c, (*chosen, steps)))
    return most


def _within_group(chosen: tuple[Steps, ...], reached: int, complete: int) -> int:
    if not chosen:
        return 0
    steps, *later = chosen
    far, done = (math.prod([s[-1][i] for s in later]) for i in range(2))
    return max(
        reached * r * far
        - complete * c * done
        + _within_group(tuple(later), reached * (after[0] - r), complete * (after[1] - c))
        for (r, c), after in itertools.pairwise(steps)
    )

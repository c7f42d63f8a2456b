"""What lies outside the image: each mode of ``np.pad`` as segments of one axis."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAPPED_MODES", "PAD_MODES", "PadMode", "Segment", "mapped", "segments"]

PadMode = Literal[
    "constant",
    "edge",
    "linear_ramp",
    "maximum",
    "mean",
    "median",
    "minimum",
    "reflect",
    "symmetric",
    "wrap",
]
PAD_MODES: tuple[str, ...] = get_args(PadMode)
MAPPED_MODES = frozenset({"edge", "reflect", "symmetric", "wrap"})


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one axis: positions ``begin`` to ``end``, read from ``source`` elements of the image.

    ``source`` is a slice with step 1, -1 (mirrored) or, for one element repeated, a slice of length
    1. ``outside`` says on which side of the image the stretch lies (-1, 0, 1) where it has values
    of its own.
    """

    begin: int
    end: int
    source: slice
    reverse: bool = False
    outside: int = 0


def mapped(position: NDArray[np.int64], size: int, mode: str) -> NDArray[np.int64]:
    """The image element that each position shows, for the modes that repeat the image.

    ``reflect`` has the period ``2 * size - 2``, ``symmetric`` ``2 * size``, ``wrap`` ``size``, as
    in ``np.pad``.
    """
    if mode == "edge":
        return position.clip(0, size - 1)
    if mode == "wrap" or size == 1:
        return position % size
    last = size - 1 if mode == "reflect" else size
    folded = position % (2 * last)
    # symmetric shows the edge element twice, so its mirror image starts one element earlier
    return np.where(folded < last, folded, 2 * last - folded - (mode == "symmetric"))


def segments(begin: int, end: int, size: int, mode: str) -> list[Segment]:
    """Positions ``begin`` to ``end`` of an axis of ``size`` elements as stretches, in order.

    Modes that repeat the image give stretches of the image, mirrored where they run backwards. All
    others give at most one stretch before (``outside=-1``) and one behind (``outside=1``) the
    image, whose values are computed from ``source``: an edge element for ``linear_ramp``, the whole
    axis for statistics.
    """
    inner = (
        [Segment(max(begin, 0), min(end, size), slice(max(begin, 0), min(end, size)))]
        if begin < size and end > 0
        else []
    )
    if begin >= 0 and end <= size:
        return inner
    if mode in MAPPED_MODES:
        behind = max(begin, size)
        return _runs(begin, min(end, 0), size, mode) + inner + _runs(behind, end, size, mode)
    before = (
        [Segment(begin, min(end, 0), _evidence(mode, 0, size), outside=-1)] if begin < 0 else []
    )
    after = (
        [Segment(max(begin, size), end, _evidence(mode, size - 1, size), outside=1)]
        if end > size
        else []
    )
    return before + inner + after


def _evidence(mode: str, edge: int, size: int) -> slice:
    if mode == "constant":
        return slice(0, 0)
    return slice(edge, edge + 1) if mode == "linear_ramp" else slice(0, size)


def _runs(begin: int, end: int, size: int, mode: str) -> list[Segment]:
    """Stretches on which the mapped positions run steadily up, down, or stand still."""
    if begin >= end:
        return []
    source = mapped(np.arange(begin, end, dtype=np.int64), size, mode)
    slope = np.diff(source)
    turns = [*(np.flatnonzero(np.diff(slope)) + 1).tolist(), len(slope)]  # where it is another
    found, at = [], 0
    while at < len(source):
        steady = at < len(slope) and abs(slope[at]) <= 1
        direction = int(slope[at]) if steady else 1
        stop = turns[bisect_right(turns, at)] + 1 if steady else at + 1
        low, high = sorted((int(source[at]), int(source[stop - 1])))
        found.append(
            Segment(begin + at, begin + stop, slice(low, high + 1), reverse=direction == -1)
        )
        at = stop
    return found

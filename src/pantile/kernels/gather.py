"""Merging by gathering: each line of the image takes what the patches over it hold.

A line lies along one axis; the others *lead* to it. The patches that cover a line along the leading
axes are found first: each is a *base*, the place of what it holds. From there, what they hold is
added up strip by strip in a row of sums that stays in cache. A *strip* is a line of samples of one
patch, or one sample of a run of patches, whichever lies closer together in memory. There are no sums
of image size, and nothing that two threads share. What becomes of a row is `finish`'s.

Elements that a strip touches may lie ``phases`` apart (dilation, or the step where strips are runs
of patches); a row is kept phase by phase, so that every strip is contiguous in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compile import compiled, compiled_with

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, index"

__all__ = [
    "OWNERS",
    "Bases",
    "Leads",
    "StripWeights",
    "Strips",
    "clip_strips",
    "find_bases",
    "gather",
    "gather_owners",
    "gather_weighted",
]

OWNERS = "first", "last", "center"
"""Merges that take each element from one patch, by `gather_owners`."""

Memory = NDArray[Any]
Vector = NDArray[np.int64]


class Leads(NamedTuple):
    """The leading axes, a row of ``axes`` each: its size; where it begins in ``low`` and ``high``; where it begins in
    ``starts``; the most patches that meet on it; its dilation; and how far the next patch and the next sample are in
    the patches, among the weights that lead, among numbers, among lines and among keys. ``low`` to ``high`` are the
    patches that may touch an element, ``starts`` where patches start."""

    axes: Vector
    low: Vector
    high: Vector
    starts: Vector

    @property
    def lines(self) -> int:
        """How many lines they lead to."""
        return int(np.prod(self.axes[:, 0], dtype=np.int64))


class Bases(NamedTuple):
    """A row of ``table`` is a base: where it begins in the patches, among the weights that lead, among numbers and
    among lines; its key, which is the number of the patch, or of the sample, that it is along the leading axes; and
    in which of the lines. Bases ``begins[k]`` to ``begins[k + 1]`` have one key."""

    table: Vector
    begins: Vector


class Strips(NamedTuple):
    """Rows of ``table`` are strips: where one begins in the row, from a base on in the patches, how long it is, and
    where it begins among the weights that are one number, and those that are a line. ``step`` is how far its next
    element is in the patches."""

    table: Vector
    step: int


class StripWeights(NamedTuple):
    """What strips are multiplied by: a number per base, one per base and strip, and a line."""

    leading: NDArray[np.float64]
    numbers: NDArray[np.float64]
    lines: NDArray[np.float64]


def gather(rows: Memory, width: int, src: Memory, bases: Bases, strips: Strips, body: str) -> None:
    """Let what patches hold meet what ``rows`` of ``width`` hold, by the body ``add``, ``larger`` or ``smaller``."""
    _GATHERS[body](rows, width, src, *bases, strips.table, _unless_one(strips.step))


def gather_weighted(
    rows: Memory, weight_rows: Memory, width: int, src: Memory, bases: Bases, strips: Strips, weights: StripWeights
) -> None:  # fmt: skip
    """Add what patches hold, times their weights, to ``rows``, and weights to ``weight_rows``, if it is not empty."""
    step = _unless_one(strips.step)
    _gather_weighted(rows, weight_rows, width, src, *bases, strips.table, step, *weights)


def gather_owners(
    out: Memory, src: Memory, lines: tuple[int, int], axes: Vector, places: Vector, strips: Strips, step: int, fill: Any
) -> None:  # fmt: skip
    """Make ``lines`` of the image, each element of the one patch that owns it.

    A row of ``axes`` is a leading axis: its size, where it begins in ``places``, and how far the
    next element is in the image. ``places`` are where owners hold an element, -1 for no owner.
    """
    steps = _unless_one(strips.step), _unless_one(step)
    _gather_owners(out, src, *lines, axes, places, strips.table, *steps, fill)


def find_bases(lines: tuple[int, int], leads: Leads, in_order: bool = False) -> Bases:
    """The bases of ``lines``: by key, so that patches are read nearly as they lie, and those of one key in C order of
    the patches; ``in_order``, all in that order, as if they had one key."""
    return Bases(*_find_bases(*lines, in_order, *leads))


def clip_strips(
    places: Vector, of: Vector, lengths: Vector, numbers: Vector, along: Vector, size: int, phases: int, step: int,
    next_along: int,
) -> Vector:  # fmt: skip
    """The table of strips in a row of ``size`` elements: those that begin at ``places``, of which only what lies in
    the row is kept."""
    table = np.empty((len(places), 5), dtype=np.int64)
    n = _clip_strips(table, places, of, lengths, numbers, along, size, phases, step, next_along)
    return table[:n]


def _unless_one(step: int) -> int | None:
    """Steps that are 1 are passed as None: a loop of their own is compiled for them."""
    return None if step == 1 else step


@compiled
def _clip_strips(table, places, of, lengths, numbers, along, size, phases, step, next_along):
    m = 0
    per_phase = -(-size // phases)
    for k in range(places.size):
        x = places[k]
        skipped = max(0, -(x // phases))
        kept = min(lengths[k], -((x - size) // phases)) - skipped
        if kept > 0:
            x += skipped * phases
            table[m, 0] = x % phases * per_phase + x // phases
            table[m, 1] = of[k] + skipped * step
            table[m, 2] = kept
            table[m, 3] = numbers[k]
            table[m, 4] = along[k] + skipped * next_along
            m += 1
    return m


def _list_bases(bases, first, last, axes, low, high, starts):
    total = 0
    for line in range(first, last):
        n = 1
        bases[total, :] = 0
        rest = line
        for q in range(axes.shape[0]):
            # from the last axis, which varies fastest, to the first: those found are repeated for each
            axis = axes[axes.shape[0] - 1 - q]
            x = rest % axis[0]
            rest //= axis[0]
            hits = 0
            for i in range(low[axis[1] + x], high[axis[1] + x]):
                hits += (x - starts[axis[2] + i]) % axis[4] == 0
            h = hits
            i = high[axis[1] + x]
            while h > 0:  # from the last to the first, which takes the place of what is repeated
                i -= 1
                lag = x - starts[axis[2] + i]
                if lag % axis[4] == 0:
                    h -= 1
                    for b in range(n):
                        for k in range(5):
                            moved = i * axis[5 + k] + lag // axis[4] * axis[10 + k]
                            bases[total + h * n + b, k] = bases[total + b, k] + moved
            n *= hits
        for b in range(n):
            bases[total + b, 5] = line - first
        total += n
    return total


def _sort_bases(found, table):
    n = table.shape[0]
    least = table[0, 4]
    most = least
    for b in range(n):
        least = min(least, table[b, 4])
        most = max(most, table[b, 4])
    begins = np.zeros(most - least + 2, dtype=np.int64)
    for b in range(n):
        begins[table[b, 4] - least + 1] += 1
    for k in range(begins.size - 1):
        begins[k + 1] += begins[k]
    at = begins.copy()
    for b in range(n):
        k = table[b, 4] - least
        found[at[k], :] = table[b, :]
        at[k] += 1
    return begins


def _list_and_sort(list_bases, sort_bases):
    def loop(first, last, in_order, axes, low, high, starts):
        depth = 1
        for k in range(axes.shape[0]):
            depth *= axes[k, 3]
        table = np.empty(((last - first) * depth + 1, 6), dtype=np.int64)
        table = table[: list_bases(table, first, last, axes, low, high, starts)]
        if in_order or table.shape[0] == 0:
            begins = np.zeros(2, dtype=np.int64)
            begins[1] = table.shape[0]
            return table, begins
        found = np.empty_like(table)
        begins = sort_bases(found, table)
        return found, begins

    return loop


_find_bases = compiled_with(_list_and_sort, _list_bases, _sort_bases)

# Bodies: what is there and what comes in; what is there then. (They stand beside their nest: see `compiled_with`.)


def _add(there, x):
    return there + x


def _larger(there, x):
    return x if x > there or x != x else there


def _smaller(there, x):
    return x if x < there or x != x else there


def _gather(body):
    def loop(rows, width, src, bases, begins, strips, step):
        for g in range(begins.size - 1):
            for s in range(strips.shape[0]):
                d, of, n = strips[s, 0], strips[s, 1], strips[s, 2]
                reach = n if step is None else (n - 1) * step + 1
                for b in range(begins[g], begins[g + 1]):
                    r = rows[bases[b, 5] * width + d :][:n]
                    v = src[bases[b, 0] + of :][:reach]
                    for j in range(n):
                        r[j] = body(r[j], v[j if step is None else j * step])

    return loop


@compiled
def _gather_weighted(
    rows, weight_rows, width, src, bases, begins, strips, step, leading, numbers, lines
):
    for g in range(begins.size - 1):
        for s in range(strips.shape[0]):
            d, of, n = strips[s, 0], strips[s, 1], strips[s, 2]
            reach = n if step is None else (n - 1) * step + 1
            for b in range(begins[g], begins[g + 1]):
                r = rows[bases[b, 5] * width + d :][:n]
                v = src[bases[b, 0] + of :][:reach]
                u = leading[bases[b, 1]] * numbers[bases[b, 2] + strips[s, 3]]
                w = lines[bases[b, 3] + strips[s, 4] :][:n]
                for j in range(n):
                    r[j] += v[j if step is None else j * step] * (u * w[j])
                if weight_rows.size:
                    t = weight_rows[bases[b, 5] * width + d :][:n]
                    for j in range(n):
                        t[j] += u * w[j]


@compiled
def _gather_owners(out, src, first, last, axes, places, strips, step, out_step, fill):
    for line in range(first, last):
        rest = line
        place = 0
        base = 0
        hole = False
        for q in range(axes.shape[0]):
            axis = axes[axes.shape[0] - 1 - q]
            x = rest % axis[0]
            rest //= axis[0]
            place += x * axis[2]
            hole = hole or places[axis[1] + x] < 0
            base += places[axis[1] + x]
        for s in range(strips.shape[0]):
            d, of, n = strips[s, 0], strips[s, 1], strips[s, 2]
            o = out[place + (d if out_step is None else d * out_step) :]
            o = o[: n if out_step is None else (n - 1) * out_step + 1]
            if hole or of < 0:
                for j in range(n):
                    o[j if out_step is None else j * out_step] = fill
            else:
                v = src[base + of :][: n if step is None else (n - 1) * step + 1]
                for j in range(n):
                    i = j if step is None else j * step
                    o[j if out_step is None else j * out_step] = v[i]


_BODIES = {"add": _add, "larger": _larger, "smaller": _smaller}
_GATHERS = {name: compiled_with(_gather, body) for name, body in _BODIES.items()}

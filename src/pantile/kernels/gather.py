"""Merging by gathering: each line of the image takes what the patches over it hold, and is written once.

A line lies along one axis; the others *lead* to it. The patches that cover a line along the leading
axes are found first: each is a *base*, the place of what it holds. From there, what they hold is
added up strip by strip in a row of sums that stays in cache. A *strip* is a line of samples of one
patch, or one sample of a run of patches, whichever lies closer together in memory. Then the row is
divided, rounded, and written in the dtype of the image. There are no sums of image size, and
nothing that two threads share.

Elements that a strip touches may lie ``phases`` apart (dilation, or the step where strips are runs
of patches); a row is kept phase by phase, so that every strip is contiguous in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compile import compiled, compiled_with, known_to_numba

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, index"
# ruff: noqa: ARG001

__all__ = [
    "OWNERS",
    "Finish",
    "Leads",
    "Row",
    "StripWeights",
    "Strips",
    "clip_strips",
    "find_bases",
    "gather",
    "gather_owners",
]

OWNERS = "first", "last", "center"
"""Merges that take each element from one patch, by `gather_owners`."""

Memory = NDArray[Any]
Vector = NDArray[np.int64]


class Leads(NamedTuple):
    """The leading axes, a row of ``axes`` each: its size; where it begins in ``low``, ``high`` and ``profile``;
    where it begins in ``starts``; the most patches that meet on it; its dilation; how far, in the image, the next
    element is; and how far the next patch and the next sample are in the patches, among their weights and in the
    taper. ``low`` to ``high`` are the patches that may touch an element, ``starts`` where patches start."""

    axes: Vector
    low: Vector
    high: Vector
    starts: Vector
    profile: NDArray[np.float64]

    @property
    def lines(self) -> int:
        """How many lines they lead to."""
        return int(np.prod(self.axes[:, 0], dtype=np.int64))


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


class Row(NamedTuple):
    """The part of a line that is made: its first element, how many phases elements are kept in, the weight sum
    of each (None: it is added up), and how far the next one is in the image."""

    begin: int
    size: int
    phases: int
    profile: NDArray[np.float64] | None
    step: int


class Finish(NamedTuple):
    """How sums become values: by which functions, what sums start from, the least and the largest value, and what
    stands where weights add up to 0."""

    body: str
    store: str
    start: Any
    least: Any
    most: Any
    fill: Any


def gather(
    out: Memory, src: Memory, lines: tuple[int, int], some: int, leads: Leads, strips: Strips,
    weights: StripWeights | None, row: Row, finish: Finish,
) -> tuple[int, int]:  # fmt: skip
    """Make ``lines`` of the image, ``some`` at a time; returns how many elements have no weight, and how many are NaN
    where they cannot be."""
    loop = _GATHERS[finish.body, finish.store]
    step, out_step = (None if s == 1 else s for s in (strips.step, row.step))
    holes, unknown = loop(
        out, src, *lines, some, *leads, strips.table, step, *(weights or (None, None, None)), row.begin, row.size,
        row.phases, row.profile,
        out_step, finish.start, finish.least, finish.most, finish.fill,
    )  # fmt: skip
    return int(holes), int(unknown)


def gather_owners(
    out: Memory, src: Memory, lines: tuple[int, int], axes: Vector, places: Vector, strips: Strips, step: int, fill: Any
) -> None:  # fmt: skip
    """Make ``lines`` of the image, each element of the one patch that owns it.

    A row of ``axes`` is a leading axis: its size, where it begins in ``places``, and how far the
    next element is in the image. ``places`` are where owners hold an element, -1 for no owner.
    """
    src_step, out_step = (None if s == 1 else s for s in (strips.step, step))
    _gather_owners(out, src, *lines, axes, places, strips.table, src_step, out_step, fill)


def finish(
    out: Memory, sums: Memory, weights: Memory | None, lows: tuple[Memory | None, Memory | None], axes: Vector,
    profile: NDArray[np.float64] | None, store: str, bounds: tuple[Any, Any], fill: Any,
) -> tuple[int, int]:  # fmt: skip
    """Make values of a block of sums in one pass, into a contiguous ``out``; counts as `gather` does.

    A row of ``axes`` is an axis of the block: its size, how far the next element is among the sums
    and among the weights, and where it begins in ``profile``, whose product weights are where there
    are none. ``lows`` are what rounding took from the sums and from the weights.
    """
    loop, step = _FINISHES[store], None if axes[-1, 1] == 1 else axes[-1, 1]
    holes, unknown = loop(out, sums, lows[0], weights, lows[1], axes, step, profile, *bounds, fill)
    return int(holes), int(unknown)


def find_bases(lines: tuple[int, int], leads: Leads) -> Vector:
    """The bases of ``lines``, in C order of the patches: where each begins in the patches, among the weights that
    lead, among numbers and among lines; its key; and in which of the lines."""
    first, last = lines
    depth = int(np.prod(leads.axes[:, 3], dtype=np.int64))
    bases = np.empty(((last - first) * depth + 1, 6), dtype=np.int64)
    n = _list_bases(bases, first, last, 1, leads.axes, leads.low, leads.high, leads.starts)
    return bases[:n]


def clip_strips(
    places: Vector, of: Vector, lengths: Vector, numbers: Vector, along: Vector, size: int, phases: int, step: int,
    next_along: int,
) -> Vector:  # fmt: skip
    """The table of strips in a row of ``size`` elements: those that begin at ``places``, of which only what lies in
    the row is kept."""
    table = np.empty((len(places), 5), dtype=np.int64)
    n = _clip_strips(table, places, of, lengths, numbers, along, size, phases, step, next_along)
    return table[:n]


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


# Bodies: what is there and what comes in; what is there then.


def _add(there, x):
    return there + x


def _larger(there, x):
    return x if x > there or x != x else there


def _smaller(there, x):
    return x if x < there or x != x else there


# Stores: from a sum and its weight to a value, and whether that is NaN where it cannot be.


def _value(total, weight, least, most):
    return total, 0


def _quotient(total, weight, least, most):
    return total / weight, 0


def _rounded(total, weight, least, most):
    x = np.rint(total)
    bad = 1 if x != x else 0
    x = x if x > least else least
    return (x if x < most else most), bad


def _rounded_quotient(total, weight, least, most):
    x = np.rint(total / weight)
    bad = 1 if x != x else 0
    x = x if x > least else least
    return (x if x < most else most), bad


def _saturated(total, weight, least, most):
    x = total if total > least else least
    return (x if x < most else most), 0


def _find_bases(bases, first, last, width, axes, low, high, starts):
    # A base is where a patch that covers a line begins in the patches: a row of ``bases`` holds that,
    # its place among the weights that lead, among numbers and among lines, its key (which patch, or
    # which sample, it is along the leading axes), and where the line begins in the rows.
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
                            here = (
                                bases[total + b, k]
                                + i * axis[6 + k]
                                + lag // axis[4] * axis[11 + k]
                            )
                            bases[total + h * n + b, k] = here
            n *= hits
        for b in range(n):
            bases[total + b, 5] = (line - first) * width
        total += n
    return total


_list_bases = compiled(_find_bases)


def _sort_bases(bases, order):
    # ``order`` sorts bases by key, those of one key as they come; returns where each key begins
    least = bases[0, 4]
    most = least
    for b in range(order.size):
        least = min(least, bases[b, 4])
        most = max(most, bases[b, 4])
    begins = np.zeros(most - least + 2, dtype=np.int64)
    for b in range(order.size):
        begins[bases[b, 4] - least + 1] += 1
    for k in range(begins.size - 1):
        begins[k + 1] += begins[k]
    at = begins.copy()
    for b in range(order.size):
        k = bases[b, 4] - least
        order[at[k]] = b
        at[k] += 1
    return begins


def _gather(body, store):
    find_bases, sort_bases = known_to_numba(_find_bases), known_to_numba(_sort_bases)

    @known_to_numba
    def add(rows, src, bases, order, strips, step):
        for s in range(strips.shape[0]):
            d, of, n = strips[s, 0], strips[s, 1], strips[s, 2]
            width = n if step is None else (n - 1) * step + 1
            for k in range(order.size):
                b = order[k]
                r = rows[bases[b, 5] + d :][:n]
                v = src[bases[b, 0] + of :][:width]
                for j in range(n):
                    r[j] = body(r[j], v[j if step is None else j * step])

    @known_to_numba
    def add_weighted(rows, weight_rows, src, bases, order, strips, step, leading, numbers, lines):
        for s in range(strips.shape[0]):
            d, of, n, at, along = strips[s]
            width = n if step is None else (n - 1) * step + 1
            for k in range(order.size):
                b = order[k]
                r = rows[bases[b, 5] + d :][:n]
                v = src[bases[b, 0] + of :][:width]
                u = leading[bases[b, 1]] * numbers[bases[b, 2] + at]
                w = lines[bases[b, 3] + along :][:n]
                for j in range(n):
                    r[j] = body(r[j], v[j if step is None else j * step] * (u * w[j]))
                if weight_rows is not None:
                    t = weight_rows[bases[b, 5] + d :][:n]
                    for j in range(n):
                        t[j] += u * w[j]

    def loop(
        out, src, first, last, some, axes, low, high, starts, profile, strips, step, leading, numbers, lines, begin,
        size, phases, row_profile, out_step, start, least, most, fill,
    ):  # fmt: skip
        depth = 1
        for k in range(axes.shape[0]):
            depth *= axes[k, 3]
        bases = np.empty((some * depth + 1, 6), dtype=np.int64)
        orders = np.empty(some * depth, dtype=np.int64)
        per_phase = -(-size // phases)
        width = per_phase * phases
        rows = np.empty(some * width, dtype=np.asarray(start).dtype)
        weight_rows = (
            np.empty(some * width) if row_profile is None and leading is not None else None
        )
        holes = 0
        unknown = 0
        for one in range(first, last, some):
            end = min(one + some, last)
            rows[:] = start
            if weight_rows is not None:
                weight_rows[:] = 0
            order = orders[: find_bases(bases, one, end, width, axes, low, high, starts)]
            if order.size:
                begins = sort_bases(bases, order)
                for k in range(begins.size - 1):
                    alike = order[begins[k] : begins[k + 1]]
                    if leading is None:
                        add(rows, src, bases, alike, strips, step)
                    else:
                        add_weighted(
                            rows,
                            weight_rows,
                            src,
                            bases,
                            alike,
                            strips,
                            step,
                            leading,
                            numbers,
                            lines,
                        )
            for line in range(one, end):
                place = begin if out_step is None else begin * out_step
                weight = 1.0
                rest = line
                for q in range(axes.shape[0]):
                    axis = axes[axes.shape[0] - 1 - q]
                    x = rest % axis[0]
                    rest //= axis[0]
                    place += x * axis[5]
                    if row_profile is not None:
                        weight *= profile[axis[1] + x]
                for p in range(phases):
                    at = (line - one) * width + p * per_phase
                    r = rows[at:][:per_phase]
                    for j in range(max(0, -(-(size - p) // phases))):
                        x = p + j * phases
                        if row_profile is not None:
                            w = weight * row_profile[x]
                        elif weight_rows is not None:
                            w = weight_rows[at + j]
                        else:
                            w = 1.0
                        i = place + (x if out_step is None else x * out_step)
                        if w == 0:
                            out[i] = fill
                            holes += 1
                        else:
                            out[i], bad = store(r[j], w, least, most)
                            unknown += bad
        return holes, unknown

    return loop


def _finish(store):
    def loop(out, sums, low, weights, weight_low, axes, step, profile, least, most, fill):
        holes = 0
        unknown = 0
        last = axes.shape[0] - 1
        size = axes[last, 0]
        row = None if profile is None else profile[axes[last, 3] :][:size]
        lines = 1
        for k in range(last):
            lines *= axes[k, 0]
        for line in range(lines):
            of = 0
            at = 0
            lead = 1.0
            rest = line
            for q in range(1, axes.shape[0]):
                axis = axes[last - q]
                x = rest % axis[0]
                rest //= axis[0]
                of += x * axis[1]
                at += x * axis[2]
                if profile is not None:
                    lead *= profile[axis[3] + x]
            o = out[line * size :][:size]
            wide = size if step is None else (size - 1) * step + 1
            s = sums[of:][:wide]
            for j in range(size):
                i = j if step is None else j * step
                total = s[i]
                if low is not None and abs(total) < np.inf:
                    # past the finite numbers there is nothing to make up for
                    total = total + low[of + i]
                w = 1.0
                if weights is not None:
                    k = at + j * axes[last, 2]
                    w = weights[k] * 1.0
                    if weight_low is not None:
                        w = w + weight_low[k]
                elif profile is not None:
                    w = lead * row[j]
                if w == 0:
                    o[j] = fill
                    holes += 1
                else:
                    o[j], bad = store(total, w, least, most)
                    unknown += bad
        return holes, unknown

    return loop


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


_BODIES: dict[str, Callable[..., Any]] = {"add": _add, "larger": _larger, "smaller": _smaller}
_STORES: dict[str, Callable[..., Any]] = {
    "value": _value,
    "quotient": _quotient,
    "rounded": _rounded,
    "rounded quotient": _rounded_quotient,
    "saturated": _saturated,
}
_FINISHES = {name: compiled_with(_finish, store) for name, store in _STORES.items()}
_GATHERS = {
    (body, store): compiled_with(_gather, _BODIES[body], _STORES[store])
    for body in _BODIES
    for store in _STORES
}

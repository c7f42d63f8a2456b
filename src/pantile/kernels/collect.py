"""Merges that look at all values of an element: these are collected, and become one value.

What is kept of an element is a column of ``values`` (and of ``weights``), of which the first ``used``
count. A few columns at a time, the *lanes*, become values: one step of a sorting network, or of a
sum, is done to all of them by the same instructions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compile import compiled, compiled_with
from .gather import Row, Strips, StripWeights

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ARG001

__all__ = [
    "Kept",
    "append",
    "collect",
    "find_empty",
    "find_majority",
    "find_median",
    "find_spread",
    "put_lines",
]

Memory = NDArray[Any]
Vector = NDArray[np.int64]
Kept = tuple[NDArray[Any], Vector, NDArray[np.float64] | None]
"""Values ``(depth, n)``, how many of each column count, and what they weigh (None: all alike)."""

_LANES = 128
_FEW = 200  # values that are sorted by a network; of more, the middle ones are looked for


def collect(
    kept: Kept, src: Memory, bases: Vector, width: int, strips: Strips, weights: StripWeights | None
) -> None:
    """Put the values of lines of ``width``, found from ``bases`` (of `find_bases`) on, behind each other."""
    values, used, each = kept
    step = None if strips.step == 1 else strips.step
    used[:] = 0
    of = weights or (None, None, None)
    _collect(values, used, each, src, bases, width, strips.table, step, *of)


def append(state: tuple[NDArray[Any], ...], rows: Vector, other: tuple[NDArray[Any], ...]) -> None:
    """Put what elements of another state hold behind what ``rows`` hold; there must be room for it.

    A state is values ``(n, depth)``, how many of each row count, and, maybe, their weights.
    """
    used, count = state[1], other[1]
    for k in range(2, len(state)):
        _append(state[k], used, rows, other[k], count)
    _append(state[0], used, rows, other[0], count)
    used[rows] += count


def find_median(kept: Kept) -> NDArray[np.float64]:
    """The middle value, or the mean of the two middle ones; NaN where there is one."""
    values, used, _ = kept
    found = np.empty(len(used))
    few = values.shape[0] <= _FEW
    find = _find_middle if few else _middle_of_many
    find(found, values, used, _network(values.shape[0] * few), _last(values.dtype, np.inf))
    return found


def find_majority(kept: Kept) -> NDArray[Any]:
    """The value of most weight, the smallest of equals; weights are added up in ascending order."""
    values, used, weights = kept
    found = np.empty(len(used), values.dtype)
    few = values.shape[0] <= _FEW
    find = _find_majority if few else _majority_of_many
    pairs, last = _network(values.shape[0] * few), _last(values.dtype, np.nan)
    find(found, values, used, weights, pairs, last)
    return found


def find_spread(kept: Kept) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weighted mean, and the population variance around it, in two passes."""
    values, used, weights = kept
    mean, variance = np.empty(len(used)), np.empty(len(used))
    _find_spread(mean, variance, values, used, weights)
    return mean, variance


def find_empty(kept: Kept) -> NDArray[np.bool_]:
    """Where nothing is kept, or only what has no weight."""
    _, used, weights = kept
    empty = np.empty(len(used), np.bool_)
    _find_empty(empty, used, weights)
    return empty


@cache
def _network(n: int) -> Vector:
    """What is to be compared with what, so that ``n`` values are sorted: Batcher's merge exchange (Knuth, TAOCP 3,
    5.2.2, Algorithm M). The first of a pair is the smaller then."""
    pairs = []
    top = 1 << max(0, n - 1).bit_length()
    p = top // 2
    while p > 0:
        q, r, d = top // 2, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            d, q, r = q - p, q // 2, p
        p //= 2
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def put_lines(out: Memory, made: Memory, lines: tuple[int, int], axes: Vector, row: Row) -> None:
    """Write lines, in which elements lie phase by phase, where they belong.

    A row of ``axes`` is a leading axis: its size, and how far, in the image, the next element is.
    """
    _put_lines(out, made, *lines, axes, row.begin, row.size, row.phases, row.step)


def _last(dtype: np.dtype[Any], of_floats: float) -> Any:
    """What is sorted behind all else."""
    return dtype.type(of_floats if dtype.kind == "f" else np.iinfo(dtype).max)


@compiled
def _collect(values, used, each, src, bases, width, strips, step, leading, numbers, lines):
    for b in range(bases.shape[0]):
        for s in range(strips.shape[0]):
            d, of, n, at, along = strips[s]
            here = bases[b, 5] * width + d
            v = src[bases[b, 0] + of :][: n if step is None else (n - 1) * step + 1]
            u = used[here:][:n]
            begin = 0
            while begin < n:  # parts in which as many have come before
                slot = u[begin]
                end = begin + 1
                while end < n and u[end] == slot:
                    end += 1
                size = end - begin
                u[begin:end] = slot + 1
                t = values[slot, here + begin :][:size]
                o = v[begin if step is None else begin * step :]
                for j in range(size):
                    t[j] = o[j if step is None else j * step]
                if leading is not None:
                    number = leading[bases[b, 1]] * numbers[bases[b, 2] + at]
                    e = each[slot, here + begin :][:size]
                    w = lines[bases[b, 3] + along + begin :][:size]
                    for j in range(size):
                        e[j] = number * w[j]
                begin = end


@compiled
def _append(values, used, rows, others, counts):
    for k in range(rows.size):
        i, n = rows[k], counts[k]
        values[i, used[i] :][:n] = others[k, :n]


@compiled
def _put_lines(out, made, first, last, axes, begin, size, phases, step):
    per_phase = -(-size // phases)
    for line in range(first, last):
        place = begin * step
        rest = line
        for q in range(axes.shape[0]):
            axis = axes[axes.shape[0] - 1 - q]
            place += rest % axis[0] * axis[1]
            rest //= axis[0]
        m = made[(line - first) * per_phase * phases :][: per_phase * phases]
        o = out[place:][: (size - 1) * step + 1]
        if phases == 1 and step == 1:
            o[:] = m
        else:
            for p in range(phases):
                for j in range(max(0, -(-(size - p) // phases))):
                    o[(p + j * phases) * step] = m[p * per_phase + j]


# Lanes: columns of a block of values, one below the other.


def _take(block, values, begin, counts, last):
    # columns from ``begin`` on, with ``last`` in what does not count; returns how many count at most
    most, least = 0, values.shape[0]
    for k in range(counts.size):
        most, least = max(most, counts[k]), min(least, counts[k])
    for s in range(most):
        block[s * _LANES :][: counts.size] = values[s, begin:][: counts.size]
        block[s * _LANES + counts.size :][: _LANES - counts.size] = last
    if least < most:
        for k in range(counts.size):
            for s in range(counts[k], most):
                block[s * _LANES + k] = last
    return most


def _middle(take):
    def loop(found, values, used, pairs, last):
        block = np.empty(values.shape[0] * _LANES, values.dtype)
        unknown = np.empty(_LANES, np.bool_)
        for begin in range(0, used.size, _LANES):
            counts, f = used[begin:][:_LANES], found[begin:][:_LANES]
            most = take(block, values, begin, counts, last)
            unknown[:] = False
            for s in range(most):
                v = block[s * _LANES :][:_LANES]
                for k in range(_LANES):
                    unknown[k] |= v[k] != v[k]
            for p in range(pairs.shape[0]):
                if pairs[p, 1] < most:
                    a = block[pairs[p, 0] * _LANES :][:_LANES]
                    b = block[pairs[p, 1] * _LANES :][:_LANES]
                    for k in range(_LANES):
                        x, y = a[k], b[k]
                        a[k] = y if y < x else x
                        b[k] = x if y < x else y
            for k in range(f.size):
                n = counts[k]
                f[k] = 0
                if n:
                    low = float(block[(n - 1) // 2 * _LANES + k])
                    high = float(block[n // 2 * _LANES + k])
                    # halves first, so that large values do not overflow; equal ones (infinite too) stay
                    middle = low if low == high else low / 2 + high / 2
                    f[k] = np.nan if unknown[k] else middle

    return loop


@compiled
def _middle_of_many(found, values, used, pairs, last):
    held = np.empty(values.shape[0], values.dtype)
    for i in range(used.size):
        n = used[i]
        row = held[:n]
        row[:] = values[:n, i]
        unknown = False
        for k in range(n):
            unknown |= row[k] != row[k]
        if unknown:
            found[i] = np.nan
            continue
        if not n:
            found[i] = 0
            continue
        want, first, end = n // 2, 0, n - 1
        while first < end:  # Hoare's quickselect
            pivot = row[(first + end) // 2]
            a, b = first, end
            while a <= b:
                while row[a] < pivot:
                    a += 1
                while pivot < row[b]:
                    b -= 1
                if a <= b:
                    row[a], row[b] = row[b], row[a]
                    a += 1
                    b -= 1
            if want <= b:
                end = b
            elif want >= a:
                first = a
            else:
                break
        high = low = row[want]
        if n % 2 == 0:
            low = row[0]
            for k in range(1, want):
                low = max(low, row[k])
        x, y = float(low), float(high)
        found[i] = x if x == y else x / 2 + y / 2


def _majority(take):
    def loop(found, values, used, weights, pairs, last):
        block = np.empty(values.shape[0] * _LANES, values.dtype)
        heavy = np.empty(values.shape[0] * _LANES)
        running, votes, best = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES, values.dtype)
        counted = np.zeros(_LANES, dtype=np.int64)
        for begin in range(0, used.size, _LANES):
            f = found[begin:][:_LANES]
            counted[: f.size] = used[begin:][:_LANES]
            most = take(block, values, begin, counted[: f.size], last)
            if weights is not None:
                take(heavy, weights, begin, counted[: f.size], 0.0)
            for p in range(pairs.shape[0]):
                if pairs[p, 1] < most:
                    a = block[pairs[p, 0] * _LANES :][:_LANES]
                    b = block[pairs[p, 1] * _LANES :][:_LANES]
                    if weights is None:
                        for k in range(_LANES):
                            x, y = a[k], b[k]
                            less = y < x or (x != x and y == y)
                            a[k] = y if less else x
                            b[k] = x if less else y
                    else:
                        t = heavy[pairs[p, 0] * _LANES :][:_LANES]
                        u = heavy[pairs[p, 1] * _LANES :][:_LANES]
                        for k in range(_LANES):
                            x, y, w, z = a[k], b[k], t[k], u[k]
                            less = y < x or (x != x and y == y) or (x == y and z < w)
                            a[k] = y if less else x
                            b[k] = x if less else y
                            t[k] = z if less else w
                            u[k] = w if less else z
            running[:], votes[:], best[:] = 0, -1, last
            for s in range(most):
                v = block[s * _LANES :][:_LANES]
                before = block[max(s - 1, 0) * _LANES :][:_LANES]
                h = heavy[s * _LANES :][:_LANES]
                for k in range(_LANES):
                    w = h[k] if weights is not None else (1.0 if s < counted[k] else 0.0)
                    running[k] = (running[k] if v[k] == before[k] else 0.0) + w
                    better = running[k] > votes[k]
                    votes[k] = running[k] if better else votes[k]
                    best[k] = v[k] if better else best[k]
            f[:] = best[: f.size]

    return loop


@compiled
def _majority_of_many(found, values, used, weights, pairs, last):
    held = np.empty(values.shape[0], values.dtype)
    heavy = np.ones(values.shape[0])
    for i in range(used.size):
        n = used[i]
        found[i] = last
        held[:n] = values[:n, i]
        if weights is not None:
            heavy[:n] = weights[:n, i]
        for end in range(-(n // 2), n):  # a heap is made, then emptied from the top
            if end < 0:
                root, top = -1 - end, n
            else:
                root, top = 0, n - end
                if end == 0:
                    continue
                held[0], held[top] = held[top], held[0]
                heavy[0], heavy[top] = heavy[top], heavy[0]
            x, w = held[root], heavy[root]
            while 2 * root + 1 < top:
                k = 2 * root + 1
                if k + 1 < top:
                    y, z = held[k], held[k + 1]
                    k += z > y or (z != z and y == y) or (z == y and heavy[k + 1] > heavy[k])
                y = held[k]
                if not (y > x or (y != y and x == x) or (y == x and heavy[k] > w)):
                    break
                held[root], heavy[root] = y, heavy[k]
                root = k
            held[root], heavy[root] = x, w
        votes, running = -1.0, 0.0
        for k in range(n):
            running = (running if k and held[k] == held[k - 1] else 0.0) + heavy[k]
            if running > votes:
                votes = running
                found[i] = held[k]


def _spread(take):
    def loop(mean, variance, values, used, weights):
        block = np.empty(values.shape[0] * _LANES, values.dtype)
        heavy = np.empty(values.shape[0] * _LANES)
        weight, total, rest, middle = (
            np.empty(_LANES),
            np.empty(_LANES),
            np.empty(_LANES),
            np.empty(_LANES),
        )
        counted = np.zeros(_LANES, dtype=np.int64)
        for begin in range(0, used.size, _LANES):
            m, q = mean[begin:][:_LANES], variance[begin:][:_LANES]
            counted[: m.size] = used[begin:][:_LANES]
            most = take(block, values, begin, counted[: m.size], values.dtype.type(0))
            if weights is not None:
                take(heavy, weights, begin, counted[: m.size], 0.0)
            weight[:], total[:] = 0, 0
            for s in range(most):
                v = block[s * _LANES :][:_LANES]
                h = heavy[s * _LANES :][:_LANES]
                for k in range(_LANES):
                    w = h[k] if weights is not None else (1.0 if s < counted[k] else 0.0)
                    weight[k] += w
                    # the distance from the first value: equal values have their mean exactly
                    total[k] += w * (float(v[k]) - float(block[k]))
            for k in range(_LANES):
                # (of infinite distances the mean is unknown)
                middle[k] = float(block[k]) + (total[k] / weight[k] + (total[k] - total[k]))
            total[:], rest[:] = 0, 0
            for s in range(most):
                v = block[s * _LANES :][:_LANES]
                h = heavy[s * _LANES :][:_LANES]
                for k in range(_LANES):
                    w = h[k] if weights is not None else (1.0 if s < counted[k] else 0.0)
                    x = float(v[k]) - middle[k]
                    rest[k] += w * x
                    total[k] += w * (x * x)
            for k in range(m.size):
                # what rounding has left in the mean is taken out again
                x = (total[k] - rest[k] * (rest[k] / weight[k])) / weight[k]
                m[k] = middle[k]
                q[k] = 0.0 if x < 0 else x

    return loop


_find_middle = compiled_with(_middle, _take)
_find_majority = compiled_with(_majority, _take)
_find_spread = compiled_with(_spread, _take)


@compiled
def _find_empty(empty, used, weights):
    for i in range(used.size):
        held = used[i] > 0
        if weights is not None:
            held = False
            for k in range(used[i]):
                held |= weights[k, i] != 0
        empty[i] = not held

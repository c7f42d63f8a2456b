"""Many values of each element become one: the middle one, that of most weight, or their spread.

A few columns of what is kept, the *lanes*, are worked on together: one step of a sorting network, or
of a sum, is done to all of them by the same instructions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .collect import Kept
from .compile import compiled, compiled_with

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ARG001

__all__ = ["find_majority", "find_median", "find_spread"]

Vector = NDArray[np.int64]

_LANES = 128
_FEW = 200  # values that are sorted by a network; of more, the middle ones are looked for


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


def _last(dtype: np.dtype[Any], of_floats: float) -> Any:
    """What is sorted behind all else."""
    return dtype.type(of_floats if dtype.kind == "f" else np.iinfo(dtype).max)


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


def _mark(unknown, block, most):
    unknown[:] = False
    for s in range(most):
        v = block[s * _LANES :][:_LANES]
        for k in range(_LANES):
            unknown[k] |= v[k] != v[k]


def _choose(chosen, pairs, most):
    # pairs among the first ``most``: a condition inside of the loop over them would take three times as long
    n = 0
    for p in range(pairs.shape[0]):
        if pairs[p, 1] < most:
            chosen[n] = pairs[p]
            n += 1
    return n


def _sort(block, pairs):
    for p in range(pairs.shape[0]):
        a = block[pairs[p, 0] * _LANES :][:_LANES]
        b = block[pairs[p, 1] * _LANES :][:_LANES]
        for k in range(_LANES):
            x, y = a[k], b[k]
            a[k] = y if y < x else x
            b[k] = x if y < x else y


def _sort_labels(block, pairs):
    # the same, NaN behind all else
    for p in range(pairs.shape[0]):
        a = block[pairs[p, 0] * _LANES :][:_LANES]
        b = block[pairs[p, 1] * _LANES :][:_LANES]
        for k in range(_LANES):
            x, y = a[k], b[k]
            less = (y < x) | ((x != x) & (y == y))
            a[k] = y if less else x
            b[k] = x if less else y


def _sort_weighted(block, heavy, pairs):
    # the same, equal ones by weight
    for p in range(pairs.shape[0]):
        a = block[pairs[p, 0] * _LANES :][:_LANES]
        b = block[pairs[p, 1] * _LANES :][:_LANES]
        t = heavy[pairs[p, 0] * _LANES :][:_LANES]
        u = heavy[pairs[p, 1] * _LANES :][:_LANES]
        for k in range(_LANES):
            x, y, w, z = a[k], b[k], t[k], u[k]
            less = (y < x) | ((x != x) & (y == y)) | ((x == y) & (z < w))
            a[k] = y if less else x
            b[k] = x if less else y
            t[k] = z if less else w
            u[k] = w if less else z


def _halve(found, block, counts, unknown):
    for k in range(found.size):
        n = counts[k]
        found[k] = 0
        if n:
            low = block[(n - 1) // 2 * _LANES + k] * 1.0
            high = block[n // 2 * _LANES + k] * 1.0
            # halves first, so that large values do not overflow; equal ones (infinite too) stay
            middle = low if low == high else low / 2 + high / 2
            found[k] = np.nan if unknown[k] else middle


def _middle(take, choose, mark, sort, halve):
    def loop(found, values, used, pairs, last):
        block = np.empty(values.shape[0] * _LANES, values.dtype)
        unknown = np.empty(_LANES, np.bool_)
        known, n, chosen = -1, 0, np.empty_like(pairs)
        for begin in range(0, used.size, _LANES):
            counts, f = used[begin:][:_LANES], found[begin:][:_LANES]
            most = take(block, values, begin, counts, last)
            mark(unknown, block, most)
            if most != known:
                known, n = most, choose(chosen, pairs, most)
            sort(block, chosen[:n])
            halve(f, block, counts, unknown)

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
        x, y = low * 1.0, high * 1.0
        found[i] = x if x == y else x / 2 + y / 2


def _count(heavy, counted, most):
    # a weight of 1 for what counts
    for s in range(most):
        h = heavy[s * _LANES :][:_LANES]
        for k in range(_LANES):
            h[k] = 1.0 if s < counted[k] else 0.0


def _poll(best, votes, running, block, heavy, most):
    # equal labels follow each other
    running[:], votes[:] = 0, -1
    for s in range(most):
        v = block[s * _LANES :][:_LANES]
        before = block[max(s - 1, 0) * _LANES :][:_LANES]
        h = heavy[s * _LANES :][:_LANES]
        for k in range(_LANES):
            total = (running[k] if v[k] == before[k] else 0.0) + h[k]
            better = total > votes[k]
            running[k] = total
            votes[k] = total if better else votes[k]
            best[k] = v[k] if better else best[k]


def _majority(take, choose, count, sort, sort_weighted, poll):
    def loop(found, values, used, weights, pairs, last):
        block = np.empty(values.shape[0] * _LANES, values.dtype)
        heavy = np.empty(values.shape[0] * _LANES)
        running, votes, best = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES, values.dtype)
        known, n, chosen = -1, 0, np.empty_like(pairs)
        counted = np.zeros(_LANES, dtype=np.int64)
        for begin in range(0, used.size, _LANES):
            f = found[begin:][:_LANES]
            counted[: f.size] = used[begin:][:_LANES]
            most = take(block, values, begin, counted[: f.size], last)
            if weights is not None:
                take(heavy, weights, begin, counted[: f.size], 0.0)
            else:
                count(heavy, counted, most)
            if most != known:
                known, n = most, choose(chosen, pairs, most)
            if weights is None:
                sort(block, chosen[:n])
            else:
                sort_weighted(block, heavy, chosen[:n])
            poll(best, votes, running, block, heavy, most)
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


# (times 1.0 is float64; numba leaves float() of a float32 a float32)


def _add_up(weight, total, block, heavy, most):
    # distances from the first value: equal values have their mean exactly
    weight[:], total[:] = 0, 0
    for s in range(most):
        v, h = block[s * _LANES :][:_LANES], heavy[s * _LANES :][:_LANES]
        for k in range(_LANES):
            weight[k] += h[k]
            total[k] += h[k] * (v[k] * 1.0 - block[k] * 1.0)


def _add_squares(total, rest, block, heavy, most, middle):
    total[:], rest[:] = 0, 0
    for s in range(most):
        v, h = block[s * _LANES :][:_LANES], heavy[s * _LANES :][:_LANES]
        for k in range(_LANES):
            x = v[k] * 1.0 - middle[k]
            rest[k] += h[k] * x
            total[k] += h[k] * (x * x)


def _spread(take, count, add_up, add_squares):
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
            else:
                count(heavy, counted, most)
            add_up(weight, total, block, heavy, most)
            for k in range(_LANES):
                # (of infinite distances the mean is unknown)
                middle[k] = block[k] * 1.0 + (total[k] / weight[k] + (total[k] - total[k]))
            add_squares(total, rest, block, heavy, most, middle)
            for k in range(m.size):
                # what rounding has left in the mean is taken out again
                x = (total[k] - rest[k] * (rest[k] / weight[k])) / weight[k]
                m[k] = middle[k]
                q[k] = 0.0 if x < 0 else x

    return loop


_find_middle = compiled_with(_middle, _take, _choose, _mark, _sort, _halve)
_find_majority = compiled_with(
    _majority, _take, _choose, _count, _sort_labels, _sort_weighted, _poll
)
_find_spread = compiled_with(_spread, _take, _count, _add_up, _add_squares)

"""Loops that look for the best split of a node in its histograms."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from ...kernels.compile import compiled
from .kernels import BINS, ENTROPY, GINI, MOMENTS

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"

__all__ = ["best_split", "best_splits", "part", "score_node", "sum_node", "totals"]


@register_jitable
def part(goal, sums):
    """What a criterion makes of the sums of one side; larger is better, -1 is not allowed."""
    if goal.criterion == MOMENTS:
        weight = np.float64(sums[1]) * goal.unit
        if weight < goal.least_weight or weight + goal.l2 <= 0:
            return -1.0
        total = np.float64(sums[0]) * goal.gain
        return total * total / (weight + goal.l2)
    weight, square = 0.0, 0.0
    for c in range(goal.entries):
        own = np.float64(sums[c]) * goal.class_weight[c]
        weight += own
        if goal.criterion == GINI:
            square += own * own
        elif own > 0:
            square += own * np.log(own)
    if goal.criterion == GINI:
        return square / weight if weight > 0 else -1.0
    return square - weight * np.log(weight) if weight > 0 else 0.0


@register_jitable
def best_split(hist, occupied, n_occupied, goal, total, count, least, left, right):
    """The best split of one feature: its score and the bin up to which windows go left (-1: none).

    Between two bins that occur, the split lies in the middle. Of splits as good the first is taken.
    """
    best, threshold, before, n = -np.inf, -1, -1, 0
    low = (np.int64(1) << goal.bits) - 1
    for e in range(left.size):
        left[e] = 0
    for k in range(n_occupied):
        b = np.int64(occupied[k])
        row = hist[b * goal.entries :]
        here = np.int64(0)
        if goal.criterion == MOMENTS:
            here = row[1] & low
        else:
            for c in range(goal.entries):
                here += row[c] & low
        if here == 0:
            continue
        if before >= 0 and n >= least and count - n >= least:
            for e in range(left.size):
                right[e] = total[e] - left[e]
            one, other = part(goal, left), part(goal, right)
            allowed = goal.criterion == ENTROPY or (one >= 0 and other >= 0)
            if allowed and one + other > best:
                best, threshold = one + other, (before + b) >> 1
        n += here
        before = b
        if goal.criterion == MOMENTS:
            left[0] += row[0]
            left[1] += row[1] >> goal.bits
        else:
            for c in range(goal.entries):
                left[c] += row[c] >> goal.bits
    return best, threshold


@compiled
def best_splits(hist, goal, total, count, least, scores, thresholds):
    """The best split of each feature, from its histogram."""
    occupied = np.arange(BINS)
    left, right = np.empty_like(total), np.empty_like(total)
    for f in range(hist.shape[0]):
        scores[f], thresholds[f] = best_split(
            hist[f], occupied, BINS, goal, total, count, least, left, right
        )


@register_jitable
def sum_node(ids, n, goal, total):
    """Sums over a node; returns whether all its windows have the same class or target."""
    for e in range(total.size):
        total[e] = 0
    if goal.criterion == MOMENTS:
        low = high = np.int64(goal.targets[ids[0]])
        for i in range(n):
            target, weight = np.int64(goal.targets[ids[i]]), np.int64(goal.weights[ids[i]])
            total[0] += target * weight if goal.weighted else target
            total[1] += weight
            low, high = min(low, target), max(high, target)
        return low == high
    for i in range(n):
        total[goal.codes[ids[i]]] += np.int64(goal.weights[ids[i]])
    several = 0
    for e in range(total.size):
        several += total[e] > 0
    return several < 2


@compiled
def totals(ids, goal, total):
    """Sums over the windows ``ids``, in ``total``; returns whether all have the same class or target."""
    return sum_node(ids, ids.size, goal, total)


@compiled
def score_node(goal, total):
    """What the criterion makes of a node that is not split: a split gains what it is more."""
    return part(goal, total)

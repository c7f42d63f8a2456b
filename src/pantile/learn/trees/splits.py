"""Loops that look for the best split of a node in its histograms."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from ...kernels.compile import compiled
from .kernels import BINS, GINI, MOMENTS

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"

__all__ = [
    "best_classes",
    "best_moments",
    "best_split",
    "best_splits",
    "part",
    "score_node",
    "sum_node",
    "totals",
]


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
    if goal.criterion == MOMENTS:
        return best_moments(
            hist, occupied, n_occupied, goal.bits, total[0], total[1], count, least, goal.gain,
            goal.unit, goal.l2, goal.least_weight,
        )  # fmt: skip
    return best_classes(
        hist, occupied, n_occupied, goal.criterion, goal.bits, goal.class_weight, total, count, least,
        left, right,
    )  # fmt: skip


# Both are given numbers and few arrays: what is passed is counted as a reference, so nothing is called
# for each bin (with a function for the score of a side, a forest took four times as long).


@register_jitable
def best_moments(
    hist, occupied, n_occupied, bits, total, weight, count, least, gain, unit, l2, least_weight
):  # fmt: skip
    best, threshold, before, n = -np.inf, np.int64(-1), np.int64(-1), np.int64(0)
    low = (np.int64(1) << bits) - 1
    own, own_weight = np.int64(0), np.int64(0)
    for k in range(n_occupied):
        b = np.int64(occupied[k])
        entry = hist[2 * b + 1]
        here = entry & low
        if here == 0:
            continue
        if before >= 0 and n >= least and count - n >= least:
            one, other = np.float64(own_weight) * unit, np.float64(weight - own_weight) * unit
            if min(one, other) >= least_weight and min(one, other) + l2 > 0:
                a, c = np.float64(own) * gain, np.float64(total - own) * gain
                score = a * a / (one + l2) + c * c / (other + l2)
                if score > best:
                    best, threshold = score, (before + b) >> 1
        n += here
        before = b
        own += hist[2 * b]
        own_weight += entry >> bits
    return best, threshold


@register_jitable
def best_classes(
    hist, occupied, n_occupied, criterion, bits, class_weight, total, count, least, left, right
):
    best, threshold, before, n = -np.inf, np.int64(-1), np.int64(-1), np.int64(0)
    low = (np.int64(1) << bits) - 1
    entries = total.size
    one, other, square, square_other = 0.0, 0.0, 0.0, 0.0  # weights and sums of their squares
    for c in range(entries):
        left[c], right[c] = 0, total[c]
        weight = np.float64(total[c]) * class_weight[c]
        other += weight
        square_other += weight * weight
    for k in range(n_occupied):
        b = np.int64(occupied[k])
        at, here = b * entries, np.int64(0)
        for c in range(entries):
            here += hist[at + c] & low
        if here == 0:
            continue
        if before >= 0 and n >= least and count - n >= least and one > 0 and other > 0:
            if criterion == GINI:
                score = square / one + square_other / other
            else:
                score = -one * np.log(one) - other * np.log(other)
                for c in range(entries):
                    if left[c] > 0:
                        weight = np.float64(left[c]) * class_weight[c]
                        score += weight * np.log(weight)
                    if right[c] > 0:
                        weight = np.float64(right[c]) * class_weight[c]
                        score += weight * np.log(weight)
            if score > best:
                best, threshold = score, (before + b) >> 1
        n += here
        before = b
        for c in range(entries):
            moved = hist[at + c] >> bits
            if moved:
                weight = np.float64(moved) * class_weight[c]
                square += weight * (2 * (np.float64(left[c]) * class_weight[c]) + weight)
                square_other -= weight * (2 * (np.float64(right[c]) * class_weight[c]) - weight)
                one += weight
                other -= weight
                left[c] += moved
                right[c] -= moved
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
    weights = goal.weights
    if goal.criterion == MOMENTS:
        targets, weighted = goal.targets, goal.weighted
        low = high = np.int64(targets[ids[0]])
        summed, all_weights = np.int64(0), np.int64(0)
        for i in range(n):
            target, weight = np.int64(targets[ids[i]]), np.int64(weights[ids[i]])
            summed += target * weight if weighted else target
            all_weights += weight
            low, high = min(low, target), max(high, target)
        total[0], total[1] = summed, all_weights
        return low == high
    codes = goal.codes
    for i in range(n):
        total[codes[ids[i]]] += np.int64(weights[ids[i]])
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

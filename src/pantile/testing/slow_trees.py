"""Slow twins of trees: the same splits from the explicit matrix of patches, in plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Split", "best_split", "feature_bins", "grow", "score_split", "walk"]

Array = npt.NDArray[Any]


class Split(NamedTuple):
    """A split of rows: those whose ``feature`` is at most ``threshold`` go left."""

    score: float
    feature: int
    threshold: int


def score_split(left: Array, right: Array, criterion: str) -> float:
    """What a criterion makes of two sides; larger is better.

    ``left`` and ``right`` are weights per class, or ``(sum of targets, weight)`` for "squared_error".

    >>> round(score_split(np.array([3, 0]), np.array([1, 2]), "gini"), 6)
    4.666667
    """
    total = 0.0
    for side in (left, right):
        values = [float(value) for value in side]
        if criterion == "squared_error":
            total += values[0] ** 2 / values[1]
        elif criterion == "gini":
            total += sum(value * value for value in values) / sum(values)
        else:
            whole = sum(values)
            total += sum(v * math.log(v) for v in values if v > 0) - whole * math.log(whole)
    return total


def best_split(
    rows: Array, goal: Array, weights: Array, criterion: str, min_leaf: int = 1
) -> Split | None:
    """The best split of uint8 ``rows`` ``(n, features)``; of several as good the first; None where there is none.

    ``goal`` are codes of classes from 0 on, or targets for "squared_error".
    """
    best: Split | None = None
    k = 2 if criterion == "squared_error" else int(goal.max()) + 1
    for feature in range(rows.shape[1]):
        values = np.unique(rows[:, feature])
        for low, high in zip(values[:-1].tolist(), values[1:].tolist(), strict=True):
            goes = rows[:, feature] <= low
            if min(goes.sum(), (~goes).sum()) < min_leaf:
                continue
            score = score_split(
                _sum(goal[goes], weights[goes], criterion, k),
                _sum(goal[~goes], weights[~goes], criterion, k), criterion,
            )  # fmt: skip
            if best is None or score > best.score:
                best = Split(score, feature, (low + high) // 2)
    return best


def _sum(goal: Array, weights: Array, criterion: str, k: int) -> Array:
    if criterion == "squared_error":
        return np.array([(goal * weights).sum(), weights.sum()])
    return np.bincount(goal, weights=weights, minlength=k)


def grow(
    rows: Array,
    goal: Array,
    weights: Array,
    criterion: str,
    *,
    max_depth: int = 1 << 30,
    min_leaf: int = 1,
) -> Any:
    """A tree as nested tuples ``(feature, threshold, left, right)``, or a leaf: how many rows it has.

    >>> grow(np.array([[0], [4], [9]], np.uint8), np.array([0, 0, 1]), np.ones(3), "gini")
    (0, 6, 2, 1)
    """
    if max_depth == 0 or len(rows) < 2 * min_leaf or (goal == goal[0]).all():
        return len(rows)
    found = best_split(rows, goal, weights, criterion, min_leaf)
    if found is None:
        return len(rows)
    goes = rows[:, found.feature] <= found.threshold
    sides = [
        grow(rows[s], goal[s], weights[s], criterion, max_depth=max_depth - 1, min_leaf=min_leaf)
        for s in (goes, ~goes)
    ]
    return (found.feature, found.threshold, *sides)


def feature_bins(patches: Array, kind: int, a: int, b: int, channel: int | None = None) -> Array:
    """The bins of a feature of uint8 patches ``(n, *patch)``: 0 a sample, 1 a difference, 2 the mean of a box.

    ``a`` and ``b`` are places in the flattened patch: samples, or opposite corners of the box in the
    channel of ``a``. ``channel`` is the axis of channels in the shape of a patch.

    >>> feature_bins(np.array([[[1, 2], [4, 9]]], np.uint8), 2, 0, 3)
    array([4])
    """
    flat = patches.reshape(len(patches), -1).astype(np.int64)
    if kind == 0:
        return flat[:, a]
    if kind == 1:
        return (flat[:, a] - flat[:, b] + 255) // 2
    shape = patches.shape[1:]
    one, other = np.unravel_index(a, shape), np.unravel_index(b, shape)
    where: list[Any] = [
        slice(min(p, q), max(p, q) + 1) if axis != channel else slice(int(p), int(p) + 1)
        for axis, (p, q) in enumerate(zip(one, other, strict=True))
    ]
    boxes = patches[(slice(None), *where)].reshape(len(patches), -1).astype(np.int64)
    return np.asarray(boxes.sum(axis=1) // boxes.shape[1])


def walk(nodes: Sequence[Sequence[int]], patches: Array, channel: int | None = None) -> Array:
    """The node that each patch ends in, for nodes ``(kind, a, b, threshold, child)``; child -1 is a leaf."""
    found = np.zeros(len(patches), np.int64)
    for i in range(len(patches)):
        while nodes[found[i]][4] >= 0:
            kind, a, b, threshold, child = (int(value) for value in nodes[found[i]])
            value = feature_bins(patches[i : i + 1], kind, a, b, channel)[0]
            found[i] = child + int(value > threshold)
    return found

"""A whole subtree in one compiled call: below some tens of thousands of windows a node is too small to share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from ...kernels.compile import compiled
from .draws import below, child_key, draw
from .kernels import BINS, MOMENTS, VALUE, add_bytes, fill_bytes, gather, split_ids
from .splits import best_split, part, sum_node

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"

__all__ = ["Rule", "draw_candidates", "grow"]

_FEW = 1024  # windows: below, only bins that occur are looked at
_FIRST = 64  # nodes that there is room for at first


class Rule(NamedTuple):
    """When nodes are split, and on what: ``candidates`` features of each node.

    They are different samples where ``kinds`` is empty, else each is of a random kind.
    """

    max_depth: int
    min_split: int
    min_leaf: int
    candidates: int
    kinds: NDArray[np.int64]


@register_jitable
def _draw_next(rule, key, i, order, swaps, feature):
    """The ``i``-th candidate of a node, as ``(kind, a, b)`` in ``feature``; False where there are no more."""
    n = order.size
    if rule.kinds.size:
        feature[0] = rule.kinds[below(draw(key, 3 * i), rule.kinds.size)]
        feature[1] = below(draw(key, 3 * i + 1), n)
        feature[2] = below(draw(key, 3 * i + 2), n)
        return i < rule.candidates
    if i >= n:
        return False
    if rule.candidates < n:  # the first of a random order, drawn as far as it is needed
        j = i + below(draw(key, i), n - i)
        order[i], order[j] = order[j], order[i]
        swaps[i] = j
    feature[0], feature[1], feature[2] = VALUE, order[i], 0
    return True


@register_jitable
def _put_back(rule, order, swaps, drawn):
    """``order`` as it was before so many were drawn."""
    if not rule.kinds.size and rule.candidates < order.size:
        for i in range(drawn - 1, -1, -1):
            j = swaps[i]
            order[i], order[j] = order[j], order[i]


@compiled
def draw_candidates(rule, key, n_features, kinds, first, second):
    """The candidates of a node, as many as ``kinds`` has room for."""
    order, swaps = np.arange(n_features), np.empty(n_features, np.int64)
    feature = np.empty(3, np.int64)
    for i in range(kinds.size):
        _draw_next(rule, key, i, order, swaps, feature)
        kinds[i], first[i], second[i] = feature[0], feature[1], feature[2]


@register_jitable
def _list_bins(byte, n, occupied):
    """The bins that occur among ``n`` bytes, ascending; returns how many: a counting sort without the counts."""
    if n >= _FEW:
        for b in range(BINS):
            occupied[b] = b
        return BINS
    seen = np.zeros(BINS, np.uint8)
    for i in range(n):
        seen[byte[i]] = 1
    words = seen.view(np.uint64)
    found = 0
    for w in range(words.size):
        if words[w]:
            for b in range(8 * w, 8 * w + 8):
                occupied[found] = b
                found += seen[b]
    return found


@compiled
def grow(ids, key, depth, space, goal, rule):
    """The subtree over the windows ``ids``, which are put in another order.

    Returns how many nodes, and of each (there is room for more): ``(kind, a, b, threshold, child)``,
    child the left one (the right one comes next; -1: a leaf); what its split gains; its sums; how many
    windows it has.
    """
    n, n_features = ids.size, space.offsets.size
    entries = 2 if goal.criterion == MOMENTS else goal.entries
    pos, code = np.empty(n, np.uint64), np.empty(n, np.uint64)
    entry, target = np.empty(n, np.int64), np.empty(n, np.int64)
    byte, best_byte, box = np.empty(n, np.uint8), np.empty(n, np.uint8), np.empty(n, np.int64)
    here, there = np.empty(n, ids.dtype), np.empty(n, ids.dtype)
    corners = np.empty(1 << space.strides.size, np.int64)
    hist, occupied = np.zeros(BINS * entries, np.int64), np.empty(BINS + 1, np.int64)
    total = np.empty(entries, np.int64)
    left, right = np.empty(entries, np.int64), np.empty(entries, np.int64)
    order, swaps = np.arange(n_features), np.empty(n_features, np.int64)
    feature, chosen = np.empty(3, np.int64), np.empty(3, np.int64)

    nodes = np.empty((_FIRST, 5), np.int32)
    gains, sums = np.zeros(_FIRST), np.empty((_FIRST, entries), np.int64)
    counts = np.empty(_FIRST, np.int64)
    waiting = np.empty((_FIRST, 4), np.int64)  # begin, end, depth, node
    keys = np.empty(_FIRST, np.uint64)
    waiting[0, 0], waiting[0, 1], waiting[0, 2], waiting[0, 3] = 0, n, depth, 0
    keys[0] = key
    n_waiting, n_nodes = 1, 1

    while n_waiting:
        n_waiting -= 1
        begin, end = waiting[n_waiting, 0], waiting[n_waiting, 1]
        level, at = waiting[n_waiting, 2], waiting[n_waiting, 3]
        own = keys[n_waiting]
        mine = ids[begin:end]
        m = end - begin
        pure = sum_node(mine, m, goal, total)
        nodes[at, 0], nodes[at, 1], nodes[at, 2], nodes[at, 3] = 0, 0, 0, 255
        nodes[at, 4] = -1
        gains[at], counts[at] = 0, m
        for e in range(entries):
            sums[at, e] = total[e]
        if pure or level >= rule.max_depth or m < rule.min_split or m < 2 * rule.min_leaf:
            continue

        gather(mine, 0, m, space.base, goal, pos, code, entry, target)
        best, threshold, drawn = -np.inf, -1, 0
        while drawn < rule.candidates or threshold < 0:
            if not _draw_next(rule, own, drawn, order, swaps, feature):
                break
            drawn += 1
            fill_bytes(byte, pos, m, space, feature[0], feature[1], feature[2], corners, box)
            n_bins = _list_bins(byte, m, occupied)
            add_bytes(hist, byte, m, goal, code, entry, target)
            score, bin_ = best_split(
                hist, occupied, n_bins, goal, total, m, rule.min_leaf, left, right
            )
            for k in range(n_bins):
                for e in range(entries):
                    hist[occupied[k] * entries + e] = 0
            if bin_ >= 0 and score > best:
                best, threshold = score, bin_
                for e in range(3):
                    chosen[e] = feature[e]
                byte, best_byte = best_byte, byte
        _put_back(rule, order, swaps, drawn)
        if threshold < 0:
            continue

        some = split_ids(mine, best_byte, threshold, here, there)
        for i in range(some):
            mine[i] = here[i]
        for i in range(some, m):
            mine[i] = there[i - some]
        if n_nodes + 2 > len(nodes):
            nodes, sums = _more_rows(nodes), _more_rows(sums)
            gains, counts = _more(gains), _more(counts)
        nodes[at, 0], nodes[at, 1], nodes[at, 2] = chosen[0], chosen[1], chosen[2]
        nodes[at, 3], nodes[at, 4] = threshold, n_nodes
        gains[at] = best - part(goal, total)
        if n_waiting + 2 > len(waiting):
            waiting, keys = _more_rows(waiting), _more(keys)
        for turn in range(2):  # the smaller one is done first, so that few wait
            side = turn if 2 * some > m else 1 - turn
            waiting[n_waiting, 0] = begin + some * side
            waiting[n_waiting, 1] = end if side else begin + some
            waiting[n_waiting, 2], waiting[n_waiting, 3] = level + 1, n_nodes + side
            keys[n_waiting] = child_key(own, side)
            n_waiting += 1
        n_nodes += 2
    return n_nodes, nodes, gains, sums, counts


@register_jitable
def _more(array):
    """A copy with room for twice as many."""
    found = np.zeros(2 * array.size, array.dtype)
    for i in range(array.size):
        found[i] = array[i]
    return found


@register_jitable
def _more_rows(array):
    """A copy with room for twice as many rows."""
    found = np.zeros((2 * array.shape[0], array.shape[1]), array.dtype)
    for i in range(array.shape[0]):
        for j in range(array.shape[1]):
            found[i, j] = array[i, j]
    return found

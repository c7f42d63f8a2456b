"""A whole subtree in one compiled call: below some tens of thousands of windows a node is too small to share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from ...kernels.compile import compiled
from .draws import below, child_key, draw
from .kernels import BINS, BLOCK, MOMENTS, VALUE, add_block, fill_bytes, gather
from .splits import best_classes, best_moments, best_split, part, sum_node

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"

__all__ = ["Rule", "draw_candidates", "grow"]

_ONE = np.uint64(1)
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
def _list_bins(byte, n, occupied, seen, words):
    """The bins that occur among ``n`` bytes, ascending; returns how many: a counting sort without the counts.

    ``seen`` is 0 and is left so; ``words`` is the same, eight bins at a time.
    """
    for i in range(n):
        seen[byte[i]] = 1
    found = 0
    for w in range(words.size):
        if words[w]:
            for b in range(8 * w, 8 * w + 8):
                occupied[found] = b
                found += seen[b]
            words[w] = 0
    return found


@register_jitable
def _search_blocks(ids, space, goal, total, least, drawn, hists, work, scores, thresholds):
    """The best split of each feature of a node with many windows: a block of these after the other."""
    pos, code, entry, target, byte, box, corners, left, right, occupied, _, _ = work
    n, width, flat = ids.size, BINS * total.size, hists.reshape(hists.size)
    some = flat[: drawn.shape[0] * width]
    block = (pos, code, entry, target, byte, box, corners)
    for k in range(some.size):
        some[k] = 0
    for at in range(0, n, BLOCK):
        m = min(BLOCK, n - at)
        gather(ids, at, m, space.base, goal, pos, code, entry, target)
        add_block(some, m, space, goal, drawn, block)
    for k in range(BINS):
        occupied[k] = k
    for f in range(drawn.shape[0]):
        scores[f], thresholds[f] = best_split(
            hists[f], occupied, BINS, goal, total, n, least, left, right
        )


@register_jitable
def _search_few(ids, space, goal, total, least, drawn, hists, work, scores, thresholds):
    """The same of a node whose windows fit into one block: only bins that occur are looked at.

    ``hists[0]`` is 0, and is 0 again afterwards.
    """
    pos, code, entry, target, byte, box, corners, left, right, occupied, seen, words = work
    m, hist, entries, bins = ids.size, hists[0], total.size, space.bins
    criterion, bits, class_weight = goal.criterion, goal.bits, goal.class_weight
    gain, unit, l2, least_weight = goal.gain, goal.unit, goal.l2, goal.least_weight
    width = np.uint64(entries)
    gather(ids, 0, m, space.base, goal, pos, code, entry, target)
    for f in range(drawn.shape[0]):
        if drawn[f, 0] == VALUE:
            offset = np.uint64(space.offsets[drawn[f, 1]])
            for i in range(m):
                byte[i] = bins[pos[i] + offset]
        else:
            fill_bytes(byte, pos, m, space, drawn[f, 0], drawn[f, 1], drawn[f, 2], corners, box)
        n_bins = _list_bins(byte, m, occupied, seen, words)
        if criterion == MOMENTS:
            for i in range(m):
                j = np.uint64(byte[i]) << _ONE
                hist[j] += target[i]
                hist[j + _ONE] += entry[i]
            scores[f], thresholds[f] = best_moments(
                hist,
                occupied,
                n_bins,
                bits,
                total[0],
                total[1],
                m,
                least,
                gain,
                unit,
                l2,
                least_weight,
            )
        else:
            for i in range(m):
                hist[np.uint64(byte[i]) * width + code[i]] += entry[i]
            scores[f], thresholds[f] = best_classes(
                hist, occupied, n_bins, criterion, bits, class_weight, total, m, least, left, right
            )
        for k in range(n_bins):
            for e in range(entries):
                hist[occupied[k] * entries + e] = 0


@register_jitable
def _part_node(ids, space, feature, threshold, there, work):
    """Put the windows that go left before the others, both in their order; returns how many they are."""
    pos, byte, box, corners = work[0], work[4], work[5], work[6]
    left = right = 0
    base = space.base
    for at in range(0, ids.size, BLOCK):
        m = min(BLOCK, ids.size - at)
        for i in range(m):
            pos[i] = np.uint64(base[ids[at + i]])
        fill_bytes(byte, pos, m, space, feature[0], feature[1], feature[2], corners, box)
        for i in range(m):  # without a branch, which would be guessed wrong half of the time
            k, goes = ids[at + i], byte[i] <= threshold
            ids[left] = k
            there[right] = k
            left += goes
            right += 1 - goes
    for i in range(right):
        ids[left + i] = there[i]
    return left


@compiled
def grow(ids, key, depth, space, goal, rule):
    """The subtree over the windows ``ids``, which are put in another order.

    Returns how many nodes, and of each (there is room for more): ``(kind, a, b, threshold, child)``,
    child the left one (the right one comes next; -1: a leaf); what its split gains; its sums; how many
    windows it has.
    """
    n, n_features = ids.size, space.offsets.size
    entries = 2 if goal.criterion == MOMENTS else goal.entries
    most = rule.candidates if rule.kinds.size else min(rule.candidates, n_features)
    seen = np.zeros(BINS, np.uint8)
    work = (
        np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.int64),
        np.empty(BLOCK, np.int64), np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64),
        np.empty(1 << space.strides.size, np.int64), np.empty(entries, np.int64),
        np.empty(entries, np.int64), np.empty(BINS + 8, np.int64), seen, seen.view(np.uint64),
    )  # fmt: skip
    there, total = np.empty(n, ids.dtype), np.empty(entries, np.int64)
    hists = np.zeros((most if n > BLOCK else 1, BINS * entries), np.int64)
    few = np.zeros((1, BINS * entries), np.int64)
    order, swaps = np.arange(n_features), np.empty(n_features, np.int64)
    drawn, feature, chosen = (
        np.empty((most, 3), np.int64),
        np.empty(3, np.int64),
        np.empty(3, np.int64),
    )
    scores, thresholds = np.empty(most), np.empty(most, np.int64)

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
        own, mine, m = keys[n_waiting], ids[begin:end], end - begin
        pure = sum_node(mine, m, goal, total)
        nodes[at, 0], nodes[at, 1], nodes[at, 2], nodes[at, 3] = 0, 0, 0, 255
        nodes[at, 4] = -1
        gains[at], counts[at] = 0, m
        for e in range(entries):
            sums[at, e] = total[e]
        if pure or level >= rule.max_depth or m < rule.min_split or m < 2 * rule.min_leaf:
            continue

        best, threshold, n_drawn, more = -np.inf, np.int64(-1), 0, True
        while more and threshold < 0:
            here = 0
            while here < most:
                more = _draw_next(rule, own, n_drawn, order, swaps, feature)
                if not more:
                    break
                for e in range(3):
                    drawn[here, e] = feature[e]
                n_drawn += 1
                here += 1
            if m > BLOCK:
                _search_blocks(
                    mine,
                    space,
                    goal,
                    total,
                    rule.min_leaf,
                    drawn[:here],
                    hists,
                    work,
                    scores,
                    thresholds,
                )
            else:
                _search_few(
                    mine,
                    space,
                    goal,
                    total,
                    rule.min_leaf,
                    drawn[:here],
                    few,
                    work,
                    scores,
                    thresholds,
                )
            for f in range(here):
                if thresholds[f] >= 0 and scores[f] > best:
                    best, threshold = scores[f], thresholds[f]
                    for e in range(3):
                        chosen[e] = drawn[f, e]
        _put_back(rule, order, swaps, n_drawn)
        if threshold < 0:
            continue

        some = _part_node(mine, space, chosen, threshold, there, work)
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

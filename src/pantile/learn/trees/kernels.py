"""Loops of trees on windows: histograms through constant displacements, and partitions.

All sums are of whole numbers: they are exact, and the same in any order. A histogram has, for each of
256 bins, one entry per class (``weight << bits | count``), or the sum of targets and such an entry.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from ...kernels.compile import compiled

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"

__all__ = [
    "BINS", "BLOCK", "BOX", "DIFFERENCE", "ENTROPY", "GINI", "MOMENTS", "VALUE", "Goal", "Space",
    "add_block", "add_bytes", "count_left", "fill_bytes", "gather", "partition", "tally",
]  # fmt: skip

VALUE, DIFFERENCE, BOX = 0, 1, 2
GINI, ENTROPY, MOMENTS = 0, 1, 2
BINS = 256
BLOCK = 512
_ONE = np.uint64(1)


class Space(NamedTuple):
    """Where windows and their samples lie: window ``w`` has ``bins[base[w] + offsets[f]]`` as feature ``f``.

    ``coords`` (features, axes) are the samples' places in the patch, in elements along each patched
    axis, ``strides`` those of the axes, ``channel`` the rest of ``offsets``: what boxes need.
    ``sums`` are running sums of ``bins`` along the patched axes, modulo 2**32.
    """

    bins: NDArray[np.uint8]
    sums: NDArray[np.uint32]
    base: NDArray[np.signedinteger]
    offsets: NDArray[np.int64]
    coords: NDArray[np.int64]
    strides: NDArray[np.int64]
    channel: NDArray[np.int64]


class Goal(NamedTuple):
    """What is learnt: a class of each window (``codes``), or whole numbers ``targets``; and its weight.

    Entries of histograms are ``weight << bits | count``. ``gain`` and ``unit`` turn sums of targets
    and of weights into numbers; ``class_weight`` is one number per class, ``l2`` is added to weights.
    """

    criterion: int
    codes: NDArray[np.unsignedinteger]
    targets: NDArray[np.signedinteger]
    weights: NDArray[np.integer]
    bits: int
    entries: int
    class_weight: NDArray[np.float64]
    gain: float
    unit: float
    l2: float
    least_weight: float
    weighted: bool  # whether targets are to be multiplied by weights


@register_jitable
def _corners(space, a, b, corners):
    """Displacements of the corners of a box in ``sums``; returns how many samples it holds."""
    area = 1
    axes = space.strides.size
    for c in range(corners.size):
        corners[c] = space.channel[a]
    for axis in range(axes):
        low = min(space.coords[a, axis], space.coords[b, axis])
        high = max(space.coords[a, axis], space.coords[b, axis])
        area *= high - low + 1
        for c in range(corners.size):
            at = high if (c >> axis) & 1 else low - 1
            corners[c] += at * space.strides[axis]
    return area


@register_jitable
def _sign(c, axes):
    """Whether a corner is subtracted: an odd number of its sides are low."""
    low = axes
    for axis in range(axes):
        low -= (c >> axis) & 1
    return low & 1


@register_jitable
def fill_bytes(out, pos, m, space, kind, a, b, corners, sums):
    """The bytes of one feature at ``m`` windows."""
    bins = space.bins
    at = np.uint64(space.offsets[a])
    if kind == VALUE:
        for i in range(m):
            out[i] = bins[pos[i] + at]
    elif kind == DIFFERENCE:
        other = np.uint64(space.offsets[b])
        for i in range(m):
            apart = np.int64(bins[pos[i] + at]) - np.int64(bins[pos[i] + other])
            out[i] = np.uint8((apart + 255) >> 1)
    else:
        area = np.float64(_corners(space, a, b, corners))
        running = space.sums
        for i in range(m):
            sums[i] = 0
        for c in range(corners.size):
            corner = np.uint64(corners[c])
            if _sign(c, space.strides.size):
                for i in range(m):
                    sums[i] -= np.int64(running[pos[i] + corner])
            else:
                for i in range(m):
                    sums[i] += np.int64(running[pos[i] + corner])
        for i in range(m):
            out[i] = np.uint8(np.float64(sums[i] & 0xFFFFFFFF) / area)


@register_jitable
def gather(ids, at, m, base, goal, pos, code, entry, target):
    """Where ``m`` windows are, and what is added for each of them."""
    # each array by a name of its own: a field that is read in a loop is counted as a reference there
    weights, bits = goal.weights, goal.bits
    for i in range(m):
        k = ids[at + i]
        pos[i] = np.uint64(base[k])
        entry[i] = (np.int64(weights[k]) << bits) + 1
    if goal.criterion != MOMENTS:
        codes = goal.codes
        for i in range(m):
            code[i] = np.uint64(codes[ids[at + i]])
    elif goal.weighted:
        targets = goal.targets
        for i in range(m):
            target[i] = np.int64(targets[ids[at + i]]) * (entry[i] >> bits)
    else:
        targets = goal.targets
        for i in range(m):
            target[i] = np.int64(targets[ids[at + i]])


@register_jitable
def add_bytes(hist, byte, m, goal, code, entry, target):
    """Add ``m`` windows to the histogram of one feature."""
    if goal.criterion == MOMENTS:
        for i in range(m):
            j = np.uint64(byte[i]) << _ONE
            hist[j] += target[i]
            hist[j + _ONE] += entry[i]
    else:
        width = np.uint64(goal.entries)
        for i in range(m):
            hist[np.uint64(byte[i]) * width + code[i]] += entry[i]


@register_jitable
def add_block(hists, m, space, goal, features, work):
    """Add a block of ``m`` windows to ``hists``, those of all ``features`` one after the other.

    Samples are read where they are; nothing is called for them, because what is passed is counted.
    """
    pos, code, entry, target, byte, box, corners = work
    bins, offsets, moments = space.bins, space.offsets, goal.criterion == MOMENTS
    entries = np.uint64(2 if moments else goal.entries)
    width = hists.size // features.shape[0]
    for f in range(features.shape[0]):
        if features[f, 0] != VALUE:
            kind, a, b = features[f, 0], features[f, 1], features[f, 2]
            fill_bytes(byte, pos, m, space, kind, a, b, corners, box)
            add_bytes(hists[f * width : (f + 1) * width], byte, m, goal, code, entry, target)
            continue
        at, first = np.uint64(offsets[features[f, 1]]), np.uint64(f * width)
        if moments:
            for i in range(m):
                j = first + (np.uint64(bins[pos[i] + at]) << _ONE)
                hists[j] += target[i]
                hists[j + _ONE] += entry[i]
        else:
            for i in range(m):
                hists[first + np.uint64(bins[pos[i] + at]) * entries + code[i]] += entry[i]


@compiled
def tally(hists, ids, space, goal, features):
    """Add the windows ``ids`` to the flat histograms of ``features``, rows of ``(kind, a, b)``."""
    pos, code = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    entry, target = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    byte, box = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.int64)
    work = (pos, code, entry, target, byte, box, np.empty(1 << space.strides.size, np.int64))
    for at in range(0, ids.size, BLOCK):
        m = min(BLOCK, ids.size - at)
        gather(ids, at, m, space.base, goal, pos, code, entry, target)
        add_block(hists, m, space, goal, features, work)


@compiled
def count_left(ids, space, kind, a, b, threshold):
    """How many of the windows go left."""
    pos, byte = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint8)
    sums, corners = np.empty(BLOCK, np.int64), np.empty(1 << space.strides.size, np.int64)
    n, base = 0, space.base
    for at in range(0, ids.size, BLOCK):
        m = min(BLOCK, ids.size - at)
        for i in range(m):
            pos[i] = np.uint64(base[ids[at + i]])
        fill_bytes(byte, pos, m, space, kind, a, b, corners, sums)
        for i in range(m):
            n += byte[i] <= threshold
    return n


@compiled
def partition(ids, left, right, space, kind, a, b, threshold):
    """Write the windows that go left to ``left``, the others to ``right``, each in their order."""
    pos, byte = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint8)
    sums, corners = np.empty(BLOCK, np.int64), np.empty(1 << space.strides.size, np.int64)
    here, there = np.empty(BLOCK, ids.dtype), np.empty(BLOCK, ids.dtype)
    n_left = n_right = 0
    base = space.base
    for at in range(0, ids.size, BLOCK):
        m = min(BLOCK, ids.size - at)
        for i in range(m):
            pos[i] = np.uint64(base[ids[at + i]])
        fill_bytes(byte, pos, m, space, kind, a, b, corners, sums)
        some = rest = 0
        for i in range(m):  # without a branch, which would be guessed wrong half of the time
            k, goes = ids[at + i], byte[i] <= threshold
            here[some] = k
            there[rest] = k
            some += goes
            rest += 1 - goes
        for i in range(some):
            left[n_left + i] = here[i]
        for i in range(m - some):
            right[n_right + i] = there[i]
        n_left += some
        n_right += m - some

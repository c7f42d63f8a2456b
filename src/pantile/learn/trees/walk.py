"""Loops that send windows down trees."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from ...kernels.compile import compiled
from .kernels import BOX, DIFFERENCE, VALUE

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"

__all__ = ["leaves", "walk", "walk_samples"]

_BLOCK = 256  # windows that go down a tree together: their loads overlap


@register_jitable
def _descend(at, pos, m, bins, tree):
    """Send ``m`` windows to their leaves in a tree whose features are samples.

    A node is ``offset << 32 | child << 8 | threshold``; a leaf is its own child, with threshold 255.
    """
    for i in range(m):
        at[i] = 0
    moved = True
    while moved:
        change = np.uint32(0)
        for i in range(m):
            node = tree[at[i]]
            value = np.int64(bins[np.uint64(pos[i] + (node >> 32))])
            child = np.uint32(((node >> 8) & 0xFFFFFF) + (value > (node & 255)))
            change |= child ^ at[i]
            at[i] = child
        moved = change != 0


@compiled
def walk_samples(out, bins, base, packed, roots, values):
    """Add the values of the leaves that windows reach in each tree to ``out``, ``(windows, k)``."""
    at, pos = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.int64)
    for begin in range(0, base.size, _BLOCK):
        m = min(_BLOCK, base.size - begin)
        for i in range(m):
            pos[i] = base[begin + i]
        for t in range(roots.size - 1):
            _descend(at, pos, m, bins, packed[roots[t] : roots[t + 1]])
            leaf_values = values[roots[t] : roots[t + 1]]
            for i in range(m):
                for k in range(out.shape[1]):
                    out[begin + i, k] += leaf_values[at[i], k]


@register_jitable
def _bin_of(bins, sums, pos, kind, first, second, corners, area):
    """The bin of one feature of one window."""
    if kind == VALUE:
        return np.int64(bins[np.uint64(pos + first)])
    if kind == DIFFERENCE:
        apart = np.int64(bins[np.uint64(pos + first)]) - np.int64(bins[np.uint64(pos + second)])
        return (apart + 255) >> 1
    total = np.int64(0)
    for c in range(corners.size):
        value = np.int64(sums[np.uint64(pos + (corners[c] >> 1))])
        total += -value if corners[c] & 1 else value
    return np.int64(np.float64(total & 0xFFFFFFFF) / area)


@compiled
def walk(out, bins, sums, base, nodes, corners, areas, roots, values):
    """The same for features of any kind: ``nodes`` are ``(kind, first, second, threshold, child)``.

    ``first`` and ``second`` are displacements. Of a box, ``second`` is its row in ``corners``, which
    are ``displacement << 1 | subtracted``, and in ``areas``.
    """
    for i in range(base.size):
        pos = np.int64(base[i])
        for t in range(roots.size - 1):
            root = roots[t]
            at = root
            while nodes[at, 4] >= 0:
                kind, second = nodes[at, 0], np.int64(nodes[at, 2])
                box = second if kind == BOX else 0
                bin_ = _bin_of(
                    bins, sums, pos, kind, np.int64(nodes[at, 1]), second, corners[box], areas[box]
                )
                at = root + nodes[at, 4] + (bin_ > nodes[at, 3])
            for k in range(out.shape[1]):
                out[i, k] += values[at, k]


@compiled
def leaves(found, bins, base, packed):
    """The leaf of one tree that each window reaches."""
    at, pos = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.int64)
    for begin in range(0, base.size, _BLOCK):
        m = min(_BLOCK, base.size - begin)
        for i in range(m):
            pos[i] = base[begin + i]
        _descend(at, pos, m, bins, packed)
        for i in range(m):
            found[begin + i] = at[i]

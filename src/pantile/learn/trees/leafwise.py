"""A tree of boosting: the leaf whose split gains most is split next."""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry.limits import Limits
from .growth import Features, Grown, partition_node, search, tally_features
from .kernels import BINS, Goal, Space
from .splits import score_node, totals

__all__ = ["Leaves", "grow_leaves"]

Array = NDArray[Any]


class Leaves(NamedTuple):
    """How large a tree may become."""

    most: int
    max_depth: int
    min_leaf: int


class _Leaf(NamedTuple):
    """A leaf that may be split: ``(feature, threshold)`` gains most there."""

    gain: float
    node: int
    begin: int
    end: int
    turned: bool
    depth: int
    feature: int
    threshold: int
    hist: Array | None

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        return (-self.gain, self.node) < (-other[0], other[1])


class _Tree:
    """A tree while it grows, over windows in two arrays of their numbers."""

    def __init__(
        self, space: Space, goal: Goal, features: Features, rule: Leaves, ids: Array, limits: Limits
    ) -> None:
        self.space, self.goal, self.features, self.rule, self.limits = (
            space,
            goal,
            features,
            rule,
            limits,
        )
        self.arrays = (ids, np.empty_like(ids))
        self.nodes: list[tuple[int, ...]] = []
        self.gains: list[float] = []
        self.sums: list[Array] = []
        self.counts: list[int] = []
        self.leaves: list[_Leaf] = []

    @property
    def _kept(self) -> bool:
        """Whether the histograms of all leaves fit into memory together."""
        size = 16 * BINS * len(self.features.kinds)
        return size * (self.rule.most + 1) <= self.limits.tree_histogram_bytes

    def add(self, ids: Array, total: Array) -> int:
        """A new node over these windows."""
        self.nodes.append((0, 0, 0, 255, -1))
        self.gains.append(0.0)
        self.sums.append(total)
        self.counts.append(len(ids))
        return len(self.nodes) - 1

    def may_split(self, node: int, depth: int) -> bool:
        return depth < self.rule.max_depth and self.counts[node] >= 2 * self.rule.min_leaf

    def sum_up_to(self, hist: Array, feature: int, threshold: int) -> Array:
        """Sums over the windows of a node that go left, from its histograms."""
        found = hist[feature].reshape(BINS, 2)[: threshold + 1].sum(axis=0)
        found[1] >>= self.goal.bits
        return np.asarray(found)

    def count(self, ids: Array) -> Array:
        hist = np.zeros((len(self.features.kinds), 2 * BINS), np.int64)
        tally_features(hist, ids, self.space, self.goal, self.features)
        return hist

    def consider(
        self, node: int, begin: int, end: int, turned: bool, depth: int, hist: Array
    ) -> None:
        """Find the best split of a node, and let it wait for its turn."""
        total, n = self.sums[node], self.counts[node]
        score, feature, threshold = search(hist, self.goal, total, n, self.rule.min_leaf)
        gain = score - score_node(self.goal, total) if threshold >= 0 else 0.0
        if gain > 0:
            kept = hist if self._kept else None
            leaf = _Leaf(gain, node, begin, end, turned, depth, feature, threshold, kept)
            heapq.heappush(self.leaves, leaf)

    def split(self, leaf: _Leaf) -> None:
        """Split a leaf, and consider its children."""
        ids = self.arrays[leaf.turned][leaf.begin : leaf.end]
        out = self.arrays[not leaf.turned][leaf.begin : leaf.end]
        feature = tuple(int(each[leaf.feature]) for each in self.features)
        some = partition_node(
            ids, out, self.space, feature, leaf.threshold, self.limits.tree_task_windows
        )
        parts = (out[:some], out[some:])
        if leaf.hist is None:
            left = np.zeros(2, np.int64)
            totals(parts[0], self.goal, left)
        else:
            left = self.sum_up_to(leaf.hist, leaf.feature, leaf.threshold)
        child = self.add(parts[0], left)
        self.add(parts[1], self.sums[leaf.node] - left)
        self.nodes[leaf.node] = (*feature, leaf.threshold, child)
        self.gains[leaf.node] = leaf.gain
        depth = leaf.depth + 1
        waiting = [side for side in (0, 1) if self.may_split(child + side, depth)]
        if len(self.nodes) >= 2 * self.rule.most - 1 or not waiting:
            return
        small = int(len(parts[1]) < len(parts[0]))
        hists: list[Array | None] = [None, None]
        if leaf.hist is None:
            for side in waiting:
                hists[side] = self.count(parts[side])
        else:
            own = self.count(parts[small])
            hists[small] = own
            hists[1 - small] = np.subtract(leaf.hist, own, out=leaf.hist)
        bounds = (leaf.begin, leaf.begin + some, leaf.end)
        for side in waiting:
            hist = hists[side]
            assert hist is not None
            self.consider(
                child + side, bounds[side], bounds[side + 1], not leaf.turned, depth, hist
            )

    def finish(self) -> Grown:
        return Grown(
            np.array(self.nodes, np.int32), np.array(self.gains), np.stack(self.sums),
            np.array(self.counts, np.int64),
        )  # fmt: skip


def grow_leaves(
    space: Space, goal: Goal, features: Features, rule: Leaves, ids: Array, limits: Limits
) -> Grown:
    """The tree over the windows ``ids``, whose order is lost."""
    tree = _Tree(space, goal, features, rule, ids, limits)
    hist = tree.count(ids)
    root = tree.add(ids, tree.sum_up_to(hist, 0, BINS))
    if tree.may_split(root, 0):
        tree.consider(root, 0, len(ids), False, 0, hist)
    while tree.leaves and len(tree.nodes) < 2 * rule.most - 1:
        tree.split(heapq.heappop(tree.leaves))
    return tree.finish()

"""A tree of a forest: large nodes by all threads together, small ones as subtrees, a thread each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry.limits import Limits
from ...kernels.parallel import cores, each_in_parallel
from .draws import child_key_of
from .kernels import BINS, MOMENTS, Goal, Space, count_left, partition, tally
from .splits import best_splits, score_node, totals
from .subtree import Rule, draw_candidates, grow

__all__ = ["Features", "Grown", "grow_tree", "partition_node", "search", "tally_features"]

Array = NDArray[Any]


class Features(NamedTuple):
    """Some features, ``(kind, a, b)`` each."""

    kinds: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    def part(self, some: slice) -> Features:
        return Features(*(each[some] for each in self))

    @classmethod
    def samples(cls, n: int) -> Features:
        """All samples of a patch."""
        return cls(np.zeros(n, np.int64), np.arange(n), np.zeros(n, np.int64))


class Grown(NamedTuple):
    """The nodes of a tree: ``(kind, a, b, threshold, child)`` each, gains, sums, and numbers of windows."""

    nodes: NDArray[np.int32]
    gains: NDArray[np.float64]
    sums: NDArray[np.int64]
    counts: NDArray[np.int64]


def entries_of(goal: Goal) -> int:
    """Numbers for each bin of a histogram."""
    return 2 if goal.criterion == MOMENTS else goal.entries


def tally_features(hist: Array, ids: Array, space: Space, goal: Goal, features: Features) -> None:
    """Add windows to the histograms of features, some features by each thread."""

    def one(part: slice) -> None:
        rows = np.stack(features.part(part), axis=1)
        tally(hist[part].reshape(-1), ids, space, goal, rows)

    each_in_parallel(one, split(len(hist), cores()))


def search(hist: Array, goal: Goal, total: Array, count: int, least: int) -> tuple[float, int, int]:
    """The best split in histograms: ``(score, which feature, threshold)``; threshold -1 where there is none."""
    scores, thresholds = np.empty(len(hist)), np.empty(len(hist), np.int64)

    def one(part: slice) -> None:
        best_splits(hist[part], goal, total, count, least, scores[part], thresholds[part])

    each_in_parallel(one, split(len(hist), cores() if len(hist) > 32 else 1))
    best = int(np.argmax(np.where(thresholds >= 0, scores, -np.inf)))
    return float(scores[best]), best, int(thresholds[best])


def split(n: int, parts: int) -> list[slice]:
    """``n`` items in so many parts or fewer."""
    size = -(-n // max(1, min(n, parts)))
    return [slice(at, min(at + size, n)) for at in range(0, n, size)]


def partition_node(
    ids: Array, out: Array, space: Space, feature: Sequence[int], threshold: int, rows: int
) -> int:
    """Write windows that go left, then the others, to ``out``; both in their order. Returns how many go left."""
    parts = split(len(ids), max(1, min(len(ids) // rows, 4 * cores())))
    lefts = [0] * len(parts)

    def number(k: int) -> None:
        lefts[k] = count_left(ids[parts[k]], space, *feature, threshold)

    def move(k: int) -> None:
        left = sum(lefts[:k])
        right = sum(lefts) + parts[k].start - left
        n = parts[k].stop - parts[k].start
        goals = out[left : left + lefts[k]], out[right : right + n - lefts[k]]
        partition(ids[parts[k]], *goals, space, *feature, threshold)

    each_in_parallel(number, range(len(parts)))
    each_in_parallel(move, range(len(parts)))
    return sum(lefts)


class _Waiting(NamedTuple):
    """A large node that is not split yet; ``turned``: its windows lie in the other array."""

    begin: int
    end: int
    turned: bool
    depth: int
    key: int
    node: int
    hist: Array | None


@dataclass
class _Growing:
    """A tree while it grows: the nodes so far, and subtrees that are left to threads."""

    space: Space
    goal: Goal
    rule: Rule
    limits: Limits
    arrays: tuple[Array, Array]
    nodes: list[tuple[int, ...]] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    sums: list[Array] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    small: list[_Waiting] = field(default_factory=list)

    def add(self) -> int:
        self.nodes.append((0, 0, 0, 255, -1))
        self.gains.append(0.0)
        self.sums.append(np.zeros(entries_of(self.goal), np.int64))
        self.counts.append(0)
        return len(self.nodes) - 1

    def windows(self, node: _Waiting) -> Array:
        return self.arrays[node.turned][node.begin : node.end]

    @property
    def whole(self) -> bool:
        """Whether every node looks at all features, so that histograms can be subtracted."""
        rule = self.rule
        return not rule.kinds.size and rule.candidates >= len(self.space.offsets)

    def split(self, node: _Waiting) -> list[_Waiting]:
        """Split a large node; returns its children, none for a leaf."""
        ids, n, rule = self.windows(node), node.end - node.begin, self.rule
        total = self.sums[node.node]
        pure = totals(ids, self.goal, total)
        self.counts[node.node] = n
        if pure or node.depth >= rule.max_depth or n < max(rule.min_split, 2 * rule.min_leaf):
            return []
        found = self._find(ids, total, node)
        if found is None:
            return []
        score, feature, threshold, hist = found
        out = self.arrays[not node.turned][node.begin : node.end]
        some = partition_node(
            ids, out, self.space, feature, threshold, self.limits.tree_task_windows
        )
        child = self.add()
        self.add()
        self.nodes[node.node] = (*feature, threshold, child)
        self.gains[node.node] = score - score_node(self.goal, total)
        bounds = (node.begin, node.begin + some, node.end)
        children = [
            _Waiting(
                bounds[side], bounds[side + 1], not node.turned, node.depth + 1,
                child_key_of(np.uint64(node.key), side), child + side, None,
            )
            for side in (0, 1)
        ]  # fmt: skip
        return children if hist is None else self._subtract(children, hist)

    def _find(
        self, ids: Array, total: Array, node: _Waiting
    ) -> tuple[float, tuple[int, int, int], int, Array | None] | None:
        """Score, feature and threshold of the best split, and the histograms where they are kept."""
        rule, n_features = self.rule, len(self.space.offsets)
        n = rule.candidates if rule.kinds.size else n_features
        drawn = Features(*np.empty((3, n), np.int64))
        draw_candidates(rule, np.uint64(node.key), n_features, *drawn)
        width = BINS * entries_of(self.goal)
        room = max(1, self.limits.tree_histogram_bytes // (8 * width))
        best: tuple[float, tuple[int, int, int], int] | None = None
        hist = node.hist
        for begin in range(0, n, min(room, rule.candidates)):
            part = drawn.part(slice(begin, min(begin + min(room, rule.candidates), n)))
            if node.hist is None:
                hist = np.zeros((len(part.kinds), width), np.int64)
                tally_features(hist, ids, self.space, self.goal, part)
            assert hist is not None
            score, k, threshold = search(hist, self.goal, total, len(ids), rule.min_leaf)
            if threshold >= 0 and (best is None or score > best[0]):
                best = score, tuple(int(each[k]) for each in part), threshold  # type: ignore[assignment]
            if best is not None and begin + len(part.kinds) >= rule.candidates:
                break
        kept = self.whole and hist is not None and len(hist) == n and 8 * n <= room
        return None if best is None else (*best, hist if kept else None)

    def _subtract(self, children: list[_Waiting], hist: Array) -> list[_Waiting]:
        """The children with their histograms: the smaller one's is counted, the other's is what remains."""
        sizes = [each.end - each.begin for each in children]
        if max(sizes) <= self.limits.tree_subtree_windows:
            return children
        small = sizes.index(min(sizes))
        own = np.zeros_like(hist)
        samples = Features.samples(len(hist))
        tally_features(own, self.windows(children[small]), self.space, self.goal, samples)
        hist -= own
        found = list(children)
        found[small] = found[small]._replace(hist=own)
        found[1 - small] = found[1 - small]._replace(hist=hist)
        return found

    def finish(self) -> Grown:
        """Grow what is small, and put all nodes together."""
        found: list[Any] = [None] * len(self.small)

        def one(k: int) -> None:
            node = self.small[k]
            ids, key = self.windows(node), np.uint64(node.key)
            n, *arrays = grow(ids, key, node.depth, self.space, self.goal, self.rule)
            found[k] = Grown(*(each[:n].copy() for each in arrays))

        order = sorted(range(len(found)), key=lambda k: self.small[k].begin - self.small[k].end)
        each_in_parallel(one, order)
        return self._join(found)

    def _join(self, subtrees: list[Grown]) -> Grown:
        top = Grown(
            np.array(self.nodes, np.int32), np.array(self.gains), np.stack(self.sums),
            np.array(self.counts, np.int64),
        )  # fmt: skip
        parts, n = [top], len(self.nodes)
        for node, tree in zip(self.small, subtrees, strict=True):
            tree.nodes[:, 4] += np.where(tree.nodes[:, 4] < 0, 0, n - 1).astype(np.int32)
            arrays: list[tuple[Array, Array]] = list(zip(top, tree, strict=True))
            for whole, part in arrays:
                whole[node.node] = part[0]
            parts.append(Grown(tree.nodes[1:], tree.gains[1:], tree.sums[1:], tree.counts[1:]))
            n += len(tree.nodes) - 1
        return Grown(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def grow_tree(
    space: Space,
    goal: Goal,
    rule: Rule,
    ids: Array,
    key: int,
    limits: Limits,
) -> Grown:
    """The tree over the windows ``ids``, whose order is lost."""
    growing = _Growing(space, goal, rule, limits, (ids, np.empty_like(ids)))
    waiting = [_Waiting(0, len(ids), False, 0, key, growing.add(), None)]
    while waiting:
        node = waiting.pop()
        if node.end - node.begin <= limits.tree_subtree_windows:
            growing.small.append(node._replace(hist=None))
        else:
            waiting += growing.split(node)
    return growing.finish()

"""Trees put together, to be applied to windows, to be exported, and to say which samples they look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.parallel import each_in_parallel
from .binning import Binning
from .canvas import Canvas, Patch
from .growth import Grown
from .kernels import BOX, DIFFERENCE, VALUE
from .walk import walk, walk_samples

__all__ = ["Ensemble"]

Array = NDArray[Any]

_ROWS = 1 << 14  # windows that a thread takes
_NODES = 1 << 24  # that fit into a packed node


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Nodes of all trees, one below the other; children are counted from the root of their tree.

    ``values`` are what a window that ends in a node is given, ``(nodes, k)``.
    """

    nodes: NDArray[np.int32]  # (kind, a, b, threshold, child)
    gains: NDArray[np.float64]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    counts: NDArray[np.int64]
    roots: NDArray[np.int64]

    @classmethod
    def of(
        cls, trees: Sequence[Grown], values: Sequence[Array], weights: Sequence[Array]
    ) -> Ensemble:
        roots = np.cumsum([0, *(len(tree.nodes) for tree in trees)])
        return cls(
            np.concatenate([tree.nodes for tree in trees]),
            np.concatenate([tree.gains for tree in trees]),
            np.concatenate(list(values)), np.concatenate(list(weights)),
            np.concatenate([tree.counts for tree in trees]), roots,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.roots) - 1

    def part(self, begin: int, end: int) -> Ensemble:
        """Trees ``begin`` to ``end`` of them."""
        rows = slice(self.roots[begin], self.roots[end])
        roots = self.roots[begin : end + 1] - rows.start
        return Ensemble(
            self.nodes[rows], self.gains[rows], self.values[rows], self.weights[rows],
            self.counts[rows], roots,
        )  # fmt: skip

    @cached_property
    def boxes(self) -> bool:
        """Whether running sums are needed."""
        return bool((self.nodes[:, 0] == BOX).any())

    def add_to(self, out: Array, canvas: Canvas, patch: Patch, base: Array) -> None:
        """Add each tree's value for the windows at ``base`` to ``out``, ``(windows, k)``, tree after tree."""
        space = canvas.space(patch, base)
        longest = int(np.abs(space.offsets).max(initial=0))
        simple = not (self.nodes[:, 0] != VALUE).any() and longest < 1 << 31
        if simple and np.diff(self.roots).max() <= _NODES:
            packed = self._pack(space.offsets)

            def one(at: int) -> None:
                rows = slice(at, at + _ROWS)
                walk_samples(out[rows], space.bins, base[rows], packed, self.roots, self.values)
        else:
            nodes, corners, areas = self._place(space)

            def one(at: int) -> None:
                rows = slice(at, at + _ROWS)
                walk(
                    out[rows], space.bins, space.sums, base[rows], nodes, corners, areas,
                    self.roots, self.values,
                )  # fmt: skip

        each_in_parallel(one, range(0, len(base), _ROWS))

    def _pack(self, offsets: Array) -> NDArray[np.int64]:
        """Each node as one number: a node is one load from memory."""
        own = np.arange(len(self.nodes)) - np.repeat(self.roots[:-1], np.diff(self.roots))
        leaf = self.nodes[:, 4] < 0
        child = np.where(leaf, own, self.nodes[:, 4])
        offset = np.where(leaf, 0, offsets[self.nodes[:, 1]])
        threshold = np.where(leaf, 255, self.nodes[:, 3])
        return np.asarray((offset << 32) | (child << 8) | threshold, np.int64)

    def _place(self, space: Any) -> tuple[Array, Array, Array]:
        """Nodes with displacements for samples, and the corners and areas of their boxes."""
        nodes = self.nodes.astype(np.int64)
        kinds, first, second = self.nodes[:, 0], self.nodes[:, 1], self.nodes[:, 2]
        boxes = np.flatnonzero(kinds == BOX)
        nodes[:, 1] = space.offsets[first]
        nodes[kinds == DIFFERENCE, 2] = space.offsets[second[kinds == DIFFERENCE]]
        nodes[boxes, 2] = np.arange(len(boxes))
        low = np.minimum(space.coords[first[boxes]], space.coords[second[boxes]])
        high = np.maximum(space.coords[first[boxes]], space.coords[second[boxes]])
        d = low.shape[1]
        corners = np.zeros((max(1, len(boxes)), 1 << d), np.int64)
        for c in range(1 << d):
            upper = (c >> np.arange(d)) & 1
            at = np.where(upper, high, low - 1) @ space.strides + space.channel[first[boxes]]
            corners[: len(boxes), c] = (at << 1) | ((d - upper.sum()) & 1)
        areas = np.ones(max(1, len(boxes)))
        areas[: len(boxes)] = (high - low + 1).prod(axis=1)
        return nodes, corners, areas

    def importances(self, patch: Patch) -> NDArray[np.float64]:
        """How much of all gains is due to each sample, the mean over trees; differences and boxes share theirs."""
        total = np.zeros(len(patch.places))
        for t in range(len(self)):
            tree = self.part(t, t + 1)
            own = tree._importances(patch)
            total += own / (own.sum() or 1)
        return total / (total.sum() or 1)

    def _importances(self, patch: Patch) -> NDArray[np.float64]:
        found = np.zeros(len(patch.places))
        inner = self.nodes[:, 4] >= 0
        kinds, first, second = self.nodes[inner, :3].T
        gains = self.gains[inner]
        np.add.at(found, first[kinds == VALUE], gains[kinds == VALUE])
        for each in (first, second):
            np.add.at(found, each[kinds == DIFFERENCE], gains[kinds == DIFFERENCE] / 2)
        for a, b, gain in zip(
            *(each[kinds == BOX] for each in (first, second, gains)), strict=True
        ):
            low = np.minimum(patch.places[a], patch.places[b])
            high = np.maximum(patch.places[a], patch.places[b])
            inside = ((patch.places >= low) & (patch.places <= high)).all(axis=1)
            inside &= patch.channels == patch.channels[a]
            found[inside] += gain / inside.sum()
        return found

    def thresholds(self, binning: Binning) -> NDArray[np.float64]:
        """Thresholds as values of the image; only those of samples mean anything."""
        return binning.threshold(self.nodes[:, 3])

"""The rows to train on: which patches have a target, samples of these, and passes in random order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.limits import Limits
from ..matrix import PatchMatrix
from ..matrix.shuffle import draw_distinct, shuffle_blocks

__all__ = ["Batch", "TrainingRows"]

Array = NDArray[Any]


class Batch(NamedTuple):
    """Some rows, their targets and weights (None where there are none)."""

    rows: Array
    targets: Array | None
    weights: Array | None


@dataclass(frozen=True)
class TrainingRows:
    """All patches of some images, with the target and weight of each.

    ``codes`` are small whole numbers: the stratum of a row, -1 where it takes no part; None where
    all do. Targets are ``values[codes]`` for classes, or ``numbers``, one (or one row) per patch.
    """

    matrix: PatchMatrix
    codes: Array | None = None
    classes: Array | None = None
    numbers: Array | None = None
    weights: Array | None = None

    @property
    def limits(self) -> Limits:
        return self.matrix.selection.limits

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many rows take part, in each stratum."""
        if self.codes is None:
            return np.array([len(self.matrix)])
        n = 1 if self.classes is None else len(self.classes)
        size = self.limits.label_rows
        parts = (self.codes[at : at + size] for at in range(0, len(self.codes), size))
        return sum(
            (np.bincount(part[part >= 0], minlength=n) for part in parts), np.zeros(n, np.int64)
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 where it holds every value of the image, float64 elsewhere."""
        return np.result_type(self.matrix.dtype, np.float32)

    def count_fitting(self, nbytes: int) -> int:
        """How many rows take about so many bytes."""
        return max(1, nbytes // (self.dtype.itemsize * self.matrix.shape[1]))

    def take(
        self, rows: NDArray[np.int64], at: Any = slice(None), cut: Array | None = None
    ) -> Batch:
        """A copy of the rows ``rows[at]``, with their targets and weights.

        ``cut`` holds ``matrix[rows]`` where that is in memory already.
        """
        values = self.matrix[rows] if cut is None else cut
        return Batch(
            values[at].astype(self.dtype, copy=False),
            self._take_targets(rows[at]),
            None if self.weights is None else self.weights[rows[at]],
        )

    def _take_targets(self, rows: NDArray[np.int64]) -> Array | None:
        if self.classes is not None:
            assert self.codes is not None
            return self.classes[self.codes[rows]]
        return None if self.numbers is None else self.numbers[rows]

    def weigh(self, weights: Array) -> TrainingRows:
        """The same with weights; rows of weight 0 take no part."""
        codes = np.where(weights > 0, 0 if self.codes is None else self.codes, -1)
        return replace(self, codes=codes, weights=weights)

    def balance(self) -> TrainingRows:
        """The same with weights, 1 on average, that make all classes count the same."""
        assert self.codes is not None
        present = np.count_nonzero(self.counts)
        each = self.counts.sum() / (present * np.maximum(self.counts, 1))
        weights = each[self.codes]  # what takes no part is given some class's, to no effect
        return replace(self, weights=weights if self.weights is None else weights * self.weights)

    def all_rows(self) -> NDArray[np.int64]:
        """Numbers of all rows that take part."""
        return (
            np.arange(len(self.matrix)) if self.codes is None else np.flatnonzero(self.codes >= 0)
        )

    def sample(self, n: int, rng: np.random.Generator, balanced: bool = False) -> NDArray[np.int64]:
        """Numbers of about ``n`` different rows, ascending.

        Each stratum has its share of the rows, or with ``balanced`` the same share as any other.

        No stratum is left out. Row numbers are not listed, only those chosen are.
        """
        quotas = (_share_evenly if balanced else _share_proportionally)(self.counts, n)
        ranks = [
            draw_distinct(int(m), int(q), rng) for m, q in zip(self.counts, quotas, strict=True)
        ]
        if self.codes is None:
            return ranks[0]
        found = [self._find_rows(k, each) for k, each in enumerate(ranks)]
        return np.sort(np.concatenate(found))

    def _find_rows(self, stratum: int, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row numbers of a stratum's members ``ranks``, which are counted from 0."""
        assert self.codes is not None
        found, seen = [np.zeros(0, np.int64)], 0
        size = self.limits.label_rows
        for at in range(0, len(self.codes), size):
            members = np.flatnonzero(self.codes[at : at + size] == stratum)
            first, last = np.searchsorted(ranks, (seen, seen + len(members)))
            found.append(at + members[ranks[first:last] - seen])
            seen += len(members)
        return np.concatenate(found)

    def passes(self, epochs: int, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """All rows that take part, once per epoch, in another order each time.

        Batches have about ``size`` rows and never many fewer than half. Blocks of neighbours come
        in random order, and their rows are mixed in a pool of 64 MB. What fits in the pool is cut
        once.
        """
        pool = max(size, self.count_fitting(self.limits.pool_bytes))
        if int(self.counts.sum()) <= pool:
            rows = self.all_rows()
            cut = self.matrix[rows].astype(self.dtype, copy=False)
            for _ in range(epochs):
                yield from self._make_batches(rows, cut, size, rng)
            return
        for _ in range(epochs):
            for rows in self._make_pools(pool, rng):
                yield from self._make_batches(rows, self.matrix[rows], size, rng)

    def _make_pools(self, pool: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Numbers of rows that take part, about ``pool`` at a time and no fewer."""
        waiting: list[NDArray[np.int64]] = []
        left, limits = int(self.counts.sum()), self.limits
        run, some = limits.pool_run_rows, min(pool, limits.pool_numbered_rows)
        for numbers in shuffle_blocks(len(self.matrix), run, some, rng, limits):
            kept = numbers if self.codes is None else numbers[self.codes[numbers] >= 0]
            waiting.append(kept)
            left -= len(kept)
            if sum(map(len, waiting)) >= pool and left >= pool:
                yield np.sort(np.concatenate(waiting))
                waiting = []
        yield np.sort(np.concatenate(waiting))

    def _make_batches(
        self, rows: NDArray[np.int64], cut: Array, size: int, rng: np.random.Generator
    ) -> Iterator[Batch]:
        order = rng.permutation(len(rows))
        for at in np.array_split(order, -(-len(rows) // size)):
            yield self.take(rows, at, cut)


def _share_proportionally(counts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """``n`` shared out in proportion to ``counts``; each share is at least 1, and at most the count."""
    share = min(1.0, n / counts.sum())
    ends = np.rint(np.cumsum(counts) * share).astype(np.int64)
    parts = np.diff(ends, prepend=0)
    wanted: NDArray[np.int64] = np.clip(parts, np.minimum(1, counts), counts)
    return wanted


def _share_evenly(counts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """``n`` shared out evenly; what is more than a count goes to the others.

    >>> _share_evenly(np.array([100, 3, 50]), 60)
    array([29,  3, 28])
    """
    parts = np.zeros_like(counts)
    left = min(n, int(counts.sum()))
    for place, k in enumerate(np.argsort(counts, kind="stable")):
        parts[k] = min(int(counts[k]), max(1, left // (len(counts) - place)))
        left -= int(parts[k])
    return parts

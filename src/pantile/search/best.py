"""What is looked for, and the best that was found of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.similar import PLACE_BITS
from .side import Arithmetic, Side

__all__ = ["Best", "Search"]

_NO_KEY = np.iinfo(np.int64).max
_NO_PLACE = 2**62


@dataclass(frozen=True)
class Search:
    """What is looked for: everything but where the results go."""

    queries: Side
    candidates: Side
    k: int
    radius: tuple[int | None, ...]
    exclude: tuple[int, ...]  # -1 where nothing is left out
    normalize: bool
    where: NDArray[np.bool_] | None  # (*batch, *counts)
    among: NDArray[np.bool_] | None

    @cached_property
    def patch(self) -> tuple[int, ...]:
        return tuple([axis.patch for axis in self.queries.axes])

    @cached_property
    def dilation(self) -> tuple[int, ...]:
        return tuple([axis.dilation for axis in self.queries.axes])

    @property
    def features(self) -> int:
        return math.prod(self.patch) * self.queries.channels


@dataclass(frozen=True)
class Best:
    """The best candidates of some queries, worst first, as kernels keep them: by key, or by distance and index."""

    dist: NDArray[Any]  # (queries, k + 1)
    index: NDArray[Any]
    worst: NDArray[Any]  # (queries,)

    @classmethod
    def none(cls, n: int, k: int, kind: Arithmetic, where: NDArray[np.bool_] | None) -> Best:
        """No candidate yet; none will be let in where ``where`` is False."""
        if kind.packed:
            dist, index = np.full((n, k + 1), _NO_KEY), np.empty((0, k + 1), np.int64)
        else:
            dist = np.full((n, k + 1), kind.most, kind.dtype)
            index = np.full((n, k + 1), _NO_PLACE, kind.dtype)
        dist[:, k] = -1
        worst = np.full(n, kind.most, kind.dtype)
        if where is not None:
            worst[~where.ravel()] = -1
        return cls(dist, index, worst)

    def sorted(self, kind: Arithmetic) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Indices and distances, best first; -1 and infinity where there were fewer candidates."""
        dist, index = self.dist[:, -2::-1], self.index[:, -2::-1]
        missing = dist == _NO_KEY if kind.packed else index == _NO_PLACE
        if kind.packed:
            dist, index = dist >> PLACE_BITS, dist & ((1 << PLACE_BITS) - 1)
        return np.where(missing, -1, index).astype(np.int64), np.where(missing, np.inf, dist)

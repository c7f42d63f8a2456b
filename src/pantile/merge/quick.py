"""Exact sums of patches that come in the common form: small adds by one call of a loop.

What tables and checks cost is the same for one patch as for thousands. A caller who adds a few at a
time, 100,000 times, pays for nothing else; so where patches, indices and weights are plain arrays,
all of it is left to `scatter_exactly`. Whatever is not as expected is left to the general way,
which says what is wrong, if anything is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.frame import Frame
from ..geometry.tails import Steps
from ..kernels.flat import is_native, strides_of
from ..kernels.walk import lines_along, sample_table
from .batch import Area, State
from .reduction import Reduction
from .sums import Sum
from .weights import LARGEST_VOTE, LEAST_VOTE

__all__ = ["QuickSums", "quick_sums"]

_NONE = np.zeros(0)


@dataclass(frozen=True)
class QuickSums:
    """What `scatter_exactly` has to know of a grid and a merge."""

    dtype: np.dtype[Any]
    patch: tuple[int, ...]
    axes: NDArray[np.int64]
    lines: NDArray[np.int64]
    length: int
    taper: NDArray[np.float64]
    weighted: bool

    def add(
        self, state: State, counts: NDArray[Any], patches: Any, indices: Any, votes: Any, most: int
    ) -> int:
        """Add and count patches ``(n, *patch)`` or rows ``(n, features)``; returns ``n``.

        Returns 0, with nothing added, where something is not in the common form, or there are more
        than ``most``.
        """
        n = self._common(patches, indices)
        every = self._as_votes(votes, n) if n <= most else None
        if every is None or not self._scatter(state, counts, patches, indices, every):
            return 0
        return n

    def _common(self, patches: Any, indices: Any) -> int:
        """How many patches there are; 0 if they, or their indices, are not in the common form."""
        if not (type(patches) is type(indices) is np.ndarray and patches.ndim > 1):
            return 0
        n, *sizes = patches.shape
        fit = tuple(sizes) == self.patch or sizes == [math.prod(self.patch)]
        plain = patches.dtype == self.dtype and patches.flags.carray
        return n if fit and plain and indices.shape == (n,) and indices.dtype.kind == "i" else 0

    def _scatter(
        self,
        state: State,
        counts: NDArray[Any],
        patches: NDArray[Any],
        indices: NDArray[Any],
        every: NDArray[np.float64],
    ) -> bool:
        from ..kernels.loops import scatter_exactly

        high, low, *weights = [a.reshape(-1) for a in state]
        weight, weight_low = weights or (_NONE, _NONE)
        sums = counts.reshape(-1), high, low, weight, weight_low
        tables = self.axes, self.lines, self.length, self.taper
        rows = indices.astype(np.int64)
        limits = LEAST_VOTE, LARGEST_VOTE
        return bool(scatter_exactly(*sums, patches.reshape(-1), rows, *tables, every, *limits))

    def _as_votes(self, votes: Any, n: int) -> NDArray[np.float64] | None:
        """Weights of ``n`` patches as the loop takes them; None where there are none, or not as expected."""
        if not n or self.weighted != (votes is not None):
            return None
        if votes is None:
            return _NONE
        plain = type(votes) is np.ndarray and votes.shape == (n,) and votes.dtype.kind in "biuf"
        return votes.astype(np.float64) if plain else None


def quick_sums(
    reduction: Reduction, frame: Frame, area: Area, dtype: np.dtype[Any], weighted: bool
) -> QuickSums | None:
    """How patches of ``dtype`` are summed quickly into ``area``; None where it takes the general way.

    ``weighted`` tells whether each patch has a weight.
    """
    steady = all(isinstance(axis.spacing, Steps) for axis in frame.axes)
    if not (isinstance(reduction, Sum) and reduction.compensated and steady and is_native(dtype)):
        return None
    into, of = strides_of(area.shape), strides_of(frame.patch)
    samples = tuple([axis.dilation * s for axis, s in zip(frame.axes, into, strict=True)])
    length, steps, sizes, (lines, _) = lines_along(frame.patch, (samples, of))
    if steps != (1, 1):
        return None
    table = [
        (axis.count, (axis.start(0) - o) * s, axis.gap * s, (axis.start(axis.count - 1) - o) * s)
        for axis, o, s in zip(frame.axes, area.origin, into, strict=True)
    ]
    ones = np.ones(frame.features if weighted else 0)
    return QuickSums(
        dtype,
        frame.patch,
        np.array(table, dtype=np.int64),
        sample_table(sizes, lines, False),
        length,
        ones if reduction.taper is None else reduction.taper,
        weighted,
    )

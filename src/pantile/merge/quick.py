"""Patches that come in the common form, one or a few at a time: small adds by one call of a loop.

What tables and checks cost is the same for one patch as for thousands. A caller who adds a few at a
time, 100,000 times, pays for nothing else; so where patches, indices and weights are plain arrays,
all of it is left to `add_exactly_at` or `merge_at`. Whatever is not as expected is left to the general way,
which says what is wrong, if anything is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import strides_of
from ..geometry.frame import Frame
from ..geometry.tails import Steps
from ..kernels.exact import add_exactly_at, rests_of
from ..kernels.loops import merge_at
from ..kernels.memory import is_native
from ..kernels.offsets import AtTables, lines_along, tabulate_samples
from .batch import Area, State
from .extrema import Extremum
from .reduction import Reduction
from .sums import Sum
from .weights import LARGEST_PATCH_WEIGHT, LEAST_PATCH_WEIGHT

__all__ = ["QuickAdds", "quick_adds"]

_NONE, _NO_RESTS = np.zeros(0), np.zeros(0, rests_of(np.dtype(float)))


@dataclass(frozen=True)
class QuickAdds:
    """What one call of a loop has to know of a grid and a merge. ``how`` patches meet: ``exactly`` added, or as
    `merge_at` says."""

    how: str
    dtype: np.dtype[Any]
    patch: tuple[int, ...]
    tables: AtTables
    weighted: bool

    def add(
        self,
        state: State,
        counts: NDArray[Any],
        patches: Any,
        indices: Any,
        patch_weights: Any,
        most: int,
    ) -> int:
        """Add and count patches ``(n, *patch)`` or rows ``(n, features)``; returns ``n``.

        Returns 0, with nothing added, where something is not in the common form, or there are more
        than ``most``.
        """
        n = self._common(patches, indices)
        each = self._as_weights(patch_weights, n) if n <= most else None
        if each is None or not self._scatter(state, counts, patches, indices, each):
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
        each: NDArray[np.float64],
    ) -> bool:
        sums = [a.reshape(-1) for a in state]
        values, rows = patches.reshape(-1), indices.astype(np.int64)
        if self.how != "exactly":
            return merge_at(self.how, counts.reshape(-1), sums[0], values, rows, self.tables)
        if len(sums) == 2:  # no weights are summed
            sums += [_NONE, _NO_RESTS]
        limits = LEAST_PATCH_WEIGHT, LARGEST_PATCH_WEIGHT
        return add_exactly_at(counts.reshape(-1), sums, values, rows, self.tables, limits, each)

    def _as_weights(self, patch_weights: Any, n: int) -> NDArray[np.float64] | None:
        """Weights of ``n`` patches as the loop takes them; None where there are none, or not as expected."""
        if not n or self.weighted != (patch_weights is not None):
            return None
        if patch_weights is None:
            return _NONE
        plain = (
            type(patch_weights) is np.ndarray
            and patch_weights.shape == (n,)
            and patch_weights.dtype.kind in "biuf"
        )
        return patch_weights.astype(np.float64) if plain else None


def _how(reduction: Reduction, dtype: np.dtype[Any]) -> str | None:
    """How patches meet, where a loop knows it."""
    if not is_native(dtype):
        return None
    if isinstance(reduction, Extremum):
        return "larger" if reduction.largest else "smaller"
    if not isinstance(reduction, Sum):
        return None
    if reduction.compensated:
        return "exactly"
    # sums of 64-bit integers are looked at before, and weights are not for integers
    return "add" if dtype.itemsize < 8 and reduction.accumulator.kind in "iu" else None


def quick_adds(
    reduction: Reduction, frame: Frame, area: Area, dtype: np.dtype[Any], weighted: bool
) -> QuickAdds | None:
    """How patches of ``dtype`` are merged quickly into ``area``; None where it takes the general way.

    ``weighted`` tells whether each patch has a weight.
    """
    steady = all(isinstance(axis.spacing, Steps) for axis in frame.axes)
    how = _how(reduction, dtype)
    if how is None or not steady:
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
    taper = reduction.taper if isinstance(reduction, Sum) else None
    return QuickAdds(
        how,
        dtype,
        frame.patch,
        AtTables(
            np.array(table, dtype=np.int64),
            tabulate_samples(sizes, lines, False),
            length,
            ones if taper is None else taper,
        ),
        weighted,
    )

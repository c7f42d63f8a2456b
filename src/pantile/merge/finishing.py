"""From sums to values in one compiled pass: divided, filled, rounded, saturated, and in the result's dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect, shape_of
from ..kernels.gather import finish
from ..kernels.memory import flatten, is_native
from .casts import refuse_holes, refuse_nan
from .weights import Profile

__all__ = ["finish_sums", "limits_of", "store_of", "value_in_holes"]

_EXACT_DEPTH = (
    1 << 16
)  # with sums of 32-bit integers, quotients are rounded right by way of float64


def store_of(
    accumulator: np.dtype[Any], divides: bool, dtype: np.dtype[Any], result: np.dtype[Any], depth: int
) -> str | None:  # fmt: skip
    """How sums of patches of ``dtype`` become values of ``result``; None where no loop does it exactly."""
    whole = accumulator.kind in "iu"
    if result.kind in "fc":
        return "quotient" if divides else "value"
    wide = result.itemsize >= accumulator.itemsize
    if not divides and whole and result.kind == dtype.kind and wide:
        return "value"
    if result.kind == "b" or result.itemsize > 4 or (whole and dtype.itemsize > 4):
        return None
    if divides:
        return "rounded quotient" if depth <= _EXACT_DEPTH else None
    return "saturated" if whole else "rounded"


def limits_of(store: str, accumulator: np.dtype[Any], result: np.dtype[Any]) -> tuple[Any, Any]:
    """The least and the largest value, in the type they are compared in."""
    if store in ("value", "quotient"):
        return 0.0, 0.0
    limits = np.iinfo(result)
    if store != "saturated":
        return float(limits.min), float(limits.max)
    sums, kind = np.iinfo(accumulator), accumulator.type
    return kind(max(limits.min, sums.min)), kind(min(limits.max, sums.max))


def value_in_holes(fill: Any, result: np.dtype[Any]) -> Any:
    """``fill`` as a number of the result; 0 where there are no holes."""
    return np.asarray(0 if fill is None else fill).astype(result)[()]


def finish_sums(
    sums: NDArray[Any], weights: NDArray[Any] | None, profiles: Sequence[Profile] | None, bounds: Rect,
    store: str, result: np.dtype[Any], fill: Any,
) -> NDArray[Any] | None:  # fmt: skip
    """The values of a block, of ``sums`` and, if they are divided, of ``weights`` or of ``profiles``; None where
    loops do not know the arrays."""
    known = [sums] if weights is None else [sums, weights]
    if not all(is_native(a.dtype) for a in known) or not is_native(result):
        return None
    made = np.empty(shape_of(bounds), result)
    if not made.size:
        return made
    flat, divisor = flatten(sums), None if weights is None else flatten(weights)
    sizes, steps = made.shape, (0,) * made.ndim if divisor is None else divisor.strides
    axes = np.array([*zip(sizes, flat.strides, steps, np.cumsum(sizes) - sizes, strict=True)])
    profile = None
    if profiles is not None:
        parts = [each.part(*ends) for each, ends in zip(profiles, bounds, strict=True)]
        profile = np.concatenate(parts)
    weight = None if divisor is None else divisor.memory
    low_high = limits_of(store, sums.dtype, result)
    holes, unknown = finish(
        made.reshape(-1), flat.memory, weight, (None, None), axes, profile, store, low_high,
        value_in_holes(fill, result),
    )  # fmt: skip
    if holes and fill is None:
        refuse_holes(holes, bounds)
    if unknown:
        refuse_nan(result)
    return made

"""From sums to values in one compiled pass: which loop does it, and where the elements of a block lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import strides_of
from ..geometry.rect import Rect, shape_of
from ..kernels.finish import Divisor, Finish, Row, finish, place_lines
from ..kernels.memory import flatten, is_native
from .casts import refuse_holes, refuse_nan
from .weights import Profile

__all__ = ["finish_of", "finish_sums"]

_EXACT_DEPTH = 1 << 16  # with sums of 32 bits, quotients are rounded right by way of float64


def finish_of(
    accumulator: np.dtype[Any], divides: bool, dtype: np.dtype[Any], result: np.dtype[Any], depth: int, fill: Any
) -> Finish | None:  # fmt: skip
    """How sums of patches of ``dtype``, of which ``depth`` meet, become values of ``result``; None where no loop does
    it exactly."""
    store = _store_of(accumulator, divides, dtype, result, depth)
    if store is None:
        return None
    hole = np.asarray(0 if fill is None else fill).astype(result)[()]
    return Finish(store, *_limits_of(store, accumulator, result), hole)


def _store_of(
    accumulator: np.dtype[Any], divides: bool, dtype: np.dtype[Any], result: np.dtype[Any], depth: int
) -> str | None:  # fmt: skip
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


def _limits_of(store: str, accumulator: np.dtype[Any], result: np.dtype[Any]) -> tuple[Any, Any]:
    """The least and the largest value, in the type they are compared in."""
    if store in ("value", "quotient"):
        return 0.0, 0.0
    limits = np.iinfo(result)
    if store != "saturated":
        return float(limits.min), float(limits.max)
    sums, kind = np.iinfo(accumulator), accumulator.type
    return kind(max(limits.min, sums.min)), kind(min(limits.max, sums.max))


def finish_sums(
    sums: NDArray[Any], weights: NDArray[Any] | None, profiles: Sequence[Profile] | None, bounds: Rect,
    how: Finish, fillable: bool,
) -> NDArray[Any] | None:  # fmt: skip
    """The values of a block, of ``sums`` and, if they are divided, of ``weights`` or of ``profiles``; None where
    loops do not know the arrays."""
    result = np.asarray(how.fill).dtype
    known = [sums] if weights is None else [sums, weights]
    if not all(is_native(a.dtype) for a in known) or not is_native(result):
        return None
    made = np.empty(shape_of(bounds), result)
    if not made.size:
        return made
    (memory, sum_strides), divisor = flatten(sums), Divisor()
    steps = strides_of(made.shape), sum_strides, sum_strides
    if weights is not None:
        (weighed, weight_strides) = flatten(weights)
        steps, divisor = (*steps[:2], weight_strides), Divisor(weighed)
    row = Row(made.shape[-1], 1, *[each[-1] for each in steps])
    sizes, lead = made.shape[:-1], np.zeros(0)
    if profiles is not None:
        parts = [each.part(*ends) for each, ends in zip(profiles, bounds, strict=True)]
        divisor, lead = Divisor(profile=parts.pop()), np.concatenate([*parts, lead])
    columns = [sizes, *[each[:-1] for each in steps], np.cumsum([0, *sizes])[:-1]]
    axes = np.array(columns, dtype=np.int64).reshape(5, -1).T.copy()
    lines = place_lines((0, math.prod(sizes)), axes, lead)
    holes, unknown = finish(made.reshape(-1), memory, divisor, lines, row, how)
    if holes and not fillable:
        refuse_holes(holes, bounds)
    if unknown:
        refuse_nan(result)
    return made

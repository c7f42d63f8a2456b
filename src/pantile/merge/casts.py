"""Values on their way into a result: converted, rounded, saturated, and holes filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from ..geometry.frame import Frame
from ..geometry.rect import Rect

__all__ = ["cast", "check_fill", "check_holes", "filled", "holes_of", "refuse_holes", "refuse_nan"]

Mask = NDArray[np.bool_]


def filled(
    values: NDArray[Any], dtype: np.dtype[Any], holes: Mask | None, fill: Any, bounds: Rect
) -> NDArray[Any]:
    """``values`` of a block in ``dtype``, with ``fill`` in the holes; holes without a fill are an error."""
    if holes is None or not holes.any():
        return cast(values, dtype)
    if fill is None:
        refuse_holes(int(np.broadcast_to(holes, values.shape).sum()), bounds)
    # what stands in a hole (NaN of 0 / 0) is not cast
    known = cast(np.where(holes, np.zeros((), values.dtype), values), dtype)
    return np.where(holes, np.asarray(fill).astype(dtype), known)


def refuse_holes(n: int, bounds: Rect) -> NoReturn:
    """Raise what is said of ``n`` elements without a value."""
    raise ValueError(
        f"{n} elements within {bounds} are touched by no patch"
        " (or by weights that add up to 0): give fill= a value for them"
    )


def refuse_nan(dtype: np.dtype[Any]) -> NoReturn:
    """Raise what is said of NaN on its way into integers."""
    raise ValueError(
        f"the merge has NaN where dtype={dtype} has none: choose a float dtype=, or fill="
    )


def cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``values`` in ``dtype``: for integers rounded half to even and saturated, else converted."""
    if values.dtype == dtype:
        return values
    if dtype.kind not in "biu":
        return values.astype(dtype)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() and np.isnan(values).any():
            refuse_nan(dtype)
        values = np.rint(values)
    if dtype.kind == "b":
        return values >= 1
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    with np.errstate(invalid="ignore"):
        found = values.astype(dtype)
    # compared in the values' own dtype: the nearest float to 2^63 - 1 is 2^63, which no longer fits
    too_high = values >= float(high) if values.dtype.kind == "f" else values > high
    too_low = values <= float(low) if values.dtype.kind == "f" else values < low
    found[too_high], found[too_low] = high, low
    return found


def check_fill(fill: Any, dtype: np.dtype[Any]) -> None:
    """Refuse a fill that the result's dtype cannot hold."""
    value = to_array(fill, "fill", "give a number")
    fits = value.ndim == 0 and value.dtype.kind in "biufc"
    if fits and dtype.kind in "biu":
        with np.errstate(invalid="ignore"):
            fits = bool(np.isfinite(value)) and _within(value, dtype)
    fits = fits and not (value.dtype.kind == "c" and dtype.kind != "c")
    if not fits:
        raise ValueError(
            f"fill={fill!r} cannot be held by the result's dtype {dtype}: give another fill= or dtype="
        )


def _within(value: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    number = value.item()
    if number != int(number):
        return False
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(low) <= int(number) <= int(high)


def check_holes(frame: Frame, fill: Any) -> None:
    """Refuse a grid that leaves elements uncovered, unless they are to be filled."""
    if fill is not None or frame.covers:
        return
    for axis in frame.axes:
        if not axis.covers:
            holes = int((axis.profile() == 0).sum())
            raise ValueError(
                f"the patches leave {holes} of {axis.size} positions of an axis uncovered:"
                " give fill= a value for them, or a grid that covers (tail='shift', a step no larger than the patch,"
                " pad= where patches shrink)"
            )


def holes_of(frame: Frame, bounds: Rect) -> Mask | None:
    """Which elements of a block no patch of the whole grid touches; None for none."""
    if frame.covers:
        return None
    touched = np.ones((1,) * len(frame.axes), dtype=bool)
    for k, (axis, (begin, end)) in enumerate(zip(frame.axes, bounds, strict=True)):
        shape: Sequence[int] = [-1 if j == k else 1 for j in range(len(frame.axes))]
        touched = touched & (axis.profile(None, begin, end) > 0).reshape(shape)
    return ~touched

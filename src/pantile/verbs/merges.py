"""Which merge: names and users' own merges made into reductions, and checked, at the door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..geometry.tiles import Bounds
from ..kernels.tapers import Taper, check_weight_values, resolve_weights, scaled
from .custom import Custom, Merge
from .frame import Frame
from .reductions import Claim, Extremum, Mean, Reduction, Sum
from .sorted_reductions import Moments, Slots

__all__ = ["MERGES", "MergeName", "Rule", "cast", "check_holes", "check_sums", "resolve_rule"]

MergeName = Literal["mean", "sum", "max", "min", "median", "var", "vote", "first", "last", "center"]
MERGES: tuple[str, ...] = get_args(MergeName)
_WEIGHTED = frozenset({"mean", "sum", "var", "vote"})
_KEEPS_DTYPE = frozenset({"max", "min", "vote", "first", "last", "center"})
_REAL_ONLY = frozenset({"max", "min", "median", "var", "vote"})
_SUMS = frozenset({"mean", "sum", "var"})  # in float64, whatever the patches


@dataclass(frozen=True)
class Rule:
    """How patches become an image: the merge, its weights, what holes hold, and the dtype wanted."""

    merge: MergeName | Merge
    weights: Any = None
    patch_weights: bool = False
    fill: Any = None
    dtype: np.dtype[Any] | None = None

    @property
    def trims(self) -> bool:
        return isinstance(self.weights, str) and self.weights == "trim"

    def natural_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """What patches of ``dtype`` give when the caller asks for nothing."""
        if isinstance(self.merge, Merge):
            return self.merge.result_dtype(dtype)
        if dtype.kind in "fc" or self.merge in _KEEPS_DTYPE:
            return dtype.newbyteorder("=")
        if self.merge == "sum" and not self.patch_weights and (self.weights is None or self.trims):
            return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
        return np.dtype(np.float64)

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return self.natural_dtype(dtype) if self.dtype is None else self.dtype

    def check(self, frame: Frame, dtype: np.dtype[Any]) -> None:
        """Raise what is wrong with merging patches of ``dtype`` on ``frame``, before any work."""
        if isinstance(self.merge, Merge):
            resolve_weights(self.weights, self._merged_patch(frame))
            return
        if dtype.kind not in "biufc":
            raise TypeError(f"patches must hold numbers to be merged, got dtype {dtype}")
        if dtype.kind == "c" and self.merge in _REAL_ONLY:
            raise TypeError(
                f"merge={self.merge!r} needs an order, which complex numbers have not:"
                " merge real and imaginary parts apart"
            )
        long = dtype.itemsize > (16 if dtype.kind == "c" else 8)
        if long and self.merge not in _SUMS and (dtype.kind == "c" or self.merge in _REAL_ONLY):
            raise TypeError(
                f"merge={self.merge!r} cannot hold {dtype}, and would round it: convert the patches to"
                f" {'complex128' if dtype.kind == 'c' else 'float64'}"
            )
        if self.dtype is not None and self.dtype.kind not in "biufc":
            raise TypeError(f"dtype must be a number's, got {self.dtype}")
        if self.natural_dtype(dtype).kind == "c" and self.result_dtype(dtype).kind != "c":
            raise TypeError(
                f"dtype={self.dtype} cannot hold complex results: use complex64 or complex128"
            )
        if self.fill is not None:
            check_fill(self.fill, self.result_dtype(dtype))
        resolve_weights(None if self.trims else self.weights, self._merged_patch(frame))

    def check_weights(self) -> None:
        """Raise what is wrong with the weights whatever the patches will be."""
        if self.trims:
            if self.merge not in ("mean", "sum"):
                raise ValueError(
                    f"weights='trim' goes with merge 'mean' or 'sum', got merge={self.merge!r}"
                )
            return
        weighted = self.weights is not None or self.patch_weights
        if weighted and isinstance(self.merge, str) and self.merge not in _WEIGHTED:
            raise ValueError(
                f"merge={self.merge!r} takes no weights: leave out weights= and patch_weights=,"
                f" or merge by one of {', '.join(sorted(_WEIGHTED))}"
            )
        check_weight_values(self.weights)

    @staticmethod
    def _merged_patch(frame: Frame) -> tuple[int, ...]:
        return tuple(
            p for k, p in enumerate(frame.patch) if k >= frame.n_batch and k != frame.channel
        )

    def reduction(
        self, frame: Frame, dtype: np.dtype[Any], whole: bool, exact: bool = False
    ) -> Reduction:
        """The reduction for patches of ``dtype``; ``whole`` when every patch of the grid takes part once."""
        taper = resolve_weights(None if self.trims else self.weights, self._merged_patch(frame))
        if self.merge in ("mean", "var", "vote"):
            taper = scaled(taper)  # its size cancels, and must not overflow before it does
        flat_taper = _flattened(taper, frame)
        base = (frame.axes, frame.patch, dtype.newbyteorder("="))
        if isinstance(self.merge, Merge):
            return Custom(*base, self.merge, flat_taper)
        if self.trims:
            return Claim(*base, "center")
        weighted = self.patch_weights
        profiles = _profiles(taper, frame) if whole and not weighted else None
        makers: dict[str, Callable[[], Reduction]] = {
            "sum": lambda: Sum(*base, flat_taper, weighted, exact),
            "mean": lambda: Mean(*base, flat_taper, weighted, exact, profiles),
            "max": lambda: Extremum(*base, True),
            "min": lambda: Extremum(*base, False),
            "median": lambda: Slots(*base),
            "vote": lambda: Slots(*base, True, flat_taper, weighted),
            "var": lambda: Moments(*base, flat_taper),
            **{name: partial(Claim, *base, name) for name in ("first", "last", "center")},
        }
        return makers[self.merge]()


def resolve_rule(
    merge: Any, weights: Any, patch_weights: bool, fill: Any, dtype: DTypeLike | None
) -> Rule:
    """A `Rule` from what the caller gave."""
    named = isinstance(merge, str) and merge in MERGES
    if not named and not isinstance(merge, Merge):
        raise ValueError(
            f"merge must be one of {', '.join(MERGES)} or a pantile.Merge, got {merge!r}"
        )
    rule = Rule(merge, weights, patch_weights, fill, None if dtype is None else np.dtype(dtype))
    rule.check_weights()
    return rule


def _flattened(taper: Taper | None, frame: Frame) -> NDArray[np.float64] | None:
    """The taper over all samples of a canonical patch, channels included, in C order."""
    if taper is None:
        return None
    if isinstance(taper, tuple):
        whole = np.ones(())
        for vector in taper:
            whole = whole[..., None] * vector
    else:
        whole = taper
    if frame.channel is not None:
        whole = np.expand_dims(whole, frame.channel - frame.n_batch)
    return np.broadcast_to(whole, frame.patch_shape).flatten()


def _profiles(taper: Taper | None, frame: Frame) -> tuple[NDArray[np.float64], ...] | None:
    """Per axis, the sum of weights over each element; None for a taper that is no product."""
    if taper is not None and not isinstance(taper, tuple):
        return None
    vectors = iter(taper or ())
    found = []
    for k, axis in enumerate(frame.axes):
        plain = k < frame.n_batch or k == frame.channel
        found.append(axis.profile(None if taper is None or plain else next(vectors)))
    if taper is not None and not all(bool(p.all()) for p in found):
        return None  # zeros in the taper leave elements without weight, which must be found
    return tuple(found)


def check_holes(frame: Frame, fill: Any) -> None:
    """Refuse a grid that leaves elements uncovered, unless they are to be filled."""
    if fill is not None:
        return
    for axis in frame.axes:
        if not axis.covers:
            holes = int((axis.profile() == 0).sum())
            raise ValueError(
                f"the patches leave {holes} of {axis.size} positions of an axis uncovered:"
                " give fill= a value for them, or a grid that covers (tail='shift', a step no larger than the patch,"
                " pad= where patches shrink)"
            )


def check_fill(fill: Any, dtype: np.dtype[Any]) -> None:
    value = np.asarray(fill)
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


def check_sums(
    reduction: Reduction, patches: NDArray[Any], times: int | None = None, known: int = 0
) -> int:
    """Refuse 64-bit integers whose sums might wrap when ``times`` of them (by default, what the grid allows) meet.

    ``known`` is the largest that came before; returns the largest that has come now.
    """
    if patches.dtype.kind not in "iu" or patches.dtype.itemsize < 8 or not patches.size:
        return known
    if not isinstance(reduction, Sum) or reduction.accumulator.kind not in "iu":
        return known
    times = reduction.depth if times is None else times
    largest = max(known, int(patches.max()), -int(patches.min()))
    if largest * times > int(np.iinfo(reduction.accumulator).max):
        raise OverflowError(
            f"values up to {largest} that meet {times} times may not fit 64-bit sums:"
            " merge patches.astype(float) instead, or scale them down"
        )
    return largest


def cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``values`` in ``dtype``: for integers rounded half to even and saturated, else converted."""
    if values.dtype == dtype:
        return values
    if dtype.kind not in "biu":
        return values.astype(dtype)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() and np.isnan(values).any():
            raise ValueError(
                f"the merge has NaN where dtype={dtype} has none: choose a float dtype=, or fill="
            )
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


def apply_fill(
    values: NDArray[Any], holes: NDArray[np.bool_] | None, fill: Any, where: Bounds
) -> NDArray[Any]:
    """``values`` with ``fill`` in the holes; holes without a fill are an error."""
    if holes is None or not holes.any():
        return values
    if fill is None:
        raise ValueError(
            f"{int(np.broadcast_to(holes, values.shape).sum())} elements within {where} are touched by no patch"
            " (or by weights that add up to 0): give fill= a value for them"
        )
    return np.where(holes, np.asarray(fill).astype(values.dtype), values)


def holes_of(frame: Frame, bounds: Bounds) -> NDArray[np.bool_] | None:
    """Which elements of a block no patch of the whole grid touches."""
    if all(axis.covers for axis in frame.axes):
        return None
    touched = np.ones((1,) * len(frame.axes), dtype=bool)
    for k, (axis, (begin, end)) in enumerate(zip(frame.axes, bounds, strict=True)):
        shape: Sequence[int] = [-1 if j == k else 1 for j in range(len(frame.axes))]
        touched = touched & (axis.profile()[begin:end] > 0).reshape(shape)
    return ~touched

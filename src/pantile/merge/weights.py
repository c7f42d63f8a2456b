"""Tapers: one weight per sample of a patch, as one vector per axis or as an array of the patch's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.arrays import to_array

__all__ = [
    "LARGEST_PATCH_WEIGHT",
    "LEAST_PATCH_WEIGHT",
    "Profile",
    "Taper",
    "as_weights",
    "check_patch_weights",
    "check_weight_values",
    "normalise",
    "resolve_weights",
    "taper_along",
]

# weights per patch, times a taper and values, stay far from the ends of float64
LEAST_PATCH_WEIGHT, LARGEST_PATCH_WEIGHT = 1e-100, 1e100
_TAIL = 1e-40  # smaller ones, in proportion to the largest, change no digit

_SHORT = 1 << 16  # axes whose sums of weights are worked out once

Taper = tuple[NDArray[np.float64], ...] | NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """The sum of weights over each element of an axis: of a taper's ``vector``, or how many patches there are."""

    axis: AxisGrid
    vector: NDArray[np.float64] | None = None

    @cached_property
    def _whole(self) -> NDArray[np.float64]:
        return self.axis.profile(self.vector)

    def part(self, begin: int, end: int) -> NDArray[np.float64]:
        """The sums over elements ``begin`` to ``end``."""
        if self.axis.size > _SHORT:
            return self.axis.profile(self.vector, begin, end)
        return self._whole[begin:end]

    @property
    def positive(self) -> bool:
        """Whether each element has weight."""
        if self.vector is None or self.vector.all():
            return self.axis.covers
        return bool(self.axis.profile(self.vector).all())


def taper_along(name: Any, length: int) -> NDArray[np.float64]:
    """A window of `scipy.signal.get_window` as ``length`` positive weights, symmetric.

    It is sampled at ``length + 2`` points of which the ends are left out, so windows that end in
    zeros (hann, triang, blackman) keep every sample. Plain ``"gaussian"`` has a standard deviation
    of ``length / 8``.

    >>> taper_along("hann", 3)
    array([0.5, 1. , 0.5])
    """
    from scipy.signal import get_window

    window = ("gaussian", length / 8) if name == "gaussian" else name
    try:
        weights = np.asarray(get_window(window, length + 2, fftbins=False)[1:-1], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"weights={name!r} is no window that scipy.signal.get_window knows ({error});"
            " name one such as 'hann', give ('kaiser', 14.0), one array per axis, or an array of the patch's shape"
        ) from None
    if not weights.min() > 0:
        raise ValueError(
            f"weights={name!r} has samples that are not positive and cannot weigh a merge: use 'hann'"
        )
    return _raised(weights)


def as_weights(weights: Any) -> Any:
    """``weights`` as a name, None, an array, or a tuple of one array per axis; arrays are copies."""
    if weights is None or isinstance(weights, str) or _is_parametrized_name(weights):
        return weights
    if isinstance(weights, Sequence) and not isinstance(weights, bytes):
        if any(isinstance(each, str) for each in weights):
            raise TypeError(
                f"weights names one window for all axes, like 'hann', got {weights!r}: for another on each axis give"
                " one 1-D array per axis"
            )
        items = tuple(_copied(each) for each in weights)
        plain = items and all(each.ndim == 1 for each in items)
        return items if plain else _copied(weights)
    if any(hasattr(weights, name) for name in ("__array__", "__array_interface__", "__dlpack__")):
        return _copied(weights)
    raise TypeError(f"weights must be a name, arrays or None, got {type(weights).__name__}")


def _copied(weights: Any) -> NDArray[Any]:
    try:
        return np.array(to_array(weights, "weights", "give .filled(0) for samples without weight"))
    except ValueError as error:
        raise ValueError(
            f"weights are no array ({error}): give an array of the patch's shape, one 1-D array per axis,"
            " or a window's name"
        ) from None


def resolve_weights(weights: Any, patch: tuple[int, ...]) -> Taper | None:
    """``weights`` as the caller gives them, as vectors (separable) or one array of the patch's shape."""
    if weights is None:
        return None
    if isinstance(weights, str) or _is_parametrized_name(weights):
        return tuple(taper_along(weights, p) for p in patch)
    if isinstance(weights, np.ndarray) or not isinstance(weights, Sequence):
        return _checked(np.asarray(weights), patch)
    if _are_vectors(weights, patch):
        return tuple(_checked(np.asarray(w), (p,)) for w, p in zip(weights, patch, strict=True))
    shapes = {np.shape(w) for w in weights}
    if len(shapes) > 1:
        said = ", ".join(str(np.shape(w)) for w in weights)
        raise ValueError(
            f"weights per axis have shapes {said}, but the patch that is merged has shape {patch}:"
            " give one 1-D array for each of its axes"
        )
    return _checked(np.asarray(weights), patch)


def _is_parametrized_name(weights: Any) -> bool:
    return isinstance(weights, tuple) and bool(weights) and isinstance(weights[0], str)


def _are_vectors(weights: Sequence[Any], patch: tuple[int, ...]) -> bool:
    shapes = [np.shape(w) for w in weights]
    return len(weights) == len(patch) and all(s == (p,) for s, p in zip(shapes, patch, strict=True))


def _checked(weights: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    if weights.shape != shape:
        raise ValueError(
            f"weights have shape {weights.shape}, but the patch that is merged has shape {shape}:"
            " give that shape, one 1-D array per axis, or a window's name"
        )
    return _positive(weights)


def _positive(weights: NDArray[Any]) -> NDArray[np.float64]:
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"weights must be real numbers, got dtype {weights.dtype}")
    values = weights.astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("weights must be finite and not negative")
    if not values.any():
        raise ValueError("weights are all 0, so nothing would be merged")
    return _raised(values)


def normalise(taper: Taper | None) -> Taper | None:
    """The taper with a largest weight near 1, by a power of two, which changes no bit of a mean."""
    if taper is None:
        return None
    if isinstance(taper, tuple):
        return tuple(_near_one(vector) for vector in taper)
    return _near_one(taper)


def _near_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ldexp(weights, -int(np.frexp(weights.max())[1]))


def check_patch_weights(weights: NDArray[np.float64]) -> None:
    """Raise where weights per patch cannot weigh: products and sums must be far from the ends of float64."""
    if not weights.size:
        return
    low, high = weights.min(), weights.max()
    if not (low >= 0 and high < np.inf):  # NaN is neither
        raise ValueError("patch_weights must be finite and not negative")
    if low == 0 and high > 0:
        low = weights[weights > 0].min()
    if high > 0 and not (low >= LEAST_PATCH_WEIGHT and high <= LARGEST_PATCH_WEIGHT):
        raise ValueError(
            f"patch_weights must be 0, or between {LEAST_PATCH_WEIGHT:g} and {LARGEST_PATCH_WEIGHT:g},"
            f" got {low:g} to {high:g}: only their ratios matter to a mean, so divide them by a common number"
        )


def _raised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Far tails are raised to 1e-40 of the largest weight: products of smaller ones would round to 0."""
    return np.where(weights > 0, np.maximum(weights, _TAIL * weights.max()), weights)


def check_weight_values(weights: Any) -> None:
    """Raise what is wrong with weights of whatever shape: unknown names, numbers that cannot weigh."""
    if isinstance(weights, str) or _is_parametrized_name(weights):
        taper_along(weights, 3)
    elif isinstance(weights, np.ndarray):
        _positive(np.asarray(weights))
    elif isinstance(weights, Sequence):
        for vector in weights:
            _positive(np.asarray(vector))
    elif weights is not None:
        raise TypeError(f"weights must be a name, arrays or None, got {type(weights).__name__}")

"""Comparisons that assert: shape, dtype and every value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["assert_agrees", "assert_same_bits"]

# a few units in the last place; sums run in float64, so only the last rounding differs
_RTOL = {"e": 2e-3, "f": 5e-7, "d": 1e-12, "F": 5e-7, "D": 1e-12}


def assert_agrees(
    actual: Any, expected: npt.ArrayLike, *, scale: float = 1.0, exact: bool = False
) -> None:
    """Same shape, dtype and values: integers to the last bit, floats to rounding (or `exact`).

    `scale` is the magnitude of what was summed, for results that cancel.

    >>> assert_agrees(np.array([0.1 + 0.2]), np.array([0.3]))
    """
    wanted = np.asarray(expected)
    assert isinstance(actual, np.ndarray), f"expected an array, got {type(actual)}"
    assert actual.dtype == wanted.dtype, f"dtype {actual.dtype}, expected {wanted.dtype}"
    assert actual.shape == wanted.shape, f"shape {actual.shape}, expected {wanted.shape}"
    if exact or wanted.dtype.kind not in "fc":
        np.testing.assert_array_equal(actual, wanted)
    else:
        rtol = _RTOL[wanted.dtype.char]
        np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=1e-13 * scale)


def assert_same_bits(actual: Any, expected: npt.NDArray[Any]) -> None:
    """Same shape, dtype and bytes, NaN payloads and signs of zero included.

    >>> assert_same_bits(np.zeros(2), np.zeros(2))
    """
    assert isinstance(actual, np.ndarray), f"expected an array, got {type(actual)}"
    assert actual.dtype == expected.dtype, f"dtype {actual.dtype}, expected {expected.dtype}"
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    different = np.flatnonzero(
        np.frombuffer(actual.tobytes(), "u1") != np.frombuffer(expected.tobytes(), "u1")
    )
    assert not different.size, f"{different.size} bytes differ, the first at {different[0]}"

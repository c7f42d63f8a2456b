"""What a call ends in, and whether two calls end alike: the same array, or errors of one type."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["assert_same_array", "assert_same_outcome", "outcome", "plain_type"]


def outcome(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return what a call gives, or the exception it ends in."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **options)
    except Exception as error:
        return error


def plain_type(error: BaseException) -> type:
    """Return the built-in class that an error is: what callers catch."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")


def assert_same_array(found: Any, wanted: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Same type, shape, dtype and values."""
    assert type(found) is type(wanted), f"{type(found)}, expected {type(wanted)}"
    assert found.shape == wanted.shape, f"shape {found.shape}, expected {wanted.shape}"
    assert found.dtype == wanted.dtype, f"dtype {found.dtype}, expected {wanted.dtype}"
    if rtol or atol:
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)
    else:
        np.testing.assert_array_equal(found, wanted)


def assert_same_outcome(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *args: Any,
    rtol: float = 0.0,
    **options: Any,
) -> tuple[Any, Any]:
    """Return what ``ours`` and ``theirs`` end in: the same array, or an error that the same ``except`` catches."""
    found, wanted = outcome(ours, *args, **options), outcome(theirs, *args, **options)
    if isinstance(wanted, Exception):
        assert isinstance(found, plain_type(wanted)), f"{found!r}, expected {wanted!r}"
    else:
        assert not isinstance(found, Exception), f"{found!r}, expected a result"
        assert_same_array(found, wanted, rtol=rtol)
    return found, wanted

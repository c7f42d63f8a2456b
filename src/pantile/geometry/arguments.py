"""Arguments made canonical at the door: whole numbers to tuples, with errors that say what to do."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["as_axis", "as_count", "as_pad", "as_per_axis", "as_shape", "is_many"]


def is_many(value: Any) -> bool:
    """Whether ``value`` is a collection of numbers and not one number (or a word)."""
    if type(value) is int or type(value) is tuple:  # most of them, at once
        return type(value) is tuple
    if isinstance(value, str | bytes | set | frozenset | dict):  # words, and what has no order
        return False
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


def as_count(value: Any, name: str, least: int = 1) -> int:
    """``value`` as an int of at least ``least``."""
    if type(value) is int and value >= least:
        return value
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    return number


def as_shape(shape: Any, name: str = "shape", least: int = 1) -> tuple[int, ...]:
    """``shape``, an int or a sequence of ints, as a non-empty tuple."""
    if getattr(shape, "ndim", 0) > 1:
        found = f"an array of {shape.ndim} axes" if hasattr(shape, "dtype") else f"{shape!r}"
        known = f": give its shape, {tuple(shape.shape)}" if name == "shape" else ""
        if name == "patch":
            known = (
                f": give its patch, {shape.patch}"
                if hasattr(shape, "patch")
                else ": give the shape of a patch"
            )
        raise TypeError(f"{name} must be whole numbers, got {found}{known}")
    items = tuple(shape) if type(shape) is tuple or is_many(shape) else (shape,)
    if not items:
        raise ValueError(f"{name} must name at least one axis, got {shape!r}")
    return tuple([as_count(item, name, least) for item in items])


def as_per_axis(value: Any, ndim: int, name: str, least: int = 1) -> tuple[int, ...]:
    """``value``, one int for all axes or one per axis, as a tuple of ``ndim`` ints."""
    if type(value) is int or not is_many(value):
        return (as_count(value, name, least),) * ndim
    items = as_shape(value, name, least)  # checks each number
    if len(items) != ndim:
        raise ValueError(
            f"{name} has {len(items)} values for {ndim} patched axes, got {value!r}:"
            f" give one number, or one per axis"
        )
    return items


def as_axis(axis: Any, ndim: int, name: str) -> int:
    """``axis`` counted from the front."""
    try:
        if isinstance(axis, bool | np.bool_):
            raise TypeError
        index = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {axis!r}") from None
    if not -ndim <= index < ndim:
        raise ValueError(f"{name}={axis!r} is not an axis of an image with {ndim} axes")
    return index % ndim


def as_pad(pad: Any, ndim: int) -> tuple[tuple[int, int], ...] | str:
    """``pad`` as one ``(before, after)`` pair per axis, or ``"same"``."""
    if isinstance(pad, str):
        if pad != "same":
            raise ValueError(
                f"pad must be an int, one per axis, (before, after) pairs or 'same', got {pad!r}"
            )
        return pad
    if not is_many(pad):
        return ((as_count(pad, "pad", 0),) * 2,) * ndim
    items: Sequence[Any] = tuple(pad)
    if len(items) != ndim:
        raise ValueError(
            f"pad has {len(items)} entries for {ndim} patched axes, got {pad!r}:"
            f" give one number, one per axis, or one (before, after) pair per axis"
        )
    return tuple(_as_pair(item, pad) for item in items)


def _as_pair(item: Any, pad: Any) -> tuple[int, int]:
    if not is_many(item):
        return (as_count(item, "pad", 0),) * 2
    pair = tuple(item)
    if len(pair) != 2:
        raise ValueError(f"pad needs (before, after) pairs, got {item!r} in {pad!r}")
    return as_count(pair[0], "pad", 0), as_count(pair[1], "pad", 0)

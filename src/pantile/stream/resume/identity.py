"""What a run is, as plain JSON values: two runs with the same description make the same bits."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["describe", "differences", "digest", "name_of"]

_DEEP = 4  # functions bound to functions bound to functions
_SAID = (Decimal, Enum, Fraction, date, range, slice, timedelta)  # by what they print


def describe(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON: numbers and words as they are, arrays as digests, functions by name with what is bound."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | complex | np.generic):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, np.dtype):
        return value.str
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {digest(value)}"
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes {digest(np.frombuffer(value, np.uint8))}"
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, _SAID):
        return repr(value)
    if depth > _DEEP:
        return name_of(type(value))
    if isinstance(value, tuple | list):
        return [describe(v, depth + 1) for v in value]
    if isinstance(value, set | frozenset):  # in an order that does not depend on the process
        return sorted((describe(v, depth + 1) for v in value), key=str)
    if isinstance(value, dict):
        return {str(k): describe(v, depth + 1) for k, v in value.items()}
    return _bound(value, depth + 1)


def _bound(value: Any, depth: int) -> dict[str, Any]:
    """A function or a small object by name, with the parameters that are bound to it."""
    if isinstance(value, functools.partial):
        found = _bound(value.func, depth)
        bound = {f"argument {k}": v for k, v in enumerate(value.args)} | value.keywords
    elif inspect.ismethod(value):
        found = {"name": name_of(value.__func__)}
        bound = {"self": value.__self__}
    elif inspect.isfunction(value):
        found = {"name": name_of(value)}
        bound = _enclosed(value)
    elif is_dataclass(value) and not isinstance(value, type):
        found = {"name": name_of(type(value))}
        bound = {f.name: getattr(value, f.name) for f in fields(value)}
    elif isinstance(value, type) or hasattr(value, "__qualname__") or hasattr(value, "__name__"):
        return {"name": name_of(value)}
    else:
        found, bound = {"name": name_of(type(value))}, _simple(getattr(value, "__dict__", {}))
    return found | {str(k): describe(v, depth) for k, v in bound.items()}


def _enclosed(function: Any) -> dict[str, Any]:
    """What a function has from around it: closure and defaults."""
    found = dict(function.__kwdefaults__ or {})
    found |= {f"default {k}": v for k, v in enumerate(function.__defaults__ or ())}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return found


def _simple(values: dict[str, Any]) -> dict[str, Any]:
    """Of an object's attributes, those that can be compared; a model's layers cannot."""
    plain = (bool, int, float, complex, str, tuple, np.ndarray, np.generic, functools.partial)
    return {
        k: v
        for k, v in values.items()
        if (isinstance(v, plain) or inspect.isroutine(v)) and not k.startswith("_")
    }


def name_of(value: Any) -> str:
    """``module:qualified name`` of a function or class."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return f"{getattr(value, '__module__', None) or 'builtins'}:{name or type(value).__qualname__}"


def digest(array: NDArray[Any]) -> str:
    """A hash of an array's elements in C order."""
    plain = np.ascontiguousarray(array)
    return hashlib.blake2b(plain.reshape(-1).view(np.uint8).data, digest_size=12).hexdigest()


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two descriptions, one line each: ``name: old -> new``."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        found = [
            differences(old.get(k), new.get(k), f"{name}.{k}" if name else str(k)) for k in keys
        ]
        return [line for lines in found for line in lines]
    return [] if old == new else [f"{name}: {old} -> {new}"]

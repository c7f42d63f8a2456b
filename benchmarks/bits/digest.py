"""What a call gave, as plain data that two processes can compare: to the last bit, whatever its strides."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Plain", "Record", "digest", "plain", "summary"]

Plain = Any
"""Nested tuples of words, numbers, strings, bytes and C-contiguous arrays."""

_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def plain(value: Any) -> Plain:
    """``value`` as nested tuples of which the first says what it is; a TypeError for what is not known.

    >>> plain([np.float32(1), {"a": None}])
    ('list', ('float32', '00 00 80 3f'), ('dict', ('a', ('None',))))
    """
    if value is None or isinstance(value, bool | int | str | bytes):
        return ("None",) if value is None else (type(value).__name__, value)
    if isinstance(value, float | complex | np.generic):
        return (type(value).__name__, np.asarray(value).tobytes().hex(" "))
    if isinstance(value, np.ma.MaskedArray):
        return ("masked", plain(value.data), plain(np.ma.getmaskarray(value)))
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Mapping):
        return ("dict", *((str(key), plain(each)) for key, each in value.items()))
    if isinstance(value, tuple | list):
        name = "list" if isinstance(value, list) else "tuple"
        return (name, *map(plain, value))
    return _other(value)


def _array(array: np.ndarray[Any, Any]) -> Plain:
    if array.dtype.hasobject:
        return ("objects", array.shape, *map(plain, array.ravel().tolist()))
    return ("array", array.dtype.str, np.array(array, order="C", subok=False))


def _other(value: Any) -> Plain:
    kind = type(value).__name__
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, os.PathLike):
        return ("path", Path(value).name)
    if isinstance(value, np.dtype):
        return ("dtype", value.str)
    if kind == "PatchGrid":
        return ("grid", plain(value.to_dict()), repr(value))
    if kind == "Tensor":
        return ("tensor", str(value.dtype), plain(value.detach().numpy()))
    if hasattr(value, "__dask_graph__"):
        sizes = plain(tuple(value.chunks)), plain(np.dtype(value.dtype))
        return ("dask", *sizes, plain(value.compute(scheduler="synchronous")))
    if hasattr(value, "row_norms"):  # a PatchMatrix
        return ("matrix", value.shape, plain(value.dtype), plain(np.asarray(value)))
    raise TypeError(f"a {kind} cannot be compared: say in the case what of it counts")


def digest(found: Plain) -> str:
    """Twenty hexadecimal digits of plain data."""
    state = hashlib.blake2b(digest_size=10)
    _feed(state.update, found)
    return state.hexdigest()


def _feed(update: Callable[[Any], None], found: Plain) -> None:
    if isinstance(found, tuple):
        update(b"(")
        for each in found:
            _feed(update, each)
        update(b")")
    elif isinstance(found, np.ndarray):
        update(repr(found.shape).encode())
        update(found.tobytes())
    else:
        update(repr(found).encode() + b",")


def summary(found: Plain) -> str:
    """Plain data in a few words.

    >>> summary(plain((np.zeros((3, 4)), 7)))
    'tuple(array <f8 (3, 4), int 7)'
    """
    if not isinstance(found, tuple):
        return f"{found!r:.40}"
    if found[:1] == ("array",):
        return f"array {found[1]} {found[2].shape}"
    if found and found[0] in ("list", "tuple", "dict", "objects", "masked", "dask", "matrix"):
        return f"{found[0]}({', '.join(map(summary, found[1:4]))})"
    return " ".join(f"{each!s:.60}" for each in found)


class Record:
    """What the steps of one case gave, by name, as plain data; an exception is a result as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: dict[str, Plain] = {}
        self.messages: dict[str, str] = {}

    def __call__(self, name: str, call: Callable[[], Any]) -> Any:
        """Keep what ``call`` gives, or which exception it raises, and return it (None for an exception)."""
        name = self._new(name)
        try:
            value = call()
            self.found[name] = plain(value)
        except Exception as error:
            self.found[name] = ("raises", type(error).__name__)
            self.messages[name] = self._without_places(str(error))
            return None
        return value

    def _new(self, name: str) -> str:
        known = sum(each == name or each.startswith(f"{name} #") for each in self.found)
        return f"{name} #{known + 1}" if known else name

    def _without_places(self, message: str) -> str:
        return _ADDRESS.sub("0x", message.replace(str(self.folder), "FOLDER"))

    def files(self, name: str) -> None:
        """Keep the names of what lies in the case's folder."""
        self(name, lambda: sorted(each.name for each in self.folder.iterdir()))

"""What `map_patches` is given to call: by name, at the top of a module, so that processes find it too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import pantile as pt

from .digest import digest, plain
from .draw import Array, Draw, Placed

__all__ = ["FUNCTIONS", "SQUARES", "Calls", "Stopped", "Watched", "finalizer", "names_for"]


class Stopped(Exception):
    """What cuts a run short."""


def _wide(batch: Array) -> Array:
    return batch.astype(np.complex128 if batch.dtype.kind == "c" else np.float64)


def _repeated(batch: Array, by: int) -> Array:
    for axis in range(1, batch.ndim):
        batch = batch.repeat(by, axis)
    return batch


FUNCTIONS: dict[str, Callable[[Array], Any]] = {
    "same": lambda batch: batch,
    "in place": lambda batch: np.add(batch, batch, out=batch),
    "more": lambda batch: batch + batch.dtype.type(1),
    "float": lambda batch: _wide(batch) / 3,
    "less the mean": lambda batch: (
        _wide(batch) - _wide(batch).mean(tuple(range(1, batch.ndim)), keepdims=True)
    ),
    "half": lambda batch: batch.astype("f4"),
    "strange strides": lambda batch: np.asfortranarray(batch)[::-1][::-1],
    "greater": lambda batch: batch.real > 1,
    # for images without channels
    "first samples": lambda batch: batch[:, : (batch.shape[1] + 1) // 2],
    "inner": lambda batch: batch[(slice(None), *(slice(n // 3, n - n // 3) for n in batch.shape[1:]))],
    "new axis": lambda batch: np.stack([batch, batch + batch], axis=-1),
    "doubled": lambda batch: _repeated(batch, 2),
    # for results on the grid
    "one": lambda batch: batch.reshape(len(batch), -1)[:, 0].copy(),
    "two": lambda batch: batch.reshape(len(batch), -1)[:, [0, -1]],
    "total": lambda batch: _wide(batch).reshape(len(batch), -1).sum(1),
}  # fmt: skip


def names_for(place: Placed, merge: Any) -> list[str]:
    """Functions whose results can be merged there."""
    if merge is None:
        return ["one", "two", "total", "same"]
    names = ["same", "same", "in place", "more", "float", "less the mean", "strange strides"]
    names += ["half"] * (place.image.dtype.kind != "c") + ["greater"]
    if place.channel_axis is None:
        names += ["first samples", "inner", "new axis"]
        if max(place.grid.dilation) == 1:
            names.append("doubled")
    return names


class Calls:
    """The named functions as one, a tuple where they are several; stops at a call; counts calls."""

    def __init__(self, names: Sequence[str], limit: int | None = None) -> None:
        self.names = tuple(names)
        self._limit = limit
        self._done = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"names": self.names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["names"])  # type: ignore[misc]

    @property
    def calls(self) -> int:
        return self._done

    def __call__(self, batch: Array) -> Any:
        with self._lock:
            self._done += 1
            if self._limit is not None and self._done > self._limit:
                raise Stopped(f"at call {self._done}")
        found = tuple(FUNCTIONS[name](batch.copy("K")) for name in self.names)
        return found if len(found) > 1 else found[0]


class Watched:
    """A function that keeps what it was called with: shapes, memory layout, bits, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Any] = []

    def __call__(self, batch: Array) -> Any:
        feature = batch.strides[0] == batch.itemsize and batch.flags.writeable
        self.seen.append((batch.shape, feature, batch.dtype.str, digest(plain(batch))))
        return FUNCTIONS[self.name](batch)


class _Reduced:
    """A function for ``finalize``."""

    def __init__(self, how: str, axis: int | None) -> None:
        self.how, self.axis = how, axis

    def __call__(self, slab: Array) -> Any:
        if self.how == "twice":
            return slab + slab
        if self.how == "rounded":
            return np.rint(np.clip(slab.real, 0, 9)).astype("u1")
        return getattr(slab, self.how)(self.axis)


def finalizer(draw: Draw, place: Placed) -> Any:
    """None, or a function of a slab; of its channels where the image has them."""
    if draw.often(0.75):
        return None
    if place.channel_axis is not None and place.image.dtype.kind != "c" and draw.often(0.7):
        return _Reduced(draw.pick(("argmax", "max", "sum")), place.channel_axis)
    return _Reduced(draw.pick(("twice", "rounded")), None)


def _accumulate(state: Any, values: Array, weights: Array | None) -> None:
    state[0][...] += np.abs(values.astype("f8")) ** 2 * (1 if weights is None else weights)
    state[1][...] += 1 if weights is None else weights


def _combine(state: Any, other: Any) -> None:
    for mine, theirs in zip(state, other, strict=True):
        mine += theirs


def _init(shape: tuple[int, ...], dtype: Any) -> Any:  # noqa: ARG001
    return np.zeros(shape), np.zeros(shape)


def _root(state: Any) -> Array:
    return np.sqrt(state[0] / state[1])


SQUARES = pt.Merge(init=_init, accumulate=_accumulate, combine=_combine, finalize=_root)
"""The root of the mean square, as a merge of a user's own."""

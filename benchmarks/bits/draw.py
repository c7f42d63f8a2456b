"""Random grids, images and options: small, but large enough for many tiles, batches and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import pantile as pt

__all__ = [
    "DTYPES",
    "MERGES",
    "TAILS",
    "WEIGHED",
    "Array",
    "Draw",
    "Placed",
    "array",
    "grid",
    "merge_options",
    "patches_for",
    "placed",
    "restrided",
    "weights",
    "where",
]

Array = NDArray[Any]
T = TypeVar("T")

TAILS = ("shift", "shift", "respace", "pad", "drop", "error")
PAD_MODES = (
    *("constant", "constant", "edge", "reflect", "symmetric", "wrap"),
    *("linear_ramp", "maximum", "mean", "median", "minimum"),
)
DTYPES = (
    *("f8", "f8", "f4", "f4", "u1", "u1", "i8", "u2", "i2", "i4", "u4", "u8", "i1"),
    *("f2", "b1", "c8", "c16"),
)
MERGES = ("mean", "mean", "sum", "max", "min", "median", "var", "vote", "first", "last", "center")
WEIGHED = ("mean", "sum", "var", "vote")
REAL = ("max", "min", "median", "var", "vote")
NAMES = ("hann", "hamming", "triang", "blackman", "cosine", "gaussian", "boxcar", "trim")
_SIDES = {1: 90, 2: 26, 3: 9, 4: 5}
_PATCHES = {1: 14, 2: 7, 3: 4, 4: 3}


@dataclass(frozen=True)
class Draw:
    """Draws from one generator."""

    rng: np.random.Generator

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def often(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def maybe(self, share: float, value: T) -> T | None:
        return value if self.often(share) else None


@dataclass(frozen=True)
class Placed:
    """An image with its grid and the roles of its axes."""

    image: Array
    grid: pt.PatchGrid
    axes: tuple[int, ...] | None
    channel_axis: int | None

    @property
    def roles(self) -> dict[str, Any]:
        return {"axes": self.axes, "channel_axis": self.channel_axis}

    @property
    def n_batch(self) -> int:
        return self.image.ndim - self.grid.ndim - (self.channel_axis is not None)


def grid(
    draw: Draw, ndim: int | None = None, *, pads: bool = True, gaps: bool = True, scale: int = 1
) -> pt.PatchGrid:
    """A grid: every tail, pad and pad mode, dilation, steps past the patch, patch = image."""
    nd = ndim or draw.pick((1, 1, 2, 2, 2, 2, 3, 3, 4))
    tail = draw.pick(TAILS)
    padded = pads and draw.often(0.35)
    rows = [_axis(draw, nd, tail, padded, gaps, scale) for _ in range(nd)]
    shape, patch, step, dilation, pad = zip(*rows, strict=True)
    found: Any = "same" if pads and draw.often(0.12) else pad
    return pt.PatchGrid(
        shape,
        patch,
        step,
        dilation=dilation,
        tail=tail,
        pad=found if pads else 0,
        pad_mode=draw.pick(PAD_MODES),
        pad_value=draw.pick((0, 0, 1)),
    )


def _axis(
    draw: Draw, nd: int, tail: str, padded: bool, gaps: bool, scale: int
) -> tuple[int, int, int, int, tuple[int, int]]:
    """Size, patch, step, dilation and pad of an axis on which a patch fits."""
    size = draw.whole(1, _SIDES[nd] * scale)
    most = min(4, size - 1)
    pad = (draw.whole(0, most), draw.whole(0, most)) if padded else (0, 0)
    room = sum(pad) + size
    dilation = draw.pick((1, 1, 1, 1, 2, 3))
    fitting = (room - 1) // dilation + 1
    patch = size if draw.often(0.08) else draw.whole(1, min(fitting, _PATCHES[nd] * scale))
    dilation = dilation if patch <= fitting else 1
    left = room - (patch - 1) * dilation - 1
    steps = [*range(1, patch + (3 if gaps else 1))]
    if tail == "error":
        steps = [s for s in steps if left % s == 0]
    return size, patch, draw.pick(steps), dilation, pad


def array(draw: Draw, shape: Sequence[int], dtype: Any, *, nonfinite: bool = False) -> Array:
    """An array over a dtype's range: floats of many magnitudes, integers all over or with ties."""
    kind, rng, shape = np.dtype(dtype), draw.rng, tuple(shape)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind in "iu":
        info = np.iinfo(kind)
        low, high = max(int(info.min), -(2**40)), min(int(info.max), 2**40)
        if draw.often(0.4):
            low, high = max(low, -2), 3
        return rng.integers(low, high, shape, endpoint=True).astype(kind)
    most = 8.0 if kind.itemsize == 2 else draw.pick((1.0, 1e3, 1e6))
    values = rng.standard_normal(shape) * most / 4
    if kind.kind == "c":
        return (values + 1j * rng.uniform(-most, most, shape)).astype(kind)
    if nonfinite:
        strange = rng.choice([np.nan, np.inf, -np.inf, -0.0], shape)
        values = np.where(rng.random(shape) < 0.06, strange, values)
    return np.clip(values, -most * 2, most * 2).astype(kind)


def restrided(draw: Draw, values: Array) -> Array:
    """The same values behind other strides, sometimes read-only, swapped, broadcast or not aligned."""
    how = draw.pick(
        ("plain", "plain", "plain", "permuted", "permuted", "reversed", "spaced", "read-only")
    )
    if draw.often(0.08) and values.dtype.itemsize > 1:
        return values.astype(values.dtype.newbyteorder())
    if draw.often(0.04) and values.ndim:
        axis = draw.whole(0, values.ndim - 1)
        return np.broadcast_to(values.take([0], axis), values.shape)
    if draw.often(0.04):
        record = np.zeros(values.shape, [("pad", "u1"), ("value", values.dtype)])
        record["value"] = values
        return record["value"]
    if how == "permuted":
        order = draw.rng.permutation(values.ndim)
        return np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    if how == "reversed":
        flip = (slice(None, None, -1),) * values.ndim
        return np.ascontiguousarray(values[flip])[flip]
    if how == "spaced":
        wide = np.zeros([2 * n for n in values.shape], values.dtype)
        view = wide[(slice(None, None, 2),) * values.ndim]
        view[...] = values
        return view
    if how == "read-only":
        values = values.copy()
        values.flags.writeable = False
    return values


def placed(
    draw: Draw,
    on: pt.PatchGrid | None = None,
    *,
    dtype: Any = None,
    kinds: str = "biufc",
    channels: float = 0.3,
    batch: bool = True,
    nonfinite: float = 0.1,
    strided: bool = True,
) -> Placed:
    """An image around a grid: batch, patched and channel axes in any places."""
    chosen = grid(draw) if on is None else on
    nd = chosen.ndim
    n_batch = draw.pick((0, 0, 0, 0, 1, 2)) if batch and nd < 4 else 0
    has_channel = draw.often(channels)
    ndim = n_batch + nd + has_channel
    channel = draw.whole(0, ndim - 1) if has_channel else None
    free = [a for a in range(ndim) if a != channel]
    patched = tuple(free[n_batch:])
    if draw.often(0.4):
        patched = tuple(sorted(draw.rng.permutation(free)[:nd].tolist()))
    sizes = dict(zip(patched, chosen.shape, strict=True))
    shape = [sizes.get(a, draw.whole(1, 3)) for a in range(ndim)]
    wanted = dtype or draw.pick([d for d in DTYPES if np.dtype(d).kind in kinds])
    values = array(draw, shape, wanted, nonfinite=draw.often(nonfinite))
    axes = None if patched == tuple(free[n_batch:]) and draw.often(0.6) else patched
    return Placed(restrided(draw, values) if strided else values, chosen, axes, channel)


def patches_for(draw: Draw, place: Placed, dtype: Any, *, nonfinite: bool = False) -> Array:
    """Patches that differ where they overlap, in the form of `extract`."""
    shape = pt.extract(place.image, place.grid, indices=[0], **place.roles).shape
    at = place.n_batch
    full = (*shape[:at], place.grid.n_patches, *shape[at + 1 :])
    return restrided(draw, array(draw, full, dtype, nonfinite=nonfinite))


def weights(draw: Draw, patch: Sequence[int], *, trim: bool = True) -> Any:
    """Weights of a patch: a name, a window with a parameter, a vector per axis, an array."""
    form = draw.pick(("name", "name", "name", "kaiser", "vectors", "array"))
    if form == "name":
        return draw.pick(NAMES if trim else NAMES[:-1])
    if form == "kaiser":
        return ("kaiser", float(draw.whole(1, 14)))
    if form == "vectors":
        return [draw.rng.random(p) + 0.01 for p in patch]
    found = draw.rng.random(tuple(patch))
    return np.where(draw.rng.random(found.shape) < 0.1, 0, found) if draw.often(0.3) else found


def merge_options(draw: Draw, on: pt.PatchGrid, dtype: Any, patch: Any = None) -> dict[str, Any]:
    """Keyword arguments of a merge that mostly work."""
    kind = np.dtype(dtype).kind
    merge = draw.pick([m for m in MERGES if kind != "c" or m not in REAL or draw.often(0.02)])
    options: dict[str, Any] = {"merge": merge}
    if merge in WEIGHED and draw.often(0.5):
        options["weights"] = weights(draw, patch or on.patch, trim=merge in ("mean", "sum"))
    if draw.often(0.95 if not on.covers else 0.25):
        options["fill"] = draw.pick((0, 1, 7))
    if draw.often(0.25):
        options["dtype"] = draw.pick(("f4", "f8", "c16", "u1", "i2") if kind != "c" else ("c16",))
    return options


def where(draw: Draw, on: pt.PatchGrid) -> Array:
    """A mask of the image's shape or of the counts; one in thirty selects nothing."""
    shape = draw.pick((on.shape, on.counts))
    share = draw.pick((0.02, 0.3, 0.7, 1.0)) if draw.often(29 / 30) else 0.0
    mask = draw.rng.random(shape) < share
    if draw.often(0.3):  # in one piece
        mask = np.zeros(shape, bool)
        mask[tuple(slice(draw.whole(0, n - 1), None) for n in shape)] = True
    return mask

"""Hypothesis strategies for grids, images and weights (extra: `pantile[testing]`).

All of them stay small enough for the slow twins. Array values come from a drawn seed, so examples
are quick to make and shrink in their geometry.

>>> from hypothesis import given
>>> from pantile.testing import slow, strategies
>>> @given(strategies.grids())
... def coverage_is_the_brute_force_count(grid):
...     assert (grid.coverage() == slow.coverage(grid)).all()
>>> coverage_is_the_brute_force_count()
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pantile import PatchGrid

from . import slow

try:
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover
    raise ImportError(
        'pantile.testing.strategies needs Hypothesis: pip install "pantile[testing]"'
    ) from error

__all__ = [
    "DTYPES",
    "MAPPED_MODES",
    "PAD_MODES",
    "TAILS",
    "TAPERS",
    "Placed",
    "arrays",
    "dtypes",
    "grids",
    "indices",
    "orders",
    "patch_weights",
    "placed",
    "restrided",
    "tapers",
    "wheres",
]

TAILS = ("shift", "respace", "pad", "drop", "center", "error")
MAPPED_MODES = ("edge", "reflect", "symmetric", "wrap")
PAD_MODES = ("constant", *MAPPED_MODES, "linear_ramp", "maximum", "mean", "median", "minimum")
TAPERS = ("hann", "hamming", "triang", "blackman", "cosine", "gaussian", "boxcar")
DTYPES = tuple(
    np.dtype(name)
    for name in (
        *("float32", "uint8", "float64", "int64", "bool", "float16", "int16", "uint16"),
        *("int8", "int32", "uint32", "uint64", "complex64", "complex128"),
    )
)

_SIDES = {1: 14, 2: 8, 3: 5, 4: 4}
_PATCH_SIDES = {1: 9, 2: 4, 3: 3, 4: 2}


@dataclass(frozen=True)
class Placed:
    """An image with its grid and the roles of its axes, as the verbs take them."""

    image: npt.NDArray[Any]
    grid: PatchGrid
    axes: tuple[int, ...] | None
    channel_axis: int | None

    @property
    def roles(self) -> dict[str, Any]:
        """Keyword arguments `axes` and `channel_axis`."""
        return {"axes": self.axes, "channel_axis": self.channel_axis}

    @property
    def patched(self) -> tuple[int, ...]:
        """The patched axes, counted from the front."""
        ndim, nd = self.image.ndim, self.grid.ndim
        if self.axes is not None:
            return tuple(a % ndim for a in self.axes)
        channel = None if self.channel_axis is None else self.channel_axis % ndim
        return tuple([a for a in range(ndim) if a != channel][-nd:])

    @property
    def batch(self) -> tuple[int, ...]:
        """Sizes of the batch axes."""
        channel = () if self.channel_axis is None else (self.channel_axis % self.image.ndim,)
        taken = (*self.patched, *channel)
        return tuple(n for a, n in enumerate(self.image.shape) if a not in taken)


def dtypes(
    kinds: str = "biufc", pool: Sequence[np.dtype[Any]] = DTYPES
) -> st.SearchStrategy[np.dtype[Any]]:
    """A NumPy dtype of `pool` whose `kind` is one of `kinds`."""
    return st.sampled_from([dtype for dtype in pool if dtype.kind in kinds])


@st.composite
def grids(
    draw: st.DrawFn,
    *,
    ndim: int | None = None,
    tails: Sequence[str] = TAILS,
    pads: bool = True,
    pad_modes: Sequence[str] = PAD_MODES,
    pad_values: Sequence[int] = (0, 1),
    dilated: bool = True,
    gaps: bool = True,
    covers: bool | None = None,
) -> PatchGrid:
    """A small grid of any tail, pad, pad mode and dilation, with steps past the patch or one patch in all.

    `gaps=False` keeps steps within the patch. `covers=True` draws only grids that touch every
    element, by the brute-force count.
    """
    nd = draw(st.integers(1, 3)) if ndim is None else ndim
    tail = draw(st.sampled_from(tails))
    same = pads and draw(st.sampled_from([False, False, False, False, True]))
    axes = [draw(_axes(nd, tail, pads and not same, dilated, gaps)) for _ in range(nd)]
    shape, patch, step, dilation, pad = zip(*axes, strict=True)
    grid = PatchGrid(
        shape,
        patch,
        step,
        dilation=dilation,
        tail=tail,  # type: ignore[arg-type]
        pad="same" if same else pad,
        pad_mode=draw(st.sampled_from(pad_modes)) if pads or tail == "pad" else "constant",
        pad_value=draw(st.sampled_from(pad_values)),
    )
    if covers is None or bool(slow.coverage(grid).all()) == covers:
        return grid
    return PatchGrid(shape, draw(st.integers(1, min(*shape, 3)))) if covers else _make_hole(grid)


def _make_hole(grid: PatchGrid) -> PatchGrid:
    return PatchGrid([n + 2 for n in grid.shape], 1, [n + 1 for n in grid.shape], tail="drop")


@st.composite
def _axes(
    draw: st.DrawFn, nd: int, tail: str, padded: bool, dilated: bool, gaps: bool
) -> tuple[int, int, int, int, tuple[int, int]]:
    """Size, patch, step, dilation and pad of one axis that can be laid out."""
    size = draw(st.integers(1, _SIDES[nd]))
    most = 3 if nd < 3 else 1
    pad = draw(st.tuples(st.integers(0, most), st.integers(0, most))) if padded else (0, 0)
    room = pad[0] + size + pad[1]
    dilation = draw(st.sampled_from([1, 1, 1, 2, 3])) if dilated else 1
    fitting = (room - 1) // dilation + 1
    if tail == "pad":
        fitting += 1
    whole_image = draw(st.sampled_from([False] * 7 + [True])) and not padded and tail != "pad"
    patch = size if whole_image else draw(st.integers(1, min(fitting, _PATCH_SIDES[nd])))
    dilation = 1 if whole_image else dilation
    left = room - (patch - 1) * dilation - 1
    steps = list(range(1, patch + 3 if gaps else patch + 1))
    if tail == "error":
        steps = [s for s in steps if left % s == 0]
    return size, patch, draw(st.sampled_from(steps)), dilation, pad


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Sequence[int],
    dtype: npt.DTypeLike = np.float64,
    *,
    nonfinite: bool = False,
) -> npt.NDArray[Any]:
    """An array over a dtype's range: all of it for integers, but 2**40 of 64 bits, 1e3 for floats.

    `nonfinite` sprinkles NaN and both infinities over floats.
    """
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    shape = tuple(shape)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = max(int(info.min), -(2**40)), min(int(info.max), 2**40)
        few = draw(st.booleans())  # few values make ties
        return rng.integers(max(low, -2) if few else low, 3 if few else high, shape).astype(dtype)
    most = 8 if dtype == np.float16 else 1e3  # sums and squares of float16 stay finite
    values = rng.uniform(-most, most, shape)
    if dtype.kind == "c":
        return (values + 1j * rng.uniform(-1e3, 1e3, shape)).astype(dtype)
    if nonfinite:
        strange = rng.choice([np.nan, np.inf, -np.inf], shape)
        values = np.where(rng.random(shape) < 0.1, strange, values)
    return values.astype(dtype)


@st.composite
def restrided(draw: st.DrawFn, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view of the same values with other strides: permuted, reversed, every other one, read-only."""
    order = draw(st.permutations(range(array.ndim)))
    signs = [draw(st.sampled_from([1, 1, -1, 2, -2])) for _ in range(array.ndim)]
    permuted = array.transpose(order)
    sliced = tuple(slice(None, None, signs[axis]) for axis in order)
    buffer = np.zeros(
        [n * abs(signs[axis]) for n, axis in zip(permuted.shape, order, strict=True)], array.dtype
    )
    view = buffer[sliced]
    view[...] = permuted
    result = view.transpose(np.argsort(order))
    result.flags.writeable = draw(st.sampled_from([True, True, False]))
    return result


@st.composite
def placed(
    draw: st.DrawFn,
    grid: st.SearchStrategy[PatchGrid] | None = None,
    *,
    kinds: str = "biufc",
    pool: Sequence[np.dtype[Any]] = DTYPES,
    nonfinite: bool = False,
    channels: bool = True,
    batch: bool = True,
    strided: bool = True,
) -> Placed:
    """An image around a grid: batch, patched and channel axes in any places, any strides."""
    chosen = draw(grids() if grid is None else grid)
    nd = chosen.ndim
    n_batch = draw(st.sampled_from([0, 0, 0, 1, 2])) if batch else 0
    has_channel = channels and draw(st.sampled_from([False, False, True]))
    ndim = n_batch + nd + has_channel
    channel = draw(st.integers(0, ndim - 1)) if has_channel else None
    free = [a for a in range(ndim) if a != channel]
    last = tuple(free[n_batch:])
    default = draw(st.booleans())
    patched = last if default else tuple(sorted(draw(st.permutations(free))[:nd]))
    sizes = dict(zip(patched, chosen.shape, strict=True))
    shape = [sizes.get(a, draw(st.integers(1, 3))) for a in range(ndim)]
    image = draw(arrays(shape, draw(dtypes(kinds, pool)), nonfinite=nonfinite))
    negative = draw(st.booleans())
    axes = None if patched == last and draw(st.booleans()) else patched
    if negative:
        axes = None if axes is None else tuple(a - ndim for a in axes)
        channel = None if channel is None else channel - ndim
    return Placed(draw(restrided(image)) if strided else image, chosen, axes, channel)


@st.composite
def tapers(draw: st.DrawFn, patch: tuple[int, ...], *, positive: bool = True) -> Any:
    """Weights of a patch in one of their forms: a name, a vector per axis, an array of its shape.

    `positive=False` lets single weights be 0, but never all of them.
    """
    form = draw(st.sampled_from(["name", "vectors", "array"]))
    if form == "name":
        return draw(st.sampled_from(TAPERS))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    low = 1 if positive else 0
    if form == "vectors":
        return [_weighing(rng.integers(low, 9, p)) for p in patch]
    return _weighing(rng.integers(low, 9, patch))


def _weighing(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Numbers as weights, of which one at least is not 0."""
    numbers.flat[0] += not numbers.any()
    return numbers / 4


@st.composite
def patch_weights(draw: st.DrawFn, n: int) -> npt.NDArray[np.float64]:
    """One positive number per patch."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return rng.integers(1, 17, n) / 8


@st.composite
def indices(draw: st.DrawFn, grid: PatchGrid) -> list[int]:
    """Flat patch indices: some, in any order, again, counted from the end."""
    n = math.prod(len(s) for s in grid.starts)
    return draw(st.lists(st.integers(-n, n - 1), max_size=12))


@st.composite
def orders(draw: st.DrawFn, n: int) -> list[list[int]]:
    """The numbers below `n` in random order, cut into pieces: an order of `Merger.add`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    order = rng.permutation(n)
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
    return [piece.tolist() for piece in np.split(order, cuts)]


@st.composite
def wheres(draw: st.DrawFn, grid: PatchGrid) -> npt.NDArray[np.bool_]:
    """A selection of at least one patch: a mask of the image's shape, or of the counts'."""
    counts = tuple(len(s) for s in grid.starts)
    shape = draw(st.sampled_from([grid.shape, counts]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    mask: npt.NDArray[np.bool_] = rng.random(shape) < draw(st.sampled_from([0.05, 0.5, 1.0]))
    return mask if slow.select(grid, mask) else np.ones(counts, np.bool_)

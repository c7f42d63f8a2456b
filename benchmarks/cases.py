"""The work that is measured: an image shape, a patch, a step and a dtype."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["FULL", "SMALL", "Array", "Case", "Ints", "Layout", "Pair", "parse_case"]

Array = NDArray[Any]
Layout = Literal["patch", "feature"]
Ints = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One image and its patches; elements that the step leaves over at the end are not cut."""

    shape: Ints
    patch: Ints
    step: Ints
    dtype: str

    def __str__(self) -> str:
        shape, patch, step = (
            "x".join(map(str, sizes)) for sizes in (self.shape, self.patch, self.step)
        )
        return f"{patch} step {step} of {shape}, {self.dtype}"

    @property
    def code(self) -> str:
        """The case as ``--case`` takes it: ``400x400:39x39:1x1:float32``."""
        sizes = ("x".join(map(str, each)) for each in (self.shape, self.patch, self.step))
        return ":".join([*sizes, self.dtype])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def counts(self) -> Ints:
        """How many patches along each axis."""
        rows = zip(self.shape, self.patch, self.step, strict=True)
        return tuple((size - patch) // step + 1 for size, patch, step in rows)

    @property
    def n_patches(self) -> int:
        return math.prod(self.counts)

    @property
    def features(self) -> int:
        return math.prod(self.patch)

    @property
    def elements(self) -> int:
        """How many elements all patches hold together."""
        return self.n_patches * self.features

    @property
    def float_dtype(self) -> str:
        """The dtype of means for those who do not widen: its own, float32 for integers."""
        return self.dtype if np.dtype(self.dtype).kind == "f" else "float32"

    def image(self, seed: int = 0) -> Array:
        """Return noise as an image: floats in [0, 1), integers over their whole range."""
        return _noise(self.shape, self.dtype, seed)

    def patches(self, seed: int = 0) -> Array:
        """Return noise ``(*counts, *patch)``: patches that differ where they overlap."""
        return _noise((*self.counts, *self.patch), self.dtype, seed)

    def view(self, image: Array) -> Array:
        """Return the windows of `image` as NumPy's strided view ``(*counts, *patch)``."""
        steps = tuple(slice(None, None, step) for step in self.step)
        return np.lib.stride_tricks.sliding_window_view(image, self.patch)[steps]

    def arrange(self, patches: Array, layout: Layout) -> Array:
        """Return a copy: ``(*counts, *patch)``, or ``(n, *patch)`` with n fastest in memory."""
        if layout == "patch":
            return np.array(patches, order="C")
        columns = np.empty((*self.patch, *self.counts), patches.dtype)
        columns[...] = patches.transpose(*range(self.ndim, 2 * self.ndim), *range(self.ndim))
        return np.moveaxis(columns.reshape(*self.patch, self.n_patches), -1, 0)


def _noise(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind == "f":
        return rng.random(shape, np.float32 if kind.itemsize == 4 else np.float64)
    return rng.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def parse_case(text: str) -> Case:
    """The case that a code names; one number stands for as many as the image has axes.

    >>> str(parse_case("400x400:39:1:float32"))
    '39x39 step 1x1 of 400x400, float32'
    """
    try:
        shape, patch, step, dtype = text.split(":")
        sizes = tuple(map(int, shape.split("x")))
        patches, steps = (
            tuple(map(int, each.split("x"))) if "x" in each else (int(each),) * len(sizes)
            for each in (patch, step)
        )
        return Case(sizes, patches, steps, np.dtype(dtype).name)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"a case is SHAPE:PATCH:STEP:DTYPE, like 400x400:39:1:float32, got {text!r}"
        ) from error


def _both(shape: int, patch: int, step: int) -> tuple[Case, Case]:
    single, octet = (
        Case((shape, shape), (patch, patch), (step, step), dtype) for dtype in ("float32", "uint8")
    )
    return single, octet


FULL = (*_both(400, 39, 1), *_both(1024, 7, 1), *_both(2048, 64, 16))
SMALL = (*_both(48, 9, 1), *_both(64, 16, 8))

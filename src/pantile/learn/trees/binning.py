"""Images as bytes: numbers of one byte as they are, others by quantiles of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Binning", "learn_binning"]

Array = NDArray[Any]

_MOST = 255
_SAMPLE = 200_000  # elements that quantiles are taken of


@dataclass(frozen=True, eq=False)
class Binning:
    """One table of cut points for all features: a value's bin is the number of cuts below it.

    ``cuts`` is None where a value is its bin, but for ``shift`` (of int8).
    """

    dtype: np.dtype[Any]
    cuts: NDArray[np.float64] | None = None
    shift: int = 0

    def apply(self, values: Array, out: NDArray[np.uint8]) -> None:
        """Write the bins of ``values`` to ``out``."""
        if self.cuts is None:
            np.add(values.view("u1"), np.uint8(self.shift), out=out)
        elif self.table is not None and values.dtype == self.dtype:
            places = values.astype(np.int64) - np.iinfo(self.dtype).min
            np.take(self.table, places, out=out, mode="clip")
        else:
            out[...] = np.searchsorted(self.cuts, values, side="left")

    @cached_property
    def table(self) -> NDArray[np.uint8] | None:
        """The bin of every value, where there are few."""
        if self.cuts is None or self.dtype.kind not in "iu" or self.dtype.itemsize > 2:
            return None
        info = np.iinfo(self.dtype)
        every = np.arange(info.min, info.max + 1)
        return np.searchsorted(self.cuts, every, side="left").astype(np.uint8)

    def check(self, image: Array) -> None:
        """Refuse numbers that cannot be binned as those of `fit` were."""
        if self.cuts is None and image.dtype != self.dtype:
            raise TypeError(
                f"image is {image.dtype}, but the trees were fitted on {self.dtype}, whose values are their"
                f" bins: convert it, image.astype(numpy.{self.dtype})"
            )

    def threshold(self, bins: Array) -> NDArray[np.float64]:
        """Values that lie between these bins and the next ones."""
        if self.cuts is None:
            return np.asarray(bins, np.float64) + 0.5 - self.shift
        return np.asarray(self.cuts[np.minimum(bins, len(self.cuts) - 1)])


def learn_binning(images: Sequence[Array]) -> Binning:
    """The binning of images: lossless for numbers of one byte, or where few values occur.

    Else at most 255 bins that about as many elements of the images fall into, the cuts halfway
    between neighbouring quantiles of a sample of about 200 000 elements.
    """
    dtype = np.result_type(*images)
    if dtype.itemsize == 1 and all(image.dtype == dtype for image in images):
        return Binning(dtype, shift=128 if dtype.kind == "i" else 0)
    total = sum(image.size for image in images)
    every = max(1, total // _SAMPLE)
    sample = np.concatenate([_sample(image, every) for image in images]).astype(np.float64)
    values = np.unique(sample)
    if len(values) > _MOST:
        shares = np.linspace(0, 1, _MOST + 1)[1:-1]
        cuts = np.unique(np.quantile(sample, shares, method="midpoint"))
    else:
        cuts = (values[:-1] + values[1:]) / 2
    return Binning(dtype, cuts)


def _sample(image: Array, every: int) -> Array:
    """About one in ``every`` elements, spread over the image; no copy of the whole."""
    if every == 1:
        return image.reshape(-1)
    rng = np.random.default_rng(0)
    places = tuple(rng.integers(0, n, max(1, image.size // every)) for n in image.shape)
    return np.asarray(image[places])

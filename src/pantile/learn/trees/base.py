"""What all estimators made of trees share: images on a canvas, targets as whole numbers, predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ...kernels.parallel import each_in_parallel
from ..base import Images, PatchModel, as_images, is_number
from ..predict import allocate_results
from ..strips import predict_images
from .binning import Binning, learn_binning
from .canvas import Canvas, Patch, Picture, lay_out
from .draws import fill_counts, poisson_bounds, weigh_drawn
from .ensemble import Ensemble
from .kernels import BOX, DIFFERENCE, VALUE

__all__ = ["FAMILIES", "TreeModel", "bound_weights", "draw_windows", "resolve_families", "to_whole"]

Array = NDArray[Any]

FAMILIES = {"samples": VALUE, "differences": DIFFERENCE, "boxes": BOX}
_SLAB = 1 << 18  # windows whose results are held as float64
_MOST_DRAWN = 15
_MANY = 10_000
_DRAWN_ROWS = 1 << 18


class TreeModel(PatchModel):
    """A model of trees whose features are samples of a patch, differences of two, or means of boxes."""

    ensemble_: Ensemble
    binning_: Binning
    features: str | Sequence[str]
    random_state: Any

    def _prepare(self, image: Images, boxes: bool) -> Canvas:
        """Learn the binning, and lay the images out."""
        matrix = self._fit_matrix(image)
        if len(matrix) >= 1 << 31:
            raise ValueError(
                f"images have {len(matrix)} windows, at most 2**31 - 1: use a larger step"
            )
        arrays = as_images(image)[1]
        self.binning_ = learn_binning(arrays)
        return lay_out([self._picture(array) for array in arrays], self.binning_, boxes)

    def _picture(self, image: Array) -> Picture:
        grid = self.grid(image.shape)
        return Picture(image, grid, self.channel_axis)

    def _patch(self, ndim: int) -> Patch:
        """Where the samples of a patch lie, in images of so many axes."""
        channel = None if self.channel_axis is None else self._channel_place(ndim)
        return Patch.of(self.patch_shape_, channel)

    def _weights_of(self, image: Images, given: Any) -> list[Array] | None:
        """Weights of windows, one array per image."""
        if given is None:
            return None
        found = self._targets(image, given, "sample_weight")
        for each in found:
            if not (np.isfinite(each).all() and (each >= 0).all()):
                raise ValueError("sample_weight must be finite and 0 or more")
        return found

    def _sum_trees(
        self, image: Array, columns: int, tail: tuple[int, ...], dtype: Any,
        finish: Callable[[Array], Array], start: Array, name: str,
    ) -> Array:  # fmt: skip
        """``finish(start + sum of the trees' values)`` of each window, some windows at a time."""
        self._matrix_like_fit(image)
        self.binning_.check(image)
        picture = self._picture(image)
        canvas = lay_out([picture], self.binning_, self.ensemble_.boxes)
        patch, base = self._patch(image.ndim), canvas.base()
        out = allocate_results((*self._result_shape(image), *tail), dtype, name)
        flat = out.reshape(len(base), *tail)
        for at in range(0, len(base), _SLAB):
            rows = slice(at, min(at + _SLAB, len(base)))
            sums = np.tile(start, (rows.stop - at, 1))
            self.ensemble_.add_to(sums, canvas, patch, base[rows])
            flat[rows] = finish(sums)
        return out

    def _predict_with(self, image: Images, one: Any, out: Any, memory: Any) -> Any:
        check_is_fitted(self)
        return predict_images(self, image, one, out, memory)

    @property
    def feature_importances_(self) -> Array:
        """How much each sample of a patch contributes to what all splits gain, ``patch_shape_``; its sum is 1.

        What the split on a difference gains is shared by its two samples, that of a box by all in it.
        """
        check_is_fitted(self)
        return self.ensemble_.importances(self._patch_of_fit).reshape(self.patch_shape_)

    _patch_of_fit: Patch

    def _check_counts(self, **least: float) -> None:
        for name, bound in least.items():
            value = getattr(self, name)
            whole = is_number(value) and value == int(value) if value is not None else False
            if not whole or value < bound:
                raise ValueError(f"{name} must be a whole number of {bound} or more, got {value!r}")

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "ensemble_")


def resolve_families(given: str | Sequence[str]) -> NDArray[np.int64]:
    """Kinds of features to draw from; none where each is one sample."""
    names = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or not names:
        raise ValueError(f"features must be one or more of {', '.join(FAMILIES)}, got {given!r}")
    kinds = sorted({FAMILIES[name] for name in names})
    return np.array([] if kinds == [VALUE] else kinds, np.int64)


def bound_weights(weights: Array | None, n: int) -> tuple[NDArray[np.int32], float]:
    """Weights as whole numbers, and how many of these are 1: so that all sums fit beside a count.

    Windows are drawn up to 15 times; many of them no more than twice as often in all as there are.
    """
    if weights is None:
        return np.zeros(0, np.int32), 1.0
    often = _MOST_DRAWN + 1 if n < _MANY else 2
    room = 62 - n.bit_length() - math.log2(often * float(weights.sum()))
    scale = 2.0 ** math.floor(min(room, 30 - math.log2(16 * float(weights.max()))))
    return np.rint(weights * scale).astype(np.int32), scale


def to_whole(targets: Array, total: int) -> tuple[NDArray[np.int64], float, float]:
    """Targets as whole numbers ``(y - shift) * scale``, so that they can be summed with weights of so much in all.

    The scale is a power of two: targets that are whole numbers, or binary fractions, stay exact.
    """
    shift = float(np.rint(targets.mean())) if len(targets) else 0.0
    far = max(float(targets.max()) - shift, shift - float(targets.min()))
    power = 61 - total.bit_length() - (math.ceil(math.log2(far)) if far > 0 else 0)
    scale = 2.0 ** min(power, 52)
    found = np.empty(len(targets), np.int64)
    for at in range(0, len(targets), _SLAB):
        rows = slice(at, at + _SLAB)
        found[rows] = np.rint((targets[rows] - shift) * scale)
    return found, shift, scale


def draw_windows(
    given: NDArray[np.int32], n: int, rate: float | None, key: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Weights of windows in one tree, and the numbers of those it is grown on.

    Each window is drawn a Poisson number of times; all once where ``rate`` is None, or where none is drawn.
    """
    counts = np.ones(n, np.uint8)
    if rate is not None:
        bounds = poisson_bounds(rate)

        def one(at: int) -> None:
            fill_counts(counts[at : at + _DRAWN_ROWS], at, np.uint64(key), bounds)

        each_in_parallel(one, range(0, n, _DRAWN_ROWS))
        if not counts.any():
            counts[:] = 1
    weights, ids = np.empty(n, np.int32), np.empty(n, np.int32)
    found = weigh_drawn(weights, counts, given, ids)
    return weights, ids[:found].copy() if 2 * found < n else ids[:found]

"""What all patch estimators share: how images become the patch matrix, and labels its targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..geometry import PatchGrid
from ..geometry.arguments import as_axis, is_many
from ..geometry.arrays import to_array
from ..geometry.boundary import PadMode
from ..geometry.frame import fewer_axes
from ..geometry.limits import LIMITS, Limits
from ..matrix import PatchMatrix
from ..matrix.matrix import with_limits
from ..matrix.selection.stack import list_images
from ..ops.arrays import as_array
from .labels import UNLABELLED

__all__ = ["UNLABELLED", "PatchModel", "as_images", "is_number", "iterate_slabs"]

Array = NDArray[Any]
Images = ArrayLike | Sequence[ArrayLike]

_FILL = {
    "labels": "fill it first, labels.filled(-1) for pixels without a label",
    "targets": "fill it first, targets.filled(numpy.nan) for pixels without a target",
}


class PatchModel(BaseEstimator):  # type: ignore[misc]
    """A scikit-learn estimator of images whose samples are all patches of them.

    Parameters
    ----------
    patch : int or sequence of int
        The shape of a patch; an int means all axes but the channel axis. Axes before the patched
        ones are batch axes.
    step : int or sequence of int
        Elements between neighbouring patches.
    channel_axis : int, optional
        The axis that travels inside each patch.
    pad : int, pairs or "same"
        As in `PatchGrid`. With "same" every ``step``-th pixel has a patch centred on it, so that at
        step 1 predictions have the image's shape.
    pad_mode : str
        What lies outside the image, by NumPy's names.
    """

    patch: int | Sequence[int]
    step: int | Sequence[int]
    channel_axis: int | None
    pad: Any
    pad_mode: PadMode
    limits: Limits = LIMITS
    n_features_in_: int
    patch_shape_: tuple[int, ...]
    channel_place_: int | None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "fit" in cls.__dict__:
            cls.fit = _whole_or_not(cls.__dict__["fit"])

    def grid(self, shape: Sequence[int]) -> PatchGrid:
        """The grid used on an image of this shape (channel and batch axes included).

        ``grid(image.shape).counts`` is the shape of a prediction, batch axes aside.
        """
        if isinstance(self.patch, PatchGrid):
            raise TypeError(
                f"patch must be the shape of a patch, got {self.patch!r}: an estimator makes a grid for each image,"
                " from patch=, step= and pad="
            )
        sizes = self._sizes(shape)
        n = len(tuple(self.patch)) if is_many(self.patch) else len(sizes)  # type: ignore[arg-type]
        if not 1 <= n <= len(sizes):
            raise ValueError(
                f"patch={self.patch!r} has {n} axes, but an image of shape {tuple(shape)} with"
                f" channel_axis={self.channel_axis} has {len(sizes)} to cut"
            )
        hint = fewer_axes(shape, self.patch, range(len(shape))) if n == len(shape) > 2 else None
        if hint is not None:  # padded, it would fit, as a volume a few elements thick
            raise ValueError(hint)
        return PatchGrid(
            sizes[len(sizes) - n :], self.patch, self.step, pad=self.pad, pad_mode=self.pad_mode
        )

    def _sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """``shape`` without its channel axis."""
        sizes = list(shape)
        if self.channel_axis is not None:
            del sizes[as_axis(self.channel_axis, len(sizes), "channel_axis")]
        return tuple(sizes)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags

    def _matrix(self, images: Images, where: Any = None) -> PatchMatrix:
        """The patch matrix of an image or a list of images, one below the other.

        ``where``: masks over ``(*batch, *counts)``, one per image.
        """
        _, arrays = as_images(images)
        for array in arrays:
            _check_real(array)
        grids = [self.grid(array.shape) for array in arrays]
        found = PatchMatrix(list(arrays), grids, channel_axis=self.channel_axis, where=where)
        return with_limits(found, self.limits)

    def _fit_matrix(self, images: Images, where: Any = None) -> PatchMatrix:
        """The matrix to fit on. The shape of its patches is kept, to be compared by `_check_patches`.

        So is the axis of them that holds the channels.
        """
        matrix = self._matrix(images, where)
        self.patch_shape_ = matrix.patch_shape
        self.n_features_in_ = matrix.shape[1]
        ndim = as_images(images)[1][0].ndim
        self.channel_place_ = None if self.channel_axis is None else self._channel_place(ndim)
        return matrix

    def _matrix_like_fit(self, image: ArrayLike) -> PatchMatrix:
        """The matrix of one image to predict for; raises where its patches are not those of `fit`."""
        check_is_fitted(self)
        return self._check_patches(self._matrix([image]))

    def _check_patches(self, matrix: PatchMatrix) -> PatchMatrix:
        """The matrix itself; raises where its patches are not those of `fit`."""
        if matrix.patch_shape != self.patch_shape_:
            raise ValueError(
                f"patches of this image have shape {matrix.patch_shape}, but {type(self).__name__} was fitted on"
                f" {self.patch_shape_}: give images with the same channels"
            )
        return matrix

    def _result_shape(self, image: Array) -> tuple[int, ...]:
        """``(*batch, *counts)``: where one result per patch stands."""
        return self._result_shape_of(image.shape)

    def _result_shape_of(self, shape: Sequence[int]) -> tuple[int, ...]:
        sizes = self._sizes(shape)
        counts = self.grid(shape).counts
        return (*sizes[: len(sizes) - len(counts)], *counts)

    def _channel_place(self, ndim: int) -> int:
        """Which axis of ``patch_shape_`` holds the channels of an image with so many axes."""
        assert self.channel_axis is not None
        channel = as_axis(self.channel_axis, ndim, "channel_axis")
        others = [axis for axis in range(ndim) if axis != channel]
        return sum(axis < channel for axis in others[len(others) - len(self.patch_shape_) + 1 :])

    def _targets(
        self, images: Images, labels: Any, name: str = "labels", more: int = 0
    ) -> list[Array]:
        """Targets at the patch centres, one array ``(*batch, *counts, ...)`` per image.

        ``labels`` has the image's shape without its channel axis; so many ``more`` axes may follow
        (several targets).
        """
        many, arrays = as_images(images)
        given = list(labels) if many else [labels]
        if len(given) != len(arrays):
            raise ValueError(f"{len(given)} {name} for {len(arrays)} images: give one for each")
        return [
            self._sample_centers(array, to_array(each, name, _FILL.get(name, "")), name, more)
            for array, each in zip(arrays, given, strict=True)
        ]

    def _sample_centers(self, image: Array, labels: Array, name: str, more: int) -> Array:
        sizes = self._sizes(image.shape)
        if labels.shape[: len(sizes)] != sizes or labels.ndim > len(sizes) + more:
            rest = " and at most one more axis, for several targets" if more else ""
            raise ValueError(
                f"{name} must have the image's shape {sizes} (without channel_axis){rest}, got {labels.shape}"
                f"{self._hint_at_channels(image.shape, labels.shape)}"
            )
        grid = self.grid(image.shape)
        if all(np.array_equal(a.centers(), np.arange(a.size)) for a in grid.axis_grids):
            return labels  # a patch at every pixel
        first = len(sizes) - grid.ndim
        moved = np.moveaxis(labels, range(first, len(sizes)), range(-grid.ndim, 0))
        taken = grid.centers(moved)
        return np.moveaxis(taken, range(-grid.ndim, 0), range(first, len(sizes)))

    def _hint_at_channels(self, image: Sequence[int], labels: Sequence[int]) -> str:
        """What to do where labels would fit if one axis of the image held channels."""
        if self.channel_axis is not None or len(labels) != len(image) - 1:
            return ""
        for axis in (-1, 0):
            rest = list(image)
            del rest[axis]
            if rest == list(labels):
                return f": if axis {axis} of the image holds its channels, say channel_axis={axis}"
        return ""

    def _map_images(self, images: Images, one: Callable[[Array], Any]) -> Any:
        """``one(image)``, or a list of it for a list of images."""
        many, arrays = as_images(images)
        return [one(a) for a in arrays] if many else one(arrays[0])


def _whole_or_not(fit: Callable[..., Any]) -> Callable[..., Any]:
    """``fit`` that leaves a model as it was where it raises: what it learnt half goes, what it knew stays."""

    @wraps(fit)
    def fit_or_restore(self: PatchModel, *given: Any, **options: Any) -> Any:
        known = dict(self.__dict__)
        try:
            return fit(self, *given, **options)
        except BaseException:  # Ctrl-C among them
            self.__dict__.clear()
            self.__dict__.update(known)
            raise

    return fit_or_restore


def as_images(images: Images) -> tuple[bool, list[Array]]:
    """Whether it is a list of images, and the images as arrays. Nested lists of numbers are one image."""
    if isinstance(images, list | tuple) and not images:
        raise ValueError("image is an empty list: give an image or a list of one or more")
    listed = list_images(images)
    each = [images] if listed is None else listed
    return listed is not None, [as_array(image) for image in each]


def iterate_slabs(matrix: PatchMatrix, columns: int) -> Iterator[tuple[slice, PatchMatrix]]:
    """Consecutive rows as lazy matrices: few enough that results of so many float64 ``columns`` are small."""
    size = max(1, matrix.selection.limits.slab_bytes // (8 * max(1, columns)))
    rows = _round_to_lines(matrix, size)
    for begin in range(0, len(matrix), rows):
        part = slice(begin, min(begin + rows, len(matrix)))
        yield part, matrix[part]


def _round_to_lines(matrix: PatchMatrix, size: int) -> int:
    """``size`` rows or fewer: whole lines of the first image's grid, so that slabs are boxes of patches."""
    counts = matrix.grids[0].counts
    for k in range(1, len(counts) + 1):
        line = math.prod(counts[k:])
        if line <= size:
            return size // line * line
    return max(1, size)


def is_number(value: Any) -> bool:
    """Whether a parameter is a real number, truth values and NaN aside."""
    real = isinstance(value, int | float | np.integer | np.floating)
    return real and not isinstance(value, bool) and value == value


def _check_real(image: Array) -> None:
    """Refuse what no estimator can learn from: complex numbers, NaN and infinity."""
    if image.dtype.kind not in "biufc":
        raise TypeError(f"image must hold numbers, got dtype {image.dtype}")
    if image.dtype.kind == "c":
        raise TypeError(
            "image is complex, and estimators take real numbers: give real and imaginary part as"
            " channels, np.stack([image.real, image.imag]) with channel_axis=0"
        )
    if image.dtype.kind == "f" and not _is_finite(image):
        raise ValueError("image contains NaN or infinity: fill or mask them first")


def _is_finite(image: Array) -> bool:
    """Whether all elements are finite. The sum tells in most cases, without an array of truth values."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.sum(image)
    return bool(np.isfinite(total)) or all(np.isfinite(part).all() for part in np.atleast_1d(image))

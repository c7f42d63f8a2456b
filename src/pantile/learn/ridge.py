"""Ridge regression of pixels on the patches around them: filters learnt from image pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ..geometry.arrays import to_array
from ..geometry.boundary import PadMode
from ..geometry.limits import LIMITS
from .base import Images, PatchModel, as_images, iterate_slabs
from .predict import allocate_results, apply_affine
from .rows import Rows
from .solve import Factorisation
from .strips import predict_images

__all__ = ["PatchRidge"]

Array = NDArray[Any]

_SLAB = LIMITS.label_rows


class PatchRidge(RegressorMixin, PatchModel):  # type: ignore[misc]
    """Linear least squares with an l2 penalty, from every patch of images to numbers at its centre.

    It minimises ``|y - X w - b|^2 + alpha |w|^2`` over all rows of the patch matrix, as
    `sklearn.linear_model.Ridge` does, from the Gram matrix (by lags) and the correlation of image
    and targets. Learnt from pairs of images, ``filters_`` are the linear filters that best turn
    one into the other.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    alpha : float or one per target
        The penalty, 0 or more. Its unit is that of a sum of squares over all patches.
    fit_intercept : bool
        Learn ``b`` too; it is not penalised.
    unlabelled : number, optional
        The target of pixels that take no part; NaN always means that.

    Attributes
    ----------
    coef_ : (features,) or (n_targets, features)
        Weights, float64. ``filters_`` are the same as patches.
    intercept_ : float or (n_targets,)
    n_features_in_ : int
    patch_shape_ : tuple
    n_samples_ : int
        Patches that took part.

    Notes
    -----
    Means are taken out before anything is squared, so that 16-bit data around 30 000 keeps its
    digits. Where ``alpha=0`` leaves the solution open it is the shortest one. With NaN among the
    targets, the Gram matrix is streamed over the labelled patches, or, where that is less work,
    that of the others is taken off the whole one.

    Examples
    --------
    A blur is found again:

    >>> import numpy as np
    >>> from scipy.ndimage import uniform_filter
    >>> image = np.random.default_rng(0).random((40, 50))
    >>> blurred = uniform_filter(image, 3, mode="mirror")
    >>> model = PatchRidge(3, alpha=1e-6).fit(image, blurred)
    >>> bool(np.allclose(model.filters_, 1 / 9))
    True
    >>> model.predict(image).shape
    (40, 50)
    """

    def __init__(
        self,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        alpha: float | ArrayLike = 1.0,
        fit_intercept: bool = True,
        unlabelled: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.unlabelled = unlabelled

    def fit(self, image: Images, targets: Any) -> PatchRidge:
        """Learn from an image and its targets, or a list of each.

        ``targets`` has the image's shape, its channel axis aside, and may have one more axis at the
        end for several targets. Pixels where a target is NaN take no part.
        """
        values, single = self._stack_values(image, targets)
        alphas = _check_alphas(self.alpha, values.shape[1])
        rows = Rows(self._fit_matrix(image), _find_labelled(values))
        coef, intercept = _solve(rows, values, alphas, self.fit_intercept)
        self.n_samples_ = rows.n
        self.coef_ = coef[0] if single else coef
        self.intercept_ = float(intercept[0]) if single else intercept
        return self

    def _stack_values(self, image: Images, targets: Any) -> tuple[Array, bool]:
        ndims = [len(self._sizes(array.shape)) for array in as_images(image)[1]]
        found = self._targets(image, targets, "targets", 1)
        if self.unlabelled is not None:
            found = [np.where(each == self.unlabelled, np.nan, each) for each in found]
        return _stack_targets(found, ndims)

    @property
    def filters_(self) -> Array:
        """``coef_`` as patches: ``patch_shape_``, with the targets before it where there are several."""
        check_is_fitted(self)
        return self.coef_.reshape(*self.coef_.shape[:-1], *self.patch_shape_)

    def predict(
        self, image: Images, dtype: DTypeLike = np.float64, *, out: Any = None, memory: int | str | None = None
    ) -> Any:  # fmt: skip
        """Predicted numbers: ``(*batch, *counts)``, with the targets last where there are several.

        With ``step=1`` and ``pad="same"`` that is the image's shape. Computed in float64 and stored
        as ``dtype``.
        ``image`` may be a path, or anything read by slices: then some rows of windows are read at a
        time. ``out`` is an array, or a path to write the result to; ``memory`` a budget for what is
        held, like ``"2GB"``. A list of images gives a list.
        """
        check_is_fitted(self)
        one = lambda model, each: model._predict_image(each, np.dtype(dtype))  # noqa: E731
        return predict_images(self, image, one, out, memory)

    def _predict_image(self, image: Array, dtype: np.dtype[Any]) -> Array:
        matrix = self._matrix_like_fit(image)
        columns = np.atleast_2d(self.coef_).T
        shape = self._result_shape(image), self.coef_.shape[:-1]
        out = allocate_results((*shape[0], *shape[1]), dtype, "predict")
        apply_affine(matrix, columns, self.intercept_, out.reshape(len(matrix), -1))
        return out

    def score(self, image: Images, targets: Any) -> float:
        """Coefficient of determination R² over all labelled pixels of all images, the mean of the targets'."""
        check_is_fitted(self)
        values, _ = self._stack_values(image, targets)
        truth = _CentredTargets(values, _find_labelled(values))
        matrix = self._check_patches(self._matrix(image))
        off, spread = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        for part, rows in iterate_slabs(matrix, 2 * values.shape[1]):
            here = truth(part)
            spread += np.square(here).sum(axis=0)
            here -= rows @ np.atleast_2d(self.coef_).T + (self.intercept_ - truth.mean)
            if truth.mask is not None:
                here = here[truth.mask[part]]
            off += np.square(here).sum(axis=0)
        return float(_determination(off, spread).mean())


def _determination(off: Array, spread: Array) -> Array:
    """R² of each target, ``1 - off / spread``. Where all targets are equal, 1 if nothing is off, else 0."""
    found = np.where(off > 0, 0.0, 1.0)
    varied = spread > 0
    found[varied] = 1 - off[varied] / spread[varied]
    return found


def _stack_targets(targets: list[Array], ndims: list[int]) -> tuple[Array, bool]:
    """Targets as ``(n_rows, n_targets)``, and whether there is one per pixel. For one image they are a view."""
    for each in targets:
        if each.dtype.kind not in "biuf":
            raise TypeError(f"targets must be real numbers, got dtype {each.dtype}")
    more = {each.shape[n:] for each, n in zip(targets, ndims, strict=True)}
    if len(more) > 1:
        raise ValueError(
            f"targets must be as many per pixel in all images, got shapes {[e.shape for e in targets]}"
        )
    (last,) = more
    flat = [each.reshape(-1, *(last or (1,))) for each in targets]
    return flat[0] if len(flat) == 1 else np.concatenate(flat), not last


def _find_labelled(values: Array) -> NDArray[np.bool_] | None:
    """Rows without NaN; None where these are all."""
    if values.dtype.kind != "f":
        return None
    mask = np.empty(len(values), dtype=bool)
    for part in _split_slabs(values):
        if np.isinf(values[part]).any():
            raise ValueError("targets contain infinity: NaN is what marks pixels without a target")
        mask[part] = ~np.isnan(values[part]).any(axis=1)
    if not mask.any():
        raise ValueError("targets are NaN at every pixel: give numbers for some")
    return None if mask.all() else mask


def _split_slabs(values: Array) -> list[slice]:
    size = max(1, _SLAB // values.shape[1])
    return [slice(at, at + size) for at in range(0, len(values), size)]


class _CentredTargets:
    """Targets less their mean, as columns of float64; 0 where there is none. ``total`` sums what was given out."""

    def __init__(self, values: Array, mask: NDArray[np.bool_] | None) -> None:
        self.values, self.mask = values, mask
        self.mean: Array = np.zeros(values.shape[1])
        self.total: Array = np.zeros(values.shape[1])
        sums = sum(self(part).sum(axis=0) for part in _split_slabs(values))
        self.mean = sums / (len(values) if mask is None else np.count_nonzero(mask))
        self.total = np.zeros(values.shape[1])

    def __call__(self, rows: Any) -> Array:
        found: Array = self.values[rows].astype(np.float64)
        found -= self.mean
        if self.mask is not None:
            found[~self.mask[rows]] = 0
        self.total += found.sum(axis=0)
        return found


def _solve(rows: Rows, values: Array, alphas: Array, intercept: bool) -> tuple[Array, Array]:
    """Weights ``(n_targets, features)`` and intercepts, from the normal equations of centred data."""
    columns = _CentredTargets(values, rows.mask)
    moments = rows.moments()
    products, mean = moments.scatter(), moments.mean()
    right = rows.products(columns, values.shape[1])
    right -= np.outer(mean, columns.total)  # what rounding leaves of sums that should be 0
    coef = np.empty(right.T.shape)
    diagonal = np.diag(products).copy()
    for alpha in np.unique(alphas):
        np.fill_diagonal(products, diagonal + alpha)
        which = alphas == alpha
        factored, rest = Factorisation(products), right[:, which]
        if intercept:
            coef[which] = factored.solve(rest).T
        else:
            coef[which] = _solve_through_zero(
                factored, products, rest, mean, rows.n, columns.mean[which]
            )
    return coef, (columns.mean - coef @ mean) * intercept


def _solve_through_zero(
    factored: Factorisation, products: Array, right: Array, mean: Array, n: int, level: Array
) -> Array:
    """Weights without an intercept, ``(targets, features)``: the means are put back, as a matrix of rank one.

    Sherman and Morrison (1950): the sum with ``n mean mean.T`` would lose the digits that a large
    mean leaves to the rest.
    """
    if factored.singular:
        whole = products + n * np.outer(mean, mean)
        return Factorisation(whole).solve(right + n * np.outer(mean, level)).T
    along, found = factored.solve(mean), factored.solve(right)
    share = n * (level - mean @ found) / (1 + n * (mean @ along))
    return (found + np.outer(along, share)).T


def _check_alphas(alpha: Any, n: int) -> Array:
    """One penalty per target."""
    found = to_array(alpha, "alpha")
    if found.dtype.kind not in "iuf":
        raise TypeError(f"alpha must be a number or one per target, got {alpha!r}")
    if found.ndim > 1 or (found.ndim == 1 and len(found) != n):
        raise ValueError(
            f"alpha must be one number or one per target, {n} of them, got shape {found.shape}"
        )
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(f"alpha must be 0 or more and finite, got {alpha!r}")
    return np.broadcast_to(found.astype(np.float64), (n,))

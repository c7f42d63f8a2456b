"""Linear discriminant analysis of pixels by the patches around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..geometry.arrays import to_array
from ..geometry.boundary import PadMode
from .base import Images, is_number
from .classifier import LinearClassifier
from .predict import allocate_results, apply_affine
from .rows import Rows
from .scatter import shrink, sum_class_covariances
from .solve import Factorisation

__all__ = ["PatchLDA"]

Array = NDArray[Any]


class PatchLDA(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    LinearClassifier,
    auto_wrap_output_keys=None,  # results are images, which no data frame holds
):
    """Linear discriminant analysis from every patch of images to the class of its centre.

    One Gaussian per class with a covariance in common, as
    `sklearn.discriminant_analysis.LinearDiscriminantAnalysis` with ``solver="lsqr"``, from the Gram
    matrix (by lags) and the sums of the classes.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    shrinkage : None, float in 0..1, or "auto"
        How far the covariance is moved towards ``trace / features`` times the identity; "auto" asks
        Ledoit and Wolf (2004) for each class.
    priors : (n_classes,), optional
        Probabilities of the classes, in the order of ``classes_``; by default how often they were
        met. They also weigh the covariances of the classes.
    n_components : int, optional
        How many directions `transform` gives, at most ``n_classes - 1``.
    unlabelled : number or str, optional
        The label of pixels that take no part, instead of -1 ("" among strings): 0 for a painted PNG.

    Attributes
    ----------
    classes_ : (n_classes,)
    coef_, intercept_ : (n_classes, features), (n_classes,); one row for two classes
    means_ : (n_classes, features)
    priors_ : (n_classes,)
    covariance_ : (features, features)
        Within classes, after shrinkage.
    xbar_ : (features,)
        Mean of ``means_`` by ``priors_``.
    scalings_ : (features, n_components)
        Directions that tell classes apart best, of variance 1 within classes; ``filters_`` are the
        same as patches, ``explained_variance_ratio_`` their shares of the variance between.
    n_features_in_, patch_shape_, n_samples_

    Notes
    -----
    Scores are counted from ``xbar_`` (as with ``solver="svd"``): those of three and more classes
    differ from ``solver="lsqr"`` by what is common to all classes of a pixel, so predictions and
    probabilities are the same, and large means cost no digits. ``priors`` and
    ``shrinkage="auto"`` need a Gram matrix per class, which has no lag structure: it is streamed,
    at the cost of a GEMM over all labelled patches.

    Labels are whole numbers, truth values or strings; -1, NaN and "" are unlabelled (of truth
    values and unsigned numbers nothing is).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(size=(40, 60))
    >>> image[:, 30:] *= 0.2
    >>> image[:, 30:] += np.tile([0.5, -0.5], 15)
    >>> labels = np.full(image.shape, "")
    >>> labels = labels.astype("<U8")
    >>> labels[5:9], labels[:, 30:][5:9] = "noise", "stripes"
    >>> model = PatchLDA(5).fit(image, labels)
    >>> model.classes_
    array(['noise', 'stripes'], dtype='<U8')
    >>> model.predict(image).shape
    (40, 60)
    """

    def __init__(
        self,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        shrinkage: float | Literal["auto"] | None = None,
        priors: ArrayLike | None = None,
        n_components: int | None = None,
        unlabelled: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.shrinkage = shrinkage
        self.priors = priors
        self.n_components = n_components
        self.unlabelled = unlabelled

    def fit(self, image: Images, labels: Any) -> PatchLDA:
        """Learn from an image and its labels, or a list of each; not every image needs every class."""
        shrinkage = _check_shrinkage(self.shrinkage)
        classes, codes = self._encode_labels(image, labels)
        directions = _check_components(self.n_components, len(classes))
        counts = np.array([np.count_nonzero(codes == k) for k in range(len(classes))])
        priors = (
            counts / counts.sum() if self.priors is None else _check_priors(self.priors, classes)
        )
        matrix = self._fit_matrix(image)
        rows = Rows(matrix, None if counts.sum() == len(codes) else codes >= 0)
        means = rows.products(_Members(codes, len(classes)), len(classes)).T / counts[:, None]
        self.classes_, self.priors_, self.means_ = classes, priors, means
        self.xbar_ = priors @ means
        self.n_samples_ = rows.n
        if self.priors is None and shrinkage != "auto":
            pooled = _pool_covariance(rows, means, counts)
            self.covariance_ = shrink(pooled, float(shrinkage or 0))
        else:
            self.covariance_ = sum_class_covariances(rows, codes, priors, shrinkage)
        self._solve(directions)
        return self

    def _solve(self, n_components: int) -> None:
        centred = self.means_ - self.xbar_
        factored = Factorisation(self.covariance_)
        coef = factored.solve(centred.T).T
        intercept = np.log(self.priors_) - 0.5 * np.einsum("ij,ij->i", centred, coef)
        intercept -= coef @ self.xbar_
        if len(self.classes_) == 2:
            coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        self.coef_, self.intercept_ = coef, intercept
        between = factored.whiten((centred * np.sqrt(self.priors_)[:, None]).T)
        vectors, sizes, _ = np.linalg.svd(between, full_matrices=False)
        scalings = factored.directions(vectors[:, :n_components])
        largest = np.abs(scalings).argmax(axis=0)
        self.scalings_ = scalings * np.where(
            np.take_along_axis(scalings, largest[None], 0)[0] < 0, -1, 1
        )
        total = np.square(sizes).sum()
        self.explained_variance_ratio_ = np.square(sizes[:n_components]) / (total or 1)

    @property
    def filters_(self) -> Array:
        """``scalings_`` as patches, ``(n_components, *patch_shape_)``."""
        check_is_fitted(self)
        return np.ascontiguousarray(self.scalings_.T).reshape(-1, *self.patch_shape_)

    @property
    def _n_features_out(self) -> int:
        return int(self.scalings_.shape[1])

    def transform(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Every patch less ``xbar_`` along ``scalings_``: ``(*batch, *counts, n_components)``."""
        check_is_fitted(self)
        return self._map_images(image, lambda one: self._transform_image(one, dtype))

    def _transform_image(self, image: Array, dtype: DTypeLike) -> Array:
        matrix = self._matrix_like_fit(image)
        k = self.scalings_.shape[1]
        out = allocate_results((*self._result_shape(image), k), dtype, "transform")
        apply_affine(matrix, self.scalings_, -self.xbar_ @ self.scalings_, out.reshape(-1, k))
        return out

    def fit_transform(self, image: Images, labels: Any) -> Any:
        """`fit`, then `transform` of the same images."""
        return self.fit(image, labels).transform(image)


class _Members:
    """Which row belongs to which class, as columns of 0 and 1."""

    def __init__(self, codes: Array, n: int) -> None:
        self.codes, self.classes = codes, np.arange(n)

    def __call__(self, rows: Any) -> Array:
        found: Array = (self.codes[rows][:, None] == self.classes).astype(np.float64)
        return found


def _pool_covariance(rows: Rows, means: Array, counts: Array) -> Array:
    """The covariance within classes: that of all rows less that of the class means."""
    moments = rows.moments()
    spread = (means - moments.mean()) * np.sqrt(counts)[:, None]
    return np.asarray((moments.scatter() - spread.T @ spread) / rows.n)


def _check_shrinkage(shrinkage: Any) -> float | Literal["auto"] | None:
    if shrinkage is None:
        return None
    if isinstance(shrinkage, str) and shrinkage == "auto":
        return "auto"
    if not is_number(shrinkage) or not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be None, 'auto' or from 0 to 1, got {shrinkage!r}")
    return float(shrinkage)


def _check_priors(priors: ArrayLike, classes: Array) -> Array:
    found = to_array(priors, "priors").astype(np.float64)
    if found.shape != classes.shape:
        raise ValueError(
            f"priors must be one per class, {len(classes)} of them ({classes}), got shape {found.shape}"
        )
    if not (found > 0).all() or not np.isclose(found.sum(), 1, atol=1e-5):
        raise ValueError(f"priors must be above 0 with a sum of 1, got {priors!r}")
    return np.asarray(found / found.sum())


def _check_components(n: Any, classes: int) -> int:
    if n is None:
        return classes - 1
    if not (is_number(n) and n == int(n) and 1 <= n <= classes - 1):
        raise ValueError(f"n_components must be from 1 to n_classes - 1 = {classes - 1}, got {n!r}")
    return int(n)

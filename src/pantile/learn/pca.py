"""Principal components of all patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..geometry import PatchGrid
from ..geometry.boundary import PadMode
from ..matrix import PatchMatrix
from ..matrix.gram.moments import compute_moments
from ..matrix.selection.stack import list_images
from ..ops.merger import Merger
from .base import Images, PatchModel, is_number
from .denoise import denoise_patches
from .points import Points
from .predict import allocate_results, apply_affine

__all__ = ["PatchPCA"]

Array = NDArray[Any]

_BYTES = 64 << 20  # of patches made at a time


class PatchPCA(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    PatchModel,
    auto_wrap_output_keys=None,  # results are images, which no data frame holds
):
    """Principal component analysis of every patch of images, exact.

    As `sklearn.decomposition.PCA` with ``svd_solver="covariance_eigh"`` on the expanded matrix; the
    covariance comes from lags, so that time and memory grow with the image and the features only.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    n_components : int, float in 0..1, or None
        How many components, or the share of the variance they must exceed; None keeps all.
    whiten : bool
        Divide codes by their standard deviation.

    Attributes
    ----------
    components_ : ndarray
        Unit vectors in order of variance, ``(n_components_, features)``, the largest weight of each
        positive. ``filters_`` are the same as patches.
    explained_variance_, explained_variance_ratio_, singular_values_ : ndarray
        One number per component.
    mean_ : (features,)
    noise_variance_ : float
        Mean variance of the components left out.
    n_components_, n_samples_, n_features_in_, patch_shape_

    Notes
    -----
    ``components_ @ components_.T`` is the identity; the codes of all patches that were fitted are
    uncorrelated, with variances ``explained_variance_`` (1 with ``whiten``).

    Examples
    --------
    >>> import numpy as np
    >>> image = np.add.outer(np.sin(np.arange(60)), np.arange(80) / 40)
    >>> model = PatchPCA(7, pad=0, n_components=3).fit(image)
    >>> codes = model.transform(image)
    >>> codes.shape, model.explained_variance_ratio_.sum().round(6)
    ((54, 74, 3), np.float64(1.0))
    >>> bool(np.allclose(model.inverse_transform(codes, image.shape), image))
    True
    """

    def __init__(
        self,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        n_components: float | None = None,
        whiten: bool = False,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.n_components = n_components
        self.whiten = whiten

    def fit(self, image: Images, y: Any = None) -> PatchPCA:
        """Learn from all patches of an image, or of a list of images; ``y`` is ignored."""
        matrix = self._fit_matrix(image)
        n, features = matrix.shape
        if n < 2:
            raise ValueError("image has one patch only: a variance needs two or more")
        wanted = _check_components(self.n_components, min(n, features))
        moments = compute_moments(matrix.selection)
        covariance = moments.cov(1)
        total = float(np.trace(covariance))
        values, vectors = _decompose(covariance, wanted)
        ratios = values / total if total > 0 else np.zeros_like(values)
        k = wanted if isinstance(wanted, int) else _count_components(ratios, wanted)
        rest = min(n, features) - k
        self.noise_variance_ = max(total - float(values[:k].sum()), 0.0) / rest if rest else 0.0
        self.components_ = _fix_signs(np.ascontiguousarray(vectors[:, :k].T))
        self.explained_variance_ = values[:k]
        self.explained_variance_ratio_ = ratios[:k]
        self.singular_values_ = np.sqrt(values[:k] * (n - 1))
        self.mean_ = moments.mean()
        self.n_components_, self.n_samples_ = k, n
        return self

    @property
    def filters_(self) -> Array:
        """``components_`` as patches, ``(n_components_, *patch_shape_)``."""
        check_is_fitted(self)
        return self.components_.reshape(-1, *self.patch_shape_)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    @property
    def _scale(self) -> Array:
        """What codes are divided by."""
        if not self.whiten:
            return np.ones(self.n_components_)
        return np.maximum(np.sqrt(self.explained_variance_), np.finfo(np.float64).eps)

    def transform(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Codes of every patch, ``(*batch, *counts, n_components_)``; a list of images gives a list.

        Computed in float64 and stored as ``dtype``, a slab at a time: beside the result little is
        held.
        """
        check_is_fitted(self)
        return self._map_images(image, lambda one: self._encode(one, dtype))

    def _encode(self, image: Array, dtype: DTypeLike) -> Array:
        matrix = self._matrix_like_fit(image)
        out = allocate_results((*self._result_shape(image), self.n_components_), dtype, "transform")
        columns = self.components_.T / self._scale
        apply_affine(matrix, columns, -self.mean_ @ columns, out.reshape(len(matrix), -1))
        return out

    def fit_transform(self, image: Images, y: Any = None, dtype: DTypeLike = np.float64) -> Any:
        """`fit`, then `transform` of the same images."""
        return self.fit(image).transform(image, dtype)

    def inverse_transform(
        self, codes: ArrayLike | Sequence[ArrayLike], shape: Sequence[int] | None = None
    ) -> Any:
        """The image that codes ``(*batch, *counts, n_components_)`` stand for: patches merged by their mean.

        ``shape`` is the image's, channel axis included; it may be left out where there is a patch
        at every pixel. A list of codes (with a list of shapes) gives a list of images. With all
        components it is the image that was transformed.
        """
        check_is_fitted(self)
        listed = list_images(codes)
        if listed is None:
            return self._decode(np.asarray(codes), shape)
        shapes: Sequence[Any] = [None] * len(listed) if shape is None else shape
        if len(shapes) != len(listed):
            raise ValueError(f"{len(shapes)} shapes for {len(listed)} codes: give one for each")
        return [self._decode(np.asarray(c), s) for c, s in zip(listed, shapes, strict=True)]

    def _decode(self, codes: Array, shape: Any) -> Array:
        whole = self._natural_shape(codes) if shape is None else tuple(shape)
        grid = self.grid(whole)
        sizes = self._sizes(whole)
        batch = sizes[: len(sizes) - grid.ndim]
        if codes.shape != (*batch, *grid.counts, self.n_components_):
            raise ValueError(
                f"codes must have shape {(*batch, *grid.counts, self.n_components_)} for an image of shape"
                f" {whole}, got {codes.shape}: give shape=, that of the image"
            )
        return _merge(self, codes.reshape(*batch, -1, self.n_components_), grid)

    def _natural_shape(self, codes: Array) -> tuple[int, ...]:
        """The shape of an image that has a patch at every pixel, from its codes."""
        shape = list(codes.shape[:-1])
        if self.channel_axis is not None:
            ndim = codes.ndim
            channels = self.patch_shape_[self._channel_place(ndim)]
            shape.insert(self.channel_axis % ndim, channels)
        return tuple(shape)

    def denoise(self, image: Images, sigma: float) -> Any:
        """The image without white Gaussian noise of standard deviation ``sigma``.

        See `pantile.learn.denoise` for the method. Fit on the noisy image itself, or on others
        like it. The result is float32 where that holds the image's values exactly, else float64.
        """
        check_is_fitted(self)
        return self._map_images(image, lambda one: self._denoise_image(one, sigma))

    def _denoise_image(self, image: Array, sigma: float) -> Array:
        if not (is_number(sigma) and 0 < sigma < math.inf):
            raise ValueError(
                f"sigma must be the noise's standard deviation, above 0, got {sigma!r}"
            )
        matrix = self._matrix_like_fit(image)
        covariance = compute_moments(matrix.selection).cov(0)
        variances = np.einsum("ij,ij->i", self.components_ @ covariance, self.components_)
        return denoise_patches(self, image, variances, float(sigma))

    def score_samples(self, image: Images) -> Any:
        """Log-likelihood of every patch, ``(*batch, *counts)``: how unlike the patches learnt from it is.

        Under the Gaussian of probabilistic PCA (Tipping and Bishop, 1999), where what components
        leave has variance ``noise_variance_``, as in scikit-learn.
        """
        check_is_fitted(self)
        return self._map_images(image, self._score_image)

    def _score_image(self, image: Array) -> Array:
        matrix = self._matrix_like_fit(image)
        out = allocate_results(self._result_shape(image), np.float64, "score_samples")
        _fill_log_likelihood(self, matrix, out.reshape(-1))
        return out

    def score(self, image: Images, y: Any = None) -> float:
        """Mean log-likelihood of all patches of all images; ``y`` is ignored."""
        found = self.score_samples(image)
        parts = found if isinstance(found, list) else [found]
        return float(sum(part.sum() for part in parts) / sum(part.size for part in parts))


def _check_components(n: Any, most: int) -> int | float:
    """The number of components, or a share of the variance."""
    if n is None:
        return most
    if isinstance(n, float | np.floating) and 0 < n < 1:
        return float(n)
    whole = isinstance(n, int | np.integer) and not isinstance(n, bool)
    if not whole or not 1 <= n <= most:
        raise ValueError(
            "n_components must be None, a share of the variance above 0 and below 1, or a whole number"
            f" from 1 to min(patches, features) = {most}, got {n!r}"
        )
    return int(n)


def _decompose(covariance: Array, wanted: int | float) -> tuple[Array, Array]:
    """Eigenvalues in descending order, none below 0, and their vectors as columns."""
    from scipy.linalg import eigh

    n = len(covariance)
    subset = [n - wanted, n - 1] if isinstance(wanted, int) and wanted < n else None
    values, vectors = eigh(covariance, subset_by_index=subset, overwrite_a=True, check_finite=False)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _count_components(ratios: Array, share: float) -> int:
    """How many components it takes to exceed that share of the variance."""
    return min(int(np.searchsorted(np.cumsum(ratios), share, side="right")) + 1, len(ratios))


def _fix_signs(components: Array) -> Array:
    """The components with the sign that makes the largest weight of each positive."""
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    return components


def _merge(model: PatchPCA, codes: Array, grid: PatchGrid) -> Array:
    """The image of codes ``(*batch, n, k)``: patches made of them, merged by their mean."""
    places = {"channel_axis": model.channel_axis}
    merger = Merger(grid, **places)  # type: ignore[arg-type]
    columns = model.components_ * model._scale[:, None]
    batch = math.prod(codes.shape[:-2])
    size = max(1, _BYTES // (8 * model.n_features_in_ * batch))
    for begin in range(0, grid.n_patches, size):
        rows = np.arange(begin, min(begin + size, grid.n_patches))
        patches = codes[..., rows, :] @ columns + model.mean_
        merger.add(patches.reshape(*patches.shape[:-1], *model.patch_shape_), rows)
    return merger.result()


def _fill_log_likelihood(model: PatchPCA, matrix: PatchMatrix, out: Array) -> None:
    k, features = model.components_.shape
    noise = model.noise_variance_ if k < features else 1.0
    variances = np.maximum(model.explained_variance_, model.noise_variance_)
    _check_variances(variances, noise)
    constant = features * math.log(2 * math.pi) + np.log(variances).sum()
    constant += (features - k) * math.log(noise) if k < features else 0.0
    points = Points(matrix)
    difference = model.mean_ - points.shift
    columns = np.vstack([model.components_, difference]).T
    for rows, block in points.pieces(k + 1):
        codes = block @ columns
        codes -= model.mean_ @ columns  # of what the mean leaves
        squares = np.square(codes[:, :k])
        found = squares @ (1 / variances)
        if k < features:
            whole = points.squares(block) - 2 * codes[:, k] - difference @ difference
            found += np.maximum(whole - squares.sum(axis=1), 0) / noise
        out[rows] = -0.5 * (found + constant)


def _check_variances(variances: Array, noise: float) -> None:
    if min(variances.min(), noise) > 0:
        return
    kept = np.count_nonzero(variances > 0)
    instead = f"fit with n_components={kept} or fewer" if kept else "fit on images that vary"
    raise ValueError(f"patches have no likelihood where components have a variance of 0: {instead}")

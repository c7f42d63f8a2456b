"""K-means clustering of all patches of images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..geometry.arrays import to_array
from ..geometry.boundary import PadMode
from ..matrix import PatchMatrix
from .base import Images, PatchModel, as_images, is_number
from .lloyd import Clustering, draw_plus_plus, draw_rows, find_nearest, run_lloyd
from .points import Points
from .predict import allocate_results
from .strips import predict_images

__all__ = ["PatchKMeans"]

Array = NDArray[Any]

_STARTS = {"k-means++": draw_plus_plus, "random": draw_rows}
_N_INIT = {"k-means++": 1, "random": 10}


class PatchKMeans(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    PatchModel,
    auto_wrap_output_keys=None,  # results are images, which no data frame holds
):
    """K-means clustering of every patch of images, by full Lloyd iterations.

    From the same start the labels and centers are those of `sklearn.cluster.KMeans` with
    ``algorithm="lloyd"`` on the expanded matrix, which never exists; so they are, but for rounding,
    from the same ``random_state`` with ``init="k-means++"``.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    n_clusters : int
    init : "k-means++", "random" or array
        How to choose the first centers: by squared distances, the best of a few at a time; rows at
        random; or these, ``(n_clusters, features)`` or ``(n_clusters, *patch)``.
    n_init : int or "auto"
        From how many starts to choose the result of least inertia. "auto" is 10 for "random", else 1.
    max_iter : int
        Iterations of each run, at most.
    tol : float
        A run ends where centers move by no more than this, the sum of squares relative to the mean
        variance of a feature; 0 means until no label changes.
    random_state : int, RandomState or None
        Determines the start.

    Attributes
    ----------
    cluster_centers_ : (n_clusters, features)
        Float64. ``filters_`` are the same as patches.
    labels_ : ndarray of int32
        The cluster of every patch, ``(*batch, *counts)``; for a list of images a list.
    inertia_ : float
        Sum of squared distances of patches from their cluster's center.
    n_iter_ : int
    n_features_in_ : int
    patch_shape_ : tuple

    Notes
    -----
    Distances are correlations of the image with the centers, and sums of the patches of a cluster
    correlations with its labels, in float64 on slabs of rows. The start by k-means++ holds 8 bytes
    per patch, the iterations 1 (up to 127 clusters). Empty clusters move to the patches farthest
    from their own centers, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((30, 30))
    >>> image[10:20, 10:20] = 1
    >>> model = PatchKMeans(3, n_clusters=2, random_state=0).fit(image)
    >>> model.labels_.shape, sorted(np.bincount(model.labels_.ravel()).tolist())
    ((30, 30), [100, 800])
    >>> np.array_equal(model.predict(image), model.labels_)
    True
    """

    cluster_centers_: Array

    def __init__(
        self,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        n_clusters: int = 8,
        init: str | ArrayLike = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def fit(self, image: Images, y: Any = None) -> PatchKMeans:
        """Cluster the patches of an image or a list of images. ``y`` is there for pipelines, and not used."""
        self._check_parameters()
        matrix = self._fit_matrix(image)
        if len(matrix) < self.n_clusters:
            raise ValueError(
                f"n_clusters={self.n_clusters} is more than the {len(matrix)} patches: ask for fewer"
            )
        points = Points(matrix)
        best = self._run_best(points)
        n_found = np.count_nonzero(np.bincount(best.labels, minlength=self.n_clusters))
        if n_found < self.n_clusters:
            warnings.warn(
                f"only {n_found} of n_clusters={self.n_clusters} clusters have patches: the images may hold"
                " fewer different patches than that",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.cluster_centers_ = best.centers + points.shift
        self.labels_ = self._split_labels(image, best.labels)
        self.inertia_ = best.inertia
        self.n_iter_ = best.n_iter
        return self

    def _check_parameters(self) -> None:
        least = {"n_clusters": 1, "max_iter": 1}
        least |= {} if self.n_init == "auto" else {"n_init": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < bound:
                raise ValueError(f"{name} must be a whole number of {bound} or more, got {value!r}")
        if not (is_number(self.tol) and self.tol >= 0):
            raise ValueError(f"tol must be a number of 0 or more, got {self.tol!r}")
        if isinstance(self.init, str) and self.init not in _STARTS:
            raise ValueError(
                f'init must be "k-means++", "random" or an array of centers, got {self.init!r}'
            )

    def _run_best(self, points: Points) -> Clustering:
        """The run that ends with the least sum of squared distances."""
        rng = check_random_state(self.random_state)
        tol = self.tol * points.variance
        best = None
        for _ in range(self._n_starts()):
            found = run_lloyd(points, self._make_start(points, rng), tol, self.max_iter)
            if best is None or found.inertia < best.inertia:
                best = found
        assert best is not None
        return best

    def _n_starts(self) -> int:
        if not isinstance(self.init, str):
            return 1
        return _N_INIT[self.init] if self.n_init == "auto" else int(self.n_init)

    def _make_start(self, points: Points, rng: np.random.RandomState) -> Array:
        if isinstance(self.init, str):
            return _STARTS[self.init](points, self.n_clusters, rng)
        given = to_array(self.init, "init")
        if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
            raise ValueError(f"init must hold finite real numbers, got dtype {given.dtype}")
        wanted = (self.n_clusters, self.n_features_in_)
        if given.shape not in (wanted, (self.n_clusters, *self.patch_shape_)):
            raise ValueError(
                f"init must have shape {wanted} or {(self.n_clusters, *self.patch_shape_)}, got {given.shape}"
            )
        return given.reshape(wanted).astype(np.float64) - points.shift

    def _split_labels(self, images: Images, labels: Array) -> Any:
        many, arrays = as_images(images)
        shapes = [self._result_shape(array) for array in arrays]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(labels, ends[:-1])
        found = [
            part.astype(np.int32).reshape(shape) for part, shape in zip(parts, shapes, strict=True)
        ]
        return found if many else found[0]

    @property
    def filters_(self) -> Array:
        """``cluster_centers_`` as patches, ``(n_clusters, *patch_shape_)``."""
        check_is_fitted(self)
        return self.cluster_centers_.reshape(-1, *self.patch_shape_)

    def fit_predict(self, image: Images, y: Any = None) -> Any:
        """``labels_`` of the fitted images."""
        return self.fit(image).labels_

    def fit_transform(self, image: Images, y: Any = None) -> Any:
        """`fit`, then `transform`."""
        return self.fit(image).transform(image)

    def predict(self, image: Images, *, out: Any = None, memory: int | str | None = None) -> Any:
        """The nearest center of every patch: ``(*batch, *counts)``, int32.

        ``image`` may be a path, or anything read by slices: then some rows of windows are read at a
        time. ``out`` is an array, or a path to write the result to; ``memory`` a budget for what is
        held, like ``"2GB"``. A list of images gives a list.
        """
        check_is_fitted(self)
        one = lambda model, each: model._predict_image(each)  # noqa: E731
        return predict_images(self, image, one, out, memory)

    def transform(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Distances of every patch from all centers: ``(*batch, *counts, n_clusters)``.

        Computed in float64 and stored as ``dtype``; a list of images gives a list.
        """
        check_is_fitted(self)
        return self._map_images(image, lambda one: self._transform_image(one, dtype))

    def score(self, image: Images, y: Any = None) -> float:
        """Minus the sum of squared distances of all patches from their nearest centers."""
        check_is_fitted(self)
        total = 0.0
        for one in as_images(image)[1]:
            points, centers = self._place(self._matrix_like_fit(one))
            for _, block in points.pieces(len(centers)):
                total += float(points.distances(block, centers).min(axis=1).sum())
        return -total

    def _place(self, matrix: PatchMatrix) -> tuple[Points, Array]:
        points = Points(matrix)
        return points, self.cluster_centers_ - points.shift

    def _predict_image(self, image: Array) -> Array:
        points, centers = self._place(self._matrix_like_fit(image))
        out = allocate_results(self._result_shape(image), np.int32, "predict")
        for rows, block in points.pieces(len(centers)):
            out.reshape(-1)[rows] = find_nearest(points, block, centers)
        return out

    def _transform_image(self, image: Array, dtype: DTypeLike) -> Array:
        points, centers = self._place(self._matrix_like_fit(image))
        shape = (*self._result_shape(image), len(centers))
        out = allocate_results(shape, dtype, "transform")
        flat = out.reshape(len(points.matrix), -1)
        for rows, block in points.pieces(len(centers)):
            flat[rows] = np.sqrt(points.distances(block, centers))
        return out

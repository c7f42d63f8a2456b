"""Any scikit-learn estimator, trained on patches of images and applied to every one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from joblib import effective_n_jobs  # type: ignore[import-untyped]
from numpy.typing import NDArray
from sklearn.base import MetaEstimatorMixin, clone, is_classifier, is_regressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..geometry.boundary import PadMode
from ..matrix import PatchMatrix
from ..matrix.rowwise import apply_rows
from .base import Images, PatchModel, as_images, is_number
from .labels import encode_classes
from .sampling import Array, Batch, TrainingRows
from .streaming import can_stream, fit_all, fit_sample, takes_weights
from .strips import predict_images

__all__ = ["PatchEstimator"]

_ROWS = 100_000
_BYTES = 256 << 20


def _has(name: str) -> Callable[[PatchEstimator], bool]:
    """Whether the estimator inside has a method; its own error says what is missing."""

    def check(self: PatchEstimator) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


def _is_supervised(self: PatchEstimator) -> bool:
    return bool(is_classifier(self.estimator) or is_regressor(self.estimator))


class PatchEstimator(MetaEstimatorMixin, PatchModel):  # type: ignore[misc]
    """Any scikit-learn estimator with patches as its samples and images in and out.

    A classifier learns label images, a regressor images of numbers, and a clusterer, transformer or
    outlier detector needs none. Where the estimator has ``partial_fit`` it sees all patches, in
    random order, a batch at a time; where it has not it is fitted on a sample. The results for an
    image are computed a block of patches at a time and have the image's shape.

    Parameters
    ----------
    estimator : scikit-learn estimator
        A pipeline too. It is cloned, and never changed.
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    n_samples : int, optional
        Fit on a sample of about so many patches, also where there is ``partial_fit``. By default
        all patches where there is, elsewhere 100 000, or as many as take 256 MB if those are fewer.
    balanced : bool
        All classes count the same: they have equal shares of the sample as far as they go, and
        weights in ``partial_fit``. Otherwise they count as they occur (no class is left out of a
        sample).
    epochs : int, optional
        Passes over all patches for ``partial_fit``. By default 5 for estimators that iterate (which
        have ``max_iter``), up to 100 where patches are few, and 1 for those that add up statistics.
    batch_size : int
        About how many patches ``partial_fit`` is given at a time.
    n_jobs : int, optional
        Threads that work on blocks of an image when predicting, as in scikit-learn. 1 is right for
        estimators that use all cores by themselves (``n_jobs``, BLAS, OpenMP: forests with
        ``n_jobs``, linear models, HistGradientBoosting); more help others, such as `SVC`.
    unlabelled : number or str, optional
        The label, or number, of pixels that take no part, instead of -1 ("" among strings); NaN
        always means that.
    random_state : int, RandomState or None
        For the sample and the order of passes; the estimator has its own.

    Attributes
    ----------
    estimator_ : the fitted clone
    classes_ : ndarray
        Classes in ascending order; for classifiers.
    n_features_in_ : int
    patch_shape_ : tuple
    n_samples_ : int
        How many patches it was fitted on.

    Notes
    -----
    Patches are handed on as float32 where that holds every value of the image, else as float64. In
    a pass, blocks of 64 neighbours come in random order and are mixed in a pool of 64 MB. In a
    pipeline whose last step has ``partial_fit``, the steps before it are fitted first, one after
    the other: in one pass over all patches, or on the sample where they know no ``partial_fit``.

    Unlabelled are the classes -1 (or "" for strings) and the number NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> image = np.zeros((40, 50))
    >>> image[:, 20:] = np.arange(30) % 2
    >>> labels = np.full((40, 50), -1)
    >>> labels[:9, 5:9], labels[:9, 30:34] = 0, 1
    >>> model = PatchEstimator(RandomForestClassifier(10, random_state=0), 3).fit(image, labels)
    >>> model.predict(image)[30, ::7]
    array([0, 0, 0, 1, 1, 1, 1, 1])
    >>> model.predict_proba(image).shape
    (40, 50, 2)
    """

    def __init__(
        self,
        estimator: Any,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        n_samples: float | None = None,
        balanced: bool = False,
        epochs: int | None = None,
        batch_size: int = 1024,
        n_jobs: int | None = None,
        unlabelled: Any = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.n_samples = n_samples
        self.balanced = balanced
        self.epochs = epochs
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.unlabelled = unlabelled
        self.random_state = random_state

    def fit(self, image: Images, labels: Any = None, sample_weight: Any = None) -> PatchEstimator:
        """Learn from an image and its labels, or a list of each.

        Parameters
        ----------
        image : array_like or list of arrays
        labels : array_like or list of arrays, optional
            One class or number per pixel, of the image's shape without its channel axis; for
            regressors a last axis may hold several. Pixels without one take no part.
        sample_weight : array_like or list of arrays, optional
            One weight per pixel, 0 or more; pixels of weight 0 take no part.

        Raises
        ------
        ValueError
            When labels are missing or none is left, shapes do not match, or weights are given to an
            estimator that takes none.
        """
        self._check_parameters()
        estimator = clone(self.estimator)
        streamed = self.n_samples is None and can_stream(estimator)
        data = self._make_training_rows(image, labels, sample_weight)
        if self.balanced and data.classes is None:
            raise ValueError("balanced=True needs classes: give labels, or balanced=False")
        if streamed and self.balanced:
            data = data.balance()
        self._check_weights(estimator, data, "partial_fit" if streamed else "fit")
        self._fit(estimator, data, streamed)
        self.estimator_ = estimator
        self.patch_shape_, self.n_features_in_ = data.matrix.patch_shape, data.matrix.shape[1]
        self.__dict__.pop("classes_", None)
        if hasattr(estimator, "classes_"):
            self.classes_ = estimator.classes_
        return self

    def _fit(self, estimator: Any, data: TrainingRows, streamed: bool) -> None:
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rng = np.random.default_rng(seed)

        def draw_sample() -> Batch:
            n = int(self.n_samples or 0) or min(_ROWS, data.count_fitting(_BYTES))
            return data.take(data.sample(n, rng, bool(self.balanced)))

        if streamed:
            epochs = None if self.epochs is None else int(self.epochs)
            fit_all(estimator, data, draw_sample, epochs, int(self.batch_size), rng)
            self.n_samples_ = int(data.counts.sum())
        else:
            batch = draw_sample()
            fit_sample(estimator, batch)
            self.n_samples_ = len(batch.rows)

    def _check_parameters(self) -> None:
        for name in ("n_samples", "epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and value == int(value) and value >= 1):
                raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")

    def _check_weights(self, estimator: Any, data: TrainingRows, method: str) -> None:
        if data.weights is None or takes_weights(estimator, method):
            return
        given = "balanced=True weights classes" if self.balanced else "sample_weight was given"
        instead = "give n_samples, for a balanced sample" if self.balanced else "leave it out"
        raise ValueError(
            f"{given}, but {method} of {type(estimator).__name__} takes no sample_weight: {instead}"
        )

    def _make_training_rows(self, image: Images, labels: Any, sample_weight: Any) -> TrainingRows:
        if labels is None and _is_supervised(self):
            raise ValueError(
                f"labels: {type(self.estimator).__name__} learns from labels, give an image of them"
            )
        data = self._label_rows(image, labels)
        if sample_weight is not None:
            weights = _concatenate(self._values_per_row(image, sample_weight, "sample_weight"))
            data = data.weigh(_check_sample_weight(weights))
        if not data.counts.any():
            raise ValueError("no pixel is left to learn from: all are unlabelled or of weight 0")
        return data

    def _label_rows(self, image: Images, labels: Any) -> TrainingRows:
        matrix = self._matrix(image)
        if labels is None:
            return TrainingRows(matrix)
        if is_regressor(self.estimator):
            numbers = _concatenate(self._values_per_row(image, labels, "labels", 1))
            if numbers.dtype.kind not in "biuf":
                raise TypeError(f"labels must be real numbers, got dtype {numbers.dtype}")
            if self.unlabelled is not None:
                numbers = np.where(numbers == self.unlabelled, np.nan, numbers)
            missing = np.isnan(numbers.reshape(len(numbers), -1)).any(axis=1)
            strata = np.where(missing, -1, 0).astype(np.int8)
            return TrainingRows(matrix, strata, numbers=numbers)
        classes, codes = encode_classes(
            self._values_per_row(image, labels, "labels"), self.unlabelled
        )
        known = np.array(classes.tolist()) if classes.dtype.kind == "T" else classes
        return TrainingRows(matrix, _concatenate(codes), known)  # scikit-learn knows no StringDType

    def _values_per_row(self, image: Images, values: Any, name: str, more: int = 0) -> list[Array]:
        """Values at the patch centres, rows first: ``(rows,)`` or, where there may be ``more``, ``(rows, k)``."""
        found = self._targets(image, values, name, more)
        shapes = [self._result_shape(array) for array in as_images(image)[1]]
        return [
            each.reshape(math.prod(shape), *each.shape[len(shape) :])
            for each, shape in zip(found, shapes, strict=True)
        ]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        for name in ("classifier_tags", "regressor_tags", "transformer_tags", "target_tags"):
            setattr(tags, name, deepcopy(getattr(inner, name)))
        return tags

    def _apply(self, image: Images, name: str) -> Any:
        check_is_fitted(self)
        method = getattr(self.estimator_, name)
        return self._map_images(image, lambda one: self._apply_to_image(one, method))

    def _apply_to_image(self, image: Array, method: Callable[[Array], Any]) -> Array:
        matrix = self._matrix_like_fit(image)
        found = self._apply_to_rows(method, matrix)
        return found.reshape(*self._result_shape(image), *found.shape[1:])

    def _apply_to_rows(
        self, method: Callable[[Array], Any], matrix: PatchMatrix, rows: Any = None
    ) -> Array:
        dtype = np.result_type(matrix.dtype, np.float32)
        return apply_rows(
            lambda block: _as_dense(method(block)),
            matrix,
            rows=rows,
            nbytes=matrix.selection.limits.estimator_block_bytes,
            dtype=dtype,
            by_feature=_reads_samples(self.estimator_),
            workers=effective_n_jobs(self.n_jobs),
        )

    @available_if(_has("predict"))  # type: ignore[untyped-decorator]
    def predict(self, image: Images, *, out: Any = None, memory: int | str | None = None) -> Any:
        """Class, number or cluster of each patch: ``(*batch, *counts)``.

        ``image`` may be a path, or anything read by slices: then some rows of windows are read at a
        time. ``out`` is an array, or a path to write the result to; ``memory`` a budget for what is
        held, like ``"2GB"``. A list of images gives a list.
        """
        check_is_fitted(self)
        method = self.estimator_.predict
        one = lambda model, each: model._apply_to_image(each, method)  # noqa: E731
        return predict_images(self, image, one, out, memory)

    @available_if(_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, image: Images) -> Any:
        """Probability of each class: ``(*batch, *counts, classes)``."""
        return self._apply(image, "predict_proba")

    @available_if(_has("predict_log_proba"))  # type: ignore[untyped-decorator]
    def predict_log_proba(self, image: Images) -> Any:
        """Logarithm of the probability of each class: ``(*batch, *counts, classes)``."""
        return self._apply(image, "predict_log_proba")

    @available_if(_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, image: Images) -> Any:
        """Scores: ``(*batch, *counts)``, with one per class last where there are several."""
        return self._apply(image, "decision_function")

    @available_if(_has("score_samples"))  # type: ignore[untyped-decorator]
    def score_samples(self, image: Images) -> Any:
        """How likely or how normal each patch is: ``(*batch, *counts)``."""
        return self._apply(image, "score_samples")

    @available_if(_has("transform"))  # type: ignore[untyped-decorator]
    def transform(self, image: Images) -> Any:
        """New features of each patch: ``(*batch, *counts, k)``."""
        return self._apply(image, "transform")

    @available_if(_has("transform"))  # type: ignore[untyped-decorator]
    def fit_transform(self, image: Images, labels: Any = None) -> Any:
        """`fit`, then `transform` of the same."""
        return self.fit(image, labels).transform(image)

    @available_if(_has("get_feature_names_out"))  # type: ignore[untyped-decorator]
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of what `transform` gives."""
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)  # type: ignore[no-any-return]

    @available_if(_is_supervised)  # type: ignore[untyped-decorator]
    def score(self, image: Images, labels: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R² of a regressor, over all labelled pixels; no others are predicted."""
        check_is_fitted(self)
        data = self._make_training_rows(image, labels, sample_weight)
        kept = data.all_rows()
        batch = data.take(kept, cut=np.empty((len(kept), 0)))  # no rows, only what goes with them
        found = self._apply_to_rows(self.estimator_.predict, data.matrix, kept)
        measure = accuracy_score if is_classifier(self.estimator) else r2_score
        return float(measure(batch.targets, found, sample_weight=batch.weights))


_TREES = {"BaseDecisionTree", "BaseForest", "BaseHistGradientBoosting", "IsolationForest"}


def _reads_samples(estimator: Any) -> bool:
    """Whether it looks at single samples of many rows, in any memory layout: as scikit-learn's trees do.

    Neighbouring patches mostly go the same way through a tree, so what they ask for there lies
    together when the patch index runs fastest: measured 0.55 to 0.76 of the time. Estimators that
    multiply or measure distances gain nothing, and some copy what is not C contiguous.
    """
    bases = type(estimator).__mro__
    return any(b.__name__ in _TREES and b.__module__.startswith("sklearn.") for b in bases)


def _concatenate(parts: list[Array]) -> Array:
    """The rows of all images, one below the other."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_sample_weight(weights: Array) -> Array:
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight must be finite and 0 or more")
    return weights.astype(np.float64, copy=False)


def _as_dense(found: Any) -> Array:
    """``found`` as an array, also where it is a sparse matrix or a data frame."""
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found)

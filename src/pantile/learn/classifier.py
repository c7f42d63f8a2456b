"""What linear classifiers of patches share: labels become codes, and scores become classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .base import Images, PatchModel
from .labels import encode, encode_classes
from .logloss import to_probabilities
from .passes import prepare_labelled
from .predict import allocate_results, apply_affine
from .strips import predict_images

__all__ = ["LinearClassifier", "to_log_probabilities"]

Array = NDArray[Any]
Finish = Callable[[Array], Array]


class LinearClassifier(ClassifierMixin, PatchModel):  # type: ignore[misc]
    """A classifier of patches by ``X @ coef_.T + intercept_``, with one column for two classes."""

    classes_: Array
    coef_: Array
    intercept_: Array
    unlabelled: Any

    def _encode_labels(self, image: Images, labels: Any) -> tuple[Array, Array]:
        """The classes, and each row's place among them; -1 where it has no label."""
        classes, codes = encode_classes(self._targets(image, labels), self.unlabelled)
        if len(classes) < 2:
            raise ValueError(
                f"labels hold one class only, {classes[0].item()!r}: two or more are told apart"
            )
        return classes, _concatenate(codes)

    def predict(self, image: Images, *, out: Any = None, memory: int | str | None = None) -> Any:
        """The class of every patch's centre, ``(*batch, *counts)``: the image's shape at step 1.

        The scores of one slab at a time are held.
        ``image`` may be a path, or anything read by slices: then some rows of windows are read at a
        time. ``out`` is an array, or a path to write the result to; ``memory`` a budget for what is
        held, like ``"2GB"``. A list of images gives a list.
        """
        check_is_fitted(self)
        one = lambda model, each: model._predict_image(each)  # noqa: E731
        return predict_images(self, image, one, out, memory)

    def decision_function(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Scores, ``(*batch, *counts, n_classes)``; for two classes without the last axis, above 0 for the second.

        Computed in float64 and stored as ``dtype``, a slab at a time.
        """
        check_is_fitted(self)
        return self._map_images(
            image, lambda one: self._score_image(one, "decision_function", dtype)
        )

    def predict_proba(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Probabilities of the classes, ``(*batch, *counts, n_classes)``.

        For eight classes in float64 that is 64 bytes per patch; `predict` holds one label.
        """
        check_is_fitted(self)
        return self._map_images(
            image, lambda one: self._score_image(one, "predict_proba", dtype, to_probabilities)
        )

    def predict_log_proba(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Logarithms of `predict_proba`, exact where probabilities are too small to be numbers."""
        check_is_fitted(self)
        return self._map_images(
            image,
            lambda one: self._score_image(one, "predict_log_proba", dtype, to_log_probabilities),
        )

    def score(self, image: Images, labels: Any) -> float:
        """The share of labelled pixels, of all images, whose class is predicted correctly."""
        check_is_fitted(self)
        known, codes = encode_classes(self._targets(image, labels), self.unlabelled)
        if (known.dtype.kind in "biuf") != (self.classes_.dtype.kind in "biuf"):
            raise TypeError(
                f"labels are {known.dtype}, but those of fit were {self.classes_.dtype}"
            )
        place = encode(known, self.classes_)
        matrix, columns = self._check_patches(self._matrix(image)), len(self.coef_)
        chosen = prepare_labelled(matrix, _concatenate(codes), columns)
        right = 0
        for rows, block in chosen.pieces(columns):
            truth = chosen.codes[rows]
            best = _choose_class(block @ self.coef_.T + self.intercept_)
            right += int(np.count_nonzero((place[truth] == best) & (truth >= 0)))
        return right / int(np.count_nonzero(chosen.codes >= 0))

    def _predict_image(self, image: Array) -> Array:
        matrix = self._matrix_like_fit(image)
        out = allocate_results(self._result_shape(image), self.classes_.dtype, "predict")
        found = lambda scores: np.asarray(self.classes_[_choose_class(scores)])  # noqa: E731
        apply_affine(matrix, self.coef_.T, self.intercept_, out.reshape(-1), found)
        return out

    def _score_image(
        self, image: Array, name: str, dtype: DTypeLike, finish: Finish | None = None
    ) -> Array:
        matrix = self._matrix_like_fit(image)
        last = (len(self.classes_),) if finish or len(self.classes_) > 2 else ()
        out = allocate_results((*self._result_shape(image), *last), dtype, name)
        apply_affine(matrix, self.coef_.T, self.intercept_, out.reshape(len(matrix), -1), finish)
        return out


def _concatenate(codes: list[Array]) -> Array:
    """The codes of all images in one line."""
    flat = [each.reshape(-1) for each in codes]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


def _choose_class(scores: Array) -> Array:
    """The place of the class with the highest score; of two classes the second where the score is above 0."""
    return (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else scores.argmax(axis=1)


def to_log_probabilities(scores: Array) -> Array:
    """Logarithms of `to_probabilities`."""
    from scipy.special import log_expit, log_softmax

    if scores.shape[1] == 1:
        return np.concatenate([log_expit(-scores), log_expit(scores)], axis=1)
    return np.asarray(log_softmax(scores, axis=1))

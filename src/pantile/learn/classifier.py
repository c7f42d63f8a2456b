"""What linear classifiers of patches share: classes in, and scores, probabilities and classes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .base import Images, PatchModel
from .labels import class_codes, coded
from .logloss import probabilities
from .passes import labelled_rows
from .predict import affine, new_results

__all__ = ["LinearClassifier", "log_probabilities"]

Array = NDArray[Any]
Finish = Callable[[Array], Array]


class LinearClassifier(ClassifierMixin, PatchModel):  # type: ignore[misc]
    """A classifier of patches by ``X @ coef_.T + intercept_``, with one column for two classes."""

    classes_: Array
    coef_: Array
    intercept_: Array

    def _class_codes(self, image: Images, labels: Any) -> tuple[Array, Array]:
        """The classes, and each row's place among them; -1 where it has no label."""
        classes, codes = class_codes(self._targets(image, labels))
        if len(classes) < 2:
            raise ValueError(
                f"labels hold one class only, {classes[0].item()!r}: two or more are told apart"
            )
        return classes, _flat(codes)

    def predict(self, image: Images) -> Any:
        """The class of every patch's centre, ``(*batch, *counts)``: the image's shape at step 1.

        The scores of one slab at a time are held. A list of images gives a list.
        """
        check_is_fitted(self)
        return self._each(image, self._labels)

    def decision_function(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Scores, ``(*batch, *counts, n_classes)``; for two classes without the last axis, above 0 for the second.

        Computed in float64 and stored as ``dtype``, a slab at a time.
        """
        check_is_fitted(self)
        return self._each(image, lambda one: self._scores(one, "decision_function", dtype))

    def predict_proba(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Probabilities of the classes, ``(*batch, *counts, n_classes)``.

        For eight classes in float64 that is 64 bytes per patch; `predict` holds one label.
        """
        check_is_fitted(self)
        return self._each(
            image, lambda one: self._scores(one, "predict_proba", dtype, probabilities)
        )

    def predict_log_proba(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Logarithms of `predict_proba`, exact where probabilities are too small to be numbers."""
        check_is_fitted(self)
        return self._each(
            image, lambda one: self._scores(one, "predict_log_proba", dtype, log_probabilities)
        )

    def score(self, image: Images, labels: Any) -> float:
        """Share of labelled pixels, of all images, whose class is predicted; few others are."""
        check_is_fitted(self)
        known, codes = class_codes(self._targets(image, labels))
        if (known.dtype.kind in "biuf") != (self.classes_.dtype.kind in "biuf"):
            raise TypeError(
                f"labels are {known.dtype}, but those of fit were {self.classes_.dtype}"
            )
        place = coded(known, self.classes_)
        matrix, columns = self._same_patches(self._matrix(image)), len(self.coef_)
        chosen = labelled_rows(matrix, _flat(codes), columns)
        right = 0
        for rows, block in chosen.pieces(columns):
            truth = chosen.codes[rows]
            best = _best(block @ self.coef_.T + self.intercept_)
            right += int(np.count_nonzero((place[truth] == best) & (truth >= 0)))
        return right / int(np.count_nonzero(chosen.codes >= 0))

    def _labels(self, image: Array) -> Array:
        matrix = self._fitted_matrix(image)
        out = new_results(self._result_shape(image), self.classes_.dtype, "predict")
        found = lambda scores: np.asarray(self.classes_[_best(scores)])  # noqa: E731
        affine(matrix, self.coef_.T, self.intercept_, out.reshape(-1), found)
        return out

    def _scores(
        self, image: Array, name: str, dtype: DTypeLike, finish: Finish | None = None
    ) -> Array:
        matrix = self._fitted_matrix(image)
        last = (len(self.classes_),) if finish or len(self.classes_) > 2 else ()
        out = new_results((*self._result_shape(image), *last), dtype, name)
        affine(matrix, self.coef_.T, self.intercept_, out.reshape(len(matrix), -1), finish)
        return out


def _flat(codes: list[Array]) -> Array:
    """Those of all rows of all images."""
    flat = [each.reshape(-1) for each in codes]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


def _best(scores: Array) -> Array:
    """The class with the highest score; of two, the second where it is above 0."""
    return (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else scores.argmax(axis=1)


def log_probabilities(scores: Array) -> Array:
    """Logarithms of `probabilities`."""
    from scipy.special import log_expit, log_softmax

    if scores.shape[1] == 1:
        return np.concatenate([log_expit(-scores), log_expit(scores)], axis=1)
    return np.asarray(log_softmax(scores, axis=1))

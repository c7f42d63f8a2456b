"""What forests and boosting do alike: classes, or numbers, of patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from ..base import Images
from ..labels import encode_classes
from .base import TreeModel
from .targets import number_targets, pair_labelled

__all__ = ["ClassTrees", "NumberTrees"]

Array = NDArray[Any]


class ClassTrees(ClassifierMixin, TreeModel):  # type: ignore[misc]
    """A model that tells the class of a patch; `_predict_image` and `_proba_image` make it of one image."""

    classes_: Array
    unlabelled: Any

    def predict(self, image: Images, *, out: Any = None, memory: int | str | None = None) -> Any:
        """The class of every patch's centre, ``(*batch, *counts)``: the image's shape at step 1.

        ``image`` may be a path, or anything read by slices; ``out`` an array, or a path to write to;
        ``memory`` a budget. A list of images gives a list.
        """
        return self._predict_with(image, type(self)._predict_image, out, memory)

    def predict_proba(
        self, image: Images, dtype: DTypeLike = np.float64, *, out: Any = None, memory: int | str | None = None
    ) -> Any:  # fmt: skip
        """Probabilities of the classes, ``(*batch, *counts, n_classes)``; arguments as of `predict`."""
        one = lambda model, image: model._proba_image(image, dtype)  # noqa: E731
        return self._predict_with(image, one, out, memory)

    def score(self, image: Images, labels: Any) -> float:
        """The share of labelled pixels, of all images, whose class is predicted correctly."""
        check_is_fitted(self)
        known, codes = encode_classes(self._targets(image, labels), self.unlabelled)
        found, truth = pair_labelled(self.predict(image), codes, [code >= 0 for code in codes])
        return float(accuracy_score(known[truth], found))

    def _predict_image(self, image: Array) -> Array:
        raise NotImplementedError

    def _proba_image(self, image: Array, dtype: DTypeLike) -> Array:
        raise NotImplementedError


class NumberTrees(RegressorMixin, TreeModel):  # type: ignore[misc]
    """A model that tells a number for a patch; `_predict_image` makes it of one image."""

    unlabelled: Any

    def predict(
        self, image: Images, dtype: DTypeLike = np.float64, *, out: Any = None, memory: int | str | None = None
    ) -> Any:  # fmt: skip
        """The number at every patch's centre, ``(*batch, *counts)``.

        ``image`` may be a path, or anything read by slices; ``out`` an array, or a path to write to;
        ``memory`` a budget. A list of images gives a list.
        """
        one = lambda model, image: model._predict_image(image, dtype)  # noqa: E731
        return self._predict_with(image, one, out, memory)

    def score(self, image: Images, targets: Any) -> float:
        """Coefficient of determination R² over all pixels with a target, of all images."""
        check_is_fitted(self)
        values = number_targets(self._targets(image, targets, "targets"), self.unlabelled)
        found, truth = pair_labelled(self.predict(image), values, [v == v for v in values])
        return float(r2_score(truth, found))

    def _predict_image(self, image: Array, dtype: DTypeLike) -> Array:
        raise NotImplementedError

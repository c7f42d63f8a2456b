"""Logistic regression of pixels on the patches around them, on all labelled windows at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ..geometry.boundary import PadMode
from .base import Images, is_number
from .classifier import LinearClassifier
from .curvature import WhitenedSample, whiten_sample
from .logloss import LogLoss
from .newton import minimise, start_from_sample
from .passes import LabelledRows, prepare_labelled

__all__ = ["PatchLogisticRegression", "weigh_classes"]

Array = NDArray[Any]


class PatchLogisticRegression(LinearClassifier):
    """Logistic regression from every patch of images to the class of the pixel at its centre.

    It minimises what `sklearn.linear_model.LogisticRegression` with ``solver="lbfgs"`` does, the
    softmax cross entropy (with two classes the logistic loss) of all labelled windows and an l2
    penalty, to the same minimum, without the expanded matrix.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    C : float
        Inverse of the penalty: ``C * sum of losses + |W|**2 / 2`` is minimised. Over very many
        windows the default hardly penalises; ``np.inf`` means no penalty.
    fit_intercept : bool
        Learn an intercept too; it is not penalised.
    class_weight : dict or "balanced", optional
        What a loss counts, by class; classes that a dict leaves out count 1. "balanced" makes
        every class count the same in all.
    tol : float
        The fit ends where the loss is estimated to lie within ``tol**2`` of its minimum, relative
        to itself. Unlike the largest element of a gradient, that depends neither on the units of
        the image nor on the number of windows.
    max_iter : int
        Steps of the minimisation, at most. Each reads all windows once, rarely twice.
    unlabelled : number or str, optional
        The label of pixels that take no part, instead of -1 ("" among strings): 0 for a painted PNG.

    Attributes
    ----------
    classes_ : (n_classes,)
    coef_ : (1, features) for two classes, else (n_classes, features)
        Weights, float64. ``filters_`` are the same as patches.
    intercept_ : (1,) or (n_classes,)
    n_iter_ : (1,)
        Steps taken.
    n_passes_ : int
        How often all labelled windows were read.
    loss_ : float
        The minimum, as a mean over the (weighted) windows, penalty included.
    n_features_in_ : int
    patch_shape_ : tuple

    Notes
    -----
    Loss and gradient are correlations of the image: ``X @ W`` and ``X.T @ R`` on slabs of rows,
    whose scores exist one slab at a time. Labelled rows of up to 512 MB are gathered instead. The
    method is L-BFGS (Nocedal 1980) started from the Hessian of a sample of the windows (Byrd, Chin,
    Neveitt, Nocedal 2011) at the sample's minimum, so that a handful of passes are enough.

    Examples
    --------
    Two textures of the same mean:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> image = rng.standard_normal((40, 60))
    >>> image[:, 30:] = (image + np.roll(image, 1, axis=0))[:, 30:] + 1
    >>> labels = np.full((40, 60), -1)
    >>> labels[10:14], labels[10:14, 30:] = 0, 1
    >>> model = PatchLogisticRegression(5).fit(image, labels)
    >>> model.predict(image).shape
    (40, 60)
    >>> truth = np.arange(60) >= 30
    >>> bool(np.mean(model.predict(image) == truth) > 0.9)
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
        C: float = 1.0,
        fit_intercept: bool = True,
        class_weight: Mapping[Any, float] | str | None = None,
        tol: float = 1e-4,
        max_iter: int = 100,
        unlabelled: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.unlabelled = unlabelled

    def fit(self, image: Images, labels: Any) -> PatchLogisticRegression:
        """Learn from an image and its labels, or a list of each.

        ``labels`` has the image's shape, its channel axis aside: whole numbers, truth values or
        strings. Pixels labelled -1 (strings: "") take no part.
        """
        self._check_parameters()
        classes, codes = self._encode_labels(image, labels)
        columns = 1 if len(classes) == 2 else len(classes)
        chosen = prepare_labelled(self._fit_matrix(image), codes, columns)
        counts = _count_codes(chosen.codes, len(classes))
        weights = weigh_classes(self.class_weight, classes, counts)
        self.classes_ = classes
        self._minimise(chosen, weights, float(weights @ counts), columns)
        return self

    def _check_parameters(self) -> None:
        for name, value in (("C", self.C), ("tol", self.tol)):
            if not is_number(value) or not value > 0:
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        if not isinstance(self.max_iter, int | np.integer) or self.max_iter < 1:
            raise ValueError(f"max_iter must be a whole number of 1 or more, got {self.max_iter!r}")

    def _minimise(self, chosen: LabelledRows, weights: Array, total: float, columns: int) -> None:
        penalty = 1 / (float(self.C) * total)
        intercept = bool(self.fit_intercept)
        sample = whiten_sample(chosen, weights, penalty, intercept)
        loss = LogLoss(chosen, weights, total, sample.shift, penalty, intercept)

        def function(parameters: Array) -> tuple[float, Array]:
            value, gradient = loss(sample.unwhiten(parameters))
            if columns > 1:  # classes share no direction, but for rounding
                gradient -= gradient.mean(axis=1, keepdims=True)
            return value, sample.whiten_gradient(gradient)

        partial = len(sample.rows) < int(np.count_nonzero(chosen.codes >= 0))
        start = start_from_sample(sample, columns, partial)
        found = minimise(function, sample, start, float(self.tol), int(self.max_iter))
        if not found.converged:
            warnings.warn(
                f"the loss has not reached its minimum after {found.steps} steps (max_iter={self.max_iter}):"
                " raise max_iter or tol, or lower C",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._store(sample, found.parameters)
        self.n_iter_ = np.array([found.steps], dtype=np.int32)
        self.n_passes_ = found.calls
        self.loss_ = found.loss

    def _store(self, sample: WhitenedSample, parameters: Array) -> None:
        learnt = sample.unwhiten(parameters)
        self.coef_ = np.ascontiguousarray(learnt[:-1].T)
        self.intercept_ = learnt[-1] - sample.shift @ learnt[:-1]

    @property
    def filters_(self) -> Array:
        """``coef_`` as patches, ``(1 or n_classes, *patch_shape_)``."""
        check_is_fitted(self)
        return self.coef_.reshape(-1, *self.patch_shape_)


def _count_codes(codes: Array, classes: int) -> Array:
    """How many rows each class has."""
    slab = 1 << 20
    parts = (codes[at : at + slab] for at in range(0, len(codes), slab))
    return np.asarray(sum(np.bincount(p[p >= 0], minlength=classes) for p in parts))


def weigh_classes(given: Any, classes: Array, counts: Array) -> Array:
    """One number per class."""
    if given is None:
        return np.ones(len(classes))
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f'class_weight must be None, "balanced" or a dict, got {given!r}')
        return np.asarray(counts.sum() / (len(classes) * counts))
    if not isinstance(given, Mapping):
        raise TypeError(f'class_weight must be None, "balanced" or a dict, got {given!r}')
    known = classes.tolist()
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(f"class_weight names {unknown}, but the labels are {known}")
    found = np.array([float(given.get(key, 1)) for key in known])
    if not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(f"class_weight must be finite numbers above 0, got {dict(given)!r}")
    return found

"""Random forests of patches: every window of the images takes part, and the expanded matrix is never made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ...geometry.boundary import PadMode
from ..base import Images, as_images, is_number
from ..labels import encode_classes
from ..logistic import weigh_classes
from .base import TreeModel, bound_weights, draw_windows, resolve_families
from .canvas import Canvas
from .draws import child_key_of
from .ensemble import Ensemble
from .export import to_classifier
from .growth import Grown, grow_tree
from .kernels import ENTROPY, GINI, Goal
from .subtree import Rule
from .targets import choose_windows, take_weights, take_windows
from .tasks import ClassTrees

__all__ = ["Forest", "PatchForestClassifier"]

Array = NDArray[Any]

_DEEP = 1 << 30
_CRITERIA = {"gini": GINI, "entropy": ENTROPY, "log_loss": ENTROPY}


class Forest(TreeModel):
    """Trees on windows drawn with replacement, with random candidates at each node."""

    _weight_of_class: Array
    n_estimators: int
    max_depth: int | None
    min_samples_split: int
    min_samples_leaf: int
    max_features: int | float | str | None
    bootstrap: bool
    max_samples: float | None
    oob_score: bool

    def _check_parameters(self) -> None:
        self._check_counts(n_estimators=1, min_samples_split=2, min_samples_leaf=1)
        if self.max_depth is not None:
            self._check_counts(max_depth=1)
        if self.max_samples is not None and not (
            is_number(self.max_samples) and 0 < self.max_samples <= 1
        ):
            raise ValueError(
                f"max_samples must be a share above 0, up to 1, got {self.max_samples!r}"
            )
        if self.oob_score and not self.bootstrap:
            raise ValueError(
                "oob_score=True needs windows that a tree has not seen: bootstrap=True"
            )

    def _rule(self, features: int) -> Rule:
        return Rule(
            _DEEP if self.max_depth is None else int(self.max_depth),
            int(self.min_samples_split), int(self.min_samples_leaf),
            _count_candidates(self.max_features, features), resolve_families(self.features),
        )  # fmt: skip

    def _grow(
        self, canvas: Canvas, base: Array, goal: Goal, given: Array, columns: int, ndim: int
    ) -> None:
        """Grow all trees; ``given`` are weights as whole numbers, or none."""
        self._patch_of_fit = patch = self._patch(ndim)
        space, rule = canvas.space(patch, base), self._rule(self.n_features_in_)
        rate = (
            (1.0 if self.max_samples is None else float(self.max_samples))
            if self.bootstrap
            else None
        )
        key = np.uint64(self._seed())
        trees: list[Grown] = []
        unseen = np.zeros((len(base), columns)) if self.oob_score else None
        seen = np.zeros(len(base), np.int32) if self.oob_score else None
        for k in range(int(self.n_estimators)):
            own = child_key_of(key, k)
            weights, ids = draw_windows(given, len(base), rate, own)
            tree = grow_tree(
                space,
                goal._replace(weights=weights),
                rule,
                ids,
                child_key_of(np.uint64(own), 7),
                self.limits,
            )
            trees.append(tree)
            if unseen is not None and seen is not None:
                rows = np.flatnonzero(weights == 0)
                found = np.zeros((len(rows), columns))
                self._assemble([tree], goal).add_to(found, canvas, patch, base[rows])
                unseen[rows] += found
                seen[rows] += 1
        self.ensemble_ = self._assemble(trees, goal)
        if unseen is not None and seen is not None:
            self._unseen = (
                np.where(seen > 0, 1.0, np.nan)[:, None] * unseen / np.maximum(seen, 1)[:, None]
            )

    def _assemble(self, trees: list[Grown], goal: Goal) -> Ensemble:
        parts = [self._values(tree.sums, goal) for tree in trees]
        return Ensemble.of(trees, [value for value, _ in parts], [weight for _, weight in parts])

    def _values(self, sums: Array, goal: Goal) -> tuple[Array, Array]:
        """What windows in each node are given, ``(nodes, k)``, and the nodes' weights."""
        raise NotImplementedError


def _count_candidates(given: Any, features: int) -> int:
    """How many features a node looks at."""
    if given is None:
        return features
    names = {"sqrt": math.sqrt, "log2": math.log2}
    if isinstance(given, str) and given in names:
        return max(1, int(names[given](features)))
    if is_number(given) and not isinstance(given, int | np.integer) and 0 < given <= 1:
        return max(1, int(given * features))
    if is_number(given) and given == int(given) and given >= 1:
        return int(given)
    raise ValueError(
        f"max_features must be a whole number, a share up to 1.0, 'sqrt', 'log2' or None, got {given!r}"
    )


class PatchForestClassifier(ClassTrees, Forest):
    """A random forest from every patch of images to the class of the pixel at its centre.

    All labelled windows take part, not a sample of them, and the matrix of patches is never made: a
    feature of a window is one byte of the image at a constant distance.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    n_estimators : int
        How many trees.
    criterion : {"gini", "entropy", "log_loss"}
    max_depth : int, optional
        Levels of splits, at most. Without it trees grow until leaves are pure, and are about as
        large as the labelled part of the image.
    min_samples_split, min_samples_leaf : int
        Windows that a node needs to be split, and that each child needs.
    max_features : int, float, "sqrt", "log2" or None
        How many features each node looks at, drawn at random; a float is a share, None all of them.
    features : {"samples", "differences", "boxes"} or several of these
        What a node may look at: a sample of the patch; the difference of two samples; the mean of
        the samples in a box, from running sums of the image. Of several, each candidate is of a
        random kind. Differences and boxes are those of binned values.
    bootstrap : bool
        Each tree is grown on windows drawn with replacement: each a Poisson number of times.
    max_samples : float, optional
        Windows drawn for a tree, as a share of all: 1.0 unless given.
    oob_score : bool
        Predict each window by the trees that have not seen it; 8 bytes per window and class more.
        Neighbours of a window share most of its pixels, so this flatters: hold out regions instead.
    class_weight : dict or "balanced", optional
        What a window counts, by class.
    unlabelled : number or str, optional
        The label of pixels that take no part, instead of -1 ("" among strings).
    random_state : int, RandomState or None
        The same number gives the same trees, for any number of threads.

    Attributes
    ----------
    classes_ : (n_classes,)
    feature_importances_ : `patch_shape_`
    oob_score_ : float
        Accuracy on labelled windows by trees that have not seen them.
    n_features_in_ : int
    patch_shape_ : tuple
    n_samples_ : int
        Labelled windows.

    Notes
    -----
    Values of one byte are their own bins, so that splits are those of an exact tree; others fall
    into at most 255 bins by quantiles of the image. A split lies in the middle between two bins that
    occur in its node; of splits that are equally good the one on the first feature is taken, and
    there the lowest. Sums are of whole numbers, so that no order of work changes them. While it
    grows, a forest holds about 20 bytes per labelled window, and the image as bytes (with boxes 4
    bytes per pixel more).

    Sources: Breiman, "Random forests", Machine Learning 2001; Shotton et al., "Real-time human pose
    recognition in parts from single depth images", CVPR 2011 (differences at offsets); Schulz et
    al., "CURFIL: random forests for image labeling on GPU", VISAPP 2015 (boxes from integral images).

    Examples
    --------
    Stripes and plain grey:

    >>> import numpy as np
    >>> image = np.full((40, 50), 128, np.uint8)
    >>> image[:, 20:] += (np.arange(30) % 2 * 20).astype(np.uint8)
    >>> labels = np.full((40, 50), -1)
    >>> labels[:9, 5:9], labels[:9, 30:34] = 0, 1
    >>> model = PatchForestClassifier(3, n_estimators=10, random_state=0).fit(image, labels)
    >>> model.predict(image)[30, ::7]
    array([0, 0, 0, 1, 1, 1, 1, 1])
    >>> model.feature_importances_.shape
    (3, 3)
    """

    classes_: Array

    def __init__(
        self,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        n_estimators: int = 100,
        criterion: str = "gini",
        max_depth: int | None = None,
        min_samples_split: int = 2,
        min_samples_leaf: int = 1,
        max_features: int | float | str | None = "sqrt",
        features: str | Sequence[str] = "samples",
        bootstrap: bool = True,
        max_samples: float | None = None,
        oob_score: bool = False,
        class_weight: Mapping[Any, float] | str | None = None,
        unlabelled: Any = None,
        random_state: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.features = features
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.oob_score = oob_score
        self.class_weight = class_weight
        self.unlabelled = unlabelled
        self.random_state = random_state

    def fit(self, image: Images, labels: Any, sample_weight: Any = None) -> PatchForestClassifier:
        """Learn from an image and its labels, or a list of each.

        ``labels`` has the image's shape, its channel axis aside: whole numbers, truth values or
        strings. Pixels labelled -1 (strings: "", or ``unlabelled``) take no part. ``sample_weight``
        has one weight per pixel, 0 or more.
        """
        self._check_parameters()
        if self.criterion not in _CRITERIA:
            raise ValueError(
                f"criterion must be one of {', '.join(_CRITERIA)}, got {self.criterion!r}"
            )
        classes, codes = encode_classes(self._targets(image, labels), self.unlabelled)
        weights = self._weights_of(image, sample_weight)
        canvas = self._prepare(image, bool((resolve_families(self.features) == 2).any()))
        masks, base = choose_windows(canvas, [code >= 0 for code in codes], weights)
        own: Any = take_windows(codes, masks).astype(np.uint8 if len(classes) < 256 else np.uint16)
        given, _ = bound_weights(take_weights(weights, masks), len(base))
        shares = weigh_classes(self.class_weight, classes, np.bincount(own, minlength=len(classes)))
        criterion = _CRITERIA[self.criterion]
        goal = Goal(
            criterion, own, np.zeros(0, np.int64), given, len(base).bit_length(), len(classes), shares,
            1.0, 1.0, 0.0, 0.0, True,
        )  # fmt: skip
        self.classes_, self.n_samples_ = classes, len(base)
        self._grow(canvas, base, goal, given, len(classes), as_images(image)[1][0].ndim)
        if self.oob_score:
            self.oob_decision_function_ = self.__dict__.pop("_unseen")
            known = np.isfinite(self.oob_decision_function_[:, 0])
            best = self.oob_decision_function_[known].argmax(axis=1)
            self.oob_score_ = float(np.mean(best == own[known]))
        return self

    def _values(self, sums: Array, goal: Goal) -> tuple[Array, Array]:
        weights = sums * goal.class_weight
        total = weights.sum(axis=1)
        return weights / total[:, None], total

    def predict_log_proba(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Logarithms of `predict_proba`."""
        check_is_fitted(self)
        with np.errstate(divide="ignore"):
            return self._map_images(image, lambda one: np.log(self._proba_image(one, dtype)))

    def _predict_image(self, image: Array) -> Array:
        k = len(self.classes_)
        finish = lambda sums: self.classes_[sums.argmax(axis=1)]  # noqa: E731
        return self._sum_trees(image, k, (), self.classes_.dtype, finish, np.zeros(k), "predict")

    def _proba_image(self, image: Array, dtype: DTypeLike) -> Array:
        k, n = len(self.classes_), len(self.ensemble_)
        return self._sum_trees(
            image, k, (k,), dtype, lambda sums: sums / n, np.zeros(k), "predict_proba"
        )

    def to_sklearn(self) -> Any:
        """The forest as a fitted `sklearn.ensemble.RandomForestClassifier` of rows of patches.

        ``estimators_`` are its trees, to be drawn or read. It takes rows ``(n, features)``, as
        `PatchMatrix` has them. Only for ``features="samples"``.
        """
        check_is_fitted(self)
        return to_classifier(self)

"""Gradient boosting on all windows: histograms of gradients, and trees that grow leaf by leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.parallel import each_in_parallel
from ..base import Images, as_images, is_number
from .base import TreeModel, resolve_families
from .canvas import Canvas
from .draws import child_key_of
from .ensemble import Ensemble
from .growth import Features, Grown
from .kernels import BOX, MOMENTS, VALUE, Goal
from .leafwise import Leaves, grow_leaves
from .losses import Loss
from .regions import hold_out
from .subtree import Rule, draw_candidates

__all__ = ["Boosting"]

Array = NDArray[Any]

_SLAB = 1 << 16
_LEAST_CURVATURE = 1e-3
_DEEP = 1 << 30


class Boosting(TreeModel):
    """What classifier and regressor share."""

    learning_rate: float
    max_iter: int
    max_leaf_nodes: int
    max_depth: int | None
    min_samples_leaf: int
    l2_regularization: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float

    def _check_parameters(self) -> None:
        self._check_counts(max_iter=1, max_leaf_nodes=2, min_samples_leaf=1, n_iter_no_change=1)
        if self.max_depth is not None:
            self._check_counts(max_depth=1)
        for name, least in (("learning_rate", 0.0), ("l2_regularization", 0.0), ("tol", 0.0)):
            value = getattr(self, name)
            if not is_number(value) or value < least or (name == "learning_rate" and value == 0):
                raise ValueError(f"{name} must be a number of {least:g} or more, got {value!r}")
        share = self.validation_fraction
        if not is_number(share) or not 0 < share < 1:
            raise ValueError(f"validation_fraction must lie between 0 and 1, got {share!r}")

    def _boost(
        self, image: Images, canvas: Canvas, masks: list[Array | None], base: Array, truth: Array,
        weights: Array | None, loss: Loss,
    ) -> None:  # fmt: skip
        """Learn trees until there are enough of them, or held-out regions are predicted no better."""
        self._patch_of_fit = self._patch(as_images(image)[1][0].ndim)
        key = np.uint64(self._seed())
        held = None
        if self.early_stopping:
            rng = np.random.default_rng(int(key))
            held = hold_out(canvas, masks, float(self.validation_fraction), rng)
        train = (
            np.arange(len(base), dtype=np.int32)
            if held is None
            else np.flatnonzero(~held).astype(np.int32)
        )
        run = _Run(self, canvas, base, truth, weights, loss, held, train, self._bank(key))
        trees = run.run()
        self.n_iter_ = len(trees) // loss.columns
        self._start = run.start
        self.train_loss_ = np.array(run.losses[0])
        self.validation_loss_ = np.array(run.losses[1]) if held is not None else None
        self.ensemble_ = self._assemble(trees, loss.columns, run.goal)

    def _bank(self, key: Any) -> Features:
        """All samples, and as many random features of each other kind; those of all trees."""
        kinds = resolve_families(self.features)
        n = self.n_features_in_
        if not len(kinds):
            return Features.samples(n)
        others = kinds[kinds != VALUE]
        drawn = Features(*np.empty((3, n * len(others)), np.int64))
        rule = Rule(1, 2, 1, n * len(others), others)
        draw_candidates(rule, np.uint64(child_key_of(key, 1)), n, *drawn)
        if len(others) == len(kinds):
            return drawn
        return Features(
            *(np.concatenate(pair) for pair in zip(Features.samples(n), drawn, strict=True))
        )

    @property
    def _needs_boxes(self) -> bool:
        return bool((resolve_families(self.features) == BOX).any())

    def _assemble(self, trees: list[tuple[Grown, Array]], columns: int, goal: Goal) -> Ensemble:
        """All trees, each with its values in the column of its class."""
        values = []
        for t, (_, value) in enumerate(trees):
            wide = np.zeros((len(value), columns))
            wide[:, t % columns] = value
            values.append(wide)
        weights = [tree.sums[:, 1] * goal.unit for tree, _ in trees]
        return Ensemble.of([tree for tree, _ in trees], values, weights)


class _Run:
    """One fit."""

    def __init__(
        self, model: Boosting, canvas: Canvas, base: Array, truth: Array, weights: Array | None,
        loss: Loss, held: Array | None, train: Array, features: Features,
    ) -> None:  # fmt: skip
        self.model, self.canvas, self.base, self.truth = model, canvas, base, truth
        self.weights, self.loss, self.held, self.train = weights, loss, held, train
        self.features = features
        self.patch = model._patch_of_fit
        some = slice(None) if held is None else train
        self.start = loss.start(truth[some], None if weights is None else weights[some])
        self.raw = np.tile(self.start, (len(base), 1))
        self.losses: tuple[list[float], list[float]] = ([], [])
        n, bits = len(base), len(base).bit_length()
        self.gradients, self.curvatures = np.empty(n, np.int64), np.ones(n, np.int32)
        heavy = 1.0 if weights is None else float(weights.max())
        whole = loss.constant_curvature and weights is None
        self.h_scale = 1.0 if whole else _power_below(2.0 ** min(30, 63 - 2 * bits) / heavy)
        self.goal = Goal(
            MOMENTS, np.zeros(0, np.uint8), self.gradients, self.curvatures, bits, 2, np.ones(1),
            1.0, 1 / self.h_scale, float(model.l2_regularization), _LEAST_CURVATURE, False,
        )  # fmt: skip

    def run(self) -> list[tuple[Grown, Array]]:
        """Trees with the values of their nodes, one per score in each round."""
        model, trees = self.model, []
        deepest = _DEEP if model.max_depth is None else int(model.max_depth)
        rule = Leaves(int(model.max_leaf_nodes), deepest, int(model.min_samples_leaf))
        space = self.canvas.space(self.patch, self.base)
        best, best_round = np.inf, 0
        self._measure()
        for number in range(int(model.max_iter)):
            here = []
            for k in range(self.loss.columns):
                goal = self._differentiate(k)
                ids = self.train.copy()
                tree = grow_leaves(space, goal, self.features, rule, ids, model.limits)
                h = tree.sums[:, 1] * goal.unit + goal.l2 + 1e-15
                here.append((tree, -float(model.learning_rate) * tree.sums[:, 0] * goal.gain / h))
            for k, (tree, value) in enumerate(here):
                one = Ensemble.of([tree], [value[:, None]], [tree.sums[:, 1]])
                one.add_to(self.raw[:, k : k + 1], self.canvas, self.patch, self.base)
            trees += here
            self._measure()
            if self.held is None:
                continue
            if self.losses[1][-1] < best - float(model.tol):
                best, best_round = self.losses[1][-1], number + 1
            if number + 1 - best_round >= int(model.n_iter_no_change):
                return trees[: max(1, best_round) * self.loss.columns]
        return trees

    def _differentiate(self, k: int) -> Goal:
        """Gradients and curvatures by the ``k``-th score as whole numbers."""
        far = 1.0 if self.weights is None else float(self.weights.max())
        if not self.loss.bounded:
            found = self._each_slab(lambda rows: float(np.abs(self._gradient(rows, k)[0]).max()))
            far = max(float(found.max()), 1e-300)
        scale = _power_below(2.0 ** (61 - len(self.base).bit_length()) / far)

        def write(rows: slice) -> float:
            g, h = self._gradient(rows, k)
            self.gradients[rows] = np.rint(g * scale)
            if not self.loss.constant_curvature or self.weights is not None:
                self.curvatures[rows] = np.rint(h * self.h_scale)
            return 0.0

        self._each_slab(write)
        return self.goal._replace(gain=1 / scale)

    def _gradient(self, rows: slice, k: int) -> tuple[Array, Array]:
        g, h = self.loss.derivatives(self.raw[rows], self.truth[rows], k)
        return (g, h) if self.weights is None else (g * self.weights[rows], h * self.weights[rows])

    def _measure(self) -> None:
        """Note the loss of the windows that trees grow on, and of those held out."""

        def one(rows: slice) -> Array:
            values = self.loss.values(self.raw[rows], self.truth[rows])
            weights = np.ones(len(values)) if self.weights is None else self.weights[rows]
            held = np.zeros(len(values), bool) if self.held is None else self.held[rows]
            each = values * weights
            return np.array(
                [each[~held].sum(), weights[~held].sum(), each[held].sum(), weights[held].sum()]
            )

        sums = np.sum(self._each_slab(one), axis=0)
        self.losses[0].append(float(sums[0] / sums[1]))
        if self.held is not None:
            self.losses[1].append(float(sums[2] / sums[3]))

    def _each_slab(self, one: Callable[[slice], Any]) -> Array:
        """What ``one`` gives for slices of windows, in their order."""
        begins = range(0, len(self.base), _SLAB)
        found: list[Any] = [None] * len(begins)

        def work(k: int) -> None:
            found[k] = one(slice(begins[k], min(begins[k] + _SLAB, len(self.base))))

        each_in_parallel(work, range(len(begins)))
        return np.array(found)


def _power_below(value: float) -> float:
    """The largest power of two that is at most ``value``."""
    return float(2.0 ** np.floor(np.log2(value)))

"""Trees on windows as trees of scikit-learn on rows of patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import NODE_DTYPE, Tree

from .ensemble import Ensemble
from .kernels import VALUE

__all__ = ["to_classifier", "to_regressor", "to_trees"]

Array = NDArray[Any]


def to_classifier(model: Any) -> RandomForestClassifier:
    """A fitted forest of scikit-learn with the trees of a `PatchForestClassifier`."""
    n = len(model.classes_)
    made = RandomForestClassifier(len(model.ensemble_), criterion=model.criterion)
    made.estimators_ = to_trees(model, DecisionTreeClassifier(criterion=model.criterion), n)
    for each in (made, *made.estimators_):
        each.classes_ = model.classes_ if each is made else np.arange(float(n))
        each.n_classes_ = n
    return _describe(made, model)


def to_regressor(model: Any) -> RandomForestRegressor:
    """A fitted forest of scikit-learn with the trees of a `PatchForestRegressor`."""
    made = RandomForestRegressor(len(model.ensemble_))
    made.estimators_ = to_trees(model, DecisionTreeRegressor(), 1)
    return _describe(made, model)


def _describe(made: Any, model: Any) -> Any:
    made.n_outputs_, made.n_features_in_ = 1, model.n_features_in_
    return made


def to_trees(model: Any, like: Any, classes: int) -> list[Any]:
    """Each tree as a fitted copy of ``like``."""
    ensemble: Ensemble = model.ensemble_
    if (ensemble.nodes[:, 0] != VALUE).any():
        raise ValueError(
            f"features={model.features!r}: trees of scikit-learn look at single samples, and these also at"
            " differences or boxes"
        )
    found = []
    for t in range(len(ensemble)):
        tree = type(like)(**like.get_params())
        tree.tree_ = _make_tree(ensemble.part(t, t + 1), model, classes)
        tree.n_outputs_, tree.n_features_in_, tree.max_features_ = (
            1,
            model.n_features_in_,
            model.n_features_in_,
        )
        found.append(tree)
    return found


def _make_tree(part: Ensemble, model: Any, classes: int) -> Tree:
    order, depth = _preorder(part.nodes[:, 4])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    child = part.nodes[order, 4]
    inner = child >= 0
    nodes = np.zeros(len(order), NODE_DTYPE)
    nodes["left_child"] = np.where(inner, place[child], -1)
    nodes["right_child"] = np.where(inner, place[np.where(inner, child + 1, 0)], -1)
    nodes["feature"] = np.where(inner, part.nodes[order, 1], -2)
    nodes["threshold"] = np.where(inner, part.thresholds(model.binning_)[order], -2.0)
    nodes["n_node_samples"] = part.counts[order]
    nodes["weighted_n_node_samples"] = part.weights[order]
    values = part.values[order] if classes > 1 else part.values[order].sum(axis=1, keepdims=True)
    nodes["impurity"] = _impurity(values, getattr(model, "criterion", None))
    tree = Tree(model.n_features_in_, np.array([classes], np.intp), 1)
    tree.__setstate__(
        {
            "max_depth": depth,
            "node_count": len(nodes),
            "nodes": nodes,
            "values": values[:, None, :].copy(),
        }
    )
    return tree


def _preorder(child: Array) -> tuple[Array, int]:
    """Nodes with each before its left, and that before its right subtree; and the depth of the tree."""
    order, waiting, deepest = [], [(0, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        order.append(node)
        deepest = max(deepest, depth)
        if child[node] >= 0:
            waiting += [(int(child[node]) + 1, depth + 1), (int(child[node]), depth + 1)]
    return np.array(order), deepest


def _impurity(values: Array, criterion: str | None) -> Array:
    if criterion is None:
        return np.full(len(values), np.nan)
    if criterion == "gini":
        return np.asarray(1 - np.square(values).sum(axis=1))
    logs = np.log2(values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(-(values * logs).sum(axis=1))

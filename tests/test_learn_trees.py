"""Forests and boosting of patches: the trees of scikit-learn on the explicit matrix, without the matrix."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

pytest.importorskip("sklearn")

from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import estimator_checks

from pantile.geometry.limits import Limits
from pantile.kernels import parallel
from pantile.learn import (
    PatchBoostingClassifier,
    PatchBoostingRegressor,
    PatchEstimator,
    PatchForestClassifier,
    PatchForestRegressor,
    PatchKMeans,
    PatchLDA,
    PatchLogisticRegression,
    PatchRidge,
)
from pantile.testing import slow_trees
from tests._limited import LIMIT, finishes
from tests.test_learn_scikit import ALWAYS

ALL = [
    PatchForestClassifier(3, n_estimators=3),
    PatchForestRegressor(3, n_estimators=3),
    PatchBoostingClassifier(3, max_iter=3),
    PatchBoostingRegressor(3, max_iter=3),
]
TINY = Limits(
    tree_subtree_windows=40,
    tree_task_windows=16,
    tree_histogram_bytes=1 << 20,
    tree_strip_windows=50,
)
FAMILIES = ("samples", "differences", "boxes")


def noise(shape, levels=256, seed=0):
    return np.random.default_rng(seed).integers(0, levels, shape, dtype=np.uint8)


def whole_tree(kind, **options):
    """One tree on all windows and all features."""
    return kind(n_estimators=1, max_features=None, bootstrap=False, **options)


def nested(model, at=0):
    """The only tree of a model, as `slow_trees.grow` gives it."""
    _, feature, _, threshold, child = model.ensemble_.nodes[at].tolist()
    if child < 0:
        return int(model.ensemble_.counts[at])
    return (feature, threshold, nested(model, child), nested(model, child + 1))


def assert_like_sklearn(ours, theirs, rows, goal, weights, criterion, at=0):
    """Node by node the same split, until two splits are equally good: then any of them may be taken."""
    inside = theirs.children_left[at] >= 0
    if isinstance(ours, int) or not inside:
        assert isinstance(ours, int) != inside
        return
    feature, threshold, *sides = ours
    mine = rows[:, feature] <= threshold
    other = rows[:, theirs.feature[at]] <= theirs.threshold[at]
    k = 2 if criterion == "squared_error" else int(goal.max()) + 1
    scores = [
        slow_trees.score_split(
            *(slow_trees._sum(goal[s], weights[s], criterion, k) for s in (goes, ~goes)), criterion
        )
        for goes in (mine, other)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-9, abs=1e-9)
    if (mine != other).any():
        return
    children = (theirs.children_left[at], theirs.children_right[at])
    for goes, side, child in zip((mine, ~mine), sides, children, strict=True):
        assert_like_sklearn(
            side, theirs, rows[goes], goal[goes], weights[goes], criterion, int(child)
        )


@st.composite
def pictures(draw):
    """An image, and where its windows lie; of few levels, so that there are ties."""
    n = draw(st.integers(1, 3))
    shape = [draw(st.integers(4, (40, 9, 6)[n - 1])) for _ in range(n)]
    patch = tuple(draw(st.integers(1, 3)) for _ in range(n))
    channel = draw(st.sampled_from([None, 0, -1]))
    if channel is not None:
        shape.insert(0 if channel == 0 else n, 2)
    image = noise(tuple(shape), draw(st.sampled_from([2, 5, 256])), draw(st.integers(0, 99)))
    step = draw(st.integers(1, 2))
    return image, {"patch": patch, "step": step, "channel_axis": channel}


@settings(max_examples=40, deadline=None)
@given(
    pictures(),
    st.sampled_from(["gini", "entropy", "squared_error"]),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from([Limits(), TINY]),
    st.integers(0, 99),
)
def test_a_whole_tree_is_the_exact_tree(picture, criterion, weighted, least, limits, seed):
    image, where = picture
    rng = np.random.default_rng(seed)
    kind = PatchForestRegressor if criterion == "squared_error" else PatchForestClassifier
    options = {} if criterion == "squared_error" else {"criterion": criterion}
    model = whole_tree(kind, min_samples_leaf=least, **options, **where)
    model.limits = limits
    channel = where["channel_axis"]
    sizes = image.shape if channel is None else np.delete(image.shape, channel)
    labels = rng.integers(0, 3, tuple(sizes))
    weight = rng.integers(0, 4, labels.shape) if weighted else np.ones(labels.shape, int)
    weight.flat[:: 2 if weighted else 1] += weight.max() == 0
    own = model._targets(image, weight, "sample_weight")[0].ravel()
    if not own.any():
        return
    model.fit(image, labels * 1.0 if options == {} else labels, weight if weighted else None)
    rows = np.asarray(model._matrix(image))[own > 0]
    goal = model._targets(image, labels)[0].ravel()[own > 0]
    own = own[own > 0].astype(float)
    # sums of numbers are of what is left of their rounded mean: that decides where splits are equally
    # good but for rounding
    goal = np.searchsorted(np.unique(goal), goal) if options else goal - np.rint(goal.mean())
    tree = nested(model)
    assert (
        tree == slow_trees.grow(rows, goal, own, criterion, min_leaf=least)
        or criterion == "entropy"
    )
    sklearn = DecisionTreeClassifier if options else DecisionTreeRegressor
    theirs = sklearn(criterion=criterion, min_samples_leaf=least, random_state=0)
    theirs.fit(rows.astype(np.float32), goal, own)
    assert_like_sklearn(tree, theirs.tree_, rows, goal, own, criterion)


def test_of_equal_splits_the_first_feature_is_taken():
    image = np.tile(np.arange(0, 40, 4, dtype=np.uint8), (12, 1))  # all lines are the same
    model = whole_tree(PatchForestClassifier, patch=3, max_depth=1)
    model.fit(image, (image > 17).astype(int))
    # all nine neighbours part the classes, the first of them between 12 and 16
    assert model.ensemble_.nodes[0, [1, 3]].tolist() == [0, 14]


@pytest.mark.parametrize("features", ["samples", "differences", "boxes", FAMILIES])
@pytest.mark.parametrize(
    ("shape", "patch", "channel"), [((50,), 5, None), ((14, 15, 2), 3, -1), ((2, 6, 7, 8), 3, 0)]
)
def test_windows_end_where_the_plain_walk_ends(features, shape, patch, channel):
    image = noise(shape)
    sizes = shape if channel is None else np.delete(shape, channel)
    labels = noise(tuple(sizes), 3, 1)
    options = {"features": features, "channel_axis": channel, "max_features": 4}
    model = PatchForestClassifier(patch, n_estimators=2, random_state=0, **options).fit(
        image, labels
    )
    place = None if channel is None else model._channel_place(image.ndim)
    patches = np.asarray(model._matrix(image)).reshape(-1, *model.patch_shape_)
    expected = 0.0
    for t in range(2):
        tree = model.ensemble_.part(t, t + 1)
        expected = expected + tree.values[slow_trees.walk(tree.nodes, patches, place)] / 2
    np.testing.assert_allclose(model.predict_proba(image).reshape(-1, 3), expected)
    kinds = {"samples": 0, "differences": 1, "boxes": 2}
    names = [features] if isinstance(features, str) else features
    used = model.ensemble_.nodes[model.ensemble_.nodes[:, 4] >= 0, 0]
    assert set(used.tolist()) <= {kinds[name] for name in names}
    assert model.feature_importances_.shape == model.patch_shape_
    assert model.feature_importances_.sum() == pytest.approx(1)


@pytest.mark.parametrize("model", ALL, ids=lambda m: type(m).__name__)
def test_trees_are_the_same_for_any_number_of_threads_and_sizes_of_tasks(model):
    image, labels = noise((30, 31)), noise((30, 31), 3, 1)
    first = clone(model).set_params(random_state=5).fit(image, labels)
    second = clone(model).set_params(random_state=5)
    second.limits = TINY
    with mock.patch.object(parallel, "cores", return_value=3):
        second.fit(image, labels)
        found = second.predict(image)
    np.testing.assert_array_equal(first.predict(image), found)
    assert len(first.ensemble_.nodes) == len(second.ensemble_.nodes)
    third = clone(model).set_params(random_state=6).fit(image, labels)
    if "Forest" in type(model).__name__:
        assert (third.predict(image) != found).any()


@pytest.mark.parametrize("classes", [2, 3])
def test_boosting_follows_scikit_learn(classes):
    image = noise((30, 34), 200)
    labels = np.digitize(image + 0.3 * np.roll(image, 1, 1), [130, 190][: classes - 1])
    options = {"max_iter": 12, "max_leaf_nodes": 9, "l2_regularization": 0.5}
    model = PatchBoostingClassifier(3, **options).fit(image, labels)
    rows = np.asarray(model._matrix(image)).astype(float)
    other = HistGradientBoostingClassifier(early_stopping=False, **options)
    other.fit(rows, labels.ravel())
    losses = [log_loss(labels.ravel(), p) for p in other.staged_predict_proba(rows)]
    np.testing.assert_allclose(model.train_loss_[1:], losses, atol=1e-6, rtol=0)
    trees = model.to_sklearn()
    scores = np.tile(model._start, (len(rows), 1))
    for t, tree in enumerate(trees):
        scores[:, t % len(model._start)] += tree.predict(rows)
    np.testing.assert_allclose(
        scores.squeeze(), model.decision_function(image).reshape(scores.squeeze().shape)
    )


def test_boosting_of_numbers_follows_scikit_learn():
    image = noise((40, 30), 200)
    targets = image + 0.37 * np.roll(image, 1, axis=1)
    weight = noise((40, 30), 4, 2) + 1
    model = PatchBoostingRegressor(3, max_iter=12).fit(image, targets, weight)
    rows = np.asarray(model._matrix(image)).astype(float)
    other = HistGradientBoostingRegressor(max_iter=12, early_stopping=False)
    other.fit(rows, targets.ravel(), weight.ravel())
    found = [
        np.average((p - targets.ravel()) ** 2, weights=weight.ravel()) / 2
        for p in other.staged_predict(rows)
    ]
    np.testing.assert_allclose(model.train_loss_[1:], found, rtol=1e-6)
    np.testing.assert_allclose(model.predict(image).ravel(), other.predict(rows), rtol=1e-5)


def test_boosting_ends_where_held_out_regions_are_predicted_no_better():
    image = noise((60, 60))
    labels = (image > 128) ^ (noise((60, 60), 10, 3) == 0)
    options = {"early_stopping": True, "n_iter_no_change": 3, "random_state": 0}
    model = PatchBoostingClassifier(3, max_iter=200, **options).fit(image, labels)
    assert model.n_iter_ < 100
    losses = model.validation_loss_
    assert len(model.train_loss_) == len(losses) == model.n_iter_ + 4
    assert losses[: model.n_iter_ + 1].argmin() == model.n_iter_
    assert len(model.ensemble_) == model.n_iter_
    few = np.full((60, 60), -1)
    few[0, :2] = 0, 1
    with pytest.raises(ValueError, match="lie in one block"):
        PatchBoostingClassifier(3, early_stopping=True).fit(image, few)


def test_out_of_bag_windows_are_predicted_by_the_other_trees():
    image, labels = noise((20, 21)), noise((20, 21), 2, 1)
    model = PatchForestClassifier(3, n_estimators=40, oob_score=True, random_state=0).fit(
        image, labels
    )
    assert model.score(image, labels) > 0.95  # what it has seen
    assert 0.35 < model.oob_score_ < 0.65  # noise cannot be learnt
    targets = np.roll(image, 1, axis=1).astype(float)
    regressor = PatchForestRegressor(3, n_estimators=20, oob_score=True, random_state=0)
    assert 0.5 < regressor.fit(image, targets).oob_score_ < regressor.score(image, targets)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_scikit_learns_forest_of_the_same_trees(kind):
    image = noise((20, 24, 3))
    labels = (image[..., 0] > image[..., 1]).astype(int) + 2
    forest = PatchForestClassifier if kind == "classes" else PatchForestRegressor
    model = forest(3, n_estimators=4, channel_axis=-1, random_state=0, min_samples_leaf=2)
    model.fit(image, labels)
    rows = np.asarray(model._matrix(image)).astype(np.float32)
    other = model.to_sklearn()
    np.testing.assert_allclose(other.predict(rows).reshape(20, 24), model.predict(image))
    if kind == "classes":
        np.testing.assert_allclose(
            other.predict_proba(rows).reshape(20, 24, 2), model.predict_proba(image)
        )
        importances = other.feature_importances_.reshape(model.patch_shape_)
        np.testing.assert_allclose(importances, model.feature_importances_, atol=1e-12)


def test_windows_of_images_of_different_sizes_make_one_tree():
    images = [noise((9, 14)), noise((12, 7), seed=1), noise((5, 5), seed=2)]
    labels = [(image > 99).astype(int) + (np.roll(image, 1) > 50) for image in images]
    model = whole_tree(PatchForestClassifier, patch=3).fit(images, labels)
    rows = np.asarray(model._matrix(images))
    goal = np.concatenate([each.ravel() for each in labels])
    assert nested(model) == slow_trees.grow(rows, goal, np.ones(len(goal)), "gini")
    for image, truth in zip(images, labels, strict=True):
        np.testing.assert_array_equal(model.predict(image), truth)


@pytest.mark.parametrize("dtype", ["u2", "i2", "f4", "f8", "i1", "?"])
def test_other_dtypes_are_binned_by_quantiles(dtype):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(40, 50)) * 40
    image = (image > 0) if dtype == "?" else (image + 500 * (dtype == "u2")).astype(dtype)
    labels = (image > np.median(image)) ^ (np.roll(image, 1, 1) > np.median(image))
    model = PatchForestClassifier(3, n_estimators=8, max_features=None, random_state=0).fit(
        image, labels
    )
    assert model.score(image, labels) > 0.98
    rows = np.asarray(model._matrix(image)).astype(np.float64)
    if dtype != "f8":  # trees of scikit-learn see rows as float32
        np.testing.assert_array_equal(
            model.to_sklearn().predict(rows), model.predict(image).ravel()
        )
    if dtype in "i1?":
        with pytest.raises(TypeError, match="convert it"):
            model.predict(image.astype("f4"))


def test_weights_of_classes_and_pixels():
    image, labels = noise((20, 20)), noise((20, 20), 2, 1)
    options = {"patch": 3, "max_depth": 3}
    twice = whole_tree(PatchForestClassifier, class_weight={0: 2}, **options).fit(image, labels)
    weight = np.where(labels == 0, 2, 1)
    other = whole_tree(PatchForestClassifier, **options).fit(image, labels, weight)
    assert nested(twice) == nested(other)
    np.testing.assert_allclose(twice.predict_proba(image), other.predict_proba(image))
    scaled = whole_tree(PatchForestClassifier, **options).fit(image, labels, weight * 0.37)
    assert nested(scaled) == nested(other)


SUPERVISED = [
    PatchLDA(3, unlabelled=0),
    PatchLogisticRegression(3, unlabelled=0),
    PatchForestClassifier(3, n_estimators=2, unlabelled=0),
    PatchBoostingClassifier(3, max_iter=2, unlabelled=0),
    PatchEstimator(
        DecisionTreeClassifier(max_depth=3, random_state=0), 3, n_samples=1e3, unlabelled=0
    ),
    PatchRidge(3, unlabelled=0),
    PatchForestRegressor(3, n_estimators=2, unlabelled=0, random_state=0),
]


@pytest.mark.parametrize(
    "model", [*SUPERVISED, PatchKMeans(3, n_clusters=2)], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize(("step", "pad"), [(1, "same"), (2, 1)])
def test_every_estimator_predicts_from_a_path_to_a_path_within_a_budget(model, step, pad, tmp_path):
    image = noise((23, 17, 3))
    labels = np.where(image[..., 0] > 99, 1, 2).astype(np.uint8)
    labels[:4] = 0  # unlabelled, unsigned as in a PNG
    fitted = clone(model).set_params(step=step, pad=pad, channel_axis=-1, pad_mode="edge")
    if "random_state" in fitted.get_params():
        fitted.set_params(random_state=0)
    fitted.fit(image, labels)
    expected = fitted.predict(image)
    if hasattr(fitted, "classes_"):
        assert fitted.classes_.tolist() == [1, 2]
    fitted.limits = TINY
    path = tmp_path / "image.npy"
    np.save(path, image)
    out = np.empty_like(expected)
    assert fitted.predict(image, out=out) is out
    fitted.predict(str(path), out=str(tmp_path / "out.npy"), memory="1MB")
    for found in (fitted.predict(path), out, np.load(tmp_path / "out.npy")):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    with pytest.raises(MemoryError, match="one row of windows"):
        fitted.predict(image, memory=100)
    with pytest.raises(ValueError, match="out must have the shape"):
        fitted.predict(image, out=out[1:])


def test_unlabelled_numbers_take_no_part():
    image = noise((20, 20))
    targets = np.where(image > 128, 0.0, 3.0)
    ridge = PatchRidge(3, unlabelled=0).fit(image, targets)
    assert ridge.n_samples_ == (targets == 3).sum()
    forest = PatchForestRegressor(3, n_estimators=1, unlabelled=0).fit(image, targets)
    assert forest.n_samples_ == (targets == 3).sum()
    assert (forest.predict(image) == 3).all()
    with pytest.raises(TypeError, match="none of the labels' kind"):
        PatchLDA(3, unlabelled="x").fit(image, image // 128)


def test_labels_of_a_colour_image_without_channel_axis():
    with pytest.raises(ValueError, match="say channel_axis=-1"):
        PatchForestClassifier(3).fit(noise((9, 9, 3)), noise((9, 9), 2))
    with pytest.raises(ValueError, match="say channel_axis=0"):
        PatchLDA(3).fit(noise((3, 9, 9)), noise((9, 9), 2))


@pytest.mark.parametrize("check", ALWAYS)
@pytest.mark.parametrize("model", ALL, ids=lambda m: type(m).__name__)
def test_scikit_learns_own_checks(model, check):
    getattr(estimator_checks, check)(type(model).__name__, clone(model))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_estimators": 0}, ValueError, "n_estimators must be a whole number of 1 or more"),
        ({"max_depth": 0.5}, ValueError, "max_depth must be"),
        ({"max_features": "all"}, ValueError, "max_features must be"),
        ({"max_features": 1.5}, ValueError, "max_features must be"),
        ({"features": "sums"}, ValueError, "features must be one or more of samples"),
        ({"criterion": "mse"}, ValueError, "criterion must be one of gini"),
        ({"max_samples": 2}, ValueError, "max_samples must be a share"),
        ({"bootstrap": False, "oob_score": True}, ValueError, "bootstrap=True"),
        ({"unlabelled": 1}, ValueError, "every pixel is unlabelled"),
    ],
)
def test_wrong_parameters_are_named(options, error, message):
    with pytest.raises(error, match=message):
        PatchForestClassifier(3, **options).fit(noise((9, 9)), np.ones((9, 9), int))


@pytest.mark.parametrize(
    "options",
    [{"learning_rate": 0}, {"max_leaf_nodes": 1}, {"validation_fraction": 1.0}, {"tol": -1}],
)
def test_wrong_parameters_of_boosting_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PatchBoostingClassifier(3, **options).fit(noise((9, 9)), noise((9, 9), 2))


def test_a_forest_holds_few_bytes_a_window():
    limit = LIMIT.format(nbytes=27 * 10**6 + (256 << 20))
    finishes(f"""
        import numpy as np
        from pantile.learn import PatchForestClassifier
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (1000, 1000), dtype=np.uint8)
        labels = (image > 128).astype(np.int8)
        PatchForestClassifier(3, n_estimators=1, max_depth=2).fit(image[:300, :300], labels[:300, :300])
        {limit.replace(chr(10), chr(10) + "        ")}
        model = PatchForestClassifier(9, n_estimators=1, max_depth=5, random_state=0).fit(image, labels)
        assert model.n_samples_ == 10**6
        print("done")
    """)

"""`PatchEstimator`: any estimator on patches equals that estimator on the explicit matrix."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.cluster import DBSCAN, KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

import pantile as pt
from pantile.geometry.limits import Limits
from pantile.learn import PatchEstimator, sampling
from pantile.matrix.matrix import with_limits


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers what `partial_fit` was given; predicts the first class."""

    def __init__(self, max_iter=1):
        self.max_iter = max_iter

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        calls = self.__dict__.setdefault("calls_", [])
        weights = None if sample_weight is None else sample_weight.copy()
        calls.append((X.copy(), y.copy(), classes, weights))
        self.classes_ = classes
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def together(self, k):
        return np.concatenate([call[k] for call in self.calls_])


def scene(shape=(12, 17), seed=0):
    """An image of three stripes and noise, and labels of some of it: 3, 5, 8 and -1."""
    rng = np.random.default_rng(seed)
    labels = np.full(shape, -1)
    for k, value in enumerate((3, 5, 8)):
        labels[..., 6 * k : 6 * k + 3] = value
    image = rng.integers(0, 40, shape).astype(np.uint8)
    image[..., 6:12] += 80
    image[..., 12:] += 160
    return image, labels


def explicit(image, patch, step=1, channel_axis=None):
    """Every patch, padded by reflection, as rows."""
    model = PatchEstimator(None, patch, step=step, channel_axis=channel_axis)
    grid = model.grid(image.shape)
    cut = pt.extract(image, grid, channel_axis=channel_axis)
    rows = cut.reshape(
        -1, int(np.prod(pt.PatchMatrix(image, grid, channel_axis=channel_axis).patch_shape))
    )
    return rows.astype(np.float32), grid


# --- samples and passes ----------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(0, 60), min_size=2, max_size=4).filter(any),
    n=st.integers(1, 200),
    balanced=st.booleans(),
    seed=st.integers(0, 3),
)
def test_samples_are_stratified(counts, n, balanced, seed):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(-1, len(counts)), [7, *counts]))
    matrix = with_limits(pt.PatchMatrix(np.arange(len(codes)), 1), Limits(label_rows=16))
    data = sampling.TrainingRows(matrix, codes, np.arange(len(counts)))
    rows = data.sample(n, rng, balanced)
    assert data.counts.tolist() == counts
    assert (np.diff(rows) > 0).all()
    assert (codes[rows] >= 0).all()
    got = np.bincount(codes[rows], minlength=len(counts))
    assert ((got > 0) == (np.array(counts) > 0)).all()
    if balanced:
        given_up = got < got.max() - 1
        assert (got[given_up] == np.array(counts)[given_up]).all()
    else:
        share = np.array(counts) * min(1, n / sum(counts))
        assert (np.abs(got - share) <= 1).all()


@pytest.mark.parametrize("pool", [1, 1 << 30], ids=["pools", "in memory"])
def test_passes_see_every_labelled_row_once_per_epoch(pool):
    image, labels = scene((40, 17))
    rows, _ = explicit(image, 3)
    where = labels.ravel() >= 0
    model = PatchEstimator(Recorder(), 3, epochs=2, batch_size=50, random_state=1)
    model.limits = Limits(pool_bytes=pool, pool_run_rows=4, pool_numbered_rows=64)
    model.fit(image, labels)
    seen = model.estimator_
    sizes = [len(call[0]) for call in seen.calls_]
    assert sum(sizes) == 2 * where.sum() == 2 * model.n_samples_
    assert min(sizes) >= 25
    assert max(sizes) <= 50
    want = np.column_stack([rows[where], labels.ravel()[where]])
    got = np.column_stack([seen.together(0), seen.together(1)])
    assert np.array_equal(np.unique(got, axis=0), np.unique(want, axis=0))
    half = len(got) // 2
    for epoch in (got[:half], got[half:]):
        assert np.array_equal(np.sort(epoch.sum(axis=1)), np.sort(want.sum(axis=1)))
    assert not np.array_equal(got[:half], got[half:])
    assert all(len(np.unique(call[1])) == 3 for call in seen.calls_)  # classes are mixed
    assert seen.calls_[0][2].tolist() == [3, 5, 8]
    assert seen.together(0).dtype == np.float32


def test_streaming_never_expands():
    image = np.zeros((900, 900), np.uint8)
    image[::3] = 5

    class Counter(BaseEstimator):
        def partial_fit(self, X, y=None):
            self.n_ = getattr(self, "n_", 0) + len(X)

        def transform(self, X):
            return X[:, :1].copy()

    tracemalloc.start()
    model = PatchEstimator(Counter(), 15).fit(image)
    found = model.transform(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.estimator_.n_ == image.size
    assert np.array_equal(found[7:, 7:, 0], image[:-7, :-7])
    assert peak < 250e6  # the matrix has 729 MB


def test_iterating_estimators_get_several_epochs_and_others_one():
    image, labels = scene()
    model = PatchEstimator(Recorder(), 1).fit(image, labels)
    assert len(model.estimator_.together(0)) == 100 * (labels >= 0).sum()
    counted = PatchEstimator(GaussianNB(), 1).fit(image, labels)
    assert counted.estimator_.class_count_.sum() == (labels >= 0).sum()


# --- against the explicit matrix -------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("channel_axis", [None, 0, 2])
def test_forest_equals_forest_on_the_explicit_matrix(step, channel_axis):
    image, labels = scene()
    if channel_axis is not None:
        image = np.stack([image, image[::-1], 255 - image], axis=channel_axis)
    forest = RandomForestClassifier(5, random_state=0)
    model = PatchEstimator(forest, (3, 5), step=step, channel_axis=channel_axis, n_jobs=2)
    model.fit(image, labels)
    rows, grid = explicit(image, (3, 5), step, channel_axis)
    y = grid.centers(labels).ravel()
    twin = clone(forest).fit(rows[y >= 0], y[y >= 0])
    assert np.array_equal(model.predict(image), twin.predict(rows).reshape(grid.counts))
    assert np.allclose(
        model.predict_proba(image), twin.predict_proba(rows).reshape(*grid.counts, 3)
    )
    assert np.array_equal(model.classes_, [3, 5, 8])
    assert model.score(image, labels) == twin.score(rows[y >= 0], y[y >= 0])
    assert model.n_samples_ == (y >= 0).sum()


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
@pytest.mark.parametrize(
    ("kind", "by_feature"),
    [
        (DecisionTreeClassifier, True),
        (RandomForestClassifier, True),
        (ExtraTreesClassifier, True),
        (HistGradientBoostingClassifier, True),
        (IsolationForest, True),
        (GaussianNB, False),
        (SGDClassifier, False),
        (KNeighborsClassifier, False),
    ],
)
def test_trees_get_rows_by_feature_and_others_one_after_the_other(kind, by_feature, dtype):
    class Looking(kind):
        def predict(self, X):
            layouts.append((X.flags.f_contiguous, X.flags.c_contiguous))
            return super().predict(X)

    layouts = []
    image, labels = scene()
    image = image.astype(dtype)
    model = PatchEstimator(Looking(), 3, channel_axis=None).fit(image, labels)
    layouts.clear()
    found = model.predict(image)
    assert set(layouts) == {(by_feature, not by_feature)}
    padded = np.pad(image, 1, mode="reflect")
    rows = pt.extract(padded, 3).reshape(-1, 9)
    want = model.estimator_.predict(rows.astype(np.result_type(dtype, "f4")))
    assert np.array_equal(found.ravel(), want)


def test_streamed_bayes_equals_bayes_on_the_explicit_matrix_of_several_images():
    pairs = [scene((9, 17)), scene((5, 20), 1)]
    images, labels = zip(*pairs, strict=True)
    model = PatchEstimator(GaussianNB(), 3, batch_size=64).fit(list(images), list(labels))
    rows = np.concatenate([explicit(i, 3)[0] for i in images]).astype(np.float64)
    y = np.concatenate([each.ravel() for each in labels])
    twin = GaussianNB().fit(rows[y >= 0], y[y >= 0])
    assert np.allclose(model.estimator_.theta_, twin.theta_, rtol=1e-5)
    assert np.allclose(model.estimator_.var_, twin.var_, rtol=1e-4)
    found = model.predict(list(images))
    assert [each.shape for each in found] == [(9, 17), (5, 20)]
    assert np.array_equal(np.concatenate([each.ravel() for each in found]), twin.predict(rows))
    assert model.score(list(images), list(labels)) == twin.score(rows[y >= 0], y[y >= 0])


def test_batch_axes_come_first():
    image, labels = scene((2, 9, 17))
    model = PatchEstimator(KNeighborsClassifier(1), (3, 3)).fit(image, labels)
    found = model.predict_proba(image)
    assert found.shape == (2, 9, 17, 3)
    assert np.array_equal(model.predict(image)[labels >= 0], labels[labels >= 0])
    alone = model.predict_proba(image[1:])
    assert np.array_equal(alone[0], found[1])


def test_small_blocks_change_nothing():
    image, labels = scene()
    model = PatchEstimator(SVC(), 3).fit(image, labels)
    whole = model.decision_function(image)
    model.limits = Limits(row_block_bytes=500)
    for jobs in (1, 2):
        assert np.array_equal(model.set_params(n_jobs=jobs).decision_function(image), whole)


def test_regressors_skip_nan_and_take_several_targets():
    image, _ = scene()
    image = image.astype(float)
    targets = np.stack([image, 2 * image + 1], axis=-1)
    targets[3:5, 4] = np.nan
    model = PatchEstimator(LinearRegression(), 3).fit(image, targets)
    assert model.n_samples_ == image.size - 2
    found = model.predict(image)
    assert np.allclose(found[..., 1], 2 * image + 1)
    assert model.score(image, targets) == pytest.approx(1)
    one = PatchEstimator(KNeighborsRegressor(1), 3).fit(image, image)
    assert np.array_equal(one.predict(image), image)
    assert is_regressor(one)


def test_unsupervised_estimators():
    image, _ = scene()
    rows, grid = explicit(image, 3)
    model = PatchEstimator(KMeans(3, n_init=1, random_state=0), 3).fit(image)
    twin = KMeans(3, n_init=1, random_state=0).fit(rows)
    assert np.array_equal(model.predict(image), twin.predict(rows).reshape(grid.counts))
    pca = PatchEstimator(PCA(2), 3).fit(image)
    twin = PCA(2).fit(rows)
    assert np.allclose(
        pca.transform(image), twin.transform(rows).reshape(*grid.counts, 2), atol=1e-2
    )
    assert pca.get_feature_names_out().tolist() == ["pca0", "pca1"]
    assert np.allclose(pca.fit_transform(image), pca.transform(image))
    assert PatchEstimator(IncrementalPCA(2), 3).fit(image).estimator_.n_samples_seen_ == image.size
    assert PatchEstimator(MiniBatchKMeans(2), 3).fit(image).predict(image).shape == image.shape


def test_sparse_results_become_arrays():
    image = np.arange(12).reshape(3, 4) % 3
    found = PatchEstimator(OneHotEncoder(), 1).fit(image).transform(image)
    assert np.array_equal(found, image[..., None] == np.arange(3))


def test_pipelines_stream_step_by_step():
    image, labels = scene((30, 17))
    pipeline = make_pipeline(
        StandardScaler(), Nystroem(n_components=8, random_state=0), SGDClassifier(random_state=0)
    )
    model = PatchEstimator(pipeline, 3, epochs=9, batch_size=100, random_state=0)
    model.fit(image, labels)
    rows, _ = explicit(image, 3)
    where = labels.ravel() >= 0
    scaler, kernel, last = (step for _, step in model.estimator_.steps)
    assert np.allclose(scaler.mean_, rows[where].mean(axis=0), rtol=1e-5)
    assert scaler.n_samples_seen_ == where.sum()
    assert kernel.components_.shape == (8, 9)
    assert last.t_ == 1 + 9 * where.sum()
    assert model.score(image, labels) > 0.98


# --- weights and classes ---------------------------------------------------------------------------


def test_weight_0_is_unlabelled():
    image, labels = scene()
    weights = (np.arange(image.size).reshape(image.shape) % 3 > 0).astype(float)
    weighted = PatchEstimator(GaussianNB(), 3).fit(image, labels, weights)
    left_out = PatchEstimator(GaussianNB(), 3).fit(image, np.where(weights > 0, labels, -1))
    assert np.allclose(weighted.estimator_.theta_, left_out.estimator_.theta_, rtol=1e-5)
    assert weighted.n_samples_ == left_out.n_samples_


def test_balanced_classes_count_the_same():
    image, labels = scene()
    labels[2:, :3] = -1
    model = PatchEstimator(Recorder(), 1, balanced=True, epochs=1).fit(image, labels)
    y, weights = model.estimator_.together(1), model.estimator_.together(3)
    sums = [weights[y == value].sum() for value in (3, 5, 8)]
    assert np.allclose(sums, (labels >= 0).sum() / 3)
    model = PatchEstimator(KNeighborsClassifier(1), 1, balanced=True, n_samples=18).fit(
        image, labels
    )
    assert np.bincount(model.estimator_._y).tolist() == [6, 6, 6]


def test_samples_keep_rare_classes():
    image, labels = scene((40, 17))
    labels[1:, :3] = -1
    labels[0, 1:3] = -1
    model = PatchEstimator(KNeighborsClassifier(1), 1, n_samples=20, random_state=3).fit(
        image, labels
    )
    assert np.bincount(model.estimator_._y).tolist()[0] == 1
    assert 20 <= model.n_samples_ <= 21


def test_strings_are_classes():
    image, labels = scene()
    names = np.array(["", *"abc"])[np.searchsorted([-1, 3, 5, 8], labels)]
    model = PatchEstimator(KNeighborsClassifier(1), 3).fit(image, names)
    assert np.array_equal(model.predict(image)[labels >= 0], names[labels >= 0])


# --- conventions -----------------------------------------------------------------------------------


def test_the_given_estimator_is_never_changed():
    image, labels = scene()
    given_one = SGDClassifier(random_state=0)
    before = dict(vars(given_one))
    model = PatchEstimator(given_one, 3, epochs=2).fit(image, labels)
    assert vars(given_one) == before
    assert model.estimator is given_one
    again = PatchEstimator(FrozenEstimator(model.estimator_), 3).fit(image, labels)
    coef = model.estimator_.coef_.copy()
    assert np.array_equal(again.predict(image), model.predict(image))
    assert np.array_equal(model.estimator_.coef_, coef)


def test_the_same_seed_gives_the_same_model():
    image, labels = scene()
    fits = [
        PatchEstimator(SGDClassifier(random_state=0), 3, epochs=2, random_state=seed)
        .fit(image, labels)
        .estimator_.coef_
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_scikit_learn_conventions():
    model = PatchEstimator(make_pipeline(StandardScaler(), SGDClassifier(alpha=0.5)), 3, step=2)
    assert model.get_params()["estimator__sgdclassifier__alpha"] == 0.5
    copy = clone(model).set_params(estimator__sgdclassifier__alpha=0.1, patch=5)
    assert model.estimator[1].alpha == 0.5
    assert (copy.estimator[1].alpha, copy.patch) == (0.1, 5)
    assert is_classifier(model)
    assert not get_tags(model).input_tags.two_d_array
    assert "SGDClassifier" in model._repr_html_()
    with pytest.raises(NotFittedError):
        model.predict(np.zeros((5, 5)))
    assert repr(PatchEstimator(SVC(), 3)) == "PatchEstimator(estimator=SVC(), patch=3)"


def test_methods_are_those_of_the_estimator():
    assert not hasattr(PatchEstimator(SVC(), 3), "predict_proba")
    assert not hasattr(PatchEstimator(DBSCAN(), 3), "predict")
    assert not hasattr(PatchEstimator(KMeans(2), 3), "score")
    assert hasattr(PatchEstimator(KMeans(2), 3), "transform")
    image, labels = scene()
    assert not hasattr(PatchEstimator(KMeans(2, n_init=1), 3).fit(image), "classes_")
    model = PatchEstimator(GaussianNB(), 3).fit(image, labels)
    assert np.allclose(np.exp(model.predict_log_proba(image)), model.predict_proba(image))


def test_grid_search_over_a_list_of_images():
    pairs = [scene((8, 17), seed) for seed in range(3)]
    images, labels = map(list, zip(*pairs, strict=True))
    search = GridSearchCV(
        PatchEstimator(KNeighborsClassifier(1), 1),
        {"patch": [1, 3]},
        cv=KFold(3),
        error_score="raise",
    )
    search.fit(images, labels)
    assert search.best_score_ > 0.95
    assert search.predict(images[0]).shape == (8, 17)


@pytest.mark.parametrize(
    ("arguments", "fitted", "error", "message"),
    [
        ({}, {"labels": None}, ValueError, "learns from labels"),
        ({}, {"labels": np.zeros((3, 3))}, ValueError, "image's shape"),
        ({}, {"labels": np.full((12, 17), -1)}, ValueError, "unlabelled"),
        ({}, {"labels": np.zeros((12, 17, 2), int)}, ValueError, r"got .12, 17, 2."),
        ({}, {"sample_weight": np.zeros((12, 17))}, ValueError, "no pixel is left"),
        ({}, {"sample_weight": -np.ones((12, 17))}, ValueError, "0 or more"),
        ({"n_samples": 0}, {}, ValueError, "n_samples must be a whole number"),
        ({"epochs": 1.5}, {}, ValueError, "epochs must be a whole number"),
        (
            {"estimator": KNeighborsClassifier()},
            {"sample_weight": np.ones((12, 17))},
            ValueError,
            "no sample_weight",
        ),
        ({"estimator": KMeans(), "balanced": True}, {"labels": None}, ValueError, "needs classes"),
        ({"patch": 99, "pad": 0}, {}, ValueError, "patch"),
    ],
)
def test_mistakes(arguments, fitted, error, message):
    image, labels = scene()
    model = PatchEstimator(**{"estimator": GaussianNB(), "patch": 3} | arguments)
    with pytest.raises(error, match=message):
        model.fit(image, **{"labels": labels} | fitted)
    assert not hasattr(model, "estimator_")


def test_images_of_other_channels_are_refused():
    image, labels = scene()
    model = PatchEstimator(GaussianNB(), 3, channel_axis=0).fit(image[None], labels)
    with pytest.raises(ValueError, match="same channels"):
        model.predict(np.stack([image, image]))

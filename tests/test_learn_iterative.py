"""PatchLogisticRegression against scikit-learn on the explicit matrix; conventions of it and PatchKMeans."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from sklearn.base import clone, is_classifier, is_clusterer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from pantile.geometry.limits import Limits
from pantile.learn import PatchKMeans, PatchLogisticRegression, logloss
from tests._learn_made import DTYPES, WAYS, by, classes_of, explicit, picture


def objective(rows, codes, coef, intercept, C, own=None):
    """scikit-learn's: a weighted mean of log losses and a penalty."""
    own = np.ones(len(rows)) if own is None else own
    scores = rows @ coef.T + intercept
    if len(coef) == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    loss = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(rows)), codes]
    return loss @ own / own.sum() + np.sum(coef**2) / (2 * C * own.sum())


def reference(rows, labels, C=1.0, **options):
    """scikit-learn's optimum: its slopes, and intercepts; solved in units in which lbfgs gets there."""
    shift = rows.mean(axis=0) if options.get("fit_intercept", True) else np.zeros(rows.shape[1])
    scale = (rows - shift).std()
    twin = LogisticRegression(C=C * scale**2, tol=1e-9, max_iter=20_000, **options)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # it asks for more digits than there are
        twin.fit((rows - shift) / scale, labels)
    slopes = twin.coef_ / scale
    return slopes, twin.intercept_ - slopes @ shift


def check_optimum(model, rows, labels, own=None, **options):
    """The loss is the reference's within 1e-6, and what `loss_` says."""
    codes = np.searchsorted(model.classes_, labels)
    best = objective(rows, codes, *reference(rows, labels, model.C, **options), model.C, own)
    found = objective(rows, codes, model.coef_, model.intercept_, model.C, own)
    assert found <= best * (1 + 1e-6)
    assert found >= best * (1 - 1e-6)
    assert model.loss_ == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_logistic_optimum(dtype, way):
    image = picture(dtype=dtype)
    labels = classes_of(image, 2 + (dtype in ("u1", "u2")))
    with by(way):
        model = PatchLogisticRegression(3).fit(image, labels)
    check_optimum(model, explicit(model, image), labels.ravel())


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("way", ["cut", "fft"])
def test_logistic_from_a_sample_of_the_rows(way, n):
    image = picture((60, 50), "f4")
    labels = classes_of(image, n)
    with by(way, sample=400, slab=8 * 50 * 7 * n):
        model = PatchLogisticRegression(5).fit(image, labels)
    assert model.n_iter_ < model.n_passes_ <= 15
    check_optimum(model, explicit(model, image), labels.ravel())


@pytest.mark.parametrize("n", [2, 4])
def test_residuals_are_the_derivatives_of_the_loss(n):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((300, 1 if n == 2 else n)) * 3
    codes = rng.integers(-1, n, 300).astype(np.int8)
    weights = rng.random(n) + 0.5
    own = np.where(codes >= 0, weights[codes], 0)

    def loss(scores):
        wide = np.concatenate([0 * scores, scores], axis=1) if n == 2 else scores
        each = np.logaddexp.reduce(wide, axis=1) - wide[np.arange(300), codes]
        return each * own

    found = scores.copy()
    total = logloss.replace_by_residuals(found, codes, weights)
    assert total == pytest.approx(loss(scores).sum(), rel=1e-12)
    for column in range(scores.shape[1]):
        step = np.zeros_like(scores)
        step[:, column] = 1e-5
        slope = (loss(scores + step) - loss(scores - step)) / 2e-5
        np.testing.assert_allclose(found[:, column], slope, atol=1e-8)


def test_losses_of_extreme_scores():
    scores = np.array([[1e4], [-1e4], [1e4], [-40.0], [0.0]])
    loss = logloss.replace_by_residuals(scores, np.array([1, 0, 0, 0, -1], np.int8), np.ones(2))
    assert loss == pytest.approx(1e4 + np.exp(-40), rel=1e-15)
    np.testing.assert_allclose(scores[:, 0], [0, 0, 1, np.exp(-40), 0], rtol=1e-12)


@settings(max_examples=5)
@given(st.data())
def test_logistic_on_any_grid(data):
    ndim = data.draw(st.sampled_from([1, 2, 2, 3]))
    shape = data.draw(st.tuples(*[st.integers(5, 9)] * ndim))
    patch = data.draw(st.tuples(*[st.integers(1, 3)] * ndim))
    step = data.draw(st.tuples(*[st.integers(1, 2)] * ndim))
    channels = data.draw(st.sampled_from([None, 0, -1]))
    image = picture((3, *shape), seed=2)
    if channels is not None:
        image = np.moveaxis(picture((2, 3, *shape)), 0, channels)
    labels = np.random.default_rng(3).integers(-1, 3, (3, *shape))
    labels[(0,) * labels.ndim], labels[(1,) * labels.ndim] = 0, 1
    way = data.draw(st.sampled_from(WAYS))
    model = PatchLogisticRegression(patch, step=step, channel_axis=channels, pad="same")
    taken = labels[(slice(None), *(slice(None, None, s) for s in step))]
    known = taken.ravel() >= 0
    if len(np.unique(taken[taken >= 0])) < 2:
        return
    with by(way):
        model.fit(image, labels)
    rows = explicit(model, image)
    check_optimum(model, rows[known], taken.ravel()[known])
    codes = (rows @ model.coef_.T + model.intercept_).reshape(len(rows), -1)
    told = codes.argmax(axis=1) if codes.shape[1] > 1 else (codes[:, 0] > 0).astype(int)
    np.testing.assert_array_equal(model.predict(image).ravel(), model.classes_[told])


@pytest.mark.parametrize(
    "weights", ["balanced", {0: 0.2}, {0: 3, 1: 0.5, 2: 1}], ids=["balanced", "one", "all"]
)
@pytest.mark.parametrize("way", ["gathered", "fft"])
def test_class_weights(weights, way):
    image = picture()
    values = picture(seed=8) + image
    labels = np.digitize(values, np.quantile(values, [0.6, 0.9]))
    with by(way, sample=200):
        model = PatchLogisticRegression(3, class_weight=weights).fit(image, labels)
    counts = np.bincount(labels.ravel())
    own = (
        labels.size / (3 * counts)
        if weights == "balanced"
        else [weights.get(c, 1) for c in range(3)]
    )
    own = np.asarray(own, dtype=float)[labels.ravel()]
    check_optimum(model, explicit(model, image), labels.ravel(), own, class_weight=weights)


@pytest.mark.parametrize("way", WAYS)
def test_without_intercept(way):
    image = picture(dtype="f4")
    labels = classes_of(image, 3)
    with by(way):
        model = PatchLogisticRegression(3, fit_intercept=False).fit(image, labels)
    np.testing.assert_array_equal(model.intercept_, 0)
    check_optimum(model, explicit(model, image), labels.ravel(), fit_intercept=False)


@pytest.mark.parametrize("C", [1e-9, 1e-3, np.inf])
def test_any_penalty(C):
    image = picture()
    labels = classes_of(image, 3)
    model = PatchLogisticRegression(3, C=C).fit(image, labels)
    rows, codes = explicit(model, image), labels.ravel()
    bound = min(C, 1e9)
    best = objective(rows, codes, *reference(rows, codes, bound), C)
    assert model.loss_ == pytest.approx(best, rel=1e-6)


def test_separable_classes():
    image = np.zeros((20, 30))
    image[:, 15:] = 1
    labels = image.astype(bool)
    model = PatchLogisticRegression(3).fit(image, labels)
    check_optimum(model, explicit(model, image), labels.ravel())
    np.testing.assert_array_equal(model.predict(image), labels)
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        endless = PatchLogisticRegression(3, C=np.inf, max_iter=3).fit(image, labels)
    assert np.isfinite(endless.coef_).all()
    assert endless.n_iter_ == 3


def test_constant_features_and_images():
    labels = classes_of(picture(), 2)
    model = PatchLogisticRegression(3).fit(np.full((24, 30), 7.0), labels)
    share = labels.mean()
    np.testing.assert_allclose(model.predict_proba(np.full((5, 5), 7.0))[..., 1], share, rtol=1e-4)
    image = np.stack([picture(), np.ones((24, 30))])
    model = PatchLogisticRegression(3, channel_axis=0).fit(image, labels)
    check_optimum(model, explicit(model, image), labels.ravel())


def test_large_means_cost_no_digits():
    image = picture(dtype="f8")
    labels = classes_of(image, 2)
    one = PatchLogisticRegression(3, tol=1e-7).fit(image, labels)
    two = PatchLogisticRegression(3, tol=1e-7).fit(image + 1e7, labels)
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-4, atol=1e-6 * abs(one.coef_).max())


def test_rare_classes_are_in_the_sample():
    image = picture((50, 40))
    labels = np.zeros(image.shape, int)
    labels.flat[np.argsort(image, axis=None)[-6::2]] = 1
    with by("fft", sample=100):
        model = PatchLogisticRegression(3).fit(image, labels)
    check_optimum(model, explicit(model, image), labels.ravel())


def test_scribbles_in_a_list_of_images():
    images = [picture((20, 20), "u1"), picture((15, 31), "u1", seed=5)]
    labels = [np.full(i.shape, -1, np.int8) for i in images]
    for image, label in zip(images, labels, strict=True):
        label[3:6] = classes_of(image, 3)[3:6] * 2
    model = PatchLogisticRegression(5).fit(images, labels)
    rows = explicit(model, images)
    truth = np.concatenate([label.ravel() for label in labels])
    np.testing.assert_array_equal(model.classes_, [0, 2, 4])
    check_optimum(model, rows[truth >= 0], truth[truth >= 0])
    told = model.predict(images)
    assert [t.shape for t in told] == [i.shape for i in images]
    flat = np.concatenate([t.ravel() for t in told])
    expected = accuracy_score(truth[truth >= 0], flat[truth >= 0])
    assert model.score(images, labels) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["bool", "str", "float"])
def test_kinds_of_labels(kind):
    image = picture()
    codes = classes_of(image, 2)
    names = {
        "bool": np.array([False, True]),
        "str": np.array(["land", "sky"]),
        "float": np.array([3.0, 8.0]),
    }
    model = PatchLogisticRegression(3).fit(image, names[kind][codes])
    twin = PatchLogisticRegression(3).fit(image, codes)
    np.testing.assert_array_equal(model.coef_, twin.coef_)
    np.testing.assert_array_equal(model.predict(image), names[kind][twin.predict(image)])
    assert model.predict(image).dtype == names[kind].dtype


@pytest.mark.parametrize("n", [2, 3])
def test_scores_and_probabilities(n):
    image = picture(dtype="f4")
    model = PatchLogisticRegression(3).fit(image, classes_of(image, n))
    rows = explicit(model, image)
    twin = LogisticRegression().fit(rows[:50], classes_of(image, n).ravel()[:50])
    twin.coef_, twin.intercept_ = model.coef_, model.intercept_
    model.limits = Limits(slab_bytes=8 * 30 * 5)
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        expected = getattr(twin, name)(rows)
        found = getattr(model, name)(image)
        assert found.shape == (*image.shape, *expected.shape[1:])
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(model.filters_.reshape(model.coef_.shape), model.coef_)


def test_log_probabilities_of_what_is_almost_impossible():
    model = PatchLogisticRegression(1).fit(np.array([[0.0, 1.0, 0.0]]), [[0, 1, 0]])
    model.coef_[:] = 5000
    assert model.predict_log_proba(np.ones((1, 1)))[0, 0, 0] < -4000


def test_nothing_is_changed_and_fits_repeat():
    image, labels = picture(dtype="f4"), classes_of(picture(), 2)
    before = image.copy(), labels.copy()
    with by("fft", sample=100):
        one = PatchLogisticRegression(3).fit(image, labels)
        two = PatchLogisticRegression(3).fit(image, labels)
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize("model", [PatchLogisticRegression(3, C=2.0), PatchKMeans(3, n_clusters=2)])
def test_conventions(model):
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert twin.set_params(max_iter=7).max_iter == 7
    assert type(model).__name__ in model._repr_html_()
    assert is_classifier(model) != is_clusterer(model)
    with pytest.raises(NotFittedError):
        model.predict(picture())
    with pytest.raises(NotFittedError):
        model.score(picture(), classes_of(picture(), 2))
    fitted = clone(model).set_params(**({"random_state": 0} if is_clusterer(model) else {}))
    fitted.fit(picture(), classes_of(picture(), 2))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(picture()), fitted.predict(picture()))
    with pytest.raises(ValueError, match="patches of this image have shape"):
        fitted.set_params(patch=5).predict(picture())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0}, "C must be"),
        ({"C": float("nan")}, "C must be"),
        ({"tol": -1}, "tol must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"class_weight": "even"}, "class_weight must be"),
        ({"class_weight": {9: 1}}, r"class_weight names \[9\]"),
        ({"class_weight": {0: -1}}, "class_weight must be"),
    ],
)
def test_logistic_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        PatchLogisticRegression(3, **options).fit(picture(), classes_of(picture(), 2))


def test_logistic_refuses_labels():
    image = picture()
    with pytest.raises(ValueError, match="one class only, 1"):
        PatchLogisticRegression(3).fit(image, np.ones(image.shape, int))
    with pytest.raises(ValueError, match=r"image's shape \(24, 30\).*got \(24, 30, 2\)"):
        PatchLogisticRegression(3).fit(image, np.ones((*image.shape, 2), int))
    with pytest.raises(ValueError, match="image's shape"):
        PatchLogisticRegression(3).fit(image, np.ones((3, 3), int))

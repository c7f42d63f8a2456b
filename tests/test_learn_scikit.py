"""Patch estimators inside scikit-learn: its own checks, its searches, and images of any kind."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.utils import estimator_checks

from pantile.learn import (
    PatchEstimator,
    PatchKMeans,
    PatchLDA,
    PatchLogisticRegression,
    PatchPCA,
    PatchRidge,
)
from tests._learn_made import classes_of, picture

SUPERVISED = [
    PatchLDA(3),
    PatchLogisticRegression(3),
    PatchEstimator(GaussianNB(), 3),
    PatchRidge(3),
]
UNSUPERVISED = [PatchPCA(3, n_components=2), PatchKMeans(3, n_clusters=2, random_state=0)]
ALWAYS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_set_params",
    "check_parameters_default_constructible",
    "check_valid_tag_types",
]
WITHOUT_LABELS = [
    "check_dict_unchanged",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_readonly_memmap_input",
    "check_set_output_transform",
]  # the others give one label per row of a table, not per pixel


def named(value):
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize("check", ALWAYS)
@pytest.mark.parametrize("model", [*SUPERVISED, *UNSUPERVISED], ids=named)
def test_scikit_learns_own_checks(model, check):
    getattr(estimator_checks, check)(type(model).__name__, clone(model))


@pytest.mark.parametrize("check", WITHOUT_LABELS)
@pytest.mark.parametrize("model", UNSUPERVISED, ids=named)
def test_scikit_learns_own_checks_without_labels(model, check):
    getattr(estimator_checks, check)(type(model).__name__, clone(model))


def listed(arrays):
    """Images of any sizes as one array of objects."""
    found = np.empty(len(arrays), object)
    found[:] = arrays
    return found


@pytest.mark.parametrize("kind", [list, listed])
@pytest.mark.parametrize("model", SUPERVISED, ids=named)
def test_cross_validation_over_images_of_different_sizes(model, kind):
    images = [picture((20, 16 + 2 * k), seed=k) for k in range(4)]
    labels = [classes_of(image, 2) for image in images]
    found = cross_val_score(model, kind(images), kind(labels), cv=KFold(2), error_score="raise")
    first = clone(model).fit(images[2:], labels[2:]).score(images[:2], labels[:2])
    assert found[0] == pytest.approx(first)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("model", SUPERVISED[:3], ids=named)
def test_score_is_the_accuracy_of_what_is_predicted(model, n):
    images = [picture((20, 24), "u1", seed) for seed in (0, 1)]
    labels = [classes_of(image, n) for image in images]
    labels[0][:, ::2], labels[1][5:] = -1, -1
    fitted = clone(model).fit(images, labels)
    found = np.concatenate([each.ravel() for each in fitted.predict(images)])
    truth = np.concatenate([each.ravel() for each in labels])
    expected = accuracy_score(truth[truth >= 0], found[truth >= 0])
    assert fitted.score(images, labels) == pytest.approx(expected)


@pytest.mark.parametrize("model", SUPERVISED[:3], ids=named)
def test_labels_with_an_axis_too_many_are_refused(model):
    image = picture()
    one_hot = np.eye(2, dtype=int)[classes_of(image, 2)]
    with pytest.raises(ValueError, match=r"labels must have the image's shape \(24, 30\)"):
        clone(model).fit(image, one_hot)
    fitted = clone(model).fit(image, one_hot[..., 0])
    with pytest.raises(ValueError, match=r"got \(24, 30, 2\)"):
        fitted.score(image, one_hot)


@pytest.mark.parametrize("model", SUPERVISED[:3], ids=named)
def test_labels_in_numpys_own_strings(model):
    image = picture()
    names = np.array(["sky", "roof"])[classes_of(image, 2)]
    names[:3] = ""
    twin = clone(model).fit(image, names).predict(image)
    fitted = clone(model).fit(image, names.astype(np.dtypes.StringDType()))
    assert fitted.predict(image).tolist() == twin.tolist()


@pytest.mark.parametrize("model", [*SUPERVISED[:2], UNSUPERVISED[1]], ids=named)
def test_results_are_stored_as_asked(model):
    image = picture()
    fitted = clone(model).fit(image, classes_of(image, 3))
    for name in ("decision_function", "predict_proba", "predict_log_proba", "transform"):
        if hasattr(fitted, name):
            found = getattr(fitted, name)(image, dtype=np.float32)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, getattr(fitted, name)(image), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", [0, 1e6])
def test_likelihoods_far_from_zero(way):
    image = picture() / 100
    near = PatchPCA(3, n_components=4).fit(image).score_samples(image)
    far = PatchPCA(3, n_components=4).fit(image + way).score_samples(image + way)
    np.testing.assert_allclose(far, near, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i, y: PatchLDA(3, n_components=0.5).fit(i, y), ValueError, "n_components must be"),
        (lambda i, y: PatchLDA(3, n_components="a").fit(i, y), ValueError, "n_components must be"),
        (lambda i, y: PatchLDA(3, shrinkage=[1]).fit(i, y), ValueError, "shrinkage must be"),
        (lambda i, _: PatchPCA(3).fit(i).denoise(i, "x"), ValueError, "sigma must be"),
        (lambda i, _: PatchPCA(3).fit(i * 0).score(i), ValueError, "fit on images that vary"),
        (
            lambda i, y: PatchEstimator(SUPERVISED[3], 3).fit(i, y.astype(str)),
            TypeError,
            "labels must be real numbers",
        ),
    ],
)
def test_wrong_parameters_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(picture(), classes_of(picture(), 2))

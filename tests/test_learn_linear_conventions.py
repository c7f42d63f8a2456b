"""PatchPCA, PatchRidge and PatchLDA as scikit-learn estimators, and the mistakes they name."""

from __future__ import annotations

import pickle
from unittest import mock

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags

from pantile.learn import PatchLDA, PatchPCA, PatchRidge
from pantile.matrix import guard

MODELS = [PatchLDA, PatchPCA, PatchRidge]


def picture(dtype="f8", shape=(20, 22), seed=0):
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1).astype(dtype)


def examples(model):
    images = [picture("f4", shape=(20, 22), seed=s) for s in range(4)]
    targets = {PatchLDA: [i > i.mean() for i in images], PatchPCA: None, PatchRidge: images}
    return images, targets[type(model)]


@pytest.mark.parametrize("kind", MODELS)
def test_scikit_learn_conventions(kind):
    model = kind(3, step=1, pad_mode="edge")
    images, targets = examples(model)
    kept = [image.copy() for image in images]
    parameters = model.get_params()
    again = clone(model).set_params(step=2)
    assert clone(again).get_params() == {**parameters, "step": 2}
    for name in ("predict", "transform", "score"):
        if hasattr(model, name):
            with pytest.raises(NotFittedError):
                getattr(model, name)(
                    images[0], *[images[0]] * (name == "score" and kind != PatchPCA)
                )
    assert model.fit(images, targets) is model
    assert model.get_params() == parameters
    assert all((a == b).all() for a, b in zip(images, kept, strict=True))
    assert kind.__name__ in model._repr_html_()
    assert model.n_features_in_ == 9
    assert not get_tags(model).input_tags.two_d_array
    copy = pickle.loads(pickle.dumps(model))
    assert copy.score(images, targets) == model.score(images, targets)
    if kind is not PatchRidge:
        names = model.get_feature_names_out()
        assert list(names[:1]) == [f"{kind.__name__.lower()}0"]
        assert len(names) == model.transform(images[0]).shape[-1]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (PatchLDA(3), {"shrinkage": [None, 0.9]}),
        (PatchRidge(3), {"alpha": [1e-3, 1e3]}),
        (PatchPCA(3), {"n_components": [2, 5]}),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("same", [True, False])
def test_grid_search_over_a_list_of_images(model, options, same):
    images, targets = examples(model)
    if not same:
        images = [image[: 18 - k] for k, image in enumerate(images)]
        targets = targets and [each[: 18 - k] for k, each in enumerate(targets)]
    search = GridSearchCV(model, options, cv=2, error_score="raise").fit(images, targets)
    name, values = next(iter(options.items()))
    scores = []
    for value in values:
        one = clone(model).set_params(**{name: value})
        folds = [(slice(2, 4), slice(0, 2)), (slice(0, 2), slice(2, 4))]
        known = targets or [None] * 4
        each = [one.fit(images[a], known[a]).score(images[b], known[b]) for a, b in folds]
        scores.append(np.mean(each))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores)


IMAGE = picture("f8", shape=(12, 14))
HALVES = np.greater(IMAGE, IMAGE.mean()).astype(int)
WRONG = {
    "one class": (lambda: PatchLDA(3).fit(IMAGE, HALVES * 0), "one class only, 0"),
    "no label": (lambda: PatchLDA(3).fit(IMAGE, HALVES * 0 - 1), "every pixel is unlabelled"),
    "no classes": (lambda: PatchLDA(3).fit(IMAGE, IMAGE), "labels must be classes"),
    "shrinkage": (lambda: PatchLDA(3, shrinkage=2).fit(IMAGE, HALVES), "shrinkage must be"),
    "priors": (lambda: PatchLDA(3, priors=[1]).fit(IMAGE, HALVES), "priors must be one per class"),
    "sum": (lambda: PatchLDA(3, priors=[0.1, 0.2]).fit(IMAGE, HALVES), "sum of 1"),
    "directions": (lambda: PatchLDA(3, n_components=2).fit(IMAGE, HALVES), "n_classes - 1 = 1"),
    "shape": (lambda: PatchLDA(3).fit(IMAGE, HALVES[1:]), "labels must have the image's shape"),
    "how many": (lambda: PatchLDA(3).fit([IMAGE], []), "0 labels for 1 images"),
    "channels": (
        lambda: PatchPCA(3, channel_axis=0).fit(IMAGE[None]).transform(np.stack([IMAGE] * 2)),
        "same channels",
    ),
    "components": (lambda: PatchPCA(3, n_components=10).fit(IMAGE), "from 1 to min"),
    "share": (lambda: PatchPCA(3, n_components=1.0).fit(IMAGE), "from 1 to min"),
    "one patch": (lambda: PatchPCA((12, 14), pad=0).fit(IMAGE), "one patch only"),
    "nan": (lambda: PatchPCA(3).fit(np.full((5, 5), np.nan)), "NaN or infinity"),
    "sigma": (lambda: PatchPCA(3).fit(IMAGE).denoise(IMAGE, 0), "sigma must be"),
    "codes": (
        lambda: PatchPCA(3, step=2).fit(IMAGE).inverse_transform(np.zeros((6, 7, 9))),
        "give shape=",
    ),
    "shapes": (
        lambda: PatchPCA(3).fit(IMAGE).inverse_transform([np.zeros((5, 5, 9))] * 2, [(5, 5)]),
        "1 shapes for 2 codes",
    ),
    "no variance": (lambda: PatchPCA(3).fit(IMAGE * 0).score(IMAGE), "have no likelihood"),
    "all nan": (lambda: PatchRidge(3).fit(IMAGE, IMAGE * np.nan), "NaN at every pixel"),
    "infinite": (lambda: PatchRidge(3).fit(IMAGE, IMAGE * np.inf), "infinity"),
    "alpha": (lambda: PatchRidge(3, alpha=-1).fit(IMAGE, IMAGE), "alpha must be 0 or more"),
    "alphas": (lambda: PatchRidge(3, alpha=[1, 2]).fit(IMAGE, IMAGE), "one per target, 1 of them"),
    "axes": (lambda: PatchRidge(3).fit(IMAGE, np.zeros((12, 14, 2, 2))), "at most one more axis"),
    "empty": (lambda: PatchPCA(3).fit([]), "empty list"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PatchRidge(3, alpha="x").fit(IMAGE, IMAGE), "alpha must be a number"),
        (lambda: PatchLDA(3).fit(IMAGE, HALVES).score(IMAGE, HALVES.astype(str)), "those of fit"),
        (lambda: PatchPCA(3).fit(IMAGE * 1j), "image is complex"),
        (lambda: PatchPCA(3).fit(IMAGE.astype(str)), "image must hold numbers"),
        (lambda: PatchRidge(3).fit(IMAGE, IMAGE.astype(str)), "targets must be real"),
        (lambda: PatchLDA(3).fit(IMAGE, HALVES.astype(object)), "labels must be whole numbers"),
        (lambda: PatchLDA(3).fit([IMAGE] * 2, [HALVES, HALVES.astype(str)]), "one kind"),
    ],
)
def test_types_that_cannot_be_learnt_from(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_results_that_do_not_fit_are_refused():
    model = PatchPCA(3).fit(IMAGE)
    with (
        mock.patch.object(guard, "EXPANSION_LIMIT", 1000),
        pytest.raises(MemoryError, match="result of transform would take 12"),
    ):
        model.transform(IMAGE)

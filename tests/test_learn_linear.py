"""PatchPCA, PatchRidge and PatchLDA against scikit-learn on the explicit matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.ndimage import gaussian_filter

pytest.importorskip("sklearn")

from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import pantile as pt
from pantile.geometry.limits import Costs, Limits
from pantile.learn import PatchLDA, PatchPCA, PatchRidge
from pantile.learn.labels import encode_classes
from pantile.learn.rows import Rows

DTYPES = ["u1", "u2", "f4", "f8"]


def picture(dtype="f8", shape=(40, 50), seed=0):
    """Smooth noise; around 100 in bytes, else around 30 000 with a deviation of 3."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1)
    smooth = smooth / smooth.std() + np.random.default_rng(seed + 1).normal(size=shape) / 5
    values = 100 + 20 * smooth if dtype == "u1" else 30_000 + 3 * smooth
    return values.astype(dtype)


def explicit(model, image):
    """The matrix that a model works on, expanded, in float64, by the verbs."""
    patches = pt.extract(image, model.grid(image.shape), channel_axis=model.channel_axis)
    return patches.reshape(-1, model.n_features_in_).astype(np.float64)


def closeness(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


# PCA


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [None, 5, 0.9])
def test_pca_is_that_of_the_explicit_matrix(dtype, n):
    image = picture(dtype)
    model = PatchPCA(4, n_components=n).fit(image)
    rows = explicit(model, image)
    theirs = PCA(n, svd_solver="full").fit(rows)
    assert model.n_components_ == theirs.n_components_
    assert subspace_angles(model.components_[:5].T, theirs.components_[:5].T).max() < 1e-6
    for name in ("components_", "explained_variance_", "explained_variance_ratio_", "mean_"):
        assert closeness(getattr(model, name), getattr(theirs, name)) < 1e-9, name
    assert closeness(model.singular_values_, theirs.singular_values_) < 1e-9
    assert model.noise_variance_ == pytest.approx(theirs.noise_variance_, rel=1e-9)
    codes = model.transform(image)
    assert codes.shape == (40, 50, model.n_components_)
    assert closeness(codes.reshape(len(rows), -1), theirs.transform(rows)) < 1e-9
    assert closeness(model.score_samples(image).ravel(), theirs.score_samples(rows)) < 1e-9
    assert model.score(image) == pytest.approx(theirs.score(rows), rel=1e-9)


def test_whitened_codes_have_unit_variance_and_no_correlation():
    image = picture()
    model = PatchPCA(4, n_components=6, whiten=True)
    codes = model.fit_transform(image).reshape(-1, 6)
    np.testing.assert_allclose(np.cov(codes, rowvar=False), np.eye(6), atol=1e-9)
    back = model.inverse_transform(model.transform(image))
    plain = PatchPCA(4, n_components=6).fit(image)
    np.testing.assert_allclose(back, plain.inverse_transform(plain.transform(image)), rtol=1e-12)
    assert model.score(image) == pytest.approx(plain.score(image))


FORMS = {
    "plane": ((20, 24), {"patch": 3}),
    "steps": ((20, 25), {"patch": 4, "step": (2, 3)}),
    "volume": ((7, 8, 9), {"patch": (3, 2, 3)}),
    "batch": ((2, 3, 9, 10), {"patch": (3, 3)}),
    "channels": ((3, 12, 13), {"patch": 3, "channel_axis": 0}),
    "channels between": ((2, 12, 3, 13), {"patch": (3, 2), "channel_axis": 2, "step": 2}),
    "no padding": ((12, 13), {"patch": 3, "pad": 0}),
}


@pytest.mark.parametrize(("shape", "options"), FORMS.values(), ids=FORMS)
def test_all_components_give_the_image_back(shape, options):
    image = np.random.default_rng(0).random(shape)
    model = PatchPCA(**options).fit(image)
    codes = model.transform(image)
    theirs = PCA(svd_solver="full").fit(explicit(model, image))
    assert closeness(model.explained_variance_, theirs.explained_variance_) < 1e-9
    assert codes.shape[:-1][-len(model.grid(shape).counts) :] == model.grid(shape).counts
    np.testing.assert_allclose(model.inverse_transform(codes, shape), image, atol=1e-12)
    if options.get("step", 1) == 1 and options.get("pad", "same") == "same":
        np.testing.assert_allclose(model.inverse_transform(codes), image, atol=1e-12)
    assert model.filters_.shape == (model.n_components_, *model.patch_shape_)


def test_codes_are_stored_as_asked():
    image = picture("u1")
    model = PatchPCA(3, n_components=2).fit(image)
    half = model.transform(image, dtype=np.float32)
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, model.transform(image).astype(np.float32))


def photograph():
    from sklearn.datasets import load_sample_image

    return load_sample_image("flower.jpg")[100:228, 200:328].astype(np.float32)


def psnr(image, truth):
    return 10 * np.log10(255**2 / np.mean(np.square(image - truth, dtype=np.float64)))


def test_denoising_a_photograph_gains_more_than_seven_decibels():
    clean = photograph()
    noisy = clean + np.random.default_rng(0).normal(0, 25, clean.shape).astype(np.float32)
    model = PatchPCA(8, channel_axis=-1).fit(noisy)
    found = model.denoise(noisy, 25)
    assert found.dtype == np.float32
    assert found.shape == clean.shape
    gain = psnr(found, clean) - psnr(noisy, clean)
    assert gain > 7
    few = PatchPCA(8, channel_axis=-1, n_components=12).fit(noisy)
    assert psnr(found, clean) > psnr(few.inverse_transform(few.transform(noisy)), clean)


def test_denoising_knows_channels_anywhere_and_batches():
    clean = photograph()[:40, :44].astype(np.float64)
    noisy = clean + np.random.default_rng(0).normal(0, 20, clean.shape)
    wanted = PatchPCA(5, channel_axis=-1).fit(noisy).denoise(noisy, 20)
    first = np.moveaxis(noisy, -1, 0)
    found = PatchPCA(5, channel_axis=0).fit(first).denoise(first, 20)
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), wanted, atol=1e-6)
    planes = PatchPCA((5, 5)).fit(first)
    np.testing.assert_allclose(planes.denoise(first, 20), planes.denoise([*first], 20), atol=20)
    twice = PatchPCA((5, 5), channel_axis=-1).fit(noisy)
    both = twice.denoise(np.stack([noisy, noisy]), 20)
    np.testing.assert_allclose(both[0], both[1], atol=1e-9)
    np.testing.assert_allclose(both[0], wanted, atol=1e-6)


def test_faint_noise_changes_little():
    image = picture()
    found = PatchPCA(4).fit(image).denoise(image, 1e-6)
    np.testing.assert_allclose(found, image, atol=1e-4)


# ridge


def pair(dtype):
    image = picture(dtype)
    noise = np.random.default_rng(5).normal(size=image.shape)
    return image, gaussian_filter(image.astype(float), 1) + noise


def check_ridge(model, image, targets, **options):
    model.fit(image, targets)
    rows = explicit(model, image)
    y = model.grid(image.shape).centers(np.moveaxis(np.atleast_3d(targets), -1, 0))
    y = np.moveaxis(y, 0, -1).reshape(len(rows), -1).astype(np.float64)
    y = y[:, 0] if targets.ndim == 2 else y
    known = ~np.isnan(y.reshape(len(y), -1)).any(axis=1)
    theirs = Ridge(**options).fit(rows[known], y[known])
    assert closeness(model.coef_, theirs.coef_) < 1e-8
    assert closeness(model.intercept_, theirs.intercept_) < 1e-8
    predicted = model.predict(image)
    np.testing.assert_allclose(predicted.reshape(y.shape), theirs.predict(rows), rtol=1e-8)
    assert model.score(image, targets) == pytest.approx(theirs.score(rows[known], y[known]))
    assert model.n_samples_ == known.sum()


@pytest.mark.parametrize("dtype", DTYPES)
def test_ridge_is_that_of_the_explicit_matrix(dtype):
    image, targets = pair(dtype)
    check_ridge(PatchRidge(5), image, targets)
    check_ridge(PatchRidge(4, step=(2, 3), alpha=10), image, targets, alpha=10)


@pytest.mark.parametrize("labelled", [(3, 4), (30, 40), (2, 50)])
def test_pixels_without_a_target_take_no_part(labelled):
    image, targets = pair("f8")
    some = np.full(targets.shape, np.nan)
    some[: labelled[0] * 3, : labelled[1]] = targets[: labelled[0] * 3, : labelled[1]]
    check_ridge(PatchRidge(3, alpha=0.5), image, some, alpha=0.5)


def test_several_targets_with_penalties_of_their_own():
    image, targets = pair("u2")
    both = np.stack([targets, image - 2 * targets], axis=-1)
    both[5:9, :, 1] = np.nan
    check_ridge(PatchRidge(3, alpha=[0.1, 100]), image, both, alpha=[0.1, 100])


def test_without_intercept_a_large_mean_costs_no_digits():
    image, targets = pair("f8")
    model = PatchRidge(4, fit_intercept=False, alpha=0.5).fit(image, targets)
    rows = explicit(model, image)
    whole = np.vstack([rows, np.sqrt(0.5) * np.eye(16)])
    exact = np.linalg.lstsq(whole, np.r_[targets.ravel(), np.zeros(16)])[0]
    assert closeness(model.coef_, exact) < 1e-8
    assert model.intercept_ == 0


@pytest.mark.parametrize("intercept", [True, False])
def test_without_penalty_the_shortest_solution(intercept):
    image = np.repeat(np.random.default_rng(0).random((20, 10)), 2, axis=1)
    targets = 3 * image
    model = PatchRidge((1, 2), step=(1, 2), pad=0, alpha=0, fit_intercept=intercept)
    np.testing.assert_allclose(model.fit(image, targets).coef_, [1.5, 1.5])


def test_filters_of_channels_and_lists():
    rng = np.random.default_rng(0)
    images = [rng.random((3, 20, 22)), rng.random((3, 9, 30))]
    targets = [image[0, :, :] - 2 * np.roll(image[2], 1, axis=1) for image in images]
    for target in targets:
        target[:, 0] = np.nan
    model = PatchRidge(3, channel_axis=0, alpha=1e-9).fit(images, targets)
    wanted = np.zeros((3, 3, 3))  # the channel axis stands first, as in the image
    wanted[0, 1, 1], wanted[2, 1, 0] = 1, -2
    np.testing.assert_allclose(model.filters_, wanted, atol=1e-7)
    predicted = model.predict(images)
    assert [p.shape for p in predicted] == [(20, 22), (9, 30)]
    np.testing.assert_allclose(predicted[1][:, 1:], targets[1][:, 1:], atol=1e-6)


# LDA


def scribbles(image, kinds=3):
    """Labels by brightness, a part of the image unlabelled."""
    smooth = gaussian_filter(image.astype(float), 1)
    edges = np.quantile(smooth, np.linspace(0, 1, kinds + 1)[1:-1])
    labels = np.searchsorted(edges, smooth)
    labels[8:15] = -1
    return labels


LDA = {
    "plain": {},
    "shrunk": {"shrinkage": 0.3},
    "auto": {"shrinkage": "auto"},
    "priors": {"priors": [0.2, 0.3, 0.5]},
    "both": {"priors": [0.2, 0.3, 0.5], "shrinkage": "auto"},
}


@pytest.mark.parametrize("options", LDA.values(), ids=LDA)
@pytest.mark.parametrize("dtype", DTYPES)
def test_lda_predicts_what_scikit_learn_predicts(dtype, options):
    image = picture(dtype)
    labels = scribbles(image)
    model = PatchLDA(4, **options).fit(image, labels)
    rows, y = explicit(model, image), labels.ravel()
    known = y >= 0
    theirs = LinearDiscriminantAnalysis(solver="lsqr", **options).fit(rows[known], y[known])
    np.testing.assert_array_equal(model.predict(image).ravel(), theirs.predict(rows))
    proba = model.predict_proba(image)
    np.testing.assert_allclose(proba.reshape(-1, 3), theirs.predict_proba(rows), atol=1e-6)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(image)), proba, atol=1e-12)
    assert closeness(model.covariance_, theirs.covariance_) < 1e-9
    assert closeness(model.means_, theirs.means_) < 1e-12
    np.testing.assert_allclose(model.priors_, theirs.priors_)
    assert model.score(image, labels) == theirs.score(rows[known], y[known])
    scores = model.decision_function(image)
    np.testing.assert_array_equal(scores.argmax(-1), model.predict(image))


@pytest.mark.parametrize("kinds", [2, 4])
def test_lda_directions_are_those_of_the_eigen_solver(kinds):
    image = picture()
    labels = scribbles(image, kinds)
    model = PatchLDA(4).fit(image, labels)
    rows, y = explicit(model, image), labels.ravel()
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(rows[y >= 0], y[y >= 0])
    found, wanted = model.transform(image).reshape(len(rows), -1), theirs.transform(rows)
    assert found.shape[1] == wanted.shape[1] == kinds - 1
    found, wanted = found - found.mean(axis=0), wanted - wanted.mean(axis=0)
    np.testing.assert_allclose(found, wanted * np.sign((found * wanted).sum(axis=0)), atol=1e-6)
    shares = theirs.explained_variance_ratio_[: kinds - 1]
    np.testing.assert_allclose(model.explained_variance_ratio_, shares, rtol=1e-8)


@pytest.mark.parametrize(
    "convert",
    [
        lambda labels: np.where(labels < 0, "", np.array(["bark", "leaf", ""])[labels]),
        lambda labels: np.where(labels < 0, np.nan, labels),
        lambda labels: labels > 0,
        lambda labels: (np.abs(labels) + 2).astype("u2") * 300,
    ],
    ids=["strings", "nan", "truth values", "unsigned"],
)
def test_labels_of_any_kind(convert):
    image = picture("f4")
    labels = convert(scribbles(image, 2))
    model = PatchLDA(3, step=2).fit(image, labels)
    rows = explicit(model, image)
    y = model.grid(image.shape).centers(labels).ravel()
    known = y != "" if y.dtype.kind == "U" else y == y
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(rows[known], y[known])
    np.testing.assert_array_equal(model.classes_, theirs.classes_)
    found = model.predict(image)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found.ravel(), theirs.predict(rows))
    assert model.decision_function(image).shape == model.grid(image.shape).counts
    signs = model.decision_function(image) > 0
    np.testing.assert_array_equal(signs, found == model.classes_[1])
    assert model.coef_.shape == (1, 9)


def test_images_need_not_hold_every_class():
    images = [picture(seed=s, shape=(30 + s, 28)) for s in range(3)]
    labels = [scribbles(image) for image in images]
    labels[0][labels[0] == 2] = -1
    labels[1][labels[1] != 2] = -1
    labels[2][:] = -1
    model = PatchLDA(3).fit(images, labels)
    rows = np.concatenate([explicit(model, image) for image in images])
    y = np.concatenate([each.ravel() for each in labels])
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(rows[y >= 0], y[y >= 0])
    found = np.concatenate([each.ravel() for each in model.predict(images)])
    np.testing.assert_array_equal(found, theirs.predict(rows))
    assert model.score(images, labels) == theirs.score(rows[y >= 0], y[y >= 0])


def test_lda_of_features_that_never_vary():
    image = picture("u1")
    image = np.stack([image, np.full_like(image, 7)])
    labels = scribbles(image[0])
    model = PatchLDA(3, channel_axis=0).fit(image, labels)
    plain = PatchLDA(3).fit(image[0], labels)
    np.testing.assert_array_equal(model.predict(image), plain.predict(image[0]))
    assert np.isfinite(model.predict_proba(image)).all()


# labels, moments


def test_codes_of_many_classes():
    labels = np.arange(1000).reshape(10, 100)[::-1] % 301
    classes, (codes,) = encode_classes([labels])
    np.testing.assert_array_equal(classes[codes], labels)


WAYS = {
    "chosen": Costs(),
    "streamed": Costs(rectangle_gain=1e9),
    "boxes": Costs(cut=1e-5, call=0.0),
}


@given(st.data(), st.sampled_from(sorted(WAYS)), st.sampled_from([0.05, 0.5, 0.97, 1.0]))
def test_moments_and_products_of_labelled_rows(data, way, share):
    seed = data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    images = [rng.normal(1000, 1, (12, 14)), rng.normal(1000, 1, (9, 20))]
    patch, step = data.draw(st.sampled_from([((3, 3), 1), ((2, 4), (2, 1)), ((3, 1), 1)]))
    model = PatchRidge(patch, step=step)
    model.limits = Limits(costs=WAYS[way])
    matrix = model._fit_matrix(images)
    mask = rng.random(len(matrix)) < share
    mask[:3] = True
    rows = Rows(matrix, None if share == 1 else mask)
    chosen = np.asarray(matrix)[mask if share < 1 else slice(None)]
    moments = rows.moments()
    U = rng.normal(size=(len(matrix), 2)) * (mask[:, None] if share < 1 else 1)
    products = rows.products(lambda r: U[r], 2)
    assert moments.n_rows == rows.n == len(chosen)
    np.testing.assert_allclose(moments.mean(), chosen.mean(axis=0), rtol=1e-12)
    centred = chosen - chosen.mean(axis=0)
    np.testing.assert_allclose(moments.scatter(), centred.T @ centred, atol=1e-8)
    np.testing.assert_allclose(products, np.asarray(matrix).T @ U, atol=1e-8)


def test_a_small_difference_is_not_taken():
    image = np.random.default_rng(0).normal(size=(60, 60))
    image[:5] *= 1e6  # what is left out outweighs what is kept by far
    model = PatchRidge(3)
    model.limits = Limits(costs=Costs(cut=1e-6, rectangle_gain=1e9))
    matrix = model._fit_matrix(image)
    mask = (np.indices(image.shape)[0] >= 8).ravel()
    mask[::97] = False
    found = Rows(matrix, mask & (np.indices(image.shape)[0] >= 8).ravel()).moments()
    rows = np.asarray(matrix)[mask]
    wanted = np.cov(rows, rowvar=False) * (len(rows) - 1)
    np.testing.assert_allclose(found.scatter(), wanted, rtol=1e-10, atol=1e-9)


def test_codes_are_an_image_for_the_next_step():
    image = picture()
    labels = scribbles(image)
    steps = make_pipeline(PatchPCA(5, n_components=8), PatchLDA(1, channel_axis=-1))
    found = steps.fit(image, labels).predict(image)
    codes = PatchPCA(5, n_components=8).fit_transform(image).reshape(-1, 8)
    known = labels.ravel() >= 0
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(codes[known], labels.ravel()[known])
    np.testing.assert_array_equal(found.ravel(), theirs.predict(codes))
    assert [each.shape for each in steps.predict([image, image[:9]])] == [(40, 50), (9, 50)]

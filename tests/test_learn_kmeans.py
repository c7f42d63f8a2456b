"""PatchKMeans against scikit-learn on the explicit matrix."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from pantile.learn import PatchKMeans, lloyd
from pantile.learn.points import Points
from tests._learn_made import DTYPES, by, explicit, picture


def clusters(image, way="cut", slab=None, **options):
    with by(way, slab=slab):
        return PatchKMeans(3, **options).fit(image)


def check_same(model, twin, rows):
    """Labels equal, centers and inertia to rounding."""
    np.testing.assert_array_equal(model.labels_.ravel(), twin.labels_)
    size = abs(rows).max()
    np.testing.assert_allclose(model.cluster_centers_, twin.cluster_centers_, atol=1e-11 * size)
    assert model.inertia_ == pytest.approx(twin.inertia_, rel=1e-9)
    assert model.n_iter_ == twin.n_iter_


@pytest.mark.parametrize("way", ["cut", "fft"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_kmeans_from_the_same_start(dtype, way):
    image = picture(dtype=dtype)
    rows = explicit(PatchKMeans(3), image)
    start = rows[::150]
    model = clusters(image, way, slab=8 * 5 * 30 * 6, n_clusters=5, init=start)
    check_same(model, KMeans(5, init=start).fit(rows), rows)
    np.testing.assert_array_equal(model.predict(image), model.labels_)
    assert model.labels_.dtype == np.int32


@pytest.mark.parametrize("seed", range(2))
def test_kmeans_plus_plus_draws_as_scikit_learn(seed):
    image = picture(dtype="f4", seed=seed)
    rows = explicit(PatchKMeans(3), image)
    twin = KMeans(6, random_state=seed).fit(rows)
    for way, slab in (("cut", None), ("fft", 8 * 30 * 40)):
        model = clusters(image, way, slab, n_clusters=6, random_state=seed)
        check_same(model, twin, rows)


def test_kmeans_transforms_as_scikit_learn():
    image = picture(dtype="f8")
    rows = explicit(PatchKMeans(3), image)
    for way in ("cut", "fft"):
        with by(way, slab=8 * 4 * 30 * 5):
            model = PatchKMeans(3, n_clusters=4, tol=0, max_iter=5, init=rows[:400:100])
            labels = model.fit_predict(image)
            twin = KMeans(4, init=rows[:400:100], tol=0, max_iter=5).fit(rows)
            other = picture(dtype="f8", seed=9)[:11, :13]
            there = explicit(model, other)
            found = model.transform(other)
            expected = twin.transform(there)
            np.testing.assert_array_equal(model.predict(other).ravel(), twin.predict(there))
            assert model.score(other) == pytest.approx(twin.score(there), rel=1e-9)
        assert found.shape == (*other.shape, 4)
        np.testing.assert_allclose(found.reshape(-1, 4), expected, rtol=1e-6)
        np.testing.assert_array_equal(labels.ravel(), twin.labels_)
        assert list(model.get_feature_names_out()) == [f"patchkmeans{k}" for k in range(4)]
        assert model.filters_.shape == (4, 3, 3)


@pytest.mark.parametrize("way", ["cut", "fft"])
def test_empty_clusters_move_as_in_scikit_learn(way):
    image = picture()
    rows = explicit(PatchKMeans(3), image)
    start = rows[::240].copy()
    start[1] += 1e4
    for most in (1, 300):
        model = clusters(image, way, 8 * 3 * 30 * 7, n_clusters=3, init=start, max_iter=most)
        check_same(model, KMeans(3, init=start, max_iter=most).fit(rows), rows)


def test_kmeans_of_fewer_patches_than_clusters():
    image = np.zeros((12, 12))
    image[:, 6:] = 5
    for way in ("cut", "fft"):
        with pytest.warns(ConvergenceWarning, match="only 4 of n_clusters=6"):
            model = clusters(image, way, n_clusters=6, random_state=0)
        assert model.inertia_ == pytest.approx(0, abs=1e-9)
        for column in model.labels_.T:
            assert len(set(column)) == 1


def test_equally_near_centers_go_to_the_first():
    image = np.tile([0.0, 2.0], (10, 8))
    start = np.array([[1.0], [1.0], [-1.0]])
    with by("fft"):
        model = PatchKMeans(1, n_clusters=3, init=start, max_iter=1)
        points = Points(model._fit_matrix(image + 1e5))
        (piece,) = [block for _, block in points.pieces(3)]
        found = lloyd.find_nearest(points, piece, start + 1e5 - points.shift)
    np.testing.assert_array_equal(found.reshape(image.shape), 0)


@pytest.mark.parametrize("way", ["cut", "fft"])
def test_distances_keep_their_digits_far_from_zero(way):
    image = picture(dtype="f8") / 100 + 1e6
    with by(way):
        model = PatchKMeans(3, n_clusters=3, random_state=0).fit(image)
        found = model.transform(image)
    rows = explicit(model, image)[:, None] - model.cluster_centers_
    np.testing.assert_allclose(found.reshape(-1, 3), np.linalg.norm(rows, axis=2), rtol=1e-7)


def test_kmeans_of_images_channels_and_batches():
    images = [picture((3, 2, 9, 10)), picture((1, 2, 8, 12), seed=4)]
    model = PatchKMeans((3, 2), channel_axis=1, step=(2, 1), n_clusters=4, random_state=1)
    model.fit(images)
    rows = explicit(model, images)
    twin = KMeans(4, random_state=1).fit(rows)
    assert [each.shape for each in model.labels_] == [(3, 5, 10), (1, 4, 12)]
    np.testing.assert_array_equal(np.concatenate([e.ravel() for e in model.labels_]), twin.labels_)
    np.testing.assert_array_equal(model.predict(images)[1], model.labels_[1])
    volume = picture((6, 7, 8))
    model = PatchKMeans(2, n_clusters=3, random_state=0).fit(volume)
    twin = KMeans(3, random_state=0).fit(explicit(model, volume))
    np.testing.assert_array_equal(model.labels_.ravel(), twin.labels_)


def test_starts_at_random_rows_and_several_of_them():
    image = picture()
    one = PatchKMeans(3, n_clusters=5, init="random", n_init=1, random_state=3).fit(image)
    many = PatchKMeans(3, n_clusters=5, init="random", n_init=6, random_state=3).fit(image)
    again = PatchKMeans(3, n_clusters=5, init="random", n_init=6, random_state=3).fit(image)
    assert many.inertia_ <= one.inertia_
    np.testing.assert_array_equal(many.labels_, again.labels_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be"),
        ({"n_clusters": 10_000}, "more than the 720 patches"),
        ({"init": "farthest"}, "init must be"),
        ({"init": np.zeros((2, 9))}, "init must have shape"),
        ({"init": np.full((8, 9), np.nan)}, "init must hold finite"),
        ({"tol": -1.0}, "tol must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"n_init": 0}, "n_init must be"),
    ],
)
def test_kmeans_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        PatchKMeans(3, **options).fit(picture())


def test_start_given_as_patches():
    image = picture()
    start = explicit(PatchKMeans(3), image)[[3, 300, 700]]
    one = PatchKMeans(3, n_clusters=3, init=start).fit(image)
    two = PatchKMeans(3, n_clusters=3, init=start.reshape(3, 3, 3).tolist()).fit(image)
    np.testing.assert_array_equal(one.labels_, two.labels_)

"""`pantile.similar`: equal to its slow twin and to plain NumPy, on any grid; ties, masks, precision, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pantile as pt
from pantile.geometry.frame import frame_of
from pantile.kernels import parallel
from pantile.search import series, tiles
from pantile.testing import slow, strategies
from pantile.testing.compare import assert_same_bits

POOL = [np.dtype(c) for c in ("u1", "f4", "i8", "c16", "?")]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def brute(image, patch, k, *, radius=None, exclude=0, normalize=False):
    """The same by the whole matrix of distances, for real images that are patched on every axis."""
    rows = pt.extract(image.astype(np.float64), patch).reshape(
        -1, math.prod(np.broadcast_to(patch, image.ndim))
    )
    if normalize:
        rows = rows - rows.mean(axis=1, keepdims=True)
        deviations = rows.std(axis=1, keepdims=True)
        rows = np.divide(rows, deviations, out=np.zeros_like(rows), where=deviations > 1e-9)
    found = np.square(rows[:, None] - rows).sum(axis=-1)
    counts = pt.PatchGrid(image.shape, patch).counts
    places = np.stack(np.unravel_index(np.arange(len(rows)), counts), axis=1)
    apart = np.abs(places[:, None] - places)
    found[(apart <= exclude).all(axis=-1)] = np.inf
    if radius is not None:
        found[(apart > radius).any(axis=-1)] = np.inf
    order = np.argsort(found, axis=1, kind="stable")[:, :k]
    distances = np.take_along_axis(found, order, axis=1)
    return np.where(np.isinf(distances), -1, order).reshape(*counts, k), distances.reshape(
        *counts, k
    )


# equal to the slow twin, on anything


@st.composite
def searches(draw):
    place = draw(strategies.placed(pool=POOL))
    grid, n = place.grid, place.grid.ndim
    options = {"k": draw(st.integers(1, min(4, grid.n_patches))), "normalize": draw(st.booleans())}
    options["normalize"] &= place.image.dtype.kind != "c"
    if draw(st.booleans()):
        options["radius"] = draw(st.tuples(*[st.one_of(st.none(), st.integers(0, 5))] * n))
    if draw(st.booleans()):
        options["exclude"] = draw(st.tuples(*[st.integers(0, 2)] * n))
    for name in ("where", "among"):
        if draw(st.booleans()):
            seed = draw(st.integers(0, 9))
            options[name] = np.random.default_rng(seed).random(grid.counts) < 0.6
    return place, options


def twins(image, place, options, other=None):
    """What the twin says, with the counts where the image has its patched axes."""
    grid, k = place.grid, options["k"]
    cut = slow.extract(image, grid, **place.roles)
    batch = place.batch
    patches = cut.reshape(-1, *cut.shape[len(batch) :])
    others = None
    if other is not None:
        others = slow.extract(other, grid, **place.roles).reshape(patches.shape)
    found = [
        slow.similar(p, grid, others=None if others is None else others[i], **options)
        for i, p in enumerate(patches)
    ]
    order = frame_of(image.shape, grid, **place.roles).order
    kept = [a for a in order if place.channel_axis is None or a != place.channel_axis % image.ndim]
    back = [*np.argsort(kept), len(kept)]
    return [
        np.stack(each).reshape(*batch, *grid.counts, k).transpose(back)
        for each in zip(*found, strict=True)
    ]


def assert_matches(actual, indices, distances, exact):
    assert actual.indices.dtype == np.int64
    assert actual.distances.dtype == np.float64
    assert actual.indices.shape == actual.distances.shape == indices.shape
    if exact:
        np.testing.assert_array_equal(actual.indices, indices)
        np.testing.assert_array_equal(actual.distances, distances)
    else:
        np.testing.assert_array_equal(actual.indices < 0, indices < 0)
        np.testing.assert_allclose(actual.distances, distances, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(searches())
def test_similar_is_its_slow_twin(drawn):
    place, options = drawn
    image = np.ascontiguousarray(place.image)
    if image.dtype.kind in "iu":
        image = image % 7
    found = pt.similar(image, place.grid, **place.roles, **options)
    exact = image.dtype.kind in "biu" and not options["normalize"]
    assert_matches(found, *twins(image, place, options), exact)


@settings(deadline=None)
@given(searches(), st.integers(0, 5))
def test_matches_in_another_image_are_the_twins(drawn, seed):
    place, options = drawn
    image = place.image
    other = np.random.default_rng(seed).permutation(image.ravel()).reshape(image.shape)
    found = pt.similar(image, place.grid, other=other, **place.roles, **options)
    exact = image.dtype.kind in "biu" and not options["normalize"] and image.dtype.itemsize < 8
    assert_matches(found, *twins(image, place, options, other), exact)


# equal to the matrix of all distances


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "u8"])
@pytest.mark.parametrize(
    ("shape", "patch", "radius", "exclude"),
    [
        ((90,), 7, None, 3),
        ((90,), 20, 11, 0),
        ((23, 31), (3, 5), 6, 1),
        ((23, 31), 5, None, 0),
        ((7, 8, 9), 3, 4, 0),
    ],
)
def test_similar_is_brute_force(rng, dtype, shape, patch, radius, exclude):
    image = rng.integers(0, 250, shape).astype(dtype)
    found = pt.similar(image, patch, 5, radius=radius, exclude=exclude)
    indices, distances = brute(image, patch, 5, radius=radius, exclude=exclude)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.distances, distances)


@pytest.mark.parametrize(("shape", "patch"), [((120,), 11), ((17, 19), 4)])
def test_normalised_distances_are_brute_force(rng, shape, patch):
    image = rng.normal(size=shape).cumsum(axis=-1)
    found = pt.similar(image, patch, 3, normalize=True, exclude=2)
    indices, distances = brute(image, patch, 3, normalize=True, exclude=2)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-9)


@pytest.mark.parametrize(("normalize", "name"), [(False, "aamp"), (True, "stump")])
def test_a_series_is_stumpys_matrix_profile(rng, normalize, name):
    stumpy = pytest.importorskip("stumpy")
    walk = rng.normal(size=3000).cumsum()
    profile = getattr(stumpy, name)(walk, 40)
    found = pt.similar(walk, 40, exclude=10, normalize=normalize)
    np.testing.assert_array_equal(found.indices[:, 0], profile[:, 1].astype(int))
    np.testing.assert_allclose(
        np.sqrt(found.distances[:, 0]), profile[:, 0].astype(float), rtol=1e-6, atol=1e-5
    )


def test_matches_of_a_step_are_those_of_its_patches(rng):
    image = rng.integers(0, 9, (40, 41))
    grid = pt.PatchGrid(image.shape, 4, 3)
    found = pt.similar(image, 4, 2, step=3, radius=9)
    indices, distances = slow.similar(slow.extract(image, grid), grid, 2, radius=(9, 9))
    np.testing.assert_array_equal(found.indices.reshape(-1, 2), indices)
    np.testing.assert_array_equal(found.distances.reshape(-1, 2), distances)


def test_other_may_have_another_size(rng):
    image, other = rng.integers(0, 9, (12, 14)), rng.integers(0, 9, (20, 9))
    found = pt.similar(image, 3, 2, other=other)
    grid, larger = pt.PatchGrid(image.shape, 3), pt.PatchGrid(other.shape, 3)
    indices, distances = slow.similar(
        slow.extract(image, grid), grid, 2, others=slow.extract(other, larger), other_grid=larger
    )
    np.testing.assert_array_equal(found.indices.reshape(-1, 2), indices)
    np.testing.assert_array_equal(found.distances.reshape(-1, 2), distances)


# what the rules say


def test_equal_distances_are_ordered_by_index():
    found = pt.similar(np.zeros((9, 10)), 3, 4, radius=2)
    assert found.distances.max() == 0
    assert found.indices[4, 4].tolist() == [8 * 2 + 2, 8 * 2 + 3, 8 * 2 + 4, 8 * 2 + 5]
    bytes_ = pt.similar(np.zeros((9, 10), np.uint8), 3, 4, radius=2)
    np.testing.assert_array_equal(found.indices, bytes_.indices)
    series_ = pt.similar(np.zeros(50), 5, 3)
    assert series_.indices[20].tolist() == [0, 1, 2]


def test_a_patch_is_its_own_match_in_other_only(rng):
    image = rng.normal(size=(10, 11))
    assert (pt.similar(image, 3).distances > 0).all()
    found = pt.similar(image, 3, other=image)
    np.testing.assert_array_equal(found.indices.ravel(), np.arange(8 * 9))
    assert found.distances.max() == 0


def test_only_where_looks_and_only_among_is_found(rng):
    image = rng.normal(size=(15, 16))
    where, among = np.zeros((2, 13, 14), bool)
    where[3:6, 4], among[8:, 2:9] = True, True
    found = pt.similar(image, 3, 2, where=where, among=among)
    assert (found.indices[where] >= 0).all()
    assert (found.indices[~where] == -1).all()
    assert np.isinf(found.distances[~where]).all()
    assert among.ravel()[found.indices[where]].all()
    touched = np.zeros(image.shape, bool)
    touched[5, 5] = True  # a mask of the image: the patches that touch it
    assert (pt.similar(image, 3, where=touched).indices >= 0).sum() == 9


def test_fewer_matches_than_asked_for_are_filled_up(rng):
    found = pt.similar(rng.normal(size=(6, 6)), 4, 9)
    assert ((found.indices >= 0).sum(axis=-1) == 8).all()
    assert (found.indices[..., 8:] == -1).all()
    assert np.isinf(found.distances[..., 8:]).all()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("shape", [(40,), (12, 13)])
def test_patches_with_nan_or_infinity_match_nothing(rng, shape, normalize):
    image = rng.normal(size=shape)
    image.flat[20] = np.nan
    image.flat[30] = np.inf
    grid = pt.PatchGrid(shape, 3)
    with np.errstate(all="ignore"):
        found = pt.similar(image, 3, 2, normalize=normalize)
    bad = ~np.isfinite(pt.extract(image, grid).reshape(grid.n_patches, -1)).all(axis=1)
    assert (found.indices.reshape(-1, 2)[bad] == -1).all()
    assert not np.isin(found.indices, np.flatnonzero(bad)).any()


@pytest.mark.parametrize("shape", [(60,), (14, 15)])
def test_constant_patches_are_0_when_normalised(rng, shape):
    image = rng.integers(0, 3, shape).astype(float)
    image[: shape[0] // 2] = 7.1
    found = pt.similar(image, 4, 3, normalize=True, other=image)
    samples = 4 ** len(shape)
    rows = pt.extract(image, 4).reshape(-1, samples)
    flat = np.ptp(rows, axis=1) == 0
    distances = found.distances.reshape(-1, 3)
    assert (distances[flat] == 0).all()  # there are three constant ones at least
    alone = pt.similar(image, 4, 1, normalize=True, where=flat.reshape(found.indices.shape[:-1]),
                       among=~flat.reshape(found.indices.shape[:-1]))  # fmt: skip
    assert set(alone.distances.ravel()) == {np.inf, samples}


def test_a_scaled_and_shifted_copy_is_the_same_when_normalised(rng):
    image = rng.normal(size=(20, 60))
    image[:, 30:] = 3 * image[:, :30] + 8
    found = pt.similar(image, 5, normalize=True)
    assert found.indices[3, 7, 0] == 3 * 56 + 37
    assert found.distances[3, 7, 0] < 1e-12


@pytest.mark.parametrize("dtype", ["u1", "f8"])
@pytest.mark.parametrize("shape", [(3000,), (70, 90)])
def test_the_bits_are_the_same_for_any_number_of_threads(rng, monkeypatch, dtype, shape):
    image = (rng.random(shape) * 255).astype(dtype)
    many = pt.similar(image, 6, 3, radius=40)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    for a, b in zip(many, pt.similar(image, 6, 3, radius=40), strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("normalize", [False, True])
def test_small_tiles_and_blocks_find_the_same(rng, monkeypatch, normalize):
    image, line = rng.integers(0, 50, (33, 34)), rng.integers(0, 50, 500)
    calls = [
        lambda: pt.similar(image, 4, 3, step=2, normalize=normalize),
        lambda: pt.similar(image, 3, 3, radius=7, normalize=normalize),
        lambda: pt.similar(line, 9, 2, exclude=4, normalize=normalize),
        lambda: pt.similar(line, 9, 2, radius=60, other=line[::-1], normalize=normalize),
    ]
    large = [call() for call in calls]
    monkeypatch.setattr(tiles, "TILE_BYTES", 3000)
    monkeypatch.setattr(tiles, "BLOCK_ELEMENTS", 150)
    monkeypatch.setattr(series, "BLOCK_PATCHES", (20, 70))
    monkeypatch.setattr(series, "WIDTH", 35)
    for call, expected in zip(calls, large, strict=True):
        found = call()
        if not normalize:
            np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-9, atol=1e-9)


def test_floats_keep_their_digits_on_a_long_way(rng):
    """Sums that were carried along would lose what a spike was larger: here it is 10^18 times as large."""
    image = rng.normal(size=20_000)
    image[5000] = 1e9
    image[15_000:15_040] = image[3000:3040]
    image[15_100:15_140] = image[3500:3540] + 1e-9
    found = pt.similar(image, 40, where=np.isin(np.arange(19_961), [3000, 3500]))
    assert found.indices[[3000, 3500], 0].tolist() == [15_000, 15_100]
    assert found.distances[3000, 0] == 0
    np.testing.assert_allclose(found.distances[3500, 0], 40e-18, rtol=1e-5)


def test_floats_that_hold_integers_are_as_fast_and_as_exact(rng):
    bytes_ = rng.integers(0, 256, (30, 31), dtype=np.uint8)
    wanted = pt.similar(bytes_, 5, 3, radius=6)
    for image in (
        bytes_.astype("f4"),
        bytes_ + 2.0**52,
        -(2.0**40) - bytes_,
        bytes_[::-1].astype("f8")[::-1],
    ):
        for a, b in zip(pt.similar(image, 5, 3, radius=6), wanted, strict=True):
            assert_same_bits(a, b)
    padded = pt.PatchGrid(bytes_.shape, 5, pad="same", pad_mode="mean")
    image = bytes_ + 0.0
    indices, distances = slow.similar(
        slow.extract(image, padded)[:, :, :], padded, 1, radius=(2, 2)
    )
    found = pt.similar(image, padded, radius=2)
    np.testing.assert_allclose(found.distances.reshape(-1, 1), distances, rtol=1e-12)
    np.testing.assert_array_equal(found.indices.reshape(-1, 1), indices)


def test_large_integers_are_compared_exactly():
    image = np.array([0, 0, 2**31 - 1, 0, 2**31 - 2, 1], np.int64)
    found = pt.similar(image, 1, 5)
    assert found.indices[2].tolist() == [4, 5, 0, 1, 3]
    assert pt.similar(image + 2**60, 1, 5).indices[2].tolist() == [4, 5, 0, 1, 3]


def test_the_image_is_not_changed(rng):
    image = rng.normal(size=(20, 20))
    before = image.copy()
    pt.similar(image, 3, normalize=True)
    assert_same_bits(image, before)


IMAGE = np.zeros((20, 30))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pt.similar(IMAGE, 3, 0), ValueError, "k must be at least 1, got 0"),
        (lambda: pt.similar(IMAGE, 3, 600), ValueError, "k=600.*504 patches"),
        (lambda: pt.similar(IMAGE, 31), ValueError, "patch"),
        (lambda: pt.similar(IMAGE, 3, radius=-1), ValueError, "radius must be at least 0, got -1"),
        (lambda: pt.similar(IMAGE, 3, radius=(1, 2, 3)), ValueError, "radius has 3 values for 2"),
        (lambda: pt.similar(IMAGE, 3, exclude=1.5), TypeError, "exclude must be a whole number"),
        (lambda: pt.similar(IMAGE, 3, hours=0), ValueError, "hours must be a positive number, got 0"),
        (lambda: pt.similar(IMAGE, 3, other=IMAGE[0]), ValueError, "other must have as many axes"),
        (lambda: pt.similar(IMAGE, 3, other=IMAGE * 1j), TypeError, "both be complex or both real"),
        (lambda: pt.similar(IMAGE * 1j, 3, normalize=True), TypeError, "normalize=True needs real"),
        (lambda: pt.similar(IMAGE.astype("O"), 3), TypeError, "image must hold numbers.*object"),
        (lambda: pt.similar(IMAGE.astype("g"), 3), TypeError, "image must hold numbers.*longdouble|float128"),
        (lambda: pt.similar(IMAGE, 3, where=np.ones((2, 2), bool)), ValueError, "where has shape"),
        (lambda: pt.similar(IMAGE, 3, among=np.ones((2, 2), bool)), ValueError, "among has shape"),
        (lambda: pt.similar(IMAGE, pt.PatchGrid((20, 30), 3), step=2), TypeError, "not both"),
        (lambda: pt.similar("a.png", 3), TypeError, "image is a path"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_to_do(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_search_of_days_is_refused_at_once_and_says_how_to_ask():
    image = np.broadcast_to(np.float32(0), (30_000, 30_000))
    with pytest.raises(
        ValueError, match=r"days on .* cores, more than hours=24: .*radius=.*step=.*hours=\d+"
    ):
        pt.similar(image, 7)

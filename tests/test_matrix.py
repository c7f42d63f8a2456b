"""Law 7: a PatchMatrix equals the explicit matrix under every operation it offers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from fuzz.tiles import WAYS, limits_for
from pantile.matrix.matrix import with_limits
from pantile.testing import slow, strategies

POOL = [np.dtype(c) for c in ("f4", "u1", "f8", "i8", "?", "f2", "c8", "c16")]
ways = st.sampled_from(sorted(WAYS))


def standardised(rows, center, scale):
    """Rows less their mean, over their norm, in two passes; equal elements are exactly 0."""
    rows = rows.astype(np.complex128 if rows.dtype.kind == "c" else np.float64)
    if center:
        rows = rows - rows[:, :1]
        rows = rows - rows.mean(axis=1, keepdims=True)
    if scale:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(norms > 0, norms, 1)
    return rows


def by(X, way, points=None):
    """The same matrix, which computes in one of `WAYS`."""
    return with_limits(X, limits_for(way, points))


@st.composite
def matrices(draw, pool=POOL, transforms=True, selections=True, grid=None, kinds="biufc"):
    """A PatchMatrix and its explicit twin in float64."""
    placed = draw(strategies.placed(grid, pool=pool, kinds=kinds))
    center = transforms and draw(st.sampled_from([False, False, True]))
    scale = transforms and draw(st.sampled_from([False, False, True]))
    where = None
    if selections and draw(st.sampled_from([False, False, True])):
        where = draw(strategies.wheres(placed.grid))
    explicit = pt.extract(placed.image, placed.grid, **placed.roles)
    explicit = explicit.reshape(-1, *explicit.shape[len(placed.batch) + 1 :])
    explicit = explicit.reshape(len(explicit), -1)
    rows = np.arange(len(explicit))
    if where is not None:
        one = slow.select(placed.grid, where)
        n = placed.grid.n_patches
        rows = np.concatenate([np.add(one, k * n) for k in range(math.prod(placed.batch))])
    X = pt.PatchMatrix(
        placed.image, placed.grid, **placed.roles, where=where, center=center, scale=scale
    )
    dtype = placed.image.dtype
    E = explicit[rows]
    if center or scale:
        E = standardised(E, center, scale)
        dtype = dtype if dtype.kind in "fc" else np.dtype(np.float64)
    if selections and draw(st.sampled_from([False, False, True])):
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(E))] * 2)))
        part = slice(a, max(b, a + 1), draw(st.sampled_from([None, None, 2])))
        if len(E[part]):
            X, E = X[part], E[part]
    return X, E, dtype


def agree(actual, expected, size=None, rtol=1e-10):
    """Equal shape, and values to rounding, which is relative to ``size``: the sum of magnitudes."""
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    assert np.asarray(actual).dtype == expected.dtype
    size = np.abs(expected).max(initial=0) if size is None else np.max(size, initial=0)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-12 * size)


def rounding(dtype):
    """A few units in the last place: a mean (of a row, or as padding) depends on the order of its sum."""
    return 16 * np.finfo(dtype).eps if dtype.kind in "fc" else 0


def largest(X):
    """The largest magnitude in the image, whatever rows are chosen and how they are shown."""
    return max(1.0, np.abs(X.selection.stack.images[0].values.astype(complex)).max())


def working(E):
    return E.astype(np.complex128 if E.dtype.kind == "c" else np.float64)


def random(shape, seed, complexity=False):
    rng = np.random.default_rng(seed)
    found = rng.standard_normal(shape)
    return found + 1j * rng.standard_normal(shape) if complexity else found


@given(matrices())
def test_attributes(case):
    X, E, dtype = case
    assert (X.shape, X.ndim, X.size, len(X)) == (E.shape, 2, E.size, len(E))
    assert X.dtype == dtype
    assert X.nbytes == E.size * dtype.itemsize
    assert (X.T.shape, X.T.T is X, len(X.T)) == (E.T.shape, True, E.shape[1])
    assert len(repr(X)) < 300
    assert repr(X.shape[0]) in X._repr_html_()


@given(matrices(), st.data())
def test_rows_and_features(case, data):
    X, E, dtype = case
    E = E.astype(dtype)
    rtol, atol = rounding(dtype), rounding(dtype) * largest(X)

    def same(actual, expected):
        assert np.asarray(actual).dtype == dtype
        assert np.shape(actual) == np.shape(expected)
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)

    n, f = E.shape
    rows = data.draw(st.lists(st.integers(-n, n - 1), max_size=9))
    cols = data.draw(st.lists(st.integers(-f, f - 1), max_size=5))
    mask = np.random.default_rng(len(rows)).random(n) < 0.5
    part = data.draw(st.slices(n))
    same(np.asarray(X), E)
    same(X[rows], E[np.asarray(rows, int)])
    same(X[mask], E[mask])
    same(X[n - 1], E[n - 1])
    same(X[-1, :], E[-1])
    assert X[part].shape == E[part].shape
    same(np.asarray(X[part]), E[part])
    same(X[:, cols], E[:, np.asarray(cols, int)])
    same(X[part, cols], E[part][:, np.asarray(cols, int)])
    same(X[:, f - 1], E[:, f - 1])
    same(X[:, ::2], E[:, ::2])
    same(X[rows, ::2], E[np.asarray(rows, int), ::2])
    same(X[n - 1, 0], E[n - 1, 0])
    k = min(len(rows), len(cols))
    same(X[rows[:k], cols[:k]], E[np.asarray(rows[:k], int), np.asarray(cols[:k], int)])
    if rows and cols:
        same(X[np.ix_(rows, cols)], E[np.ix_(rows, cols)])
    assert isinstance(X[:], pt.PatchMatrix)
    assert isinstance(X[...], pt.PatchMatrix)


@given(matrices(), st.integers(1, 5000))
def test_blocks_are_all_rows_in_order(case, nbytes):
    X, E, dtype = case
    found = np.empty(E.shape, dtype)
    end = 0
    for rows, block in X.blocks(nbytes):
        assert rows.start == end
        assert block.T.flags.c_contiguous
        found[rows], end = block, rows.stop
    assert end == len(E)
    rtol = rounding(dtype)
    np.testing.assert_allclose(found, E.astype(dtype), rtol=rtol, atol=rtol * largest(X))


@given(matrices(), ways, st.integers(1, 3), st.booleans(), st.sampled_from([None, 64]))
def test_products(case, way, k, complexity, points):
    X, E, _ = case
    E = working(E)
    V = random((E.shape[1], k), 1, complexity)
    U = random((E.shape[0], k), 2, complexity)
    X = by(X, way, points)
    agree(X @ V, E @ V, np.abs(E).max() * np.abs(V).sum())
    agree(X @ V[:, 0], E @ V[:, 0], np.abs(E).max() * np.abs(V).sum())
    agree(V.T @ X.T, V.T @ E.T, np.abs(E).max() * np.abs(V).sum())
    agree(X.T @ U, E.T @ U, np.abs(E).max() * np.abs(U).sum())
    agree(U.T @ X, U.T @ E, np.abs(E).max() * np.abs(U).sum())
    agree(U[:, 0] @ X, U[:, 0] @ E, np.abs(E).max() * np.abs(U).sum())
    agree(np.dot(X, V), E @ V, np.abs(E).max() * np.abs(V).sum())
    agree(np.matmul(U.T, X), U.T @ E, np.abs(E).max() * np.abs(U).sum())


@given(matrices(), ways, st.sampled_from([None, 64]))
def test_gram_and_covariance(case, way, points):
    X, E, _ = case
    E = working(E)
    # what is taken out before squaring is near the whole image's mean, whatever rows are chosen
    size = max(np.abs(E).max(initial=0), largest(X)) ** 2 * len(E)
    X = by(X, way, points)
    agree(X.gram(), E.conj().T @ E, size)
    if E.dtype.kind != "c":
        agree(X.T @ X, E.T @ E, size)
    if len(E) > 1:
        expected = np.cov(E, rowvar=False).reshape(E.shape[1], E.shape[1])
        agree(X.cov(), expected, size / (len(E) - 1))
        agree(np.cov(X, rowvar=False, ddof=0), expected * ((len(E) - 1) / len(E)), size / len(E))


@given(matrices(), ways)
def test_statistics(case, way):
    X, E, _ = case
    E = working(E)
    size = np.abs(E).max(initial=0)
    X = by(X, way)
    for axis in (None, 0, 1, -1):
        agree(X.sum(axis), E.sum(axis), size * E.size)
        agree(np.mean(X, axis=axis), E.mean(axis), size)
        agree(X.var(axis), E.var(axis), size**2)
        np.testing.assert_allclose(np.std(X, axis=axis), E.std(axis), atol=3e-6 * size)
    np.testing.assert_allclose(X.std(axis=1), E.std(axis=1), rtol=1e-9, atol=1e-13 * size)
    norms = np.linalg.norm(E, axis=1)
    agree(X.row_norms(), norms, size)
    agree(np.linalg.norm(X, axis=1), norms, size)


@given(matrices(), st.integers(0, 99))
def test_sample(case, seed):
    X, E, dtype = case
    n = (len(E) + 1) // 2
    rows, indices = X.sample(n, seed)
    assert len(set(indices.tolist())) == n
    np.testing.assert_array_equal(rows, X[indices])
    assert rows.dtype == dtype


@pytest.mark.parametrize("way", ["blocks", "boxes"])
def test_images_of_different_sizes(way):
    rng = np.random.default_rng(0)
    images = [rng.random(shape) for shape in ((9, 12, 2), (20, 7, 2), (5, 5, 2))]
    X = pt.PatchMatrix(images, (3, 4), 2, channel_axis=-1)
    E = np.concatenate([pt.extract(i, (3, 4), 2, channel_axis=-1).reshape(-1, 24) for i in images])
    V, U = rng.random((24, 2)), rng.random((len(E), 2))
    X = by(X, way)
    for part in (slice(None), slice(3, -4), slice(None, None, 3)):
        agree(X[part] @ V, E[part] @ V)
        agree(X[part].T @ U[part], E[part].T @ U[part])
        agree(X[part].gram(), E[part].T @ E[part])
        agree(X[part].mean(0), E[part].mean(0))
        agree(X[part].row_norms(), np.linalg.norm(E[part], axis=1))
    rows = rng.integers(0, len(E), 30)
    np.testing.assert_array_equal(X[rows], E[rows])
    grids = [pt.PatchGrid(i.shape[:2], (3, 4), 2) for i in images]
    again = pt.PatchMatrix(images, grids, channel_axis=-1)
    assert again.grids == X.grids
    np.testing.assert_array_equal(np.asarray(again), E)
    masks = [np.ones(g.counts, bool) for g in grids]
    masks[1][:] = False
    masks[1][0, 0] = True
    keep = np.concatenate([np.ravel(m) for m in masks])
    np.testing.assert_array_equal(
        pt.PatchMatrix(images, grids, channel_axis=-1, where=masks), E[keep]
    )


@pytest.mark.parametrize(
    ("shape", "patch", "options"),
    [
        ((300,), 17, {}),
        ((90, 80), 9, {}),
        ((90, 80), (9, 5), {"step": (2, 3)}),
        ((70, 80), 7, {"dilation": 2}),
        ((70, 81), 7, {"step": 4, "dilation": (3, 2), "tail": "respace"}),
        ((60, 50), 8, {"pad": "same", "pad_mode": "reflect"}),
        ((3, 50, 60), (8, 7), {}),
        ((30, 31, 32), (4, 5, 3), {"step": (1, 2, 1)}),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "u2", "c8"])
def test_gram_by_lags_equals_blocks(shape, patch, options, dtype):
    rng = np.random.default_rng(0)
    image = (30_000 + 50 * rng.standard_normal(shape)).astype(dtype)
    grid = pt.PatchGrid(
        shape[len(shape) - np.size(patch) :] if np.ndim(patch) else shape, patch, **options
    )
    X = pt.PatchMatrix(image, grid)
    E = working(np.asarray(X)) - 30_000
    spread = E - E.mean(axis=0)
    expected = np.conj(spread.conj().T @ spread) / (len(E) - 1)
    for way in ("boxes", "blocks", "direct"):
        X = by(X, way)
        # the large mean costs no digits: rounding is relative to the variance
        np.testing.assert_allclose(X.cov(), expected, atol=1e-11 * np.abs(expected).max())
        whole = working(np.asarray(X))
        np.testing.assert_allclose(X.gram(), whole.conj().T @ whole, rtol=1e-12)
    X = by(X, "boxes")
    assert "lags" in X.explain()
    X = by(X, "direct")
    assert "by phases" in X.explain()
    assert "X @ V, 1 column: direct" in X.explain()


def test_nan_stays_in_its_rows():
    image = np.random.default_rng(0).random((60, 60))
    image[30, 30] = np.nan
    X, E = pt.PatchMatrix(image, 5), pt.extract(image, 5).reshape(-1, 25)
    V = np.ones((25, 2))
    X = by(X, "direct")
    np.testing.assert_allclose(X @ V, E @ V)
    np.testing.assert_allclose(X.T @ np.ones(len(E)), E.sum(0))
    np.testing.assert_allclose(X.gram(), E.T @ E)
    X = by(X, "boxes")
    np.testing.assert_allclose(X @ V, E @ V)
    assert np.isnan(X @ V).any(axis=1).sum() == 25
    np.testing.assert_allclose(X.gram(), E.T @ E)
    np.testing.assert_allclose(X.T @ np.ones(len(E)), E.sum(0))
    np.testing.assert_allclose(X.mean(0), E.mean(0))
    U = np.ones(len(E))
    U[0] = np.inf
    X = by(X, "boxes")
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isinf(X.T @ U), np.isinf(E.T @ U))


def test_constant_rows_stay_zero():
    image = np.full((20, 20), 0.1)
    image[10:, 10:] = np.random.default_rng(0).random((10, 10))
    X = pt.PatchMatrix(image, 3, center=True, scale=True)
    norms = X.row_norms()
    assert set(np.round(norms, 12)) == {0.0, 1.0}
    assert not np.asarray(X)[norms == 0].any()
    assert pt.PatchMatrix(image, 3).std(axis=1).min() == 0


def test_explain_chooses_fft_for_large_patches_and_blocks_for_many_vectors():
    X = pt.PatchMatrix(np.zeros((2000, 2000), np.float32), 39)
    assert "X @ V, 1 column: boxes" in X.explain()
    assert "X.gram(): boxes" in X.explain(np.zeros((39 * 39, 3)))
    assert "X @ V, 8 columns: blocks" in pt.PatchMatrix(np.zeros((2000, 2000)), 2).explain(8)
    assert "not possible" in pt.PatchMatrix(np.zeros((200, 200)), 9, center=True).explain()


@given(strategies.placed(pool=[np.dtype("u1")]), st.data())
def test_one_row_is_that_row(placed, data):
    matrix = pt.PatchMatrix(
        placed.image, placed.grid, **placed.roles, center=data.draw(st.booleans())
    )
    index = data.draw(st.integers(-len(matrix), len(matrix) - 1))
    row = matrix[index]
    assert row.dtype == matrix.dtype
    assert np.allclose(row, matrix[[index]][0], equal_nan=True)


def test_one_row_of_several_images_and_chosen_rows():
    images = [np.arange(20.0).reshape(4, 5), np.arange(30.0).reshape(5, 6)]
    masks = [np.arange(12).reshape(3, 4) % 2 == 0, np.ones((4, 5), bool)]
    matrix = pt.PatchMatrix(images, 2, where=masks)
    explicit = np.asarray(matrix)
    assert all(np.array_equal(matrix[i], explicit[i]) for i in range(-26, 26))
    assert np.array_equal(matrix[3:][-1], explicit[-1])
    row = matrix[np.int8(4)]
    row[:] = 0  # the caller's own
    assert np.array_equal(matrix[4], explicit[4])
    with pytest.raises(IndexError, match="26 is out of range for 26 rows"):
        matrix[26]


def test_images_without_a_chosen_row_give_none():
    images = np.empty(2, object)
    images[:] = [np.arange(20.0).reshape(4, 5), np.arange(30.0).reshape(5, 6)]
    masks = [np.zeros((3, 4), bool), np.arange(20).reshape(4, 5) > 17]
    matrix = pt.PatchMatrix(images, 2, where=masks)
    np.testing.assert_array_equal(matrix.sum(0), pt.PatchMatrix(images[1], 2)[18:].sum(0))
    with pytest.raises(ValueError, match="selects no patch"):
        pt.PatchMatrix(images[0], 2, where=masks[0])


@pytest.mark.parametrize("tail", ["drop", "shift", "respace", "center"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_features_where_patches_are_not_evenly_apart(tail, dilation):
    """The columns that are seen in the image: backwards, too, and in several images."""
    image = np.random.default_rng(0).random((16, 12))[::-1]
    grid = pt.PatchGrid(image.shape, 3, 4, dilation=dilation, tail=tail)
    X = pt.PatchMatrix([image, 2 * image], [grid, grid])
    rows = [pt.extract(each, grid).reshape(len(grid), -1) for each in (image, 2 * image)]
    explicit = np.concatenate(rows)
    chosen = [7, 0, 5, -1, 5]
    assert np.array_equal(X[:, chosen], explicit[:, chosen])
    assert np.array_equal(X[1:-1, chosen], explicit[1:-1, chosen])

"""`PatchMatrix` of a dask array: the same matrix, lazily; nothing computes the whole image by accident."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from pantile.testing import strategies

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

POOL = tuple(np.dtype(d) for d in ("float64", "uint8"))
RNG = np.random.default_rng(5)

# every result that is a dask array, of the matrix, V (features, 2) and U (rows, 2)
RESULTS = {
    "gram": lambda X, **_: X.gram(),
    "cov": lambda X, **_: X.cov(ddof=0),
    "X @ V": lambda X, V, **_: X @ V,
    "X @ v": lambda X, V, **_: X @ V[:, 0],
    "X.T @ U": lambda X, U, **_: X.T @ U,
    "u @ X": lambda X, U, **_: U[:, 0] @ X,
    "V.T @ X.T": lambda X, V, **_: V.T @ X.T,
    "X.T @ X": lambda X, **_: X.T @ X,
    "sum": lambda X, **_: X.sum(),
    "sum 0": lambda X, **_: np.sum(X, axis=0),
    "sum 1": lambda X, **_: X.sum(1),
    "mean 0": lambda X, **_: np.mean(X, axis=0),
    "mean 1": lambda X, **_: X.mean(1),
    "var": lambda X, **_: X.var(),
    "var 0": lambda X, **_: X.var(0),
    "std 1": lambda X, **_: X.std(1),
    "norms": lambda X, **_: X.row_norms(),
    "rows": lambda X, **_: X[[0, -1, 0]],
    "row": lambda X, **_: X[-1],
    "feature": lambda X, **_: X[:, -1],
    "features": lambda X, **_: X[:, [0, -1]],
    "sample": lambda X, **_: X.sample(min(3, len(X)), 7)[0],
    "slice": lambda X, **_: X[::2].gram(),
}


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def image():
    return RNG.normal(size=(60, 70))


def agrees(lazy, expected):
    assert isinstance(lazy, da.Array)
    expected = np.asarray(expected)
    assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    found = lazy.compute()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * scale)


@given(data=st.data())
def test_every_result_is_the_one_in_memory(data):
    placed = data.draw(strategies.placed(pool=POOL))
    image = placed.image
    chunks = tuple(data.draw(st.integers(1, n)) for n in image.shape)
    options = placed.roles | {"center": data.draw(st.booleans())}
    if data.draw(st.booleans()):
        options["where"] = data.draw(strategies.wheres(placed.grid))
    X = pt.PatchMatrix(image, placed.grid, **options)
    L = pt.PatchMatrix(da.from_array(image, chunks=chunks), placed.grid, **options)
    assert (L.shape, L.dtype, L.nbytes, L.patch_shape) == (
        X.shape,
        X.dtype,
        X.nbytes,
        X.patch_shape,
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    V, U = rng.normal(size=(X.shape[1], 2)), rng.normal(size=(X.shape[0], 2))
    for name in data.draw(st.lists(st.sampled_from(sorted(RESULTS)), min_size=4, max_size=4)):
        agrees(RESULTS[name](X=L, V=V, U=U), RESULTS[name](X=X, V=V, U=U))


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_complex_images_with_channels(name):
    image = (RNG.normal(size=(20, 2, 18)) + 1j * RNG.normal(size=(20, 2, 18))) * 10
    grid = pt.PatchGrid((20, 18), (4, 3), 3, tail="respace")
    X = pt.PatchMatrix(image, grid, channel_axis=1)
    L = pt.PatchMatrix(da.from_array(image, chunks=(9, 1, 10)), grid, channel_axis=1)
    V, U = RNG.normal(size=(24, 2)), RNG.normal(size=(len(X), 2)) * 1j
    if name == "X.T @ X":
        with pytest.raises(TypeError, match="gram"):
            X.T @ X
        with pytest.raises(TypeError, match="gram"):
            L.T @ L
        return
    agrees(RESULTS[name](X=L, V=V, U=U), RESULTS[name](X=X, V=V, U=U))


def test_a_large_mean_costs_no_digits():
    image = RNG.normal(size=(80, 90)) + 1e6
    image[40:] += 100
    L = pt.PatchMatrix(da.from_array(image, chunks=(25, 90)), 5)
    expected = pt.PatchMatrix(image - 1e6, 5).cov()
    np.testing.assert_allclose(L.cov().compute(), expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(L.var(0).compute(), np.diag(expected), rtol=1e-3)


def test_operands_may_be_dask_arrays(image):
    X, L = pt.PatchMatrix(image, 5, 2), pt.PatchMatrix(da.from_array(image, chunks=25), 5, 2)
    V, U = RNG.normal(size=(25, 3)), RNG.normal(size=(len(X), 3))
    dV, dU = da.from_array(V, chunks=(10, 2)), da.from_array(U, chunks=(100, 3))
    agrees(L @ dV, X @ V)
    agrees(dU.T @ L, U.T @ X)
    agrees(L.T @ dU, X.T @ U)
    agrees(L.T @ (L @ dV), X.T @ (X @ V))
    with pytest.raises(TypeError, match=r"U\.compute"):
        L[10:].T @ dU[10:]
    with pytest.raises(ValueError, match="one row per feature"):
        L @ dV[:7]
    with pytest.raises(ValueError, match="one row per feature"):
        L @ V[:7]


def test_tasks_are_regions_with_their_halo(image):
    L = pt.PatchMatrix(da.from_array(image, chunks=(20, 35)), 7)
    parts = [
        k for k in dict(L.gram().dask) if str(k[0]).startswith("patch-gram") and "part" in k[0]
    ]
    assert len(parts) == 6
    shapes = [b.shape for rows, b in L.blocks(7 * 7 * 8 * 1000)]
    assert shapes == [(1000, 49), (1000, 49), (1000, 49), (456, 49)]
    product = L @ np.ones((49, 2))
    assert sum(product.chunks[0]) == len(L)
    assert all(n <= 20 * 64 for n in product.chunks[0])


def test_only_what_is_asked_for_is_read(monkeypatch):
    read = []

    def load(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.ones(block_info[None]["chunk-shape"])

    image = da.map_blocks(load, chunks=((100,) * 30, (100,) * 30), dtype=float)
    X = pt.PatchMatrix(image, 9)
    read.clear()
    repr(X), X.explain(3), X.shape, X.gram(), X @ np.ones(81), X[5:10].mean(0), X.T
    assert read == []
    np.testing.assert_allclose(X[[0, -1]].compute(), 1)
    assert set(read) == {(0, 0), (0, 1), (1, 0), (1, 1), (29, 29)}  # two regions with their halos
    monkeypatch.setattr("pantile.matrix.guard.EXPANSION_LIMIT", 10**6)
    with pytest.raises(MemoryError, match="rows"):
        X[np.arange(100_000)]


def test_names_are_deterministic(image):
    lazy = da.from_array(image, chunks=20)
    V, U = np.ones((25, 2)), np.ones((56 * 66, 2))
    made = [
        *(f(X=pt.PatchMatrix(lazy, 5), V=V, U=U).name for f in RESULTS.values()),
        pt.PatchMatrix(lazy, 5, center=True).gram().name,
        pt.PatchMatrix(lazy, 5, where=image > 2).gram().name,
        pt.PatchMatrix(lazy + 1, 5).gram().name,
        pt.PatchMatrix(lazy, 5).cov().name,
        (pt.PatchMatrix(lazy, 5) @ np.zeros(25)).name,
    ]
    again = pt.PatchMatrix(lazy, 5).gram().name
    assert again == made[0]
    assert len(set(made)) == len(made) - 1  # X.T @ X is the Gram matrix


def test_pickles_small_and_stays_lazy(image):
    X = pt.PatchMatrix(da.ones((10**4, 10**4), chunks=1000), 9, where=None)
    data = pickle.dumps(X)
    assert len(data) < 50_000
    assert pickle.loads(data).gram().name == X.gram().name
    masked = pt.PatchMatrix(da.from_array(image, chunks=20), 5, where=image > 1, scale=True)
    agrees(pickle.loads(pickle.dumps(masked)).gram(), masked.gram().compute())


@pytest.mark.parametrize(
    "use",
    [
        np.asarray,
        lambda X: X.to_memmap("x.npy"),
        lambda X: X.aslinearoperator(),
        lambda X: list(X),
        lambda X: np.linalg.svd(X),
        lambda X: np.add(X, 1),
        lambda X: np.exp(X.T),
        lambda X: np.asarray(X.T),
        lambda X: pt.PatchMatrix([X._graph.image] * 2, 5),
    ],
)
def test_what_would_compute_everything_is_refused(use):
    def fail(block_id):
        raise AssertionError(f"computed {block_id}")

    image = da.map_blocks(fail, chunks=((30,) * 2, (30,) * 2), dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(TypeError, match=r"X\.blocks|X\.gram|dask"):
        use(pt.PatchMatrix(image, 5))


def test_the_whole_public_surface_is_known():
    """A new method must say here what it does with a dask array."""
    known = {
        "T", "aslinearoperator", "blocks", "cov", "dtype", "explain", "gram", "grids", "mean", "nbytes",
        "ndim", "patch_shape", "row_norms", "sample", "shape", "size", "std", "sum", "to_memmap", "var",
    }  # fmt: skip
    assert {n for n, _ in inspect.getmembers(pt.PatchMatrix) if not n.startswith("_")} == known


def test_adapters_compute_the_rows_they_give(image):
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("lightgbm")
    from pantile.integrations import predict_rows
    from pantile.integrations.lightgbm import PatchSequence
    from pantile.integrations.torch import PatchDataset

    X, L = pt.PatchMatrix(image, 5, 2), pt.PatchMatrix(da.from_array(image, chunks=25), 5, 2)
    np.testing.assert_array_equal(PatchSequence(L)[3], X[3])
    np.testing.assert_array_equal(PatchSequence(L)[3:7], np.asarray(X[3:7]))
    assert torch.equal(PatchDataset(L)[[1, 9]], PatchDataset(X)[[1, 9]])
    found = predict_rows(lambda rows: rows[:, 0], L, nbytes=1 << 14)
    np.testing.assert_array_equal(found, X[:, 0].astype("f4"))

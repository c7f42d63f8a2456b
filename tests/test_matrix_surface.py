"""What a PatchMatrix is to NumPy, SciPy, pickle and the disk; that nothing expands it by accident."""

from __future__ import annotations

import os
import pickle
import sys

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from pantile.matrix import guard
from tests._limited import finishes

IMAGE = np.random.default_rng(0).random((30, 40))
X = pt.PatchMatrix(IMAGE, (5, 4))
E = pt.extract(IMAGE, (5, 4)).reshape(-1, 20)


# the masked view: origin C


def test_masked_view_of_the_question():
    image = np.arange(9).reshape(3, 3)
    windows = pt.masked_patchify(image, 2)
    assert windows.shape == (5, 5)
    expected = np.zeros((5, 5), bool)
    expected[2], expected[:, 2] = True, True
    np.testing.assert_array_equal(windows.mask, expected)
    rows = windows.data[~windows.mask].reshape(-1, 4)
    np.testing.assert_array_equal(rows, [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]])
    assert np.shares_memory(windows.data, image)
    assert not windows.data.flags.writeable


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
def test_masked_view_holds_every_patch_of_any_image(sizes):
    shape = [max(pair) for pair in sizes]
    patch = [min(pair) for pair in sizes]
    image = np.random.default_rng(0).random(shape)
    windows = pt.masked_patchify(image, patch)
    expected = pt.extract(image, patch)
    np.testing.assert_array_equal(windows.compressed(), expected.ravel())


def test_masked_view_says_what_it_needs():
    with pytest.raises(ValueError, match=r"C contiguous.*ascontiguousarray"):
        pt.masked_patchify(np.zeros((4, 4)).T[::2], 2)
    with pytest.raises(ValueError, match="does not fit"):
        pt.masked_patchify(np.zeros((4, 4)), 5)
    with pytest.raises(MemoryError, match="PatchMatrix"):
        pt.masked_patchify(np.zeros((20_000, 20_000), np.uint8), 39).mask  # noqa: B018


@pytest.mark.parametrize(
    "key",
    [0, -1, 3, slice(1, None, 2), (slice(None), 0), (1, 1), (0, 0), (slice(3), slice(None, None, -1)),
     (slice(None),), [0, 1], (slice(None), [0, 1]), Ellipsis, None],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("shape", "patch"), [((9, 7), (3, 2)), ((6,), 3), ((3, 4, 5), (2, 3, 1))])
def test_a_part_of_the_masked_view_is_that_part_of_the_whole(shape, patch, key):
    image = np.arange(np.prod(shape)).reshape(shape)
    whole = pt.masked_patchify(image, patch)
    expected = np.ma.MaskedArray(whole.data, np.array(whole.mask))[key]
    found = pt.masked_patchify(image, patch)[key]
    np.testing.assert_array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
    np.testing.assert_array_equal(np.ma.filled(found, -1), np.ma.filled(expected, -1))


# NumPy


def test_numpy_functions_that_stay_lazy():
    V = np.ones((20, 2))
    np.testing.assert_allclose(np.dot(X, V), E @ V)
    np.testing.assert_allclose(np.dot(V.T, X.T), V.T @ E.T)
    np.testing.assert_allclose(np.matmul(X.T, E), E.T @ E)
    np.testing.assert_allclose(V.T @ X.T, V.T @ E.T)
    np.testing.assert_allclose(E.T @ X, E.T @ E)
    assert np.shape(X) == E.shape
    assert (np.ndim(X), np.size(X), np.size(X, 0)) == (2, E.size, len(E))
    assert np.transpose(X).shape == E.T.shape
    assert np.shape(X.T) == E.T.shape
    np.testing.assert_allclose(np.sum(X), E.sum())
    np.testing.assert_allclose(np.cov(X, rowvar=False), np.cov(E, rowvar=False))
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), np.linalg.norm(E, axis=1))
    assert not np.iscomplexobj(X)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x * 2,
        lambda x: 2 - x,
        lambda x: np.exp(x),
        lambda x: np.add(E, x),
        lambda x: np.add.reduce(x),
        lambda x: np.concatenate([x, x]),
        lambda x: np.linalg.svd(x),
        lambda x: np.linalg.norm(x),
        lambda x: np.einsum("ij,ij->i", x, x),
        lambda x: np.array_equal(x, E),
        lambda x: np.reshape(x, -1),
        lambda x: np.save(os.devnull, x),
        lambda x: np.cov(x),
        lambda x: np.mean(x, axis=0, keepdims=True),
        lambda x: np.sort(x),
        lambda x: np.exp(x.T),
        lambda x: np.vstack([x.T]),
    ],
)
def test_numpy_functions_that_would_expand_raise_with_advice(call):
    with pytest.raises(TypeError, match=r"X.gram|float64|rowvar|unsupported"):
        call(X)


def test_operands_are_checked():
    with pytest.raises(ValueError, match=r"X @ V: one row per feature is needed, 20"):
        X @ np.ones(3)
    with pytest.raises(ValueError, match=r"X\.T @ U: one row per row"):
        X.T @ np.ones(3)
    with pytest.raises(TypeError, match="dense"):
        X @ scipy.sparse.eye_array(20)
    with pytest.raises(TypeError, match=r"X\.gram"):
        X @ X
    with pytest.raises(TypeError, match=r"X\.gram"):
        X @ X.T
    with pytest.raises(TypeError, match="numbers"):
        X @ np.array(["a"] * 20)
    for key in ("a", (1, 2, 3), None, 1.5, np.ones(3, bool), len(E), [0, -len(E) - 1]):
        with pytest.raises(IndexError):
            X[key]
    with pytest.raises(ValueError, match="axis"):
        X.sum(axis=2)
    with pytest.raises(ValueError, match="n must be"):
        X.sample(len(E) + 1)
    with pytest.raises(TypeError, match="numbers"):
        pt.PatchMatrix(np.array([["a"]]), 1)
    with pytest.raises(ValueError, match="one shape"):
        pt.PatchMatrix([IMAGE, IMAGE], [pt.PatchGrid((30, 40), n) for n in (2, 3)])
    with pytest.raises(ValueError, match="2 grids for 1 images"):
        pt.PatchMatrix([IMAGE], [pt.PatchGrid((30, 40), n) for n in (2, 3)])
    with pytest.raises(ValueError, match="2 masks for 1 images"):
        pt.PatchMatrix([IMAGE], 2, where=[IMAGE > 0, IMAGE > 0])


def test_asarray_is_guarded(monkeypatch):
    np.testing.assert_array_equal(np.asarray(X), E)
    np.testing.assert_array_equal(np.asarray(X.T, np.float32), E.T.astype(np.float32))
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(X, copy=False)
    monkeypatch.setattr(guard, "EXPANSION_LIMIT", 1000)
    for expand in (np.asarray, np.array, lambda x: x[:, :5], lambda x: x[np.arange(len(E))]):
        with pytest.raises(MemoryError, match=r"KB.*to_memmap"):
            expand(X)
    with pytest.raises(MemoryError, match="result of X @ V"):
        X @ np.eye(20)
    assert X[:5].shape == (5, 20)
    np.testing.assert_array_equal(np.asarray(X[:5]), E[:5])


# pickle and files


def test_pickle_is_the_image_and_its_geometry():
    image = np.zeros((200, 300), np.float32)
    pickled = pickle.dumps(pt.PatchMatrix(image, 39, center=True))
    assert len(pickled) < image.nbytes + 3000
    again = pickle.loads(pickle.dumps(X[3:50]))
    np.testing.assert_array_equal(np.asarray(again), E[3:50])
    where = IMAGE > 0.99
    chosen = pt.PatchMatrix(IMAGE, (5, 4), where=where, scale=True)
    np.testing.assert_array_equal(
        np.asarray(pickle.loads(pickle.dumps(chosen))), np.asarray(chosen)
    )


def test_a_memory_map_is_pickled_by_its_path(tmp_path):
    np.save(tmp_path / "image.npy", np.random.default_rng(0).random((300, 400)))
    image = np.load(tmp_path / "image.npy", mmap_mode="r")
    for seen in (image, image[10:90, 20:], image.T, image[::2, ::3], image[:, None]):
        matrix = pt.PatchMatrix(seen, 5, axes=(0, seen.ndim - 1))
        pickled = pickle.dumps(matrix)
        assert len(pickled) < 3000
        again = pickle.loads(pickled)
        np.testing.assert_array_equal(again[[0, 7, -1]], matrix[[0, 7, -1]])
        np.testing.assert_allclose(again.mean(0), matrix.mean(0))


def test_to_memmap_streams_to_a_file(tmp_path, monkeypatch):
    path = tmp_path / "rows.npy"
    for matrix in (X, X[5:9], pt.PatchMatrix(IMAGE.astype("f4"), 3, center=True)):
        found = matrix.to_memmap(path)
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, np.asarray(matrix))
        np.testing.assert_array_equal(np.load(path), np.asarray(matrix))
        del found
    assert os.listdir(tmp_path) == ["rows.npy"]
    monkeypatch.setattr("pantile.matrix.export._write", _broken)
    with pytest.raises(RuntimeError, match="half way"):
        X.to_memmap(tmp_path / "other.npy")
    assert os.listdir(tmp_path) == ["rows.npy"]
    with pytest.raises(OSError, match=r"PB|EB"):
        pt.PatchMatrix(np.broadcast_to(np.uint8(0), (1 << 20, 1 << 20)), 999).to_memmap(path)


def _broken(_, name):
    with open(name, "wb") as file:
        file.write(b"half")
    raise RuntimeError("half way")


# scipy.sparse.linalg


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_linear_operator_is_its_own_adjoint(dtype):
    rng = np.random.default_rng(0)
    image = (
        (IMAGE + 1j * rng.random(IMAGE.shape)).astype(dtype) if dtype is np.complex128 else IMAGE
    )
    matrix = pt.PatchMatrix(image, (5, 4))
    operator, explicit = matrix.aslinearoperator(), np.asarray(matrix)
    v = rng.random(20) + (1j * rng.random(20) if dtype is np.complex128 else 0)
    u = rng.random(len(explicit))
    np.testing.assert_allclose(operator @ v, explicit @ v)
    np.testing.assert_allclose(operator.H @ u, explicit.conj().T @ u)
    np.testing.assert_allclose(operator.matmat(np.eye(20)), explicit)
    np.testing.assert_allclose(operator.rmatmat(np.c_[u, u]), explicit.conj().T @ np.c_[u, u])
    assert operator.matvec(v[:, None]).shape == (len(explicit), 1)


def test_svds_lsqr_and_lobpcg():
    centred = pt.PatchMatrix(IMAGE, (5, 4), center=True)
    for matrix in (X, centred):
        explicit = np.asarray(matrix)
        operator = matrix.aslinearoperator()
        singular = scipy.sparse.linalg.svds(operator, k=3, return_singular_vectors=False, rng=0)
        np.testing.assert_allclose(np.sort(singular)[::-1], np.linalg.svd(explicit)[1][:3])
        target = np.random.default_rng(1).random(len(explicit))
        solved = scipy.sparse.linalg.lsqr(operator, target, damp=0.1, atol=1e-12, btol=1e-12)[0]
        normal = explicit.T @ explicit + 0.01 * np.eye(20)
        np.testing.assert_allclose(solved, np.linalg.solve(normal, explicit.T @ target), rtol=1e-6)
        start = np.random.default_rng(2).random((20, 2))
        values, _ = scipy.sparse.linalg.lobpcg(operator.H @ operator, start, tol=1e-9, maxiter=200)
        np.testing.assert_allclose(
            values, np.linalg.eigvalsh(explicit.T @ explicit)[::-1][:2], rtol=1e-6
        )


# the whole surface on a matrix of 90 GB, in 1.5 GB of addresses


SURFACE = """
    import os, pickle, resource, tempfile
    import numpy as np
    import pantile as pt
    from scipy.sparse.linalg import lsqr

    image = np.random.default_rng(0).random((4000, 4000), dtype=np.float32)
    X = pt.PatchMatrix(image, 39)
    assert X.nbytes > 90e9
    few = np.random.default_rng(1).random(pt.PatchGrid(image.shape, 39).counts) < 0.002
    W = pt.PatchMatrix(image, 39, where=few)
    C = pt.PatchMatrix(image, 39, where=few, center=True, scale=True)
    X[:100] @ np.ones(1521), X[:5].gram()  # imports, compiles, starts threads
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 1_500_000_000,) * 2)
    n, f = X.shape
    v, u = np.ones(f), np.ones(n)
    r = X @ v
    assert abs(r[5] - X[5].sum(dtype="f8")) < 1e-9 * f
    assert np.allclose(X.T @ u, X.sum(0), rtol=1e-10)
    v[None] @ X.T, u[None] @ X, X[1000:-7] @ v, X[::1000] @ v, W @ v, C @ v, C.T @ np.ones(len(C))
    G = X.gram()
    assert np.isclose(G.sum(), r @ r, rtol=1e-9)
    X.cov(), X[5000:100000].gram(), X[::30000].gram(), C[:5000].cov()
    X.mean(), X.var(0), X.std(), np.sum(X, axis=1), X.row_norms(), C.row_norms(), C.std(1), C.mean(0)
    X[[0, -1, 7]], X[5], X[:, 7], X[3:9, 5], X[[1, 2], [3, 4]], X[:99], X[::-1], X[np.arange(n) < 5]
    X.sample(1000, 0), next(X.blocks()), repr(X), X._repr_html_(), len(X), X.explain()
    assert len(pickle.dumps(X)) < image.nbytes + 5000
    lsqr(X.aslinearoperator(), r, iter_lim=2)
    with tempfile.TemporaryDirectory() as folder:
        X[:1000].to_memmap(os.path.join(folder, "rows.npy"))
    calls = [np.asarray, np.array, np.exp, np.sort, np.vstack, list, set, lambda x: x[:, :500], lambda x: x * 2]
    calls += [lambda x: x[np.arange(n)], lambda x: x @ np.eye(f), lambda x: np.asarray(x.T), lambda x: x == x.T + 1]
    calls += [lambda x: np.linalg.svd(x), lambda x: x[np.ones(n, bool)], lambda x: x[0:n, 0:f - 1]]
    for call in calls:
        try:
            call(X)
        except (MemoryError, TypeError) as error:
            assert "X." in str(error) or "unsupported" in str(error), error
        else:
            raise AssertionError(call)
    print("done")
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="address-space limits are a matter of the system"
)
def test_nothing_expands_the_matrix():
    finishes(SURFACE)

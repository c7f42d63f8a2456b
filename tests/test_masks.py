"""A mask is never lost without a word, and weights may be any kind of array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt

Array = NDArray[Any]

IMAGE = np.random.default_rng(0).random((12, 14))
GRID = pt.PatchGrid(IMAGE.shape, 4, 2)
PATCHES = pt.extract(IMAGE, GRID)
TAPER = np.outer([1, 2, 3, 1.0], [1, 2, 2, 5.0])
VOTES = np.arange(1.0, len(GRID) + 1)
BRIGHT = IMAGE > 0.5


def hidden(values: Any) -> Any:
    """The same values, the first of them masked."""
    array = np.asarray(values)
    mask = np.zeros(array.shape, bool)
    mask.flat[0] = True
    return np.ma.masked_array(array, mask)


def same(batch: Array) -> Array:
    return batch


def summed() -> pt.Merge:
    return pt.Merge(
        init=lambda shape, _: (np.zeros(shape),),
        accumulate=lambda state, values, _: np.add(state[0], values, out=state[0]),  # type: ignore[arg-type]
        combine=lambda state, other: np.add(state[0], other[0], out=state[0]),  # type: ignore[arg-type]
        finalize=lambda state: np.ma.masked_less(state[0], 0.5),
    )


def matrix() -> pt.PatchMatrix:
    return pt.PatchMatrix(IMAGE, 4, 2)


# each call loses a mask, unless it says so; and what it says to do
LOSING: dict[str, tuple[Callable[[], Any], str]] = {
    "image": (lambda: pt.extract(hidden(IMAGE), 4), "image.*filled.*where="),
    "image of map_patches": (lambda: pt.map_patches(same, hidden(IMAGE), 4), "image.*filled"),
    "image of PatchMatrix": (lambda: pt.PatchMatrix([IMAGE, hidden(IMAGE)], 4), "image.*filled"),
    "patches": (lambda: pt.unpatchify(hidden(PATCHES), GRID), "patches.*filled"),
    "patches of Merger": (
        lambda: pt.Merger(GRID).add(hidden(PATCHES), range(len(GRID))),
        "patches.*filled",
    ),
    "func": (
        lambda: pt.map_patches(lambda b: np.ma.masked_less(b, 0.5), IMAGE, 4),
        r"what func returned is a masked array.*return it filled, \.filled\(numpy\.nan\)",
    ),
    "func, on the grid": (
        lambda: pt.map_patches(lambda b: hidden(b.sum((1, 2))), IMAGE, 4, merge=None),
        r"func.*return it filled",
    ),
    "func, second result": (
        lambda: pt.map_patches(lambda b: (b, hidden(b)), IMAGE, 4),
        "result 1 of func.*return it filled",
    ),
    "func, last batch": (
        lambda: pt.map_patches(
            lambda b: hidden(b) if b[-1, -1, -1] == IMAGE[-1, -1] else b, IMAGE, 4, batch_bytes=256
        ),
        "func.*return it filled",
    ),
    "finalize": (
        lambda: pt.map_patches(same, IMAGE, 4, finalize=hidden),
        "what finalize returned.*return it filled",
    ),
    "finalize of a Merge": (
        lambda: pt.unpatchify(PATCHES, GRID, merge=summed()),
        r"what Merge.finalize returned.*filled\(numpy\.nan\)",
    ),
    "where": (
        lambda: pt.map_patches(same, IMAGE, 4, where=hidden(BRIGHT), fill=0),
        r"where=where\.filled\(False\)",
    ),
    "where of PatchMatrix": (
        lambda: pt.PatchMatrix(IMAGE, 4, where=hidden(BRIGHT)),
        r"where=where\.filled\(False\)",
    ),
    "weights": (lambda: pt.unpatchify(PATCHES, GRID, weights=hidden(TAPER)), r"weights.*filled\(0"),
    "weights per axis": (
        lambda: pt.Merger(GRID, weights=[hidden(TAPER[0]), TAPER[0]]),
        r"weights.*filled\(0\)",
    ),
    "weights of map_patches": (
        lambda: pt.map_patches(same, IMAGE, GRID, weights=hidden(TAPER)),
        r"weights.*filled\(0\)",
    ),
    "patch_weights": (
        lambda: pt.unpatchify(PATCHES, GRID, patch_weights=hidden(VOTES)),
        r"patch_weights.*filled\(0\)",
    ),
    "patch_weights of Merger": (
        lambda: pt.Merger(GRID).add(PATCHES, range(len(GRID)), hidden(VOTES)),
        r"patch_weights.*filled\(0\)",
    ),
    "indices": (
        lambda: pt.extract(IMAGE, GRID, indices=hidden([0, 1])),
        r"indices.*compressed\(\)",
    ),
    "labels at the centres": (lambda: GRID.centers(hidden(IMAGE)), r"labels\.filled\(-1\)"),
    "X @ v": (lambda: matrix() @ hidden(np.ones(16)), "X @ V.*filled"),
    "X.T @ u": (lambda: matrix().T @ hidden(np.ones(30)), "X.T @ U.*filled"),
    "u @ X": (lambda: hidden(np.ones((2, 30))) @ matrix(), "V @ X.*filled"),
    "X[rows]": (lambda: matrix()[hidden([0, 1])], r"rows.*compressed\(\)"),
    "X[:, features]": (lambda: matrix()[:, hidden([0, 1])], r"features.*compressed\(\)"),
    "labels of LDA": (
        lambda: pt.learn.PatchLDA(3).fit(IMAGE, hidden(BRIGHT.astype(int))),
        r"labels\.filled\(-1\)",
    ),
    "labels of logistic regression": (
        lambda: pt.learn.PatchLogisticRegression(3).fit(IMAGE, hidden(BRIGHT.astype(int))),
        r"labels\.filled\(-1\)",
    ),
    "targets of ridge": (
        lambda: pt.learn.PatchRidge(3).fit(IMAGE, hidden(IMAGE)),
        r"targets\.filled\(numpy\.nan\)",
    ),
    "first centres of k-means": (
        lambda: pt.learn.PatchKMeans(3, n_clusters=2, init=hidden(np.eye(2, 9))).fit(IMAGE),
        "init.*filled",
    ),
    "labels of rows": (
        lambda: pt.integrations.labelled_rows(IMAGE, hidden(BRIGHT.astype(int)), GRID),
        "labels.*filled",
    ),
    "montage": (lambda: pt.plot.montage(hidden(PATCHES)), "patches.*filled"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSING)
@pytest.mark.filterwarnings("ignore:pantile")
def test_a_mask_is_not_lost_without_a_word(name: str) -> None:
    call, advice = LOSING[name]
    with pytest.raises(TypeError, match=f"(?s){advice}"):
        call()


class Stored:
    """As netCDF4 reads: always a masked array, whether anything is missing or not."""

    def __init__(self, values: Array, missing: bool) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.mask = np.zeros(values.shape, bool)
        self.mask[5, 5] = missing

    def __getitem__(self, key: Any) -> Any:
        return np.ma.masked_array(self.values[key], self.mask[key])


@pytest.mark.parametrize("pad", [0, 2])
def test_what_a_store_marks_as_missing_is_not_read_as_numbers(pad: int) -> None:
    grid = pt.PatchGrid(IMAGE.shape, 4, 2, pad=pad)
    whole = pt.map_patches(same, Stored(IMAGE, False), grid)
    np.testing.assert_allclose(whole, IMAGE, rtol=1e-15)
    with pytest.raises(TypeError, match=r"lose its mask.*set_auto_mask\(False\)"):
        pt.map_patches(same, Stored(IMAGE, True), grid)


class Other:
    """An array of another library."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.values, dtype)


def tensor(values: Any) -> Any:
    return pytest.importorskip("torch").from_numpy(np.array(values))


KINDS = {"a tensor": tensor, "another library's": Other, "lists": lambda a: a.tolist()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_axis", [False, True])
def test_weights_of_any_kind_are_those_of_numpy(kind: str, per_axis: bool) -> None:
    make = KINDS[kind]
    plain: Any = (TAPER[0], TAPER[1]) if per_axis else TAPER
    given = [make(each) for each in plain] if per_axis else make(plain)
    marked = PATCHES.copy()
    marked[3] += 1
    wanted = pt.unpatchify(marked, GRID, weights=plain)
    assert not np.array_equal(wanted, pt.unpatchify(marked, GRID))
    np.testing.assert_array_equal(pt.unpatchify(marked, GRID, weights=given), wanted)
    merger = pt.Merger(GRID, weights=given)
    merger.add(marked, range(len(GRID)))
    np.testing.assert_allclose(merger.result(), wanted, rtol=1e-14)
    found = pt.map_patches(np.sqrt, IMAGE, GRID, weights=given)
    np.testing.assert_array_equal(found, pt.map_patches(np.sqrt, IMAGE, GRID, weights=plain))


@pytest.mark.parametrize("kind", KINDS)
def test_patch_weights_and_where_of_any_kind_are_those_of_numpy(kind: str) -> None:
    make = KINDS[kind]
    marked = PATCHES.copy()
    marked[3] += 1
    wanted = pt.unpatchify(marked, GRID, patch_weights=VOTES)
    np.testing.assert_array_equal(pt.unpatchify(marked, GRID, patch_weights=make(VOTES)), wanted)
    some = np.zeros(GRID.counts, bool)
    some[1:3] = True
    options: dict[str, Any] = {"where": make(some), "fill": -1}
    wanted = pt.map_patches(np.sqrt, IMAGE, GRID, where=some, fill=-1)
    np.testing.assert_array_equal(pt.map_patches(np.sqrt, IMAGE, GRID, **options), wanted)


def test_weights_changed_after_they_were_given_change_nothing() -> None:
    """The Merger kept the caller's array."""
    taper = TAPER.copy()
    merger = pt.Merger(GRID, weights=taper)
    drawn = pt.plan(np.sqrt, IMAGE, GRID, weights=taper)
    taper[:] = 1
    marked = PATCHES.copy()
    marked[3] += 1
    merger.add(marked, range(len(GRID)))
    wanted = pt.unpatchify(marked, GRID, weights=TAPER)
    np.testing.assert_allclose(merger.result(), wanted, rtol=1e-14)
    wanted = pt.map_patches(np.sqrt, IMAGE, GRID, weights=TAPER)
    np.testing.assert_array_equal(drawn.run(), wanted)


@pytest.mark.parametrize(
    ("weights", "error", "says"),
    [
        ([[1, 2], [1, 2, 3]], ValueError, r"weights per axis have shapes \(2,\), \(3,\).*\(4, 4\)"),
        ([[[1, 2], [1]], 3], ValueError, r"weights are no array.*patch's shape"),
        (3.0, TypeError, "weights must be a name, arrays or None, got float"),
        ({"a": 1}, TypeError, "weights must be a name, arrays or None, got dict"),
        ([], ValueError, "weights"),
        (["hann", "hann"], TypeError, "weights names one window for all axes"),
        (np.ones((4, 5)), ValueError, r"weights have shape \(4, 5\)"),
    ],
)
def test_weights_that_cannot_be_are_refused_in_words(weights: Any, error: Any, says: str) -> None:
    for call in (
        lambda: pt.unpatchify(PATCHES, GRID, weights=weights),
        lambda: pt.map_patches(same, IMAGE, GRID, weights=weights),
    ):
        with pytest.raises(error, match=says):
            call()

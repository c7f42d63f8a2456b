"""A batch of a single patch is walked line by line: a table of places per sample took four times its memory
and ten times as long (networks that take one large tile at a time, an `extract` of one patch)."""

import numpy as np
import pytest

import pantile as pt
from pantile.kernels import loops
from pantile.merge import batch as merge_batch
from pantile.merge.sums import Sum
from pantile.testing.compare import assert_same_bits

SIDE = 64
IMAGE = np.random.default_rng(0).random((3 * SIDE, 3 * SIDE)).astype(np.float32)


@pytest.fixture
def no_tables_of_samples(monkeypatch):
    def refuse(*_):
        raise AssertionError("a table of places per sample for a single patch")

    monkeypatch.setattr(loops, "tabulate_features", refuse)
    monkeypatch.setattr(merge_batch, "tabulate_features", refuse)


@pytest.mark.usefixtures("no_tables_of_samples")
@pytest.mark.parametrize("layout", ["patch", "feature"])
def test_one_patch_is_cut_in_lines(layout):
    found = pt.extract(IMAGE, SIDE, SIDE // 2, indices=[7], layout=layout)
    np.testing.assert_array_equal(found[0], pt.patchify(IMAGE, SIDE, SIDE // 2)[1, 2])


@pytest.mark.usefixtures("no_tables_of_samples")
@pytest.mark.parametrize("layout", ["patch", "feature"])
@pytest.mark.parametrize("weights", [None, "hann"])
@pytest.mark.parametrize("merge", ["mean", "sum"])
def test_batches_of_one_patch_are_cut_and_merged_in_lines(merge, weights, layout):
    how = {"merge": merge, "weights": weights, "layout": layout}
    found = pt.map_patches(lambda b: b, IMAGE, SIDE, SIDE // 2, batch=1, **how)
    grid = pt.PatchGrid(IMAGE.shape, SIDE, SIDE // 2)
    expected = pt.unpatchify(pt.patchify(IMAGE, grid), grid, merge=merge, weights=weights)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("merge", ["mean", "sum"])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u4", "f2", "f4", "i8", "?"])
def test_a_patch_that_is_a_tile_of_its_own_is_its_own_sum(tiles_of, kind, merge):
    dtype = np.dtype(kind)
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (41, 38)).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize < 8:
        image[:5], image[20:25] = np.iinfo(dtype).max, np.iinfo(dtype).min
    one = Sum((), (), dtype).of_one(image[:8, :8])
    assert (one is None) == (dtype.kind == "b" or dtype.itemsize == 8)
    assert one is None or one[0].dtype == dtype
    for step in (8, 5):  # side by side, but for the last ones, and overlapping
        grid = pt.PatchGrid(image.shape, 8, step)
        expected = pt.unpatchify(pt.extract(image, grid), grid, merge=merge)
        with tiles_of(1):
            found = pt.map_patches(lambda b: b, image, grid, merge=merge)
        assert_same_bits(found, expected)

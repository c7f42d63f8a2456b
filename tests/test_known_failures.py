"""What goes wrong elsewhere: one test, or a few, for each known failure."""

from __future__ import annotations

import pickle
import threading
import time

import numpy as np
import pytest

import pantile as pt
from pantile.testing import slow
from pantile.testing.compare import assert_same_bits

MERGES = ("mean", "sum", "var", "max", "min", "median", "vote", "first", "last", "center")


# uint8 overlap counters wrap at 256


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32])
def test_more_than_256_patches_may_meet(dtype):
    image = np.arange(33 * 35).reshape(33, 35) % 120
    image = image.astype(dtype)
    grid = pt.PatchGrid(image.shape, 17)
    assert grid.coverage().max() == 289
    patches = pt.extract(image, grid)
    assert (pt.unpatchify(patches, grid) == image).all()
    assert (
        pt.unpatchify(patches, grid, merge="sum") == image.astype(np.int64) * grid.coverage()
    ).all()
    merger = pt.Merger(grid)
    merger.add(patches, range(len(patches)))
    assert merger.coverage().max() == 289
    assert (merger.result() == image).all()


def test_more_than_256_votes_may_meet():
    labels = np.full((300, 300), 1, np.uint8)
    labels[:20] = 7
    assert pt.unpatchify(labels, 599, merge="vote")[299] == 1
    assert pt.unpatchify(labels, 599, merge="median")[299] == 1


# float16 sums overflow


@pytest.mark.parametrize("merge", ["mean", "max", "median", "center"])
def test_float16_merges_where_its_sum_would_overflow(merge):
    patches = np.full((20, 20), 60000, np.float16)
    merged = pt.unpatchify(patches, 39, merge=merge)
    assert merged.dtype == np.float16
    assert (merged == 60000).all()


def test_float16_weights_and_streams_without_overflow():
    image = np.full((20, 20), 60000, np.float16)
    assert (pt.map_patches(lambda b: b, image, 7, weights="hann") == 60000).all()
    patches = np.array([[0, 60000], [0, 60000]], np.float16)  # the square overflows
    with np.errstate(over="ignore"):
        assert pt.unpatchify(patches, 3, merge="var").tolist() == [0, np.inf, 0]
    assert pt.unpatchify(patches, 3, merge="var", dtype=np.float64).tolist() == [0, 9e8, 0]


# hann with zero end points blackens borders


@pytest.mark.parametrize("name", ["hann", "blackman", "bartlett", "triang", "cosine", "parzen"])
@pytest.mark.parametrize("patch", [1, 2, 3, 5])
def test_no_weight_of_a_named_window_is_0(name, patch):
    image = np.linspace(1, 2, 49).reshape(7, 7)
    for step in (1, patch):
        grid = pt.PatchGrid(image.shape, patch, step)
        back = pt.unpatchify(pt.extract(image, grid), grid, weights=name)
        np.testing.assert_allclose(back, image, rtol=1e-13)


# normaliser clamped to 1, or eps added, or taken from the first patch


@pytest.mark.parametrize("factor", [1e-300, 1e-12, 0.1, 1, 1e12])
def test_the_size_of_weights_cancels(factor):
    rng = np.random.default_rng(0)
    grid = pt.PatchGrid(9, 4, 2)
    patches, taper = rng.normal(size=(grid.n_patches, 4)), rng.random(4) + 0.1
    expected = slow.unpatchify(patches, grid, weights=[taper])
    np.testing.assert_allclose(
        pt.unpatchify(patches, grid, weights=factor * taper), expected, rtol=1e-12
    )
    merger = pt.Merger(grid, weights=factor * taper)
    merger.add(patches, range(len(patches)))
    np.testing.assert_allclose(merger.result(), expected, rtol=1e-12)
    mapped = pt.map_patches(lambda b: patches[: len(b)], np.zeros(9), grid, weights=factor * taper)
    np.testing.assert_allclose(mapped, expected, rtol=1e-12)


def test_the_normaliser_is_everyones_own():
    patches, factors = np.array([[1.0, 1.0], [1.0, 3.0], [5.0, 5.0]]), [1e-9, 1.0, 4.0]
    merged = pt.unpatchify(patches, 4, patch_weights=factors)
    np.testing.assert_allclose(merged, [1, 1, (3 + 20) / 5, 5], rtol=1e-14)


# NaN input turned into 0


@pytest.mark.parametrize(
    "merge", ["mean", "sum", "max", "min", "median", "var", "first", "last", "center"]
)
def test_nan_reaches_what_it_touches_and_nothing_else(merge):
    image = np.arange(64.0).reshape(8, 8)
    image[3, 4] = np.nan
    patches = pt.extract(image, 3)
    merged = pt.unpatchify(patches, image.shape, merge=merge)
    assert np.isnan(merged[3, 4])
    assert np.isfinite(np.delete(merged.ravel(), 28)).all()
    streamed = pt.map_patches(lambda b: b, image, 3, merge=merge)
    assert (np.isnan(streamed) == np.isnan(image)).all()


def test_infinity_stays_infinite():
    image = np.arange(16.0)
    image[5], image[9] = np.inf, -np.inf
    for weights in (None, "hann"):
        back = pt.unpatchify(pt.extract(image, 4), 16, weights=weights)
        np.testing.assert_allclose(back, image, rtol=1e-14)
        np.testing.assert_allclose(
            pt.map_patches(lambda b: b, image, 4, weights=weights), image, rtol=1e-14
        )
        merger = pt.Merger(pt.PatchGrid(16, 4), weights=weights)
        merger.add(pt.extract(image, 4), range(13))
        np.testing.assert_allclose(merger.result(), image, rtol=1e-14)


# uncovered pixels silently 0


@pytest.mark.parametrize("merge", MERGES)
def test_uncovered_elements_are_refused(merge):
    grid = pt.PatchGrid((7, 7), 2, 3, tail="drop")
    patches = np.ones((grid.n_patches, 2, 2), np.int64)
    with pytest.raises(ValueError, match="fill"):
        pt.unpatchify(patches, grid, merge=merge)
    called = []
    with pytest.raises(ValueError, match="fill"):
        pt.map_patches(
            lambda b: called.append(b) or b, np.ones((7, 7), np.int64), grid, merge=merge
        )
    assert not called
    filled = pt.unpatchify(patches, grid, merge=merge, fill=5)
    assert (filled[grid.coverage() == 0] == 5).all()
    merger = pt.Merger(grid, merge=merge)
    merger.add(patches, range(grid.n_patches))
    with pytest.raises(ValueError, match="fill"):
        merger.result()


def test_a_fill_of_0_is_a_fill():
    grid = pt.PatchGrid(5, 1, 4)
    assert pt.unpatchify([[1], [2]], grid, fill=0).tolist() == [1, 0, 0, 0, 2]
    assert pt.map_patches(lambda b: b, np.ones(5), grid, fill=0).tolist() == [1, 0, 0, 0, 1]


# patch larger than half the image miscounted


@pytest.mark.parametrize(
    ("n", "patch", "step"), [(10, 7, 1), (10, 6, 4), (5, 5, 1), (11, 9, 2), (3, 2, 2)]
)
def test_patches_larger_than_half_the_image_come_back(n, patch, step):
    image = np.arange(float(n * n)).reshape(n, n)
    grid = pt.PatchGrid(image.shape, patch, step)
    assert (grid.coverage() == slow.coverage(grid)).all()
    assert (pt.unpatchify(pt.extract(image, grid), grid) == image).all()
    assert (pt.map_patches(lambda b: b, image, grid) == image).all()


# inferred steps that distort


def test_counts_that_do_not_match_the_step_are_refused():
    image = np.arange(64.0).reshape(8, 8)
    view = pt.patchify(image, 3, 2)  # 3 x 3 patches, cover 7 of 8
    for step in (1, 3):
        with pytest.raises(ValueError, match="patches"):
            pt.unpatchify(view, (8, 8), step, fill=0)
    with pytest.raises(ValueError, match="patches"):
        pt.unpatchify(view, (9, 10), 2, fill=0)
    back = pt.unpatchify(view, (8, 8), 2, fill=-1)
    assert (back[:7, :7] == image[:7, :7]).all()
    assert (back[7] == -1).all()


# step larger than patch looping forever


def test_steps_larger_than_the_patch_and_the_image():
    image = np.arange(10.0)
    assert pt.PatchGrid(10, 2, 50).starts[0].tolist() == [0, 8]
    assert pt.PatchGrid(10, 2, 50, tail="drop").starts[0].tolist() == [0]
    assert pt.PatchGrid(10, 2, 50, pad="same").starts[0].tolist() == [-1]
    assert pt.patchify(image, 2, 50).tolist() == [[0, 1]]
    mapped = pt.map_patches(lambda b: b + 1, image, 2, 4, fill=0)
    assert mapped.tolist() == [1, 2, 0, 0, 5, 6, 0, 0, 9, 10]


# writeable aliases of the caller's image


def test_func_cannot_reach_the_callers_image():
    image = np.arange(36.0).reshape(6, 6)
    before = image.copy()

    def ruin(batch):
        batch[...] = -7
        return batch

    for patch, step in ((6, 1), (3, 3), (1, 1), ((1, 6), 1), ((6, 1), 1)):
        out = pt.map_patches(ruin, image, patch, step)
        assert (out == -7).all()
        assert_same_bits(image, before)
    fortran = np.asfortranarray(before)
    pt.map_patches(ruin, fortran, 6)
    assert (fortran == before).all()


def test_merging_changes_neither_patches_nor_weights():
    rng = np.random.default_rng(0)
    patches, weights, factors = rng.normal(size=(5, 4)), rng.random(4) + 0.1, rng.random(5) + 0.1
    kept = patches.copy(), weights.copy(), factors.copy()
    for array in (patches, weights, factors):
        array.flags.writeable = False
    for merge in ("mean", "sum", "var"):
        pt.unpatchify(patches, 8, merge=merge, weights=weights, patch_weights=factors)
    for merge in ("max", "min", "median", "first", "last", "center"):
        merged = pt.unpatchify(patches, 8, merge=merge)
        merged[...] = 0
    for array, before in zip((patches, weights, factors), kept, strict=True):
        assert_same_bits(array, before)


def test_the_merged_image_is_not_the_patches():
    patches = np.arange(6.0).reshape(1, 2, 3)
    for merge in ("mean", "first", "max"):
        merged = pt.unpatchify(patches, (2, 3), merge=merge)
        merged[...] = -1
        assert patches.ravel().tolist() == [0, 1, 2, 3, 4, 5]


# too few patches accepted


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_patches_is_refused(change):
    grid = pt.PatchGrid((6, 6), 3)
    n = grid.n_patches + change
    for patches in (np.ones((n, 3, 3)), np.ones((n, 9)), np.ones((4, 4 + change, 3, 3))):
        with pytest.raises(ValueError, match=r"16|4") as caught:
            pt.unpatchify(patches, grid, fill=0)
        assert "patches" in str(caught.value)


# max that starts at 0


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.float32, np.float64])
def test_extremes_of_negative_and_positive_images(dtype):
    image = np.arange(-90, -54).reshape(6, 6).astype(dtype)
    for values in (image, -image):
        patches = pt.extract(values, 3)
        for merge in ("max", "min"):
            assert_same_bits(pt.unpatchify(patches, (6, 6), merge=merge), values)
            assert_same_bits(pt.map_patches(lambda b: b, values, 3, merge=merge), values)
            merger = pt.Merger(pt.PatchGrid((6, 6), 3), merge=merge)
            merger.add(patches, range(16))
            assert_same_bits(merger.result(), values)
    lowest = np.full((2, 2), np.iinfo(dtype).min if np.dtype(dtype).kind == "i" else -np.inf, dtype)
    assert (pt.unpatchify(lowest, 3, merge="max") == lowest[0, 0]).all()


# discarded worker exceptions


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("culprit", [0, 40, 143])
def test_an_exception_in_any_patch_surfaces(workers, culprit):
    image = np.arange(225.0).reshape(15, 15)
    first = pt.extract(image, 4, indices=[culprit])[0, 0, 0]

    def func(batch):
        if (batch[:, 0, 0] == first).any():
            raise KeyError("lost")
        return batch

    with pytest.raises(KeyError, match="lost"):
        pt.map_patches(func, image, 4, workers=workers, batch_bytes=1000)


# grids anchored to the region of interest, so that a crop differs from the full run


@pytest.mark.parametrize("step", [1, 3])
def test_a_selected_region_has_the_bits_of_the_full_run(step):
    image = np.random.default_rng(0).normal(size=(30, 28)).astype(np.float32)
    grid = pt.PatchGrid(image.shape, 7, step)

    def func(batch):
        return batch - batch.mean(axis=(1, 2), keepdims=True)

    full = pt.map_patches(func, image, grid)
    wanted = np.zeros(image.shape, bool)
    wanted[9:16, 5:20] = True
    part = pt.map_patches(func, image, grid, where=wanted, fill=np.nan)
    np.testing.assert_allclose(part[wanted], full[wanted], rtol=1e-5, atol=1e-7)
    assert np.isnan(part[0, 0])


# pickles that carry the expanded view


def test_pickles_are_small():
    grid = pt.PatchGrid((10_000, 10_000), 39)
    assert len(pickle.dumps(grid)) < 1000
    used = pt.PatchGrid((300, 300), 9)
    used.coverage(), used.flat_indices([0]), used.starts, used[5], hash(used)
    assert len(pickle.dumps(used)) < 1000


# two writers in one chunk


class Recorder:
    """An output that remembers who wrote where, and how many at once."""

    def __init__(self, shape, dtype, chunks=None):
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype), len(shape)
        self.values, self.writes = np.zeros(shape, dtype), np.zeros(shape, np.int64)
        self.lock, self.regions, self.now, self.most = threading.Lock(), [], 0, 0
        if chunks:
            self.chunks = chunks

    def __setitem__(self, key, value):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.regions.append(key)
        time.sleep(0.002)  # a chunk is read, changed and written back
        with self.lock:
            self.values[key] = value
            self.writes[key] += 1
            self.now -= 1

    def __getitem__(self, key):
        return self.values[key]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_element_of_out_is_written_once(tiles_of, workers):
    image = np.random.default_rng(0).normal(size=(40, 50))
    out = Recorder(image.shape, image.dtype)
    with tiles_of(200):
        pt.map_patches(lambda b: b, image, 5, out=out, workers=workers, batch_bytes=4000)
    assert len(out.regions) > 4
    np.testing.assert_allclose(out.values, image, rtol=1e-13)
    assert (out.writes == 1).all()


@pytest.mark.parametrize("chunks", [(16, 16), (7, 50), (64, 64)])
def test_no_chunk_of_out_has_two_writers(tiles_of, chunks):
    image = np.random.default_rng(0).normal(size=(40, 50))
    out = Recorder(image.shape, image.dtype, chunks)
    with tiles_of(200):
        pt.map_patches(lambda b: b, image, 5, out=out, workers=4, batch_bytes=4000)
    np.testing.assert_allclose(out.values, image, rtol=1e-13)
    assert (out.writes == 1).all()
    writers = np.zeros([-(-n // c) for n, c in zip(image.shape, chunks, strict=True)], np.int64)
    for region in out.regions:
        touched = [
            slice(s.start // c, -(-s.stop // c)) for s, c in zip(region, chunks, strict=True)
        ]
        writers[tuple(touched)] += 1
    assert (writers == 1).all()


def test_an_output_that_says_nothing_of_chunks_has_one_writer_at_a_time(tiles_of):
    image = np.random.default_rng(0).normal(size=(40, 50))
    out = Recorder(image.shape, image.dtype)
    with tiles_of(200):
        pt.map_patches(lambda b: b, image, 5, out=out, workers=4, batch_bytes=4000)
    assert len(out.regions) > 4
    assert out.most == 1

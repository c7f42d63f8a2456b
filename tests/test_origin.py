"""The questions the project started from, with their own numbers (C needs the patch matrix)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import pantile as pt
from pantile.testing.compare import assert_same_bits

# A: cut and merge, 39x39 at step 1


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (100, 100)).astype(np.float64)


def index_array_matrix(image, x, y):
    """The asker's matrix: a patch per column, developed column by column, by precomputed indices."""
    rows, columns = image.shape
    corners = [(i, j) for j in range(columns - y + 1) for i in range(rows - x + 1)]
    inside = [(a, b) for b in range(y) for a in range(x)]
    index = np.array([[(i + a) * columns + j + b for i, j in corners] for a, b in inside])
    return image.ravel()[index], index


def test_a_difference_of_image_and_merged_image_is_0(picture):
    grid = pt.PatchGrid(picture.shape, 39)
    assert (grid.n_patches, grid.features) == (62 * 62, 1521)
    for patches in (
        pt.patchify(picture, grid),
        pt.extract(picture, grid),
        pt.extract(picture, grid, layout="feature"),
    ):
        assert np.abs(pt.unpatchify(patches, grid) - picture).max() == 0
    assert np.abs(pt.map_patches(lambda batch: batch, picture, grid) - picture).max() == 0


def test_a_merge_is_sum_times_precomputed_weights(picture):
    grid = pt.PatchGrid(picture.shape, 39)
    matrix, index = index_array_matrix(picture, 39, 39)
    total = np.zeros(picture.size)
    np.add.at(total, index, matrix)
    by_hand = total.reshape(picture.shape) * (1 / grid.coverage())
    np.testing.assert_allclose(pt.unpatchify(pt.patchify(picture, grid), grid), by_hand, rtol=1e-14)
    sums = pt.unpatchify(pt.patchify(picture, grid), grid, merge="sum")
    assert (sums == total.reshape(picture.shape)).all()
    assert grid.coverage()[0, 0] == 1
    assert grid.coverage()[50, 50] == 1521


def test_a_rows_are_patches_without_another_copy(picture):
    for layout in ("patch", "feature"):
        patches = pt.extract(picture, 39, layout=layout)
        rows = patches.reshape(len(patches), -1)
        assert np.shares_memory(rows, patches)
        assert (rows[63] == picture[1:40, 1:40].ravel()).all()


def test_a_columns_are_patches_without_another_copy(picture):
    small = picture[:12, :10]
    expected, _ = index_array_matrix(small, 5, 4)
    for layout in ("patch", "feature"):
        patches = pt.extract(
            small.T, (4, 5), layout=layout
        )  # Fortran order is C order of the transpose
        columns = patches.reshape(len(patches), -1).T
        assert np.shares_memory(columns, patches)
        assert_same_bits(np.ascontiguousarray(columns), expected)
        back = pt.unpatchify(columns.T, pt.PatchGrid(small.T.shape, (4, 5)))
        assert np.array_equal(back.T, small)


def test_a_processing_each_patch_on_its_own(picture):
    grid = pt.PatchGrid(picture.shape, 39)
    matrix, index = index_array_matrix(picture, 39, 39)
    processed = matrix - matrix.mean(axis=0)
    total = np.zeros(picture.size)
    np.add.at(total, index, processed)
    by_hand = total.reshape(picture.shape) / grid.coverage()
    mapped = pt.map_patches(lambda b: b - b.mean(axis=(1, 2), keepdims=True), picture, grid)
    np.testing.assert_allclose(mapped, by_hand, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "patch", "step"),
    [((100,), 39, 7), ((31, 40), (5, 8), (2, 3)), ((9, 10, 11), (2, 3, 4), (1, 2, 3))],
)
def test_a_any_image_any_patch_a_step_per_axis(shape, patch, step):
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.float64)
    grid = pt.PatchGrid(shape, patch, step)
    assert (pt.unpatchify(pt.extract(image, grid), grid) == image).all()
    for tail in ("respace", "pad"):
        other = pt.PatchGrid(shape, patch, step, tail=tail)
        assert (pt.unpatchify(pt.extract(image, other), other) == image).all()


# B: the strided view


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_b_shape_strides_and_memory(dtype):
    image = np.arange(100 * 90).reshape(100, 90).astype(dtype)
    view = pt.patchify(image, (39, 30))
    (X, Y), (x, y) = image.shape, (39, 30)
    assert view.shape == (X - x + 1, Y - y + 1, x, y)
    assert view.strides == tuple(image.itemsize * s for s in (Y, 1, Y, 1))
    assert np.shares_memory(view, image)
    assert view.__array_interface__["data"][0] == image.__array_interface__["data"][0]
    assert not view.flags.writeable
    assert view.nbytes > 400 * image.nbytes
    assert_same_bits(view[7, 5], image[7:46, 5:35].copy())
    matrix = view.reshape(-1, x * y)
    assert matrix.flags.c_contiguous
    assert (matrix == pt.extract(image, (x, y)).reshape(-1, x * y)).all()


@pytest.mark.parametrize(
    "stride",
    [
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: a[:, ::-2],
        lambda a: a[3:, 5:-2],
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a[0], a.shape),
    ],
)
def test_b_images_however_strided(stride):
    image = stride(np.arange(20 * 30).reshape(20, 30))
    view = pt.patchify(image, (4, 3))
    assert np.shares_memory(view, image)
    assert view.strides == image.strides * 2
    assert (view == sliding_window_view(image, (4, 3))).all()


def test_b_any_number_of_axes():
    image = np.arange(5 * 6 * 7 * 8).reshape(5, 6, 7, 8)
    view = pt.patchify(image, (2, 3, 4, 5))
    assert view.shape == (4, 4, 4, 4, 2, 3, 4, 5)
    assert (view[3, 2, 1, 0] == image[3:5, 2:5, 1:5, 0:5]).all()


# D: steps, channels, many images


@pytest.fixture
def images():
    np.random.seed(0)  # noqa: NPY002
    return np.random.randint(11, 99, (2, 4, 4))  # noqa: NPY002


def test_d_the_images_are_the_asked_ones(images):
    assert images[0].tolist() == [
        [55, 58, 75, 78],
        [78, 20, 94, 32],
        [47, 98, 81, 23],
        [69, 76, 50, 98],
    ]


@pytest.mark.parametrize(
    ("step", "counts", "expected"),
    [
        ((1, 1), (3, 3), {(2, 2): [[81, 23], [50, 98]], (0, 0): [[55, 58], [78, 20]]}),
        ((2, 1), (2, 3), {(1, 0): [[47, 98], [69, 76]]}),
        (
            (2, 2),
            (2, 2),
            {
                (0, 0): [[55, 58], [78, 20]],
                (0, 1): [[75, 78], [94, 32]],
                (1, 0): [[47, 98], [69, 76]],
                (1, 1): [[81, 23], [50, 98]],
            },
        ),
    ],
)
def test_d_steps(images, step, counts, expected):
    view = pt.patchify(images, (2, 2), step)
    assert view.shape == (2, *counts, 2, 2)
    single = pt.patchify(images[0], 2, step)
    patches = pt.extract(images, (2, 2), step)
    for place, patch in expected.items():
        assert view[(0, *place)].tolist() == patch
        assert single[place].tolist() == patch
        assert patches[0, np.ravel_multi_index(place, counts)].tolist() == patch
    one = pt.patchify(images, (2, 2))
    sliced = one[:, :: step[0], :: step[1]]
    assert view.strides == sliced.strides
    assert (view == sliced).all()


def test_d_images_and_channels():
    images = np.arange(2 * 3 * 9 * 8).reshape(2, 3, 9, 8)
    view = pt.patchify(images, (4, 3), (2, 3))
    assert view.shape == (2, 3, (9 - 4) // 2 + 1, (8 - 3) // 3 + 1, 4, 3)
    assert view.strides == tuple(8 * s for s in (216, 72, 16, 3, 8, 1))
    assert (view[1, 2, 2, 1] == images[1, 2, 4:8, 3:6]).all()

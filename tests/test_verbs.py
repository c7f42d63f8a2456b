"""patchify, extract, unpatchify and Merger: layouts, axes, dtypes, weights, outside oracles."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from skimage.util import view_as_windows
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

import pantile as pt
from pantile.testing import slow
from pantile.testing.compare import assert_agrees, assert_same_bits


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def strided_variants(image):
    """The same values behind every kind of strides."""
    wide = np.zeros([2 * n for n in image.shape], image.dtype)
    wide[tuple(slice(None, None, 2) for _ in image.shape)] = image
    record = np.zeros(image.shape, [("a", "u1"), ("b", image.dtype)])
    record["b"] = image
    return {
        "contiguous": image.copy(),
        "fortran": np.asfortranarray(image),
        "reversed": np.flip(np.flip(image).copy()),
        "every other": wide[tuple(slice(None, None, 2) for _ in image.shape)],
        "field": record["b"],
        "swapped": image.astype(image.dtype.newbyteorder()),
    }


# against others


@pytest.mark.parametrize(
    ("shape", "window", "axis"),
    [
        ((7,), 3, None),
        ((5, 6), (2, 3), None),
        ((4, 5, 6), (2, 3), (0, 2)),
        ((2, 3, 5, 6), (3, 2), (2, 3)),
    ],
)
def test_patchify_is_numpys_sliding_window_view(rng, shape, window, axis):
    image = rng.normal(size=shape)
    axes = axis if axis is not None else tuple(range(len(shape)))
    view = pt.patchify(image, window, axes=axes)
    oracle = sliding_window_view(image, window, axis)
    assert_same_bits(view, oracle)
    assert view.strides == oracle.strides


@pytest.mark.parametrize("step", [1, 2, (2, 3)])
def test_patchify_is_scikit_images_view(rng, step):
    image = rng.normal(size=(9, 11))
    assert_same_bits(pt.patchify(image, (3, 4), step), view_as_windows(image, (3, 4), step))


def test_extract_and_unpatchify_are_scikit_learns(rng):
    image = rng.normal(size=(12, 10))
    patches = pt.extract(image, (4, 3))
    assert_same_bits(patches, extract_patches_2d(image, (4, 3)))
    noisy = patches + rng.normal(size=patches.shape)
    oracle = reconstruct_from_patches_2d(noisy, image.shape)
    np.testing.assert_allclose(pt.unpatchify(noisy, image.shape), oracle, rtol=1e-12)


def test_channels_last_are_scikit_learns(rng):
    image = rng.normal(size=(8, 9, 3))
    patches = pt.extract(image, (4, 3), channel_axis=-1)
    assert_same_bits(patches, extract_patches_2d(image, (4, 3)))
    back = pt.unpatchify(patches, (8, 9), channel_axis=-1)
    np.testing.assert_allclose(back, reconstruct_from_patches_2d(patches, image.shape), rtol=1e-14)


@pytest.mark.parametrize(
    "mode",
    [
        "constant",
        "edge",
        "reflect",
        "symmetric",
        "wrap",
        "linear_ramp",
        "maximum",
        "mean",
        "median",
        "minimum",
    ],
)
@pytest.mark.parametrize("shape", [(5, 7), (1, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64])
def test_padding_is_numpys(rng, mode, shape, dtype):
    image = (100 * rng.random(shape)).astype(dtype)
    pad = ((3, 8), (0, 5))
    options = {"constant": {"constant_values": 2}, "linear_ramp": {"end_values": 2}}.get(mode, {})
    padded = np.pad(image, pad, mode, **options)
    grid = pt.PatchGrid(shape, padded.shape, pad=pad, pad_mode=mode, pad_value=2)
    whole = pt.extract(image, grid)
    assert_agrees(whole, padded[None], exact=mode not in ("linear_ramp", "mean", "median"))
    small = pt.PatchGrid(shape, (2, 3), pad=pad, pad_mode=mode, pad_value=2)
    oracle = sliding_window_view(padded, (2, 3)).reshape(-1, 2, 3)
    assert_agrees(
        pt.extract(image, small), oracle, exact=mode not in ("linear_ramp", "mean", "median")
    )


def test_a_padded_tail_is_padding_behind_the_image():
    image = np.arange(1, 8)
    grid = pt.PatchGrid(7, 3, 2, tail="pad", pad=(1,), pad_mode="reflect")
    padded = np.pad(image, (1, 1), "reflect")
    assert pt.extract(image, grid).tolist() == [padded[i : i + 3].tolist() for i in (0, 2, 4, 6)]
    ragged = pt.PatchGrid(7, 4, 3, tail="pad", pad_mode="edge")
    assert pt.extract(image, ragged).tolist() == [[1, 2, 3, 4], [4, 5, 6, 7]]
    ragged = pt.PatchGrid(7, 4, 2, tail="pad", pad_mode="edge")
    assert pt.extract(image, ragged)[-1].tolist() == [5, 6, 7, 7]


# patchify


def test_the_view_costs_nothing_and_is_read_only(rng):
    image = rng.normal(size=(6, 7))
    view = pt.patchify(image, 3, 2)
    assert np.shares_memory(view, image)
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1
    assert image.flags.writeable


def test_a_writeable_view_is_asked_for(rng):
    image = rng.normal(size=(6, 7))
    view = pt.patchify(image, 3, writeable=True)
    view[1, 2, 0, 0] = 99
    assert image[1, 2] == 99


def test_a_read_only_image_has_no_writeable_view():
    image = np.zeros((6, 7))
    image.flags.writeable = False
    with pytest.raises(ValueError, match=r"writeable|read-only"):
        pt.patchify(image, 3, writeable=True)
    assert not pt.patchify(image, 3).flags.writeable


def test_counts_stand_where_the_axes_stood(rng):
    image = rng.normal(size=(2, 6, 3, 7))
    view = pt.patchify(image, (4, 5), axes=(1, 3))
    assert view.shape == (2, 3, 3, 3, 4, 5)
    assert (view[1, 2, 0, 1] == image[1, 2:6, 0, 1:6]).all()


def test_the_shorthand_of_patchify_drops_the_tail():
    image = np.arange(10)
    assert pt.patchify(image, 4, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert pt.patchify(image, 3, 3, dilation=2).tolist() == [[0, 2, 4], [3, 5, 7]]


def test_the_shorthand_of_extract_shifts_the_tail():
    assert pt.extract(np.arange(10), 4, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]


def test_a_number_of_axes_comes_from_the_patch_or_the_axes(rng):
    image = rng.normal(size=(5, 6))
    assert pt.patchify(image, 3).shape == (3, 4, 3, 3)
    assert pt.patchify(image, 3, axes=0).shape == (3, 6, 3)
    assert pt.patchify(image, (3,)).shape == (5, 4, 3)


def test_views_of_every_stride_agree(rng):
    image = rng.normal(size=(5, 6)).astype(np.float32)
    for name, variant in strided_variants(image).items():
        view = pt.patchify(variant, (2, 3), (2, 1))
        assert np.array_equal(view, sliding_window_view(image, (2, 3))[::2]), name
        assert np.shares_memory(view, variant), name


def test_array_likes_are_taken():
    assert pt.patchify([1, 2, 3], 2).tolist() == [[1, 2], [2, 3]]
    assert pt.extract(((1, 2), (3, 4)), 2).tolist() == [[[1, 2], [3, 4]]]
    assert pt.unpatchify([[1, 2], [2, 3]], 3).tolist() == [1, 2, 3]


# extract


@pytest.mark.parametrize("layout", ["patch", "feature"])
@pytest.mark.parametrize("step", [1, 3])
def test_layouts_differ_in_strides_only(rng, layout, step):
    image = rng.normal(size=(8, 9))
    grid = pt.PatchGrid(image.shape, (3, 2), step)
    patches = pt.extract(image, grid, layout=layout)
    assert_agrees(patches, slow.extract(image, grid), exact=True)
    if layout == "patch":
        assert patches.flags.c_contiguous
    else:
        assert patches.strides[0] == patches.itemsize
        matrix = patches.reshape(len(patches), -1)
        assert np.shares_memory(matrix, patches)
        assert matrix.T.flags.c_contiguous


def test_channels_stand_where_the_image_has_them(rng):
    image = rng.normal(size=(7, 8, 3))
    last = pt.extract(image, (2, 3), channel_axis=-1)
    assert last.shape == (36, 2, 3, 3)
    assert (last[7] == image[1:3, 1:4]).all()
    first = pt.extract(np.moveaxis(image, -1, 0), (2, 3), channel_axis=0)
    assert (first == np.moveaxis(last, -1, 1)).all()
    middle = pt.extract(np.moveaxis(image, -1, 1), (2, 3), channel_axis=1)
    assert (middle == np.moveaxis(last, -1, 2)).all()
    for patches, axis in ((last, -1), (first, 0), (middle, 1)):
        back = pt.unpatchify(patches, (7, 8), channel_axis=axis)
        np.testing.assert_allclose(back, np.moveaxis(image, -1, axis), rtol=1e-14)


def test_batch_axes_come_first(rng):
    images = rng.normal(size=(2, 7, 3, 8))  # batch, rows, batch, columns
    patches = pt.extract(images, (2, 3), axes=(1, 3))
    assert patches.shape == (2, 3, 36, 2, 3)
    assert (patches[1, 2] == pt.extract(images[1, :, 2], (2, 3))).all()
    back = pt.unpatchify(patches, (7, 8), axes=(1, 3))
    np.testing.assert_allclose(back, images, rtol=1e-14)


def test_chosen_patches_count_from_the_end_and_may_repeat(rng):
    image = rng.normal(size=(6, 6))
    everything = pt.extract(image, 3)
    rows = [5, -1, 0, 5, -16]
    assert_same_bits(pt.extract(image, 3, indices=rows), everything[rows])
    assert_same_bits(pt.extract(image, 3, indices=np.array(rows, np.int8)), everything[rows])
    assert pt.extract(image, 3, indices=[]).shape == (0, 3, 3)
    batch = np.stack([image, -image])
    assert_same_bits(
        pt.extract(batch, (3, 3), indices=rows), np.stack([everything[rows], -everything[rows]])
    )


@pytest.mark.parametrize(
    "rows", [None, [3, 1, 4, 1], list(range(15, -1, -1)), list(range(16)), [2, 3, 4]]
)
@pytest.mark.parametrize("layout", ["patch", "feature"])
def test_out_is_filled_and_returned(rng, rows, layout):
    image = rng.normal(size=(6, 6))
    expected = pt.extract(image, 3, indices=rows)
    out = np.full(expected.shape, np.nan)
    assert pt.extract(image, 3, indices=rows, out=out, layout=layout) is out
    assert_same_bits(out, expected)
    buffer = np.full((2 * len(expected), 3, 5), np.nan)
    pt.extract(image, 3, indices=rows, out=buffer[::2, :, 1:4])
    assert_same_bits(buffer[::2, :, 1:4].copy(), expected)
    assert np.isnan(buffer[1::2]).all()
    assert np.isnan(buffer[:, :, [0, 4]]).all()


@pytest.mark.parametrize(
    "dtype",
    [
        "f2",
        "f4",
        "f8",
        "g",
        "c8",
        "c16",
        "?",
        "i1",
        "u2",
        "i4",
        "u8",
        ">f4",
        ">i8",
        "M8[s]",
        "m8[us]",
        "S3",
        "U2",
        "O",
    ],
)
def test_every_dtype_can_be_cut(dtype):
    image = np.arange(20).reshape(4, 5)
    image = (
        (image % 2 if dtype == "?" else image)
        .astype("i8" if dtype[0] in "Mm" else "O")
        .astype(dtype)
    )
    patches = pt.extract(image, (2, 3), (2, 1))
    assert patches.dtype == image.dtype
    assert patches.tolist() == sliding_window_view(image, (2, 3))[::2].reshape(-1, 2, 3).tolist()


def test_structured_images_can_be_cut():
    image = np.zeros((4, 5), [("x", "f4"), ("n", "i2"), ("c", "u1", (3,))])
    image["x"] = np.arange(20).reshape(4, 5)
    image["n"] = -image["x"]
    image["c"] = image["x"][..., None] + np.arange(3)
    patches = pt.extract(image, 2)
    assert patches.dtype == image.dtype
    for name in image.dtype.names:
        assert (
            patches[name]
            == pt.extract(
                image[name], (2, 2), axes=(0, 1), channel_axis=-1 if name == "c" else None
            )
        ).all()


def test_images_of_every_stride_are_cut_alike(rng):
    image = rng.normal(size=(5, 6)).astype(np.float32)
    expected = slow.extract(image, pt.PatchGrid(image.shape, (2, 3), (2, 1)))
    for name, variant in strided_variants(image).items():
        for layout in ("patch", "feature"):
            patches = pt.extract(variant, (2, 3), (2, 1), layout=layout)
            assert np.array_equal(patches, expected), name


def test_a_broadcast_image_is_cut():
    image = np.broadcast_to(np.arange(6.0), (5, 6))
    assert_same_bits(pt.extract(image, 3), pt.extract(image.copy(), 3))


def test_cutting_never_aliases_the_image():
    image = np.arange(12.0).reshape(3, 4)
    for grid in (
        pt.PatchGrid((3, 4), (3, 4)),
        pt.PatchGrid((3, 4), 1),
        pt.PatchGrid((3, 4), (1, 4)),
    ):
        patches = pt.extract(image, grid)
        assert not np.shares_memory(patches, image)
        patches[...] = -1
    assert (image == np.arange(12.0).reshape(3, 4)).all()


# unpatchify: forms


def test_every_form_of_the_patches_gives_the_same_image(rng):
    image = rng.normal(size=(7, 9))
    grid = pt.PatchGrid(image.shape, (3, 4), (2, 3))
    patches = pt.extract(image, grid) + rng.normal(size=(grid.n_patches, 3, 4))
    expected = pt.unpatchify(patches, grid)
    forms = {
        "view": patches.reshape(*grid.counts, 3, 4),
        "rows": patches.reshape(grid.n_patches, 12),
        "feature layout": np.asfortranarray(patches.reshape(grid.n_patches, 12)),
        "feature layout patches": np.moveaxis(
            np.ascontiguousarray(np.moveaxis(patches, 0, -1)), -1, 0
        ),
        "reversed": patches[::-1].copy()[::-1],
    }
    for name, form in forms.items():
        np.testing.assert_allclose(pt.unpatchify(form, grid), expected, rtol=1e-13, err_msg=name)


def test_rows_of_a_batch(rng):
    images = rng.normal(size=(2, 7, 9))
    grid = pt.PatchGrid((7, 9), (3, 4))
    rows = pt.extract(images, grid).reshape(2, grid.n_patches, 12)
    np.testing.assert_allclose(pt.unpatchify(rows, grid), images, rtol=1e-14)


def test_a_shape_means_the_grid_of_the_patchify_shorthand(rng):
    image = rng.normal(size=(7, 9))
    np.testing.assert_allclose(
        pt.unpatchify(pt.patchify(image, 3, 2), (7, 9), 2), image, rtol=1e-14
    )
    view = pt.patchify(image, 3, 4)
    with pytest.raises(ValueError, match="fill"):
        pt.unpatchify(view, (7, 9), 4)
    holed = pt.unpatchify(view, (7, 9), 4, fill=np.nan)
    touched = slow.coverage(pt.PatchGrid((7, 9), 3, 4, tail="drop")) > 0
    assert (np.isnan(holed) == ~touched).all()
    assert (holed[touched] == image[touched]).all()


def test_a_view_of_a_batch_is_merged_where_it_stood(rng):
    image = rng.normal(size=(2, 6, 3, 7))
    view = pt.patchify(image, (4, 5), axes=(1, 3))
    np.testing.assert_allclose(pt.unpatchify(view, (6, 7), axes=(1, 3)), image, rtol=1e-14)


# unpatchify: dtypes


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("merge", ["mean", "sum"])
def test_inexact_patches_keep_their_dtype(dtype, merge):
    patches = np.ones((3, 2), dtype)
    assert_agrees(
        pt.unpatchify(patches, 4, merge=merge),
        np.array([1, 2, 2, 1] if merge == "sum" else [1] * 4, dtype),
    )


@pytest.mark.parametrize(
    ("merge", "kind", "expected"),
    [
        ("mean", "u1", "f8"), ("var", "i2", "f8"), ("median", "u1", "f8"), ("sum", "u1", "u8"),
        ("sum", "i2", "i8"), ("sum", "?", "i8"), ("mean", "?", "f8"), ("max", "u1", "u1"),
        ("min", "i8", "i8"), ("vote", "u2", "u2"), ("first", "?", "?"), ("last", "u8", "u8"),
        ("center", "i1", "i1"), ("max", "?", "?"), ("vote", "?", "?"),
    ],
)  # fmt: skip
def test_result_dtypes_of_whole_numbers(merge, kind, expected):
    patches = np.array([[1, 0], [1, 1], [0, 1]]).astype(kind)
    merged = pt.unpatchify(patches, 4, merge=merge)
    assert merged.dtype == np.dtype(expected)
    assert_agrees(merged, slow.unpatchify(patches, pt.PatchGrid(4, 2), merge=merge))


def test_weighted_sums_of_whole_numbers_are_floats():
    patches = np.array([[1, 2], [3, 4]], np.uint8)
    merged = pt.unpatchify(patches, 3, merge="sum", weights=[np.array([1.0, 0.5])])
    assert_agrees(merged, np.array([1.0, 4.0, 2.0]))


def test_float16_and_float32_accumulate_in_float64():
    n = 3001
    patches = np.full((n, n), 0.1, np.float32)
    patches[0] = 1e6
    one = pt.unpatchify(patches, 2 * n - 1)[n - 1]
    exact = (1e6 + (n - 1) * float(np.float32(0.1))) / n
    assert one == np.float32(exact)
    halves = np.full((3, 3), 60000, np.float16)
    assert pt.unpatchify(halves, 5).tolist() == [60000] * 5


def test_whole_numbers_merge_exactly_past_float64():
    big = 2**60 + 1
    patches = np.array([[big, big], [big, big]], np.int64)
    assert pt.unpatchify(patches, 3, merge="sum").tolist() == [big, 2 * big, big]
    assert pt.unpatchify(patches, 3, merge="max").tolist() == [big] * 3
    assert pt.unpatchify(patches, 3, dtype=np.int64).tolist() == [big] * 3


def test_sums_that_would_wrap_are_refused():
    patches = np.full((2, 2), 2**62, np.int64)
    with pytest.raises(OverflowError):
        pt.unpatchify(patches, 3, merge="sum")
    with pytest.raises(OverflowError):
        pt.unpatchify(np.full((2, 2), 2**63, np.uint64), 3, merge="sum")
    with pytest.raises(OverflowError):
        pt.unpatchify(np.full((2, 2), -(2**63), np.int64), 3, merge="sum")
    assert pt.unpatchify(np.full((2, 2), 2**61, np.int64), 3, merge="sum").tolist() == [
        2**61,
        2**62,
        2**61,
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_an_integer_dtype_rounds_half_to_even_and_saturates(dtype):
    values = np.array([0.5, 1.5, 2.5, -0.5, -3.2, 255.5, 1e9, -1e9])
    merged = pt.unpatchify(values[:, None], 8, dtype=dtype)
    info = np.iinfo(dtype)
    assert_agrees(merged, np.clip(np.rint(values), info.min, info.max).astype(dtype))


def test_dtype_and_out_agree(rng):
    patches = rng.normal(size=(6, 3))
    out = np.zeros(8, np.float32)
    assert pt.unpatchify(patches, 8, out=out, dtype=np.float32) is out
    np.testing.assert_allclose(out, pt.unpatchify(patches, 8), rtol=1e-6)
    wide = np.full((8, 2), np.nan)
    pt.unpatchify(patches, 8, out=wide[:, 1])
    assert_same_bits(wide[:, 1].copy(), pt.unpatchify(patches, 8))
    assert np.isnan(wide[:, 0]).all()


# unpatchify: merges and weights


def test_merges_by_hand():
    patches = np.array([[1.0, 5.0, 3.0], [7.0, 1.0, 2.0], [9.0, 4.0, 8.0]])
    expected = {
        "sum": [1, 12, 13, 6, 8],
        "mean": [1, 6, 13 / 3, 3, 8],
        "max": [1, 7, 9, 4, 8],
        "min": [1, 5, 1, 2, 8],
        "median": [1, 6, 3, 3, 8],
        "var": [0, 1, np.var([3, 1, 9]), 1, 0],
        "first": [1, 5, 3, 2, 8],
        "last": [1, 7, 9, 4, 8],
        "center": [1, 5, 1, 4, 8],
    }
    for merge, image in expected.items():
        np.testing.assert_allclose(
            pt.unpatchify(patches, 5, merge=merge), image, rtol=1e-15, err_msg=merge
        )


def test_votes_by_hand():
    labels = np.array([[3, 1, 1], [1, 2, 2], [2, 9, 0]], np.uint8)
    assert pt.unpatchify(labels, 5, merge="vote").tolist() == [
        3,
        1,
        2,
        2,
        0,
    ]  # a tie at 3: the smallest
    heavy = pt.unpatchify(labels, 5, merge="vote", patch_weights=[5, 1, 3])
    assert heavy.tolist() == [3, 1, 1, 9, 0]


def test_values_in_the_padding_reach_no_median_and_no_vote():
    grid = pt.PatchGrid((1, 1), (1, 3), pad=((0, 0), (3, 1)))  # more patches meet beside the image
    patches = np.arange(1.0, 10.0).reshape(3, 1, 3)
    assert pt.unpatchify(patches, grid, merge="median").tolist() == [[7]]  # of 6 and 8
    assert pt.unpatchify(patches, grid, merge="vote").tolist() == [[6]]


@pytest.mark.parametrize("shape", [(5, 5), (6, 5), (4, 7)])
def test_two_patches_closer_than_the_step(shape):
    image = np.arange(float(np.prod(shape))).reshape(shape)
    grid = pt.PatchGrid(shape, 3, 3)
    for layout in ("patch", "feature"):
        patches = pt.extract(image, grid, layout=layout)
        assert_agrees(patches, slow.extract(image, grid), exact=True)
        assert_agrees(pt.unpatchify(patches, grid), image)


def test_center_takes_the_nearest_centre_and_ties_go_to_the_lower_index():
    grid = pt.PatchGrid((5, 5), 3, 2)
    patches = np.broadcast_to(np.arange(4)[:, None, None], (4, 3, 3))
    assert pt.unpatchify(patches, grid, merge="center").tolist() == [
        [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [2, 2, 2, 3, 3], [2, 2, 2, 3, 3],
    ]  # fmt: skip
    even = pt.unpatchify(np.array([[0] * 4, [1] * 4]), pt.PatchGrid(6, 4, 2), merge="center")
    assert even.tolist() == [0, 0, 0, 1, 1, 1]  # middles at 1.5 and 3.5


def test_nearest_is_euclidean():
    grid = pt.PatchGrid((9, 9), 6, 3)
    patches = np.broadcast_to(np.arange(4)[:, None, None], (4, 6, 6))
    merged = pt.unpatchify(patches, grid, merge="center")
    assert_agrees(merged, slow.unpatchify(patches, grid, merge="center"))


def test_weights_by_hand():
    patches = np.array([[2.0, 4.0], [8.0, 6.0]])
    weights = np.array([1.0, 3.0])
    expected = [2, (3 * 4 + 8) / 4, 6]
    assert pt.unpatchify(patches, 3, weights=weights).tolist() == expected
    assert pt.unpatchify(patches, 3, weights=[weights]).tolist() == expected
    assert pt.unpatchify(patches, 3, weights=weights, merge="sum").tolist() == [2, 20, 18]
    both = pt.unpatchify(patches, 3, weights=weights, patch_weights=[2, 1])
    assert both.tolist() == [2, (6 * 4 + 8) / 7, 6]
    variance = pt.unpatchify(patches, 3, weights=weights, merge="var")
    np.testing.assert_allclose(variance, [0, (3 * 1 + 1 * 9) / 4, 0], rtol=1e-15)


def test_separable_weights_are_their_outer_product(rng):
    grid = pt.PatchGrid((9, 8), (4, 3), (2, 1))
    patches = rng.normal(size=(grid.n_patches, 4, 3))
    u, v = rng.random(4) + 0.1, rng.random(3) + 0.1
    np.testing.assert_allclose(
        pt.unpatchify(patches, grid, weights=(u, v)),
        pt.unpatchify(patches, grid, weights=np.outer(u, v)),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    "name", ["hann", "triang", "blackman", "bartlett", "cosine", "gaussian", "boxcar", "parzen"]
)
@pytest.mark.parametrize("patch", [1, 2, 3, 8])
def test_names_are_scipys_without_their_end_points(rng, name, patch):
    grid = pt.PatchGrid(20, patch, max(1, patch // 2))
    patches = rng.normal(size=(grid.n_patches, patch))
    merged = pt.unpatchify(patches, grid, weights=name)
    np.testing.assert_allclose(
        merged, pt.unpatchify(patches, grid, weights=slow.taper(name, (patch,))), rtol=1e-12
    )


def test_a_window_with_parameters():
    from scipy.signal import get_window

    patches = np.random.default_rng(1).normal(size=(5, 6))
    taper = get_window(("kaiser", 8.6), 8, fftbins=False)[1:-1]
    grid = pt.PatchGrid(14, 6, 2)
    np.testing.assert_allclose(
        pt.unpatchify(patches, grid, weights=("kaiser", 8.6)),
        pt.unpatchify(patches, grid, weights=taper),
        rtol=1e-12,
    )


@pytest.mark.parametrize("merge", ["mean", "sum"])
def test_trimming_keeps_what_is_nearest_to_its_own_centre(merge):
    grid = pt.PatchGrid((12, 10), (5, 4), (3, 2))
    patches = np.random.default_rng(3).normal(size=(grid.n_patches, 5, 4))
    trimmed = pt.unpatchify(patches, grid, merge=merge, weights="trim")
    for element in np.ndindex(12, 10):
        touching = grid.locate(element)
        values = {
            patches[i][tuple(e - s.start for e, s in zip(element, grid[i], strict=True))]
            for i in touching
        }
        assert trimmed[element] in values  # exactly one patch, not a blend
    one_axis = pt.unpatchify(
        np.array([[0.0] * 4, [1.0] * 4]), pt.PatchGrid(6, 4, 2), weights="trim"
    )
    assert one_axis.tolist() == [0, 0, 0, 1, 1, 1]


def test_trimming_restores_a_covered_image(rng):
    image = rng.normal(size=(12, 11))
    for grid in (
        pt.PatchGrid((12, 11), (5, 4), (3, 2)),
        pt.PatchGrid((12, 11), 4, 3, tail="respace"),
    ):
        assert_agrees(
            pt.unpatchify(pt.extract(image, grid), grid, weights="trim"), image, exact=True
        )


def test_holes_take_the_fill():
    grid = pt.PatchGrid(7, 2, 5, tail="drop")
    patches = np.array([[1, 2], [3, 4]], np.uint8)
    assert pt.unpatchify(patches, grid, fill=9, merge="max").tolist() == [1, 2, 9, 9, 9, 3, 4]
    assert np.isnan(pt.unpatchify(patches, grid, fill=np.nan)[2:5]).all()


# Merge values


def geometric_mean():
    def init(shape, _):
        return np.zeros(shape), np.zeros(shape)

    def accumulate(state, values, weights):
        total, weight = state
        w = 1.0 if weights is None else weights
        total += w * np.log(values)
        weight += w

    def combine(state, other):
        for mine, theirs in zip(state, other, strict=True):
            mine += theirs

    def finalize(state):
        return np.exp(state[0] / state[1])

    return pt.Merge(init=init, accumulate=accumulate, combine=combine, finalize=finalize)


@pytest.mark.parametrize("weights", [None, "hann"])
def test_a_merge_of_ones_own(rng, weights):
    grid = pt.PatchGrid((7, 8), 3, 2, tail="respace")
    patches = rng.random((grid.n_patches, 3, 3)) + 0.5
    expected = np.exp(pt.unpatchify(np.log(patches), grid, weights=weights))
    merged = pt.unpatchify(patches, grid, merge=geometric_mean(), weights=weights)
    np.testing.assert_allclose(merged, expected, rtol=1e-12)
    merger = pt.Merger(grid, merge=geometric_mean(), weights=weights)
    for i in reversed(range(grid.n_patches)):
        merger.add(patches[i : i + 1], [i])
    np.testing.assert_allclose(merger.result(), expected, rtol=1e-12)


def test_a_merge_of_ones_own_with_padding_and_dilation(rng):
    grid = pt.PatchGrid((7, 8), (3, 2), 1, dilation=2, pad="same", pad_mode="reflect")
    patches = rng.random((grid.n_patches, 3, 2)) + 0.5
    merged = pt.unpatchify(patches, grid, merge=geometric_mean())
    np.testing.assert_allclose(merged, np.exp(pt.unpatchify(np.log(patches), grid)), rtol=1e-12)


# Merger


def test_a_merger_takes_pieces(rng):
    image = rng.normal(size=(9, 8))
    grid = pt.PatchGrid(image.shape, 3, 2)
    patches = pt.extract(image, grid)
    merger = pt.Merger(grid, weights="hann")
    merger.add(patches[4:], np.arange(4, grid.n_patches))
    merger.add(patches[:4], [0, 1, 2, 3])
    assert merger.coverage().tolist() == grid.coverage().tolist()
    np.testing.assert_allclose(merger.result(), image, rtol=1e-13)


def test_a_result_may_be_read_between_pieces(rng):
    grid = pt.PatchGrid(6, 2, 2)
    patches = rng.normal(size=(3, 2))
    merger = pt.Merger(grid, fill=0)
    merger.add(patches[:1], [0])
    first = merger.result()
    assert first.tolist() == [*patches[0], 0, 0, 0, 0]
    merger.add(patches[[2]], [-1])
    assert first.tolist() == [*patches[0], 0, 0, 0, 0]
    assert merger.result().tolist() == [*patches[0], 0, 0, *patches[2]]
    assert merger.coverage().tolist() == [1, 1, 0, 0, 1, 1]


def test_patch_weights_of_pieces(rng):
    grid = pt.PatchGrid((7, 7), 3, 2)
    patches = rng.normal(size=(grid.n_patches, 3, 3))
    factors = rng.random(grid.n_patches) + 0.1
    merger = pt.Merger(grid)
    for piece in np.array_split(rng.permutation(grid.n_patches), 3):
        merger.add(patches[piece], piece, patch_weights=factors[piece])
    expected = pt.unpatchify(patches, grid, patch_weights=factors)
    np.testing.assert_allclose(merger.result(), expected, rtol=1e-12)


def test_a_merger_refuses_holes_until_they_are_filled(rng):
    grid = pt.PatchGrid(6, 2, 2)
    merger = pt.Merger(grid)
    merger.add(rng.normal(size=(2, 2)), [0, 2])
    with pytest.raises(ValueError, match="fill"):
        merger.result()
    merger.add(np.ones((1, 2)), [1])
    assert merger.result()[2:4].tolist() == [1, 1]


def test_a_merger_of_channels_and_batches(rng):
    images = rng.normal(size=(2, 3, 7, 8))
    grid = pt.PatchGrid((7, 8), 3)
    patches = pt.extract(images, grid, channel_axis=1)
    assert patches.shape == (2, grid.n_patches, 3, 3, 3)
    merger = pt.Merger(grid, channel_axis=1)
    merger.add(patches[:, ::2], range(0, grid.n_patches, 2))
    merger.add(patches[:, 1::2], range(1, grid.n_patches, 2))
    np.testing.assert_allclose(merger.result(), images, rtol=1e-13)


def test_the_same_patch_twice_counts_twice():
    merger = pt.Merger(pt.PatchGrid(2, 2))
    merger.add([[1.0, 2.0], [3.0, 6.0]], [0, 0])
    assert merger.result().tolist() == [2, 4]
    assert merger.coverage().tolist() == [2, 2]

"""`pantile.compat.matlab` against loops over blocks in Fortran order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.outcomes import assert_same_array
from pantile.compat.matlab import col2im, im2col


def slow_im2col(image: np.ndarray, block: tuple[int, ...], kind: str, pad: int = 0) -> np.ndarray:
    """Return the blocks, first axis fastest, each developed first axis fastest."""
    step = (1,) * image.ndim
    if kind == "distinct":
        step = block
        rest = [(0, -n % b) for n, b in zip(image.shape, block, strict=True)]
        image = np.pad(image, rest, constant_values=pad)
    starts = [range(0, n - b + 1, s) for n, b, s in zip(image.shape, block, step, strict=True)]
    columns = [
        image[tuple(slice(a, a + b) for a, b in zip(at[::-1], block, strict=True))].ravel("F")
        for at in itertools.product(*starts[::-1])
    ]
    return np.stack(columns, axis=1)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...], str]:
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    dtype = draw(st.sampled_from(["u1", "f8"]))
    order = draw(st.sampled_from(["C", "F"]))
    image = np.arange(np.prod(shape)).reshape(shape, order="F").astype(dtype, order=order)
    block = tuple(draw(st.integers(1, n)) for n in shape)
    return image, block, draw(st.sampled_from(["sliding", "distinct"]))


@given(case=cases())
def test_blocks_become_columns_and_come_back(case):
    image, block, kind = case
    columns = im2col(image, block, kind)
    assert_same_array(columns, slow_im2col(image, block, kind))
    assert not np.shares_memory(columns, image)
    back = col2im(columns, block, image.shape, kind, merge="mean" if kind == "sliding" else None)
    assert_same_array(back, image.astype(back.dtype))
    assert back.dtype == (np.float64 if kind == "sliding" else image.dtype)


@given(case=cases())
def test_one_value_per_sliding_block_becomes_a_smaller_image(case):
    image, block, _ = case
    row = im2col(image, block, "sliding").max(axis=0)
    found = col2im(row, block, image.shape)
    windows = np.lib.stride_tricks.sliding_window_view(image, block)
    assert_same_array(found, windows.max(axis=tuple(range(image.ndim, 2 * image.ndim))))
    assert_same_array(col2im(row[None], block, image.shape), found)
    assert_same_array(col2im(row[:, None], block, image.shape), found)


def test_what_matlabs_page_shows():
    """`reshape(uint8(1:25), [5 5])'` in distinct blocks of 1x2 and back."""
    image = np.arange(1, 26, dtype=np.uint8).reshape(5, 5)
    columns = im2col(image, (1, 2), "distinct")
    assert columns[:, :6].tolist() == [[1, 6, 11, 16, 21, 3], [2, 7, 12, 17, 22, 4]]
    assert columns[:, -1].tolist() == [25, 0]
    assert_same_array(col2im(columns, (1, 2), (5, 5), "distinct"), image)


@pytest.mark.parametrize(("dtype", "value"), [("f8", 1), ("u1", 0), ("?", 0)])
def test_indexed_images_are_padded_with_their_first_colour(dtype, value):
    image = np.ones((2, 3), dtype) * 0
    columns = im2col(image.astype(dtype), (2, 2), "distinct", indexed=True)
    assert_same_array(columns, slow_im2col(image.astype(dtype), (2, 2), "distinct", value))
    assert columns[2:, 1].tolist() == [value, value]


def test_sliding_blocks_are_not_merged_without_a_word():
    columns = im2col(np.arange(12.0).reshape(3, 4), (2, 2))
    with pytest.raises(ValueError, match="merge='mean'"):
        col2im(columns, (2, 2), (3, 4))
    with pytest.raises(ValueError, match="6 blocks"):
        col2im(columns[0, :-1], (2, 2), (3, 4))
    with pytest.raises(ValueError, match=r"\(4, 6\)"):
        col2im(columns[:, :-1], (2, 2), (3, 4), merge="mean")
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        col2im(columns, (2, 2), (3, 4), "distinct")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((3, 4), (4, 1)), "patch"),
        (((3, 4), (2, 2), "Sliding"), "block_type"),
        (((3, 4), (2, 2, 2)), "block_size"),
        (((3, 4), 0), "block_size"),
    ],
)
def test_errors_name_the_argument(arguments, words):
    shape, *rest = arguments
    with pytest.raises(ValueError, match=words):
        im2col(np.zeros(shape), *rest)


def test_masked_arrays_are_refused():
    with pytest.raises(TypeError, match="mask"):
        im2col(np.ma.masked_equal(np.zeros((3, 3)), 0), 2)

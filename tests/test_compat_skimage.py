"""`pantile.compat.skimage` gives scikit-image's windows and blocks, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.util import view_as_blocks as original_blocks
from skimage.util import view_as_windows as original_windows

from conformance.outcomes import assert_same_outcome, outcome, plain_type
from pantile.compat.skimage import view_as_blocks, view_as_windows

number = st.one_of(st.integers(-1, 5), st.sampled_from([2.0, np.int16(2)]))
numbers = st.one_of(number, st.lists(number, min_size=1, max_size=3).map(tuple))
whole = st.integers(-1, 5)  # a step of 2.0 beside one of 0 would be two mistakes
steps = st.one_of(whole, st.lists(whole, min_size=1, max_size=3).map(tuple))


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.lists(st.integers(0, 6), min_size=1, max_size=3))
    dtype = draw(st.sampled_from(["u1", "f4", "c16", "O"]))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    array = array.T[::-1] if draw(st.booleans()) else array
    array.flags.writeable = draw(st.booleans())
    return array


def assert_same_memory(found: np.ndarray, wanted: np.ndarray) -> None:
    """The same elements of the same array; how far axes of length 1 would go does not matter."""
    assert found.ctypes.data == wanted.ctypes.data or not wanted.size
    for each, expected, n in zip(found.strides, wanted.strides, wanted.shape, strict=True):
        assert each == expected or n < 2


@given(array=arrays(), window=numbers, step=steps)
def test_windows_are_scikit_images(array, window, step):
    wanted = outcome(original_windows, array, window, step)
    if np.min(step) < 0 and not isinstance(wanted, Exception):
        found = outcome(view_as_windows, array, window, step)
        assert isinstance(found, ValueError), "negative steps would read beside the array"
        return
    found, wanted = assert_same_outcome(view_as_windows, original_windows, array, window, step)
    if isinstance(wanted, np.ndarray):
        # where an element is in two windows, or the array is read-only, so is the view
        apart = np.all(np.greater_equal(step, window))
        assert found.flags.writeable == (array.flags.writeable and bool(apart))
        assert_same_memory(found, wanted)


@given(array=arrays(), block=st.lists(st.integers(-1, 4), max_size=3).map(tuple))
def test_blocks_are_scikit_images(array, block):
    wanted = outcome(original_blocks, array, block)
    if isinstance(wanted, np.ndarray) and not wanted.size:
        assert isinstance(outcome(view_as_blocks, array, block), ValueError)
        return
    found, wanted = assert_same_outcome(view_as_blocks, original_blocks, array, block)
    if isinstance(wanted, np.ndarray):
        assert found.flags.writeable == wanted.flags.writeable == array.flags.writeable
        assert_same_memory(found, wanted)


@pytest.mark.parametrize(
    "arguments",
    [
        ([[1, 2]], 1),
        (np.zeros((3, 3)), "ab"),
        (np.zeros((3, 3)), None),
        (np.zeros((3, 3)), 2, "ab"),
        (np.zeros((3, 3)), 2, (1,)),
        (np.zeros((3, 3)), 2, 1.0),
        (np.zeros((3, 3)), np.array([2, 3]), [1, 2]),
        (np.array(3.0), ()),
        (np.array(3.0), 2),
    ],
)
def test_odd_arguments_end_as_scikit_images(arguments):
    assert_same_outcome(view_as_windows, original_windows, *arguments)


@pytest.mark.parametrize("block", [[1, 2], 2, (2, 2.0), ("a", 2)])
def test_odd_blocks_end_as_scikit_images(block):
    assert_same_outcome(view_as_blocks, original_blocks, np.zeros((4, 4)), block)


def test_blocks_write_to_the_image():
    image = np.zeros((4, 4))
    view_as_blocks(image, (2, 2))[1, 0] = 5
    assert image[2:, :2].tolist() == [[5, 5], [5, 5]]
    assert image.sum() == 20


def test_overlapping_windows_write_only_when_asked():
    image = np.zeros(4)
    with pytest.raises(ValueError, match="read-only"):
        view_as_windows(image, 2)[0] = 1
    view_as_windows(image, 2, writeable=True)[0] = 1
    assert image.tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        view_as_windows(image, 2, 2, writeable=False)[0] = 1


def test_what_scikit_image_distorts_is_refused():
    image = np.arange(16.0).reshape(4, 4)
    masked = np.ma.masked_greater(image, 5)
    for ours, theirs, arguments, error in [
        (view_as_windows, original_windows, (image, 2.5), ValueError),
        (view_as_windows, original_windows, (masked, 2), TypeError),
        (view_as_blocks, original_blocks, (masked, (2, 2)), TypeError),
    ]:
        assert type(outcome(theirs, *arguments)) is np.ndarray
        assert plain_type(outcome(ours, *arguments)) is error

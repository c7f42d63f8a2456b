"""Labels as places among classes: by table where they are near each other, by search where not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pantile.geometry.limits import LIMITS
from pantile.learn.labels import encode, encode_classes

DTYPES = [np.dtype(c) for c in "bBhHiIlLqQ"]


@st.composite
def near_and_far(draw):
    """Whole numbers at an end of their type or around its middle, near each other or not."""
    dtype = draw(st.sampled_from(DTYPES))
    info = np.iinfo(dtype)
    low = draw(st.sampled_from([int(info.min), int(info.max) - 100, max(int(info.min), -50)]))
    high = draw(st.sampled_from([low + 100, int(info.max)]))
    shape = draw(hnp.array_shapes(max_dims=3, max_side=9))
    return draw(hnp.arrays(dtype, shape, elements=st.integers(low, high)))


@given(near_and_far(), st.data())
def test_codes_are_places_among_the_different_labels(labels, data):
    unlabelled = data.draw(st.sampled_from([None, int(labels.flat[0])]))
    mark = -1 if unlabelled is None and labels.dtype.kind == "i" else unlabelled
    known = np.unique(labels) if mark is None else np.unique(labels[labels != mark])
    if not len(known):
        with pytest.raises(ValueError, match="every pixel is unlabelled"):
            encode_classes([labels], unlabelled)
        return
    classes, (codes,) = encode_classes([labels], unlabelled)
    np.testing.assert_array_equal(classes, known)
    assert classes.dtype == labels.dtype
    expected = [list(known).index(x) if x in known else -1 for x in labels.ravel()]
    np.testing.assert_array_equal(codes, np.reshape(expected, labels.shape))
    assert codes.dtype == np.min_scalar_type(-len(classes))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_labels_far_beyond_the_classes_are_none_of_them(dtype):
    info = np.iinfo(dtype)
    for least in (info.min, info.max - 3, 1):
        classes = np.array([least, least + 1, least + 3], dtype)
        labels = np.array([info.min, info.max, least, least + 1, least + 2, least + 3], dtype)
        expected = [list(classes).index(x) if x in classes else -1 for x in labels]
        np.testing.assert_array_equal(encode(labels, classes), expected)


def test_classes_on_both_sides_of_the_largest_table_have_their_places():
    for last in (LIMITS.label_span_elements - 1, LIMITS.label_span_elements):
        labels = np.array([0, last, 5, last - 1])
        classes, (codes,) = encode_classes([labels])
        np.testing.assert_array_equal(classes, [0, 5, last - 1, last])
        np.testing.assert_array_equal(codes, [0, 3, 1, 2])

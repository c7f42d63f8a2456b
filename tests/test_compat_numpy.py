"""`pantile.compat.numpy` gives NumPy's answers, its errors, its flags, on its own strides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view as original

from conformance.outcomes import assert_same_outcome, outcome
from pantile.compat.numpy import sliding_window_view

DTYPES = ["u1", "f2", "f8", "c8", "M8[s]", "O", "S3", [("a", "i2"), ("b", "f4")]]
small = st.integers(-1, 4)


@st.composite
def arrays(draw: st.DrawFn, least: int = 0) -> np.ndarray:
    shape = draw(st.lists(st.integers(0, 5), min_size=least, max_size=3))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype("i8")
    dtype = draw(st.sampled_from(DTYPES))
    array = array.astype("f8").astype(dtype) if dtype == "f2" else _as(array, dtype)
    if draw(st.booleans()):
        array = array.T
    if draw(st.booleans()) and array.ndim:
        array = array[:: draw(st.sampled_from([-2, -1, 2]))]
    array.flags.writeable = draw(st.booleans())
    return array


def _as(array: np.ndarray, dtype: object) -> np.ndarray:
    made = np.zeros(array.shape, dtype)  # type: ignore[call-overload]
    if made.dtype.names:
        made["a"] = array
    else:
        made[...] = array.astype(made.dtype)
    return made


@given(data=st.data())
def test_the_outcome_is_numpys(data):
    array = data.draw(arrays())
    windows = data.draw(st.one_of(small, st.lists(small, max_size=3).map(tuple)))
    axis = data.draw(st.one_of(st.none(), small, st.lists(small, max_size=3).map(tuple)))
    options = data.draw(st.fixed_dictionaries({}, optional={"writeable": st.booleans()}))
    found, wanted = assert_same_outcome(
        sliding_window_view, original, array, windows, axis, **options
    )
    if isinstance(wanted, np.ndarray):
        assert found.flags.writeable == wanted.flags.writeable
        if wanted.size:
            assert found.strides == wanted.strides
            assert found.ctypes.data == wanted.ctypes.data


@pytest.mark.parametrize(
    "arguments",
    [
        ([[1, 2, 3]], (1, 2)),
        (range(5), 2),
        (3, ()),
        (np.zeros(4), 2.0),
        (np.zeros(4), "a"),
        (np.zeros(4), True),
        (np.zeros(4), 2, 1.5),
        (np.zeros(4), None),
        (np.zeros((2, 3)), 2, 7),
        (np.zeros((2, 3)), np.array([2, 2])),
        (np.zeros((2, 3)), np.int8(2), np.int8(1)),
        (np.broadcast_to(1.0, (4, 4)), (2, 2)),
        (np.zeros((2, 3)), (2, 2), (1, 1)),
        (np.zeros((2, 3)), (), ()),
    ],
)
def test_odd_arguments_end_as_numpys(arguments):
    assert_same_outcome(sliding_window_view, original, *arguments)
    assert_same_outcome(sliding_window_view, original, *arguments, writeable=True)


def test_writing_reaches_the_array_only_when_asked():
    array = np.arange(5)
    with pytest.raises(ValueError, match="read-only"):
        sliding_window_view(array, 2)[0, 0] = 9
    sliding_window_view(array, 2, writeable=True)[0, 1] = 9
    assert array.tolist() == [0, 9, 2, 3, 4]


class Kept(np.ndarray):
    """A subclass that carries something of its own."""

    def __array_finalize__(self, obj: object) -> None:
        self.note = getattr(obj, "note", None)


def test_subclasses_are_kept_with_what_they_carry():
    array = np.arange(6).view(Kept)
    array.note = "mine"
    found, wanted = (f(array, 2, subok=True) for f in (sliding_window_view, original))
    assert type(found) is type(wanted) is Kept
    assert found.note == wanted.note == "mine"
    np.testing.assert_array_equal(found, wanted)
    assert type(sliding_window_view(array, 2)) is np.ndarray


class Elsewhere:
    """Another library's array, which answers NumPy's functions for itself."""

    def __array_function__(self, function, types, args, kwargs):
        return function.__name__, kwargs


def test_other_libraries_arrays_answer_for_themselves():
    assert sliding_window_view(Elsewhere(), 3) == original(
        Elsewhere(), 3, None, subok=False, writeable=False
    )


def test_a_mask_is_not_dropped():
    masked = np.ma.masked_greater(np.arange(5.0), 2)
    assert not isinstance(original(masked, 2), np.ma.MaskedArray), "NumPy drops it"
    assert isinstance(outcome(sliding_window_view, masked, 2), TypeError)
    assert isinstance(outcome(sliding_window_view, masked, 2, subok=True), TypeError)

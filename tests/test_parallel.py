"""Work that is shared by all cores: every item once, the first error, and copies by feature in slabs and bands."""

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from pantile.geometry.limits import LIMITS, using_limits
from pantile.kernels import parallel
from pantile.kernels.parallel import each_in_parallel

SMALL = replace(LIMITS, cut_leaf_elements=8, cut_band_patches=4)


@pytest.fixture(autouse=True)
def _three_cores(monkeypatch):
    monkeypatch.setattr(parallel, "_pools", {})
    monkeypatch.setattr(parallel, "cores", lambda: 3)
    monkeypatch.setattr(sys.modules["pantile.ops.extract"], "cores", lambda: 3)
    yield
    parallel._close()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50])
def test_every_item_once(n):
    seen = []
    each_in_parallel(seen.append, range(n))
    assert sorted(seen) == list(range(n))


def test_the_first_error_is_raised_once_all_have_ended():
    seen = []

    def task(k):
        seen.append(k)
        if k in (3, 7):
            raise ValueError(str(k))

    with pytest.raises(ValueError, match="3"):
        each_in_parallel(task, range(12))
    assert sorted(seen) == list(range(12))


def test_numpy_errstate_of_the_caller_holds_everywhere():
    found = []
    with np.errstate(divide="raise"):
        each_in_parallel(lambda _: found.append(np.geterr()["divide"]), range(9))
    assert found == ["raise"] * 9


def test_calls_from_many_threads_do_not_wait_for_each_other_for_ever():
    totals = []

    def call():
        seen = []
        each_in_parallel(seen.append, range(20))
        totals.append(sum(seen))

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert totals == [190] * 16


@given(
    shape=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    patch=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    step=st.integers(1, 3),
    channels=st.booleans(),
)
def test_features_are_filled_in_slabs_and_bands(shape, patch, step, channels):
    shape = (*shape, 2) if channels else shape
    image = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    options = {"channel_axis": -1} if channels else {}
    grid = pt.PatchGrid(shape[:2], patch, step)
    want = pt.extract(image, grid, **options)
    with using_limits(SMALL):
        found = pt.extract(image, grid, layout="feature", **options)
    assert np.array_equal(found, want)


def test_large_copies_by_feature_equal_those_by_patch():
    image = np.random.default_rng(0).random((700, 500)).astype(np.float32)
    by_feature = pt.extract(image, 5, layout="feature")  # more patches than a band has
    assert np.array_equal(by_feature, pt.extract(image, 5))

"""`Merger` fed many times: an add costs what its patches cost, keeps nothing, and is done whole or not at all."""

from __future__ import annotations

import gc
import itertools
import math
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pantile as pt
from pantile.geometry.limits import Limits, using_limits
from pantile.kernels.exact import _CACHED
from pantile.merge import extrema, keep_all, pick, quick, sums, variance
from pantile.merge.quick import quick_adds
from pantile.merge.spec import MERGES
from pantile.ops import merger as merger_module
from pantile.testing import strategies
from pantile.testing.compare import assert_agrees

Array = NDArray[Any]
RNG = np.random.default_rng(4)


def total() -> pt.Merge:
    """A user's own merge: the sum."""

    def accumulate(state: Any, values: Array, weights: Array | None) -> None:
        state[0][...] += values if weights is None else values * weights

    return pt.Merge(
        init=lambda shape, _: (np.zeros(shape),),
        accumulate=accumulate,
        combine=lambda state, other: state[0].__iadd__(other[0]),
        finalize=lambda state: state[0],
    )


LOOPS: list[tuple[Any, str]] = [
    (sums, "add_exactly"),
    (quick, "add_exactly_at"),
    (quick, "merge_at"),
    (sums, "add_by_patch"),
    (extrema, "keep_largest"),
    (extrema, "keep_smallest"),
    (pick, "pick"),
    (keep_all, "keep_all"),
    (variance, "add_moments"),
]
"""What puts the patches of each merge into its sums, where it is called."""


EVERY: dict[str, Any] = {name: name for name in MERGES} | {"a user's": total()}


def peak_of(call: Callable[[], Any]) -> int:
    """Bytes that a call holds at once, at most."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("merge", EVERY)
def test_an_add_takes_no_more_memory_on_a_large_image(merge: str) -> None:
    """It copied the count image every time."""
    peaks = []
    for side in (100, 1600):
        merger = pt.Merger(pt.PatchGrid((side, side), 16, 4), merge=EVERY[merge], fill=0)
        patches = RNG.integers(0, 100, (8, 16, 16))
        for _ in range(3):  # median and vote make room for three values per element
            merger.add(patches, np.arange(8))
        peaks.append(peak_of(lambda: merger.add(patches, np.arange(100, 108))))  # noqa: B023
    assert peaks[1] < 1.5 * peaks[0] + 4000


def test_adding_again_and_again_keeps_nothing() -> None:
    """60 adds on 4000x4000 grew the process by 7 GB."""
    merger = pt.Merger(pt.PatchGrid((400, 400), 16, 4), merge="var")
    seen: list[weakref.ref[Any]] = []

    def add() -> None:
        patches, rows = RNG.random((8, 16, 16)), RNG.integers(0, 9000, 8)
        merger.add(patches, rows)
        seen.extend([weakref.ref(patches), weakref.ref(rows)])

    for _ in range(20):
        add()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            add()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before - sys.getsizeof(seen)
    finally:
        tracemalloc.stop()
    assert not any(ref() is not None for ref in seen)
    assert grown < 150_000  # a count image is 1.3 MB; weak references are some


@pytest.mark.parametrize("merge", EVERY)
@pytest.mark.parametrize("wrong", ["dtype", "shape", "index", "weights", "in the middle"])
def test_an_add_that_fails_adds_nothing(
    merge: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = pt.PatchGrid((20, 23), 5, 2)
    merger = pt.Merger(grid, merge=EVERY[merge])
    patches = RNG.integers(0, 9, (len(grid), 5, 5)).astype(float)
    merger.add(patches, np.arange(len(grid)))
    before, counted = merger.result(), merger.coverage()
    some = patches[:3] + 1
    arguments: dict[str, tuple[Any, ...]] = {
        "dtype": (some.astype(np.float32), [0, 1, 2]),
        "shape": (some[:, :4], [0, 1, 2]),
        "index": (some, [0, 1, len(grid)]),
        "weights": (some, [0, 1, 2], [1, 1, 1]),
        "in the middle": (some, [0, 1, 2]),
    }
    with monkeypatch.context() as patch:
        if wrong == "in the middle" and merge == "a user's":
            calls = itertools.count()

            def accumulate(state: Any, values: Array, _: Any) -> None:
                state[0][:2] += values[:2]
                if next(calls) == 2:
                    raise ValueError("the third patch is not to its liking")

            object.__setattr__(EVERY[merge], "accumulate", accumulate)
        elif wrong == "in the middle":
            for module, kernel in LOOPS:
                patch.setattr(module, kernel, _fail)
        with pytest.raises((TypeError, ValueError, IndexError)):
            merger.add(*arguments[wrong])
    EVERY["a user's"] = total()
    np.testing.assert_array_equal(merger.result(), before)
    np.testing.assert_array_equal(merger.coverage(), counted)


def _fail(*_: Any) -> None:
    raise ValueError("no")


def test_sums_of_64_bit_integers_do_not_wrap_over_several_adds() -> None:
    """Only the values of the last add were looked at: smaller ones on top of large ones wrapped."""
    merger = pt.Merger(pt.PatchGrid(4, 4), merge="sum")
    sums = 2**60
    merger.add(np.full((1, 4), 2**60), [0])
    for _ in range(40):
        try:
            merger.add(np.full((1, 4), 2**59), [0])
        except OverflowError:
            break
        sums += 2**59
    assert 2**61 < sums < 2**63
    np.testing.assert_array_equal(merger.result(), sums)


@given(st.data())
def test_many_small_adds_are_one_large_one(data: st.DataObject) -> None:
    merge = data.draw(st.sampled_from(sorted(MERGES)))
    taper = data.draw(st.sampled_from([None, "hann"])) if merge in ("mean", "sum", "vote") else None
    channel = data.draw(st.sampled_from([None, 0, 1, 2]))
    batch = data.draw(st.booleans()) and channel is None
    tail = data.draw(st.sampled_from(["shift", "respace", "drop"]))
    grid = pt.PatchGrid((11, 14), (4, 3), (3, 2), tail=tail)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = [2] * batch + [11, 14]
    if channel is not None:
        shape.insert(channel, 3)
    dtype = data.draw(st.sampled_from([np.uint8, np.float32, np.float64, np.int64]))
    image = rng.integers(0, 7, shape).astype(dtype)
    if dtype in (np.float32, np.float64):
        image = image + np.asarray(rng.random(shape) - 0.5, dtype)
    axes = {"axes": (1, 2)} if batch else {"channel_axis": channel}
    patches = pt.extract(image, grid, **axes)
    n_axis = 1 if batch else 0
    options = dict(merge=merge, weights=taper, fill=0, **axes)
    whole, some = pt.Merger(grid, **options), pt.Merger(grid, **options)
    rows = rng.permutation(np.r_[np.arange(len(grid)), rng.integers(0, len(grid), 9)])
    whole.add(patches.take(rows, axis=n_axis), rows)
    for part in np.array_split(rows, data.draw(st.integers(1, 20))):
        some.add(patches.take(part, axis=n_axis), part)
    np.testing.assert_array_equal(whole.coverage(), some.coverage())
    if dtype in (np.float32, np.float64) and merge in ("mean", "sum", "var"):
        np.testing.assert_allclose(whole.result(), some.result(), rtol=1e-13, atol=1e-15)
    else:
        np.testing.assert_array_equal(whole.result(), some.result())


def test_a_merger_shows_itself_in_a_line() -> None:
    merger = pt.Merger(pt.PatchGrid((40, 50), 8, 4), weights=np.ones((8, 8)))
    assert "0 patches added" in repr(merger)
    merger.add(np.zeros((3, 8, 8), np.float32), [0, 1, 2])
    assert "3 patches of float32 added" in repr(merger)
    assert "\n" not in repr(merger)
    assert len(repr(merger)) < 200


def test_a_result_takes_little_memory_beside_itself() -> None:
    grid = pt.PatchGrid((1500, 1400), 8)
    merger = pt.Merger(grid, fill=0)
    patches = np.random.default_rng(0).random((16, 8, 8))
    merger.add(patches, np.arange(16) * 60_000, np.arange(1, 17))
    image = merger.result()
    tracemalloc.start()
    try:
        again = merger.result()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(again, image)
    assert image[grid[60_000]].sum() == pytest.approx(patches[1].sum())
    assert peak < 1.5 * image.nbytes  # 3.3, when sums, quotient and holes were whole


@pytest.mark.parametrize("merge", ["mean", "median", "var", "max", "center", "vote"])
def test_a_result_does_not_depend_on_the_bands_it_is_made_in(merge: Any) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 9, (3, 50, 41)).astype(float)
    grid = pt.PatchGrid((50, 41), (9, 7), 3)
    merger = pt.Merger(grid, merge=merge, channel_axis=0, fill=-1)
    rows = rng.integers(0, len(grid), 60)
    merger.add(pt.extract(image, grid, indices=rows, channel_axis=0), rows)
    whole = merger.result()
    with using_limits(Limits(band_elements=300)):
        np.testing.assert_array_equal(merger.result(), whole)
    if merge != "var":
        covered = merger.coverage() > 0
        np.testing.assert_allclose(whole[:, covered], image[:, covered], rtol=1e-15)


@settings(deadline=None)
@given(data=st.data())
def test_patches_in_the_common_form_give_the_bits_of_the_general_way(data: Any) -> None:
    grid = data.draw(strategies.grids())
    merge = data.draw(st.sampled_from(["mean", "sum", "max", "min"]))
    sums, flat = merge in ("mean", "sum"), data.draw(st.booleans())
    dtypes = [np.float32, np.float64, np.uint8, np.int16, np.int64]
    dtype = data.draw(st.sampled_from([*dtypes, np.complex128] if sums else dtypes))
    weights = data.draw(st.none() | strategies.tapers(grid.patch)) if sums else None
    weighted = sums and data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    found = []
    for way in (quick_adds, lambda *_: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(merger_module, "quick_adds", way)
            merger = pt.Merger(grid, merge=merge, weights=weights, fill=1)
            state = rng.bit_generator.state
            for n in (3, 1, 40):
                rows = rng.integers(-len(grid), len(grid), n)
                patches = rng.normal(size=(n, *grid.patch)) * 10.0 ** rng.integers(0, 9)
                if np.dtype(dtype).kind in "iu":
                    patches = np.abs(patches) % 100
                patches = patches.astype(dtype)
                if not sums and patches.dtype.kind == "f":
                    patches[rng.random(patches.shape) < 0.1] = np.nan
                each = rng.integers(0, 9, n) / 3 if weighted else None
                merger.add(patches.reshape(n, -1) if flat else patches, rows, each)
            rng.bit_generator.state = state
            assert merger._target is not None
            found.append([*merger._target.state, merger.result(), merger.coverage()])
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def test_a_small_add_is_one_call_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 adds of 16 patches took 1.9 times the time of a loop over the patches."""
    calls = []

    def counted(*arguments: Any) -> bool:
        calls.append(1)
        return add_exactly_at(*arguments)

    add_exactly_at = quick.add_exactly_at
    monkeypatch.setattr(quick, "add_exactly_at", counted)
    monkeypatch.setattr(sums, "add_exactly", _fail)
    monkeypatch.setattr(merger_module, "count", _fail)
    grid = pt.PatchGrid((20, 23), 5)
    merger = pt.Merger(grid)
    for part in np.array_split(np.arange(len(grid)), 9):
        merger.add(np.full((len(part), 5, 5), 2.5), part, np.full(len(part), 0.5))
    assert len(calls) == 9
    np.testing.assert_array_equal(merger.coverage(), grid.coverage())
    np.testing.assert_array_equal(merger.result(), np.full((20, 23), 2.5))


@pytest.mark.parametrize(
    ("indices", "patch_weights", "error", "said"),
    [
        ([0, 1, 304], [1, 1, 1], IndexError, "run from 0 to 304, but the grid has 304 patches"),
        ([0, -305, 1], [1, 1, 1], IndexError, "run from -305 to 1"),
        ([0, 1, 2], [1, np.nan, 1], ValueError, "finite and not negative"),
        ([0, 1, 2], [1, 1, -1], ValueError, "finite and not negative"),
        ([0, 1, 2], [np.inf, 1, 1], ValueError, "finite and not negative"),
        ([0, 1, 2], [1, 1, 1e-101], ValueError, "between 1e-100 and 1e\\+100"),
        ([0, 1, 2], [1, 1], ValueError, "patch_weights must be 3 real numbers"),
        ([0, 1], [1, 1, 1], ValueError, "patch_weights must be 2 real numbers"),
        ([0, 1], [1, 1], ValueError, "do not fit 2 indices"),
    ],
)
def test_what_is_wrong_with_a_later_add_is_said_and_nothing_added(
    indices: Any, patch_weights: Any, error: type[Exception], said: str
) -> None:
    grid = pt.PatchGrid((20, 23), 5)
    assert len(grid) == 304
    merger = pt.Merger(grid, fill=0)
    patches = RNG.random((3, 5, 5))
    merger.add(patches, np.array([7, 8, -1]), np.ones(3))
    before, counted = merger.result(), merger.coverage()
    with pytest.raises(error, match=said):
        merger.add(patches, np.array(indices), np.array(patch_weights, dtype=float))
    np.testing.assert_array_equal(merger.result(), before)
    np.testing.assert_array_equal(merger.coverage(), counted)
    assert "3 patches" in repr(merger)


@pytest.mark.parametrize("merge", ["mean", "max"])
def test_patches_are_counted_past_the_counts_first_dtype(
    merge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts are 16-bit, a quarter of the memory, until an element may have more; here 8-bit."""
    monkeypatch.setattr(merger_module, "_COUNTED_IN", (np.uint8, np.uint16, np.uint32))
    merger = pt.Merger(pt.PatchGrid((6, 7), 3), merge=merge, fill=0)
    for k in range(13):
        merger.add(np.full((20, 3, 3), float(k % 2)), np.zeros(20, int))
        assert merger.coverage()[0, 0] == 20 * (k + 1)
    assert merger._counts.dtype == np.uint16
    assert merger.coverage().dtype == np.int64
    assert merger.result()[1, 1] == pytest.approx(6 / 13 if merge == "mean" else 1)


def test_counts_stay_small_where_many_patches_lie_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1.6 million patches in groups no more than some hundreds met in one element."""
    monkeypatch.setattr(merger_module, "_COUNTED_IN", (np.uint8, np.uint16, np.uint32))
    grid = pt.PatchGrid((40, 50), 8, 8)
    merger = pt.Merger(grid, fill=0)
    for _ in range(40):
        merger.add(np.ones((len(grid), 8, 8)), np.arange(len(grid)))
    assert merger._counts.dtype == np.uint8
    np.testing.assert_array_equal(merger.coverage(), 40 * grid.coverage())


@pytest.mark.parametrize(("weighted", "nbytes"), [(False, 14), (True, 26)])
def test_a_mean_holds_few_bytes_per_element(weighted: bool, nbytes: int) -> None:
    """Groups of patches took twice the memory of a loop over two float64 arrays: 36 bytes."""
    merger = pt.Merger(pt.PatchGrid((30, 30), 5))
    merger.add(np.ones((2, 5, 5)), [0, 1], [1, 2] if weighted else None)
    assert merger._target is not None
    held = merger._counts.nbytes + sum(a.nbytes for a in merger._target.state)
    assert held == nbytes * 30 * 30


@given(
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.integers(-900, 900),
    st.sampled_from([np.float64, np.complex128]),
    st.booleans(),
)
@settings(max_examples=30)
def test_sums_are_the_nearest_numbers_in_any_order(
    seed: int, n: int, places: int, dtype: Any, quick: bool
) -> None:
    """The values that meet span 2^24 and are up to 60; `math.fsum` rounds once."""
    rng = np.random.default_rng(seed)

    def some() -> Array:
        return rng.uniform(-2, 2, (n, 11)) * 2.0 ** (places + rng.integers(0, 24, (n, 11)))

    values: Array = some() if dtype is np.float64 else some() + 1j * some()
    values[rng.random((n, 11)) < 0.1] = 0
    nearest = np.array([math.fsum(column.real) for column in values.T], dtype)
    if dtype is np.complex128:
        nearest += 1j * np.array([math.fsum(column.imag) for column in values.T])
    for order in (np.arange(n), np.arange(n)[::-1], rng.permutation(n)):
        merger = pt.Merger(pt.PatchGrid((11,), 11), merge="sum")
        for part in np.array_split(values[order], rng.integers(1, n + 1)):
            # patches whose samples lie apart take the general way
            given = part if quick else np.repeat(part, 2, axis=1)[:, ::2]
            merger.add(given, np.zeros(len(part), int))
        np.testing.assert_array_equal(merger.result(), nearest)


@pytest.mark.parametrize("there", [np.inf, -np.inf, np.nan, 1.7e308])
def test_sums_past_the_finite_numbers_are_those_of_numpy(there: float) -> None:
    for values in ([1.5, there, 2.0], [there, 1e300, there], [there, -np.inf], [0.0, there]):
        merger = pt.Merger(pt.PatchGrid((3,), 3), merge="sum")
        total = np.zeros(3)
        with np.errstate(all="ignore"):
            for value in values:
                merger.add(np.full((1, 3), value), np.zeros(1, int))
                total += value
            np.testing.assert_array_equal(merger.result(), total)


@pytest.mark.parametrize("kind", ["f4", "f8", "c16"])
@pytest.mark.parametrize("weighted", [False, True])
def test_adds_to_a_large_image_read_ahead_and_give_what_a_small_one_gives(
    kind: str, weighted: bool
) -> None:
    rng = np.random.default_rng(3)
    grid = pt.PatchGrid((530, 610), (9, 21), (7, 13))  # more sums than a cache holds
    assert _CACHED < 530 * 610
    patches = rng.normal(size=(len(grid), 9, 21)).astype(kind)
    each = rng.random(len(grid)) if weighted else None
    merger = pt.Merger(grid, weights="hann" if weighted else None, fill=0)
    order = rng.permutation(len(grid))
    for rows in np.array_split(order, 60):
        merger.add(patches[rows], rows, each if each is None else each[rows])
    how: dict[str, Any] = {"weights": "hann" if weighted else None, "fill": 0}
    assert merger._target.quick is not None  # the way that reads ahead
    expected = pt.unpatchify(patches, grid, patch_weights=each, **how)
    assert_agrees(merger.result(), expected)

"""batch=: so many patches per call, exactly, whatever the tiles; and what the plan says of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pantile as pt
from pantile.geometry.limits import Limits, using_limits
from pantile.kernels.offsets import find_all_runs
from pantile.stream.job import Indexed

IMAGE = np.random.default_rng(0).normal(size=(50, 43, 3))
SMALL_TILES = Limits(tile_state_bytes=20_000)


class Calls:
    """A function of a batch that keeps how many patches it was given, each time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.lock = threading.Lock()

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        with self.lock:
            self.sizes.append(len(batch))
        return batch * 2


@settings(max_examples=15, deadline=None)
@given(
    step=st.integers(1, 9),
    batch=st.integers(1, 40),
    workers=st.integers(1, 3),
    layout=st.sampled_from(["patch", "feature"]),
    share=st.sampled_from([None, 0.0, 0.3]),
    state=st.sampled_from([2000, 20_000, 1_000_000]),
)
def test_every_call_gets_as_many_as_asked_for_but_the_last(
    step: int, batch: int, workers: int, layout: str, share: float | None, state: int
) -> None:
    image, calls = IMAGE[:30, :26], Calls()  # 440 patches at step 1, and as many calls
    grid = pt.PatchGrid(image.shape[:2], (9, 7), step, tail="shift")
    where = None
    if share is not None:
        where = np.random.default_rng(step).random(grid.counts) < share
    options: dict[str, Any] = {"channel_axis": 2, "where": where, "fill": 0.0}
    with using_limits(Limits(tile_state_bytes=state)):
        planned = pt.plan(
            calls, image, grid, batch=batch, workers=workers, layout=layout, **options
        )
        found = planned.run()
        plain = pt.map_patches(lambda b: b * 2, image, grid, **options)
    full, rest = divmod(planned.n_patches, min(batch, len(grid)))
    assert sorted(calls.sizes, reverse=True) == [min(batch, len(grid))] * full + [rest] * (rest > 0)
    assert planned.batches == dict(Counter(calls.sizes))
    np.testing.assert_allclose(found, plain, atol=1e-12)


def test_bits_do_not_depend_on_the_workers_nor_on_the_batch() -> None:
    with using_limits(SMALL_TILES):
        results = [
            pt.map_patches(
                np.sin, IMAGE, 9, 2, channel_axis=2, weights="hann", batch=batch, workers=workers
            ).tobytes()
            for batch in (3, 8)
            for workers in (1, 2, 4)
        ]
    assert len(set(results)) == 1


@settings(max_examples=50, deadline=None)
@given(
    counts=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    most=st.integers(1, 12),
    data=st.data(),
)
def test_filled_groups_of_runs_are_the_same_patches(
    counts: tuple[int, int], most: int, data: st.DataObject
) -> None:
    runs = find_all_runs(counts, [2] if counts[1] > 2 else [], 1)
    first = data.draw(st.integers(1, most))
    groups = runs.filled(most, first)
    sizes = [group.n for group in groups]
    assert all(n == most for n in sizes[1:-1])
    assert sizes[0] == min(first, runs.n)
    at = [np.concatenate([g.each().at[k] for g in groups]) for k in range(2)]
    np.testing.assert_array_equal(at, list(runs.each().at))
    sequence = np.concatenate([g.each().sequence for g in groups])
    np.testing.assert_array_equal(sequence, np.arange(runs.n))


def test_numbers_tuples_and_results_on_the_grid() -> None:
    seen: list[int] = []

    def func(batch: NDArray[Any], numbers: NDArray[np.int64]) -> Any:
        seen.extend(numbers.tolist())
        return numbers.astype(float), batch.sum(axis=(1, 2, 3))

    with using_limits(SMALL_TILES):
        numbers, sums = pt.map_patches(
            Indexed(func), IMAGE, (9, 7), 3, channel_axis=2, merge=None, batch=7
        )
    counts = pt.PatchGrid(IMAGE.shape[:2], (9, 7), 3).counts
    np.testing.assert_array_equal(numbers, np.arange(numbers.size).reshape(counts))
    assert sorted(seen) == list(range(numbers.size))
    assert sums.shape == numbers.shape


def test_pools_processes_and_dask_get_exact_batches_of_a_tile() -> None:
    wanted = pt.map_patches(np.negative, IMAGE, 9, 4, channel_axis=2)
    with ThreadPoolExecutor(2) as pool:
        found = pt.map_patches(np.negative, IMAGE, 9, 4, channel_axis=2, batch=8, executor=pool)
    np.testing.assert_allclose(found, wanted)
    da = pytest.importorskip("dask.array")
    lazy = pt.map_patches(np.negative, da.from_array(IMAGE), 9, 4, channel_axis=2, batch=8)
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), wanted)


def test_errors_of_func_and_of_what_it_returns_name_the_place() -> None:
    def fail(batch: NDArray[Any]) -> Any:
        raise RuntimeError(len(batch))

    def lose(batch: NDArray[Any]) -> Any:
        return batch[:-1]

    with using_limits(SMALL_TILES):
        for workers in (1, 3):
            for func, kind in ((fail, RuntimeError), (lose, ValueError)):
                with pytest.raises(kind) as caught:
                    pt.map_patches(func, IMAGE, 9, 2, channel_axis=2, batch=50, workers=workers)
                assert any("image region" in note for note in caught.value.__notes__)


class Stop(Exception):
    pass


class Stopping:
    """Adds 1, and stops at the 12th call."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        self._calls += 1
        if self._calls == 12:
            raise Stop
        return batch + 1


def test_a_run_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    func, path = Stopping(), tmp_path / "a.npy"
    options: dict[str, Any] = {"channel_axis": 2, "batch": 8, "workers": 1}
    with using_limits(replace(SMALL_TILES, journal_seconds=0, journal_share=0)):
        with pytest.raises(Stop):
            pt.map_patches(func, IMAGE, 9, 4, out=path, **options)
        pt.map_patches(func, IMAGE, 9, 4, out=path, resume=True, **options)
        total = sum(pt.plan(func, IMAGE, 9, 4, **options).batches.values())
        plain = pt.map_patches(func, IMAGE, 9, 4, **options)
    np.testing.assert_array_equal(np.load(path), plain)
    assert func._calls < 12 + 2 * total  # some of the blocks were not made again


def test_what_the_plan_prints() -> None:
    planned = pt.plan(np.negative, IMAGE, 9, 4, channel_axis=2, batch=7)
    assert "17 of 7 and one of 1 patches" in str(planned)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch": 0}, "batch must be"),
        ({"batch": 2.5}, "batch must be"),
        ({"batch": 8, "batch_bytes": "2MB"}, "both say how large a batch is"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        pt.plan(np.negative, IMAGE, 9, channel_axis=2, **options)


# patches chosen by a function


def bright(batch: NDArray[Any]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = batch.mean(axis=(1, 2, 3)) > 0.05
    return found


@pytest.mark.parametrize("batch", [None, 4])
def test_a_function_chooses_patches_before_func_sees_any(batch: int | None) -> None:
    patches = pt.extract(IMAGE, (9, 7), 3, channel_axis=2)
    counts = pt.PatchGrid(IMAGE.shape[:2], (9, 7), 3).counts
    mask = bright(patches).reshape(counts)
    assert 0 < mask.sum() < mask.size
    seen: list[NDArray[Any]] = []

    def func(batch: NDArray[Any]) -> NDArray[Any]:
        seen.append(batch.copy())
        return batch

    options: dict[str, Any] = {"channel_axis": 2, "fill": -9.0, "batch": batch, "workers": 1}
    planned = pt.plan(func, IMAGE, (9, 7), 3, where=bright, **options)
    assert not seen
    assert planned.n_patches == mask.sum()
    found = planned.run()
    wanted = patches[mask.ravel()]
    np.testing.assert_array_equal(  # tile by tile, so in another order
        np.sort(np.concatenate(seen)[:, 0, 0, 0]), np.sort(wanted[:, 0, 0, 0])
    )
    np.testing.assert_array_equal(
        found, pt.map_patches(np.copy, IMAGE, (9, 7), 3, where=mask, **options)
    )
    if batch:
        assert {len(each) for each in seen[:-1]} == {batch}
    numbers = pt.map_patches(
        lambda b: b.sum((1, 2, 3)), IMAGE, (9, 7), 3, where=bright, merge=None, **options
    )
    np.testing.assert_array_equal(numbers == -9, ~mask)


def test_a_function_that_chooses_is_held_to_its_word() -> None:
    da = pytest.importorskip("dask.array")
    options: dict[str, Any] = {"channel_axis": 2}
    for where, error in (
        (lambda b: b.mean((1, 2, 3)), "one truth value per patch"),
        (lambda b: np.ones(len(b) + 1, bool), "one truth value per patch"),
        (lambda b: np.zeros(len(b), bool), "where selects no patch"),
    ):
        with pytest.raises(ValueError, match=error):
            pt.map_patches(np.copy, IMAGE, 9, 4, where=where, **options)
    with pytest.raises(TypeError, match="looks at the image now"):
        pt.map_patches(np.copy, da.from_array(IMAGE), 9, 4, where=bright, fill=0, **options)
    nothing = pt.map_patches(
        np.copy, IMAGE, 9, 4, where=lambda b: np.zeros(len(b), bool), fill=2, **options
    )
    np.testing.assert_array_equal(nothing, np.full(IMAGE.shape, 2.0))


# how long it will take


def test_a_trial_tells_how_long_it_will_take() -> None:
    def slow(batch: NDArray[Any]) -> NDArray[Any]:
        calls.append(len(batch))
        threading.Event().wait(0.02)
        return batch

    calls: list[int] = []
    options: dict[str, Any] = {"channel_axis": 2, "batch": 10, "workers": 2}
    planned = pt.plan(slow, IMAGE, 9, 4, trial=True, **options)
    assert calls == [10, 10]
    assert planned.seconds is not None
    assert 0.02 * 6 <= planned.seconds < 0.5  # 12 batches for two workers
    assert "by a trial" in str(planned)
    assert pt.plan(slow, IMAGE, 9, 4, **options).seconds is None
    np.testing.assert_allclose(planned.run(), IMAGE)


def test_a_tile_is_delivered_once_however_long_a_thread_takes_behind_its_turn(
    monkeypatch: pytest.MonkeyPatch, tiles_of: Any
) -> None:
    class Slow(threading.Condition):
        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            time.sleep(0.003)

    monkeypatch.setattr("pantile.stream.runners.filled.Condition", Slow)
    image = np.random.default_rng(0).random((20, 22))
    with tiles_of(100):
        found = pt.map_patches(np.copy, image, 4, 2, batch=3, workers=4)
    np.testing.assert_allclose(found, image)

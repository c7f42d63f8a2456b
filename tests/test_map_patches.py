"""map_patches and plan: what func gets, what comes back, executors, progress, memory, stopping."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import pantile as pt
from pantile.testing import slow
from pantile.testing.compare import assert_agrees, assert_same_bits


def same(batch):
    return batch


@pytest.fixture
def image():
    return np.random.default_rng(11).normal(size=(23, 26))


# what func gets


@pytest.mark.parametrize("layout", [None, "patch", "feature"])
@pytest.mark.parametrize("step", [1, 2, 4])
def test_func_gets_patches_in_c_order_of_each_batch(image, layout, step):
    grid = pt.PatchGrid(image.shape, (5, 4), step)
    every = slow.extract(image, grid)
    number = {patch.tobytes(): i for i, patch in enumerate(every)}
    seen = []

    def func(batch):
        assert batch.shape[1:] == (5, 4)
        assert batch.dtype == image.dtype
        seen.append([number[patch.tobytes()] for patch in batch])
        if layout == "patch":
            assert batch.flags.c_contiguous
        return batch

    pt.map_patches(func, image, grid, layout=layout, batch_bytes=3000, workers=1)
    assert all(batch == sorted(batch) for batch in seen)
    assert sorted(i for batch in seen for i in batch) == list(range(len(every)))


def test_batch_bytes_bound_the_batch(image):
    for bound in (1, 200, 4000, 10**7):
        sizes = []
        pt.map_patches(lambda b: sizes.append(len(b)) or b, image, 5, batch_bytes=bound, workers=1)  # noqa: B023
        assert max(sizes) <= max(1, bound // 200)
        assert sum(sizes) == 19 * 22
    assert len(sizes) <= 2


def test_func_gets_channels_where_the_image_has_them(image):
    colour = np.stack([image, -image, image + 1], axis=1)  # rows, channel, columns
    shapes = set()

    def func(batch):
        shapes.add(batch.shape[1:])
        return batch * 2

    out = pt.map_patches(func, colour, (5, 4), 2, channel_axis=1)
    assert shapes == {(5, 3, 4)}
    np.testing.assert_allclose(out, 2 * colour, rtol=1e-13)


def test_batch_images_come_one_after_the_other(image):
    images = np.stack([image, 10 + image, 20 + image])
    batches = []
    out = pt.map_patches(lambda b: batches.append(b.mean()) or b, images, (20, 20), workers=1)
    np.testing.assert_allclose(out, images, rtol=1e-13)
    assert batches == sorted(batches)
    single = pt.map_patches(lambda b: b - b.mean(axis=(1, 2), keepdims=True), image, (5, 5))
    many = pt.map_patches(lambda b: b - b.mean(axis=(1, 2), keepdims=True), images, (5, 5))
    np.testing.assert_allclose(many, np.stack([single] * 3), atol=1e-10)


def test_func_may_write_into_its_batch_and_keep_a_copy(image):
    kept = []

    def func(batch):
        kept.append(batch.copy())
        batch *= -1
        return batch

    before = image.copy()
    out = pt.map_patches(func, image, 5, batch_bytes=5000, workers=1)
    np.testing.assert_allclose(out, -image, rtol=1e-13)
    assert_same_bits(image, before)
    assert_agrees(np.concatenate(kept).sum(axis=0), pt.extract(image, 5).sum(axis=0))


def test_func_may_return_what_it_keeps(image):
    constant = np.ones((5, 5))
    out = pt.map_patches(lambda b: np.broadcast_to(constant, b.shape), image, 5)
    assert (out == 1).all()
    assert (constant == 1).all()
    lists = pt.map_patches(lambda b: b.tolist(), image, 5)
    np.testing.assert_allclose(lists, image, rtol=1e-13)


# what may come back


def test_another_dtype(image):
    counted = pt.map_patches(lambda b: (b > 0).astype(np.uint8), image, 5, merge="sum")
    assert_agrees(counted, (image > 0) * pt.PatchGrid(image.shape, 5).coverage().astype(np.uint64))
    labels = pt.map_patches(lambda b: (b > 0).astype(np.int16), image, 5, merge="vote")
    assert_agrees(labels, (image > 0).astype(np.int16))
    waves = pt.map_patches(lambda b: b * 1j, image.astype(np.float32), 5)
    assert waves.dtype == np.complex64
    np.testing.assert_allclose(waves, 1j * image, rtol=1e-6)


def test_dtype_converts_what_is_returned(image):
    whole = pt.map_patches(lambda b: 100 * b, image, 5, dtype=np.uint8)
    assert_agrees(whole, np.clip(np.rint(100 * image), 0, 255).astype(np.uint8))
    assert pt.map_patches(same, image, 5, dtype=np.float32).dtype == np.float32


def test_other_channel_counts(image):
    two = pt.map_patches(lambda b: np.stack([b, -b], axis=-1), image, 5)
    np.testing.assert_allclose(two, np.stack([image, -image], axis=-1), rtol=1e-13)
    colour = np.stack([image, image + 1, image + 2])
    five = pt.map_patches(lambda b: b[:, [0, 0, 1, 2, 2]], colour, (5, 4), channel_axis=0)
    np.testing.assert_allclose(five, colour[[0, 0, 1, 2, 2]], rtol=1e-13)
    gray = pt.map_patches(lambda b: b.mean(axis=1), colour, (5, 4), channel_axis=0)
    np.testing.assert_allclose(gray, image + 1, rtol=1e-12)


def test_a_39_patch_in_a_17_patch_out():
    image = np.random.default_rng(0).normal(size=(60, 58))
    grid = pt.PatchGrid(image.shape, 39)
    out = pt.map_patches(lambda b: b[:, 11:28, 11:28], image, grid, fill=np.nan)
    inner = np.full(image.shape, np.nan)
    inner[11:-11, 11:-11] = image[11:-11, 11:-11]
    np.testing.assert_allclose(out, inner, rtol=1e-13)
    padded = pt.PatchGrid(image.shape, 39, pad=11, pad_mode="reflect")
    whole = pt.map_patches(lambda b: b[:, 11:28, 11:28], image, padded)
    np.testing.assert_allclose(whole, image, rtol=1e-13)
    with pytest.raises(ValueError, match="fill"):
        pt.map_patches(lambda b: b[:, 11:28, 11:28], image, grid)


def test_weights_of_a_smaller_result_have_its_shape():
    image = np.random.default_rng(0).normal(size=(20, 20))
    grid = pt.PatchGrid(image.shape, 7, 2, pad=2, pad_mode="reflect")
    taper = np.outer([1, 2, 1], [1, 3, 1])

    def func(batch):
        return batch[:, 2:5, 2:5] - batch.mean(axis=(1, 2), keepdims=True)

    out = pt.map_patches(func, image, grid, weights=taper, fill=0)
    assert_agrees(out, slow.map_patches(func, image, grid, weights=taper, fill=0))


@pytest.mark.parametrize("scale", [2, 3])
def test_scaled_results(image, scale):
    def enlarge(batch):
        return batch.repeat(scale, 1).repeat(scale, 2)

    out = pt.map_patches(enlarge, image, 5, 2, scale=scale, weights="hann")
    np.testing.assert_allclose(out, image.repeat(scale, 0).repeat(scale, 1), rtol=1e-12)


def test_a_tuple_gives_several_images(image):
    def func(batch):
        return batch, (batch > 0).astype(np.uint8), batch[:, 1:4, 1:4] * 2

    first, second, third = pt.map_patches(func, image, 5, 2, fill=-9)
    np.testing.assert_allclose(first, image, rtol=1e-13)
    assert second.dtype == np.float64
    assert_agrees(second, (image > 0).astype(np.float64))
    assert_agrees(
        third,
        slow.map_patches(lambda b: func(b)[2], image, pt.PatchGrid(image.shape, 5, 2), fill=-9),
    )


@pytest.mark.parametrize("batch_bytes", [None, 1, 3000])
def test_results_on_the_grid(image, batch_bytes):
    grid = pt.PatchGrid(image.shape, 5, 2)
    patches = slow.extract(image, grid)
    options = {"merge": None, "batch_bytes": batch_bytes}
    numbers = pt.map_patches(lambda b: b.max(axis=(1, 2)), image, grid, **options)
    assert_agrees(numbers, patches.max(axis=(1, 2)).reshape(grid.counts), exact=True)
    vectors = pt.map_patches(lambda b: b[:, 0], image, grid, **options)
    assert_agrees(vectors, patches[:, 0].reshape(*grid.counts, 5), exact=True)
    both = pt.map_patches(lambda b: (b.max(axis=(1, 2)), b[:, 0] > 0), image, grid, **options)
    assert_agrees(both[0], numbers, exact=True)
    assert_agrees(both[1], vectors > 0)
    images = np.stack([image, -image])
    many = pt.map_patches(lambda b: b.max(axis=(1, 2)), images, grid, **options)
    assert_agrees(
        many,
        np.stack([numbers, pt.map_patches(lambda b: b.max(axis=(1, 2)), -image, grid, merge=None)]),
    )


def test_results_on_the_grid_of_chosen_patches(image):
    grid = pt.PatchGrid(image.shape, 5, 2)
    chosen = np.random.default_rng(0).random(grid.counts) < 0.3
    numbers = pt.map_patches(lambda b: b[:, 2, 2], image, grid, merge=None, where=chosen, fill=-1)
    assert_agrees(numbers, np.where(chosen, grid.centers(image), -1.0))


def test_finalize_reduces_a_finished_piece(image):
    def scores(batch):
        return np.stack([batch, -batch, np.full_like(batch, 0.3)], axis=-1)

    plain = pt.map_patches(scores, image, 5, weights="hann")
    for options in ({}, {"batch_bytes": 1000, "workers": 2}):
        labels = pt.map_patches(
            scores, image, 5, weights="hann", finalize=lambda s: s.argmax(-1), **options
        )
        assert_agrees(labels, plain.argmax(-1))
    small = pt.map_patches(
        scores, image, 5, weights="hann", finalize=lambda s: s.argmax(-1).astype(np.uint8)
    )
    assert_agrees(small, plain.argmax(-1).astype(np.uint8))


def test_func_may_be_any_merge(image):
    def skewed(batch):
        return batch * np.arange(1, 26).reshape(5, 5)

    grid = pt.PatchGrid(image.shape, 5, 3, tail="respace")
    for merge in ("mean", "sum", "var", "max", "min", "median", "first", "last", "center"):
        for batch_bytes in (None, 1500):
            out = pt.map_patches(skewed, image, grid, merge=merge, batch_bytes=batch_bytes)
            assert_agrees(out, slow.map_patches(skewed, image, grid, merge=merge), scale=1e3)


# where


@pytest.mark.parametrize("workers", [1, 3])
def test_where_by_element_and_by_patch(image, workers):
    grid = pt.PatchGrid(image.shape, 5, 2)
    mask = np.zeros(image.shape, bool)
    mask[3:9, 10] = True
    touched = [i for i in range(len(grid)) if mask[grid[i]].any()]
    chosen = np.zeros(len(grid), bool)
    chosen[touched] = True
    seen, lock = [], threading.Lock()

    def func(batch):
        with lock:
            seen.append(len(batch))
        return batch

    for where in (mask, chosen.reshape(grid.counts)):
        seen.clear()
        out = pt.map_patches(func, image, grid, where=where, fill=np.nan, workers=workers)
        assert sum(seen) == len(touched)
        reached = np.zeros(image.shape, bool)
        for i in touched:
            reached[grid[i]] = True
        np.testing.assert_allclose(out, np.where(reached, image, np.nan), rtol=1e-13)


def test_where_the_shapes_coincide_it_is_read_as_counts():
    image = np.arange(5.0)
    where = np.array([True, False, False, False, True])
    grid = pt.PatchGrid(5, 3, pad="same")
    out = pt.map_patches(same, image, grid, where=where, fill=-1)
    assert out.tolist() == [0, 1, -1, 3, 4]


@pytest.mark.parametrize("merge", ["mean", "vote", None])
def test_where_nothing_is_chosen_all_is_fill_and_func_is_not_called(image, merge):
    called = []
    options = {"merge": merge, "where": np.zeros(image.shape, bool)}
    out = pt.map_patches(called.append, image, 5, fill=7, **options)
    shape = image.shape if merge else (19, 22)
    assert_same_bits(out, np.full(shape, 7.0))
    into = np.zeros((*shape, 2) if merge is None else shape, np.int16)
    assert pt.map_patches(called.append, image, 5, fill=7, out=into, **options) is into
    assert (into == 7).all()
    with pytest.raises(ValueError, match="where selects no patch"):
        pt.map_patches(called.append, image, 5, **options)
    assert not called


# out


def test_out_is_filled_and_returned(image, tmp_path):
    out = np.zeros(image.shape, np.float32)
    assert pt.map_patches(same, image, 5, out=out) is out
    np.testing.assert_allclose(out, image, rtol=1e-6)
    strided = np.zeros((*image.shape, 2))[..., 1]
    pt.map_patches(same, image, 5, out=strided)
    np.testing.assert_allclose(strided, image, rtol=1e-13)
    mapped = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float64, image.shape)
    pt.map_patches(same, image, 5, out=mapped, batch_bytes=2000, workers=2)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), image, rtol=1e-13)


def test_the_source_may_be_a_memory_map(image, tmp_path):
    np.save(tmp_path / "in.npy", image)
    source = np.load(tmp_path / "in.npy", mmap_mode="r")
    out = pt.map_patches(same, source, 5, batch_bytes=2000)
    assert type(out) is np.ndarray
    np.testing.assert_allclose(out, image, rtol=1e-13)


class Lazy:
    """A source that gives slices and remembers how large they were."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = (
            values,
            values.shape,
            values.dtype,
            values.ndim,
        )
        self.largest = 0

    def __getitem__(self, key):
        piece = self.values[key]
        self.largest = max(self.largest, piece.nbytes)
        return piece


def test_a_lazy_source_is_read_piece_by_piece():
    values = np.random.default_rng(0).normal(size=(200, 210))
    source = Lazy(values)
    out = pt.map_patches(same, source, 5, 5, batch_bytes=20_000, workers=2)
    np.testing.assert_allclose(out, values, rtol=1e-13)
    assert source.largest < values.nbytes / 2


# executors and workers


class Inline:
    """An executor that runs what is submitted at once, and counts."""

    def __init__(self):
        self.submitted = 0

    def submit(self, func, /, *args, **kwargs):
        self.submitted += 1
        future = Future()
        try:
            future.set_result(func(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize("where", [False, True])
def test_any_executor_gives_the_same_bits(image, where):
    options = {"batch_bytes": 3000, "weights": "hann", "merge": "mean"}
    if where:
        options |= {"where": image > 1, "fill": 0.0}
    expected = pt.map_patches(np.negative, image, 5, workers=1, **options)
    inline = Inline()
    assert_same_bits(pt.map_patches(np.negative, image, 5, executor=inline, **options), expected)
    assert inline.submitted > 1
    with ThreadPoolExecutor(3) as pool:
        assert_same_bits(pt.map_patches(np.negative, image, 5, executor=pool, **options), expected)
        assert pool.submit(len, "ab").result() == 2  # not shut down
    with ProcessPoolExecutor(2) as pool:
        assert_same_bits(pt.map_patches(np.negative, image, 5, executor=pool, **options), expected)


def test_two_threads_may_map_at_once(image):
    expected = pt.map_patches(np.negative, image, 5)
    results = [None] * 6

    def work(k):
        results[k] = pt.map_patches(np.negative, image, 5, workers=2, batch_bytes=2000)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-13)


def test_func_may_map_patches_itself(image):
    def func(batch):
        return pt.map_patches(same, batch, (3, 3), workers=2)

    out = pt.map_patches(func, image, 5, 5, workers=2, batch_bytes=2000)
    np.testing.assert_allclose(out, image, rtol=1e-13)


def test_func_runs_in_as_many_threads_as_workers(image):
    together, most, lock = [0], [0], threading.Lock()

    def func(batch):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.01)
        with lock:
            together[0] -= 1
        return batch

    for workers in (1, 2, 4):
        most[0] = 0
        pt.map_patches(func, image, 5, workers=workers, batch_bytes=4000)
        assert most[0] == workers


# progress, plans, memory


@pytest.mark.parametrize("workers", [1, 3])
def test_progress_runs_from_something_to_all(image, workers):
    steps = []
    pt.map_patches(
        same, image, 5, batch_bytes=3000, workers=workers, progress=lambda *a: steps.append(a)
    )
    done, total = zip(*steps, strict=True)
    assert len(set(total)) == 1
    assert list(done) == sorted(done)
    assert done[-1] == total[-1]


def test_a_plan_is_data_that_runs(image):
    called = []
    plan = pt.plan(lambda b: called.append(len(b)) or b * 2, image, 5, batch_bytes=3000, workers=1)
    assert not called
    assert plan.tasks >= 1
    assert plan.expanded_bytes == 19 * 22 * 25 * 8
    assert plan.projected_bytes > 0
    np.testing.assert_allclose(plan.run(), 2 * image, rtol=1e-13)
    first = sum(called)
    assert first == 19 * 22
    np.testing.assert_allclose(plan.run(), 2 * image, rtol=1e-13)
    assert sum(called) == 2 * first


def test_a_plan_for_a_huge_image_costs_nothing():
    source = np.broadcast_to(np.float32(1), (100_000, 100_000))
    begin = time.perf_counter()
    plan = pt.plan(same, source, 39)
    assert plan.expanded_bytes == (100_000 - 38) ** 2 * 1521 * 4
    assert plan.projected_bytes < plan.expanded_bytes / 100
    assert time.perf_counter() - begin < 5


def test_a_job_that_cannot_fit_is_refused_with_the_numbers(image):
    plan = pt.plan(same, image, 5)
    with pytest.raises(MemoryError, match="memory") as caught:
        pt.map_patches(same, image, 5, memory=image.nbytes // 2)
    assert "2.39 kB" in str(caught.value)
    assert "4.78 kB" in str(caught.value)  # the result alone
    np.testing.assert_allclose(
        pt.map_patches(same, image, 5, memory=2 * plan.projected_bytes), image, rtol=1e-13
    )


def test_a_budget_shrinks_the_batches():
    image = np.random.default_rng(0).normal(size=(300, 300))
    free = pt.plan(same, image, 15, workers=1)
    budget = image.nbytes + (free.projected_bytes - image.nbytes) // 4
    tight = pt.plan(same, image, 15, workers=1, memory=budget)
    assert tight.projected_bytes <= budget
    np.testing.assert_allclose(tight.run(), image, rtol=1e-13)


# exceptions and stopping


class Wrong(Exception):
    pass


@pytest.mark.parametrize("workers", [1, 4])
def test_an_exception_keeps_its_type_and_says_where(image, workers):
    def func(batch):
        if (batch == image[11, 13]).any():
            raise Wrong("no idea")
        return batch

    with pytest.raises(Wrong, match="no idea") as caught:
        pt.map_patches(func, image, 5, batch_bytes=2000, workers=workers)
    notes = "\n".join(caught.value.__notes__)
    assert "region" in notes
    assert "pantile" in notes or "patch" in notes


def test_an_exception_stops_the_run():
    image = np.zeros((200, 200))
    calls, lock = [0], threading.Lock()

    def func(batch):
        with lock:
            calls[0] += 1
        if calls[0] == 3:
            raise Wrong
        time.sleep(0.005)
        return batch

    with pytest.raises(Wrong):
        pt.map_patches(func, image, 10, batch_bytes=8000, workers=2)
    seen = calls[0]
    assert seen < 40
    time.sleep(0.1)
    assert calls[0] == seen  # nothing goes on behind the caller's back


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, MemoryError, StopIteration])
@pytest.mark.parametrize("workers", [1, 2])
def test_strange_exceptions_surface_too(image, exception, workers):
    def func(_):
        raise exception

    with pytest.raises((exception, RuntimeError)) as caught:
        pt.map_patches(func, image, 5, workers=workers)
    assert caught.type is exception or isinstance(caught.value.__cause__, exception)


def test_exceptions_of_finalize_and_progress_surface(image):
    def fail(*_):
        raise Wrong("late")

    with pytest.raises(Wrong, match="late"):
        pt.map_patches(same, image, 5, finalize=fail)
    with pytest.raises(Wrong, match="late"):
        pt.map_patches(same, image, 5, progress=fail)


def test_exceptions_come_back_from_processes(image):
    with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError):
        pt.map_patches(np.bitwise_and, image, 5, executor=pool)


def test_warnings_of_func_are_not_errors_of_ours(image):
    with np.errstate(divide="ignore", invalid="ignore"):
        out = pt.map_patches(lambda b: b / 0, image, 5, workers=1)
    assert (np.isposinf(out) == (image > 0)).all()


INTERRUPTED = """
import sys, time
import numpy as np
import pantile as pt

def func(batch):
    print("called", flush=True)
    time.sleep(0.05)
    return batch

pt.map_patches(lambda b: b, np.zeros((20, 20)), 5)
pt.map_patches(func, np.zeros((2000, 2000)), 5, workers={workers}, batch_bytes=20_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_within_a_second_or_so(workers):
    code = textwrap.dedent(INTERRUPTED).format(workers=workers)
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    listens = functools.partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # shells' background jobs do not
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, preexec_fn=listens
    ) as process:
        try:
            assert "called" in process.stdout.readline()
            time.sleep(0.3)
            begin = time.perf_counter()
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert time.perf_counter() - begin < 10  # of about 45; on a busy machine
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0


MANY = """
import sys, threading
import numpy as np
import pantile as pt

image = np.ones((400, 400), np.float32)
pt.map_patches(lambda b: b, image[:40, :40], 9, workers=2)
before = threading.active_count()
for _ in range(30):
    pt.map_patches(lambda b: b, image[:40, :40], 9, workers=2, batch_bytes=10_000)
print(threading.active_count() - before)
"""


def test_runs_leave_no_threads_behind():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MANY)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 2

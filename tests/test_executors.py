"""Threads, processes, clusters: the same bits, small tasks, clear errors."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import pantile as pt
from pantile.files import NpySink
from pantile.geometry.limits import Limits, using_limits
from pantile.stream.tempdir import shared_tempdir
from pantile.testing.compare import assert_same_bits

IMAGE = np.random.default_rng(8).normal(size=(64, 59))


def bent(batch):
    return np.sin(batch) * np.arange(1, 50).reshape(7, 7)


def several(batch):
    return bent(batch), (batch[:, 2:5, 2:5] > 0).astype(np.uint8)


def numbers(batch):
    return batch.max(axis=(1, 2))


def scores(batch):
    return np.stack([bent(batch), -bent(batch)], axis=-1)


def best(slab):
    return slab.argmax(-1)


CASES = {
    "mean": (bent, {"weights": "hann"}),
    "several, where": (several, {"where": IMAGE > 1.2, "fill": 3}),
    "on the grid": (numbers, {"merge": None, "where": IMAGE > 1.2, "fill": 3}),
    "finalize": (scores, {"finalize": best}),
    "padded": (bent, {"grid": {"pad": 3, "pad_mode": "reflect"}}),
}


def mapped(case, image=IMAGE, **options):
    func, more = CASES[case]
    more = dict(more)
    grid = pt.PatchGrid(IMAGE.shape, 7, 2, **more.pop("grid", {}))
    return pt.map_patches(func, image, grid, batch_bytes=8000, **more, **options)


def arrays(found):
    return found if isinstance(found, tuple) else (found,)


@pytest.fixture(autouse=True)
def many_tiles(tiles_of):
    with tiles_of(400):
        yield


@pytest.fixture(scope="module")
def spawned():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        yield pool


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(processes=False, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(params=["threads", "pool of threads", "processes", "cluster"])
def executor(request):
    if request.param == "threads":
        return "threads"
    if request.param == "pool of threads":
        return request.getfixturevalue("thread_pool")
    return request.getfixturevalue({"processes": "spawned", "cluster": "client"}[request.param])


@pytest.fixture(scope="module")
def thread_pool():
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.mark.parametrize("case", CASES)
def test_every_executor_gives_the_bits_of_one_thread(executor, case):
    expected = arrays(mapped(case, workers=1))
    found = arrays(mapped(case, executor=executor))
    for mine, theirs in zip(found, expected, strict=True):
        assert_same_bits(mine, theirs)


def test_from_file_to_file_in_chunks(executor, tmp_path):
    zarr = pytest.importorskip("zarr")
    from pantile.files import ZarrSink

    source = zarr.create_array(tmp_path / "in.zarr", shape=IMAGE.shape, dtype="f8", chunks=(20, 20))
    source[...] = IMAGE
    sink = ZarrSink(str(tmp_path / "out.zarr"), chunks=(16, 24))
    assert mapped("mean", tmp_path / "in.zarr", out=sink, executor=executor) is sink
    assert_same_bits(zarr.open_array(sink.path)[...], mapped("mean", source, workers=1))
    assert sorted(os.listdir(tmp_path)) == ["in.zarr", "out.zarr"]


@pytest.mark.parametrize("kind", ["memory", "hdf5 being written"])
def test_a_store_without_a_place_reaches_every_executor(executor, kind, tmp_path):
    zarr, h5py = pytest.importorskip("zarr"), pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        if kind == "memory":
            source = zarr.create_array(
                zarr.storage.MemoryStore(), shape=IMAGE.shape, dtype="f8", chunks=(20, 20)
            )
            source[...] = IMAGE
        else:
            source = file.create_dataset("x", data=IMAGE, chunks=(20, 20))
        expected = mapped("mean", source, workers=1)
        assert_same_bits(mapped("mean", source, executor=executor), expected)


def test_an_exception_keeps_its_type_and_region(executor):
    with pytest.raises(ZeroDivisionError) as caught:
        pt.map_patches(fails, IMAGE, 7, 2, executor=executor)
    assert "region" in "\n".join(caught.value.__notes__)


def fails(_batch):
    raise ZeroDivisionError


def test_changing_kinds_are_refused(executor):
    with pytest.raises(ValueError, match="same kind of result"):
        pt.map_patches(changing, IMAGE, 7, 2, executor=executor, batch_bytes=8000)


def changing(batch):
    return batch if (batch != IMAGE[60, 55]).all() else batch.astype(np.float32)


def test_executors_by_name():
    for name in ("thread", "cluster"):
        with pytest.raises(ValueError, match="executor must be one of threads, processes"):
            pt.plan(bent, IMAGE, 7, executor=name)
    assert_same_bits(mapped("mean", executor="processes", workers=1), mapped("mean"))


# processes


class Pickling:
    """An executor that sees what a task weighs, and does it at once."""

    def __init__(self):
        self.sizes = []

    def submit(self, func, /, *args):
        data = pickle.dumps((func, args))
        self.sizes.append(len(data))
        func, args = pickle.loads(data)
        future = Future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize("kind", ["array", "strided", "memmap", "slice of a memmap", "path"])
def test_tasks_carry_places_not_elements(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    np.save(tmp_path / "image.npy", IMAGE)
    mapping = np.load(tmp_path / "image.npy", mmap_mode="r")
    image = {
        "array": IMAGE,
        "strided": np.repeat(IMAGE, 2, axis=1)[:, ::2],
        "memmap": mapping,
        "slice of a memmap": np.load(tmp_path / "image.npy", mmap_mode="r")[:, ::-1],
        "path": tmp_path / "image.npy",
    }[kind]
    pool = Pickling()
    found = mapped("mean", image, executor=pool)
    expected = IMAGE[:, ::-1] if kind == "slice of a memmap" else IMAGE
    assert_same_bits(found, mapped("mean", expected))
    assert len(pool.sizes) > 5
    assert max(pool.sizes) < (5000 if kind == "path" else 500)  # a small job goes along, no file
    assert os.listdir(tmp_path) == ["image.npy"]
    with pytest.raises(ZeroDivisionError):
        pt.map_patches(fails, image, 7, executor=pool)
    assert os.listdir(tmp_path) == ["image.npy"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("func", {"func": lambda b: b}),
        ("finalize", {"func": bent, "finalize": lambda s: s}),
        ("func", {"func": functools.partial(bent, threading.Lock())}),
    ],
)
def test_what_cannot_be_sent_is_said_before_work_begins(spawned, tmp_path, name, options):
    out = tmp_path / "result.npy"
    with pytest.raises(TypeError, match=f"{name}=.*cannot be sent to other processes.*top level"):
        pt.map_patches(options.pop("func"), IMAGE, 7, out=out, executor=spawned, **options)
    assert os.listdir(tmp_path) == []


def test_a_dead_process_is_one_error_and_the_run_goes_on_later(tmp_path):
    sink = NpySink(str(tmp_path / "result.npy"))
    flag = tmp_path / "flag"
    flag.touch()
    func = functools.partial(deadly, flag=str(flag), last=IMAGE[60, 50])
    with (
        using_limits(Limits(journal_seconds=0.0)),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(BrokenExecutor, match=r"a worker process died.*resume=True"),
    ):
        pt.map_patches(func, IMAGE, 7, 2, out=sink, executor=pool, batch_bytes=8000)
    flag.unlink()
    assert len(os.listdir(tmp_path)) == 2  # what was done, and the journal
    pt.map_patches(func, IMAGE, 7, 2, out=sink, resume=True)  # whose limits are others
    with using_limits(Limits()):
        straight = pt.map_patches(bent, IMAGE, 7, 2, batch_bytes=8000)
    assert_same_bits(np.load(sink.path), straight)
    assert os.listdir(tmp_path) == ["result.npy"]


def test_what_is_done_keeps_the_blocks_it_was_cut_into(tmp_path):
    sink = NpySink(str(tmp_path / "result.npy"))
    flag = tmp_path / "flag"
    flag.touch()
    func = functools.partial(failing, flag=str(flag), last=IMAGE[60, 50])
    small = Limits(journal_seconds=0.0, block_elements=100, least_tiles=30)
    options = {"out": sink, "batch_bytes": 8000, "workers": 1}
    with using_limits(small), pytest.raises(RuntimeError, match="not yet"):
        pt.map_patches(func, IMAGE, 7, 2, **options)
    flag.unlink()
    with using_limits(Limits()):
        assert pt.plan(func, IMAGE, 7, 2, resume=True, **options).blocks_done
        pt.map_patches(func, IMAGE, 7, 2, resume=True, **options)
    with using_limits(small):
        straight = pt.map_patches(bent, IMAGE, 7, 2, batch_bytes=8000)
    assert_same_bits(np.load(sink.path), straight)


def failing(batch, flag, last):
    if os.path.exists(flag) and (batch == last).any():
        raise RuntimeError("not yet")
    return bent(batch)


def deadly(batch, flag, last):
    if os.path.exists(flag) and (batch == last).any():
        os._exit(1)
    return bent(batch)


# dask.distributed


class Watched:
    """A client that counts how many of its futures there are at a time."""

    def __init__(self, client):
        self.client, self.alive, self.most, self.total = client, weakref.WeakSet(), 0, 0

    def submit(self, *args, **options):
        future = self.client.submit(*args, **options)
        self.alive.add(future)
        self.total += 1
        self.most = max(self.most, len(self.alive))
        return future

    def __getattr__(self, name):
        return getattr(self.client, name)


def test_few_futures_at_a_time_and_none_left(client, tiles_of):
    watched = Watched(client)
    image = np.zeros((400, 30))
    with tiles_of(100):
        plan = pt.plan(np.negative, image, 5, 5, executor=watched, batch_bytes=800, workers=2)
        plan.run()
    assert watched.total > 2 * plan.tasks > 100
    assert watched.most < 40
    deadline = time.monotonic() + 20
    while any("pantile" in str(key) for key in client.who_has()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [key for key in client.who_has() if "pantile" in str(key)]


class _Slow:
    """A writer that takes its time, and says how many blocks are on their way."""

    at_work, begun = 0, threading.Event()

    def __init__(self, writer):
        self.writer = writer
        self.shape, self.dtype, self.unit = writer.shape, writer.dtype, writer.unit
        self.sync, self.commit, self.discard = writer.sync, writer.commit, writer.discard

    def __reduce__(self):
        return _Slow, (self.writer,)

    def __setitem__(self, key, values):
        _Slow.at_work += 1
        _Slow.begun.set()
        time.sleep(0.3)
        self.writer[key] = values
        _Slow.at_work -= 1


class _SlowSink(NpySink):
    def create(self, shape, dtype):
        return _Slow(super().create(shape, dtype))


def _fails_while_another_writes(batch):
    if _Slow.begun.is_set():
        raise ZeroDivisionError
    time.sleep(0.01)
    return batch


def test_nobody_writes_any_more_when_a_cluster_gives_up(client, tmp_path):
    sink = _SlowSink(str(tmp_path / "out.npy"))
    with pytest.raises(ZeroDivisionError):
        pt.map_patches(_fails_while_another_writes, IMAGE, 7, out=sink, executor=client)
    assert _Slow.begun.is_set()
    assert _Slow.at_work == 0
    pt.map_patches(np.negative, IMAGE, 7, out=sink.path)
    assert_same_bits(np.load(sink.path), pt.map_patches(np.negative, IMAGE, 7))
    assert os.listdir(tmp_path) == ["out.npy"]


def test_a_lambda_may_go_to_a_cluster(client):
    factor = 3
    found = pt.map_patches(lambda b: b * factor, IMAGE, 5, executor=client)
    np.testing.assert_allclose(found, 3 * IMAGE, rtol=1e-13)


def test_killed_workers_are_made_up_for(tmp_path):
    distributed = pytest.importorskip("distributed")
    np.save(tmp_path / "image.npy", IMAGE)
    sink = NpySink(str(tmp_path / "result.npy"))
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(processes=True, silence_logs=50, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        victim = next(iter(client.run(os.getpid).values()))

        def kill_one(done, _total, killed=[]):  # noqa: B006
            if done and not killed:
                killed.append(os.kill(victim, signal.SIGKILL))

        plan = pt.plan(slowly, tmp_path / "image.npy", 7, 2, executor=client, out=sink,
                       batch_bytes=8000, progress=kill_one)  # fmt: skip
        assert plan.tasks > 5
        plan.run()
    assert_same_bits(np.load(sink.path), pt.map_patches(bent, IMAGE, 7, 2, batch_bytes=8000))
    assert sorted(os.listdir(tmp_path)) == ["image.npy", "result.npy"]


def slowly(batch):
    time.sleep(0.05)
    return bent(batch)


def test_what_a_killed_run_left_goes_with_the_next(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "import sys, pantile.stream.tempdir as s\nwith s.shared_tempdir(): print(1, flush=True), sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert other.stdout.read(1) == b"1"
    (tmp_path / "pantile-1-of-another-program").mkdir()
    with shared_tempdir() as mine, shared_tempdir():
        assert len(os.listdir(tmp_path)) == 4  # one is at work, the others are ours and theirs
        assert os.path.isdir(mine)
    other.kill()
    other.communicate()
    assert len(os.listdir(tmp_path)) == 2
    with shared_tempdir():
        pass
    assert os.listdir(tmp_path) == ["pantile-1-of-another-program"]

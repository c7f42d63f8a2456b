"""Errors end well: with the program's own traceback and status; nothing of ours works on, nothing is half-written."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt
from pantile.kernels import daemons
from pantile.stream.runners import base, threads

Array = NDArray[Any]
IMAGE = np.random.default_rng(3).normal(size=(3, 160, 170)).astype(np.float32)
BATCHES = 10  # of a small run
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)


def busy() -> list[str]:
    """Threads of ours that are still there."""
    return [t.name for t in threading.enumerate() if t.name.startswith("pantile-")]


def program(code: str, *arguments: str, patience: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True, text=True, timeout=patience, check=False,
    )  # fmt: skip


class Failing:
    """Raises at one call; counts calls, and those that are under way."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.at, self.error = at, error
        self.calls, self.under_way, self.lock = 0, 0, threading.Lock()

    def __call__(self, batch: Array) -> Array:
        with self.lock:
            self.calls += 1
            mine = self.calls
            self.under_way += 1
        try:
            if mine == self.at:
                raise self.error
            time.sleep(0.02)
            return batch
        finally:
            with self.lock:
                self.under_way -= 1


# In one process


@contextmanager
def executor_of(kind: str) -> Iterator[Any]:
    if kind == "pool":
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            yield {"executor": pool}
    else:
        yield {"workers": 1 if kind == "caller" else 4}


@pytest.mark.parametrize("kind", ["caller", "threads", "pool"])
@pytest.mark.parametrize("at", [1, 2, BATCHES])
@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), KeyboardInterrupt(), SystemExit(7)])
@pytest.mark.parametrize("place", [None, "a.npy", "a.zarr"])
def test_nothing_works_on_once_func_has_raised(
    kind: str, at: int, error: BaseException, place: str | None, tmp_path: Path, tiles_of: Any
) -> None:
    func = Failing(at, error)
    image = IMAGE[0]
    nbytes = 16 * 16 * 4 * (-(-19 * 20 // BATCHES))
    out = None if place is None else tmp_path / place
    with executor_of(kind) as options, tiles_of(2000), pytest.raises(type(error)) as caught:
        pt.map_patches(func, image, 16, 8, batch_bytes=nbytes, out=out, **options)
    assert caught.value is error
    assert func.under_way == 0
    assert not busy()
    done = func.calls
    time.sleep(0.05)
    assert func.calls == done
    kept = any("resume=True" in note for note in getattr(error, "__notes__", ()))
    error.__notes__ = []
    assert not (tmp_path / "a.npy").exists()
    assert not (tmp_path / "a.zarr").exists()
    assert bool(list(tmp_path.iterdir())) == kept


def test_finalize_that_raises_ends_every_worker() -> None:
    def finalize(_: Array) -> Array:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        pt.map_patches(lambda b: b, IMAGE, 16, 8, channel_axis=0, finalize=finalize, workers=4)
    assert not busy()


def test_a_func_that_never_returns_does_not_hold_up_the_error(
    monkeypatch: pytest.MonkeyPatch, tiles_of: Any
) -> None:
    monkeypatch.setattr(base.Run, "patience", 0.2)
    monkeypatch.setattr(base, "PATIENCE", 0.2)
    monkeypatch.setattr(threads, "PATIENCE", 0.2)
    release, both = threading.Event(), threading.Barrier(2, timeout=30)

    def func(batch: Array) -> Array:
        if both.wait() == 0:
            raise ZeroDivisionError("mine")
        release.wait()
        return batch

    try:
        with tiles_of(2000), pytest.raises(ZeroDivisionError) as caught:
            pt.map_patches(func, IMAGE[0], 16, 8, workers=2)
        assert any("had not returned" in note for note in caught.value.__notes__)
        assert busy()
    finally:
        release.set()
    daemons._wait_for_left()
    assert not busy()


def test_results_of_another_shape_later_are_refused_and_end_the_run(tiles_of: Any) -> None:
    calls = iter(range(10**6))

    def func(batch: Array) -> Array:
        return batch if next(calls) < 5 else batch[:, 1:]

    with tiles_of(1000), pytest.raises(ValueError, match="same kind of result"):
        pt.map_patches(func, IMAGE[0], 8, 4, batch_bytes=2000, workers=3)
    assert not busy()


@pytest.mark.parametrize("workers", [1, 3])
def test_func_may_rewrite_its_batch_and_return_it(workers: int, tiles_of: Any) -> None:
    def rewritten(batch: Array) -> Array:
        batch *= 2
        return batch

    with tiles_of(1000):
        found = pt.map_patches(rewritten, IMAGE[0], 8, 4, batch_bytes=2000, workers=workers)
    wanted = pt.map_patches(lambda b: b * 2, IMAGE[0], 8, 4, workers=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_func_may_keep_its_results_but_not_change_ours(tiles_of: Any) -> None:
    """A result that is kept, and written to at the next call, is not what was merged."""
    kept: list[Array] = []

    def func(batch: Array) -> Array:
        for old in kept:
            old[...] = np.nan
        kept.append(batch + 1)
        return kept[-1]

    with tiles_of(1000):
        found = pt.map_patches(func, IMAGE[0], 8, 4, batch_bytes=2000, workers=1)
        listed = pt.map_patches(
            lambda b: func(b)[:, 0, 0], IMAGE[0], 8, 4, batch_bytes=2000, workers=1, merge=None
        )
    np.testing.assert_allclose(found, IMAGE[0][: found.shape[0], : found.shape[1]] + 1, rtol=1e-6)
    firsts = pt.extract(IMAGE[0], 8, 4)[:, 0, 0]
    np.testing.assert_allclose(listed.ravel(), firsts + 1, rtol=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_func_may_call_map_patches(workers: int, tiles_of: Any) -> None:
    def func(batch: Array) -> Array:
        inner = [pt.map_patches(lambda b: b + 1, one, 4, 2, workers=2) for one in batch]
        return np.stack(inner)

    with tiles_of(1000):
        found = pt.map_patches(func, IMAGE[0, :40, :40], 8, 8, workers=workers)
    np.testing.assert_allclose(found, IMAGE[0, :40, :40] + 1, rtol=1e-6)
    assert not busy()


def test_func_may_start_threads(tiles_of: Any) -> None:
    def func(batch: Array) -> Array:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return np.stack(list(pool.map(lambda p: p + 1, batch)))

    with tiles_of(1000):
        found = pt.map_patches(func, IMAGE[0, :40, :40], 8, 4, workers=2)
    np.testing.assert_allclose(found, IMAGE[0, :40, :40] + 1, rtol=1e-6)


def test_ctrl_c_in_a_call_that_works_on_all_cores_leaves_nothing_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is cut by several threads into one array is not written to once the interrupt is raised."""
    from pantile.kernels import parallel

    monkeypatch.setattr(parallel, "cores", lambda: 2)
    begun, ended = [], []

    def task(number: int) -> None:
        begun.append(number)
        if number == 0:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        parallel.each_in_parallel(task, range(50))
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 50
    time.sleep(0.3)
    assert sorted(begun) == sorted(ended)


# Programs

TORCH = """
    import sys
    import numpy as np
    import torch
    import pantile as pt

    failing, at = sys.argv[1], int(sys.argv[2])
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 5, 3, padding=1)
    )
    calls = 0

    def fail(what):
        global calls
        calls += what == failing
        if what == failing and calls >= at:
            raise RuntimeError("mine")

    def func(batch):
        fail("func")
        with torch.inference_mode():
            return net(torch.from_numpy(batch)).numpy()

    def finalize(slab):
        fail("finalize")
        return slab.argmax(0)

    image = np.random.default_rng(0).normal(size=(3, 700, 700)).astype(np.float32)
    image @ image.swapaxes(1, 2)  # BLAS is at work, too
    pt.map_patches(func, image, 64, 32, channel_axis=0, finalize=finalize, batch_bytes="400kB")
"""


@needs_torch
@pytest.mark.parametrize(("failing", "at"), [("func", 1), ("func", 5), ("finalize", 1)] * 2)
def test_a_torch_program_that_raises_ends_with_its_traceback_and_status_1(
    failing: str, at: int
) -> None:
    done = program(TORCH, failing, str(at))
    assert done.returncode == 1, done.stderr
    assert "terminate" not in done.stderr
    assert "RuntimeError: mine" in done.stderr


ENDLESS = """
    import os, signal, sys, threading, time
    import numpy as np
    import pantile as pt

    if __name__ == "__main__":
        def func(batch):
            print("at work", flush=True)
            time.sleep(0.2)
            return batch

        options = {"threads": {}, "caller": {"workers": 1}}[sys.argv[1]]
        pt.map_patches(func, np.zeros((900, 900)), 8, batch_bytes="4kB", **options)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to another process")
@pytest.mark.parametrize("kind", ["threads", "caller"])
def test_ctrl_c_ends_a_program_at_once(kind: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(ENDLESS), kind]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - begin < 5
    assert process.returncode in (1, 130, -signal.SIGINT)
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors
    assert "Exception ignored" not in errors


PROCESSES = """
    import time
    import numpy as np

    def one_fails(batch):
        if batch[0, 0, 0] == 0:
            raise ZeroDivisionError("mine")
        time.sleep(3600)
        return batch

    if __name__ == "__main__":
        import pantile as pt
        image = np.arange(400.0 * 400).reshape(400, 400)
        pt.map_patches(one_fails, image, 10, batch_bytes="8kB", executor="processes", workers=2)
"""


def test_worker_processes_that_never_return_are_ended(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROCESSES))
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "ZeroDivisionError: mine" in done.stderr
    assert time.monotonic() - begin < 60


# Threads of other libraries


def blas_threads() -> list[int]:
    from threadpoolctl import threadpool_info

    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


@pytest.mark.parametrize("ending", ["well", "badly"])
def test_blas_gets_its_share_of_the_cores_while_our_threads_are_at_work(
    ending: str, monkeypatch: pytest.MonkeyPatch, tiles_of: Any
) -> None:
    from threadpoolctl import threadpool_limits

    from pantile.kernels import libraries

    monkeypatch.setattr(libraries, "cores", lambda: 6)
    seen: list[int] = []

    def func(batch: Array) -> Array:
        seen.extend(blas_threads())
        if ending == "badly" and len(seen) > 4:
            raise ZeroDivisionError
        return batch

    with threadpool_limits(limits=4, user_api="blas"), tiles_of(2000):
        before = blas_threads()
        assert set(before) == {4}
        try:
            pt.map_patches(func, IMAGE[0], 16, 8, workers=3)
        except ZeroDivisionError:
            assert ending == "badly"
        assert set(seen) == {2}
        assert blas_threads() == before
        seen.clear()
        pt.map_patches(lambda b: (seen.extend(blas_threads()), b)[1], IMAGE[0], 16, 8, workers=1)
        assert set(seen) == {4}


def test_a_lower_limit_of_the_callers_is_not_raised(
    monkeypatch: pytest.MonkeyPatch, tiles_of: Any
) -> None:
    from threadpoolctl import threadpool_limits

    from pantile.kernels import libraries

    monkeypatch.setattr(libraries, "cores", lambda: 12)
    seen: list[int] = []
    with threadpool_limits(limits=1, user_api="blas"), tiles_of(2000):
        pt.map_patches(lambda b: (seen.extend(blas_threads()), b)[1], IMAGE[0], 16, 8, workers=2)
        assert set(seen) == {1}


def test_runs_that_overlap_put_back_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from pantile.kernels import libraries

    monkeypatch.setattr(libraries, "cores", lambda: 8)
    before = blas_threads()
    first, second = libraries.limit_libraries(2), libraries.limit_libraries(8)
    first.__enter__()
    second.__enter__()
    assert set(blas_threads()) == {1}
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before


@needs_torch
def test_torch_gets_its_share_too_and_has_its_threads_back() -> None:
    done = program("""
        import numpy as np, torch
        import pantile as pt
        from pantile.kernels import libraries

        libraries.cores = lambda: 8
        torch.set_num_threads(6)
        seen = set()
        def func(batch):
            torch.from_numpy(batch).exp().sum()
            seen.add(torch.get_num_threads())
            return batch
        pt.map_patches(func, np.zeros((500, 500)), 16, 4, workers=4, batch_bytes="100kB")
        print(seen, torch.get_num_threads())
    """)
    assert done.stdout.split() == ["{2}", "6"], done.stdout + done.stderr

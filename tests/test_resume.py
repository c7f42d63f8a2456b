"""Runs that are cut short, and go on: the same bits, nothing done twice, nothing left behind."""

from __future__ import annotations

import errno
import functools
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pantile as pt
from fuzz.tiles import small_limits
from pantile.files import NpySink, ZarrSink
from pantile.geometry.limits import current_limits, using_limits
from pantile.stream.resume import staging
from pantile.stream.resume.journal import read_journal
from pantile.testing.compare import assert_same_bits

ROOT = Path(__file__).parent.parent
IMAGE = np.random.default_rng(3).normal(size=(61, 58))
OPTIONS = {"weights": "hann", "batch_bytes": 6000}


def bent(batch, strength=1.0):
    return np.sin(strength * batch) * np.arange(1, 50).reshape(7, 7)


class Stopped(Exception):
    pass


class Counting:
    """`bent`, which counts its patches and fails at a call."""

    def __init__(self, limit=None):
        self.patches, self.calls, self._limit = 0, 0, limit  # _: no parameter of the run

    def __call__(self, batch):
        self.calls += 1
        if self.calls == self._limit:
            raise Stopped
        self.patches += len(batch)
        return bent(batch)


@pytest.fixture(autouse=True)
def every_block_is_recorded_at_once():
    small = replace(small_limits(300), journal_seconds=0.0, journal_share=0)
    with using_limits(small):
        yield


@pytest.fixture(params=["npy", "zarr"])
def sink(request, tmp_path):
    if request.param == "npy":
        return NpySink(str(tmp_path / "result.npy"))
    pytest.importorskip("zarr")
    return ZarrSink(str(tmp_path / "result.zarr"), chunks=(13, 20))


@pytest.fixture(scope="module")
def whole():
    """What an uninterrupted run gives, with the tiles that all runs here have."""
    with using_limits(replace(current_limits(), tile_state_bytes=300 * 8, tile_batches=0)):
        return pt.map_patches(bent, IMAGE, 7, 2, **OPTIONS)


def held(sink):
    return np.load(sink.path) if sink.path.endswith(".npy") else _zarr()(sink.path)[...]


def _zarr():
    import zarr

    return zarr.open_array


def run(func, sink, **options):
    return pt.map_patches(func, IMAGE, 7, 2, out=sink, **{**OPTIONS, "workers": 1, **options})


def cut_short(sink, limit=30, **options):
    with pytest.raises(Stopped) as caught:
        run(Counting(limit), sink, **options)
    assert "resume=True" in "\n".join(caught.value.__notes__)


def left(sink):
    folder = Path(sink.path).parent
    return sorted(p.name for p in folder.iterdir() if p.name != Path(sink.path).name)


def test_a_whole_run_leaves_only_its_result(sink, whole):
    assert run(bent, sink) is sink
    assert_same_bits(held(sink), whole)
    assert left(sink) == []
    run(bent, sink, resume=True)  # no journal: from the beginning
    assert_same_bits(held(sink), whole)


def test_a_run_that_did_nothing_leaves_nothing(sink):
    with pytest.raises(Stopped):
        run(Counting(1), sink)
    assert os.listdir(Path(sink.path).parent) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_resumed_run_has_the_same_bits_and_does_little_twice(sink, whole, workers):
    cut_short(sink)
    assert left(sink) == [Path(sink.path).name + end for end in (".journal", ".partial")]
    assert not os.path.exists(sink.path)
    rest = Counting()
    total = pt.PatchGrid(IMAGE.shape, 7, 2).n_patches
    steps = []
    run(rest, sink, resume=True, workers=workers, batch_bytes=90_000, memory="50MB",
        progress=lambda *step: steps.append(step))  # fmt: skip
    assert_same_bits(held(sink), whole)
    assert left(sink) == []
    assert 0 < rest.patches < total
    assert steps[-1] == (total, total)


def test_a_failed_run_keeps_the_earlier_result(sink, whole):
    run(bent, sink)
    cut_short(sink)
    assert_same_bits(held(sink), whole)
    run(Counting(), sink)  # without resume: from the beginning
    assert_same_bits(held(sink), whole)
    assert left(sink) == []


def test_wherever_the_journal_is_torn_the_bits_are_the_same(tmp_path, whole):
    sink = NpySink(str(tmp_path / "result.npy"))
    cut_short(sink, 14)
    journal, partial = (Path(sink.path + end) for end in (".journal", ".partial"))
    text, elements = journal.read_bytes(), partial.read_bytes()
    lines = text.count(b"\n")
    assert lines > 4
    ends = [k + 1 for k, byte in enumerate(text) if byte == 10]
    for cut in [0, 5, ends[0] - 1, ends[0], ends[1] + 4, ends[-1] - 1, ends[-1]]:
        for garbage in (b"", b"\0\0\0", b'12345678 {"done": [[0, 0, 0]]}\n'):
            partial.write_bytes(elements)
            journal.write_bytes(text[:cut] + garbage)
            record = read_journal(str(journal))
            assert (record is None) == (cut < ends[0])
            run(Counting(), sink, resume=True)
            assert_same_bits(np.load(sink.path), whole)
            assert left(sink) == []


def test_a_lost_staging_place_means_from_the_beginning(sink, whole):
    cut_short(sink)
    _remove(sink.path + ".partial")
    again = Counting()
    run(again, sink, resume=True)
    assert again.patches == pt.PatchGrid(IMAGE.shape, 7, 2).n_patches
    assert_same_bits(held(sink), whole)


def _remove(path):
    import shutil

    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


@pytest.mark.parametrize("moment", ["before commit", "after commit", "before the journal is gone"])
def test_killed_at_the_very_end(sink, whole, monkeypatch, moment):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    run(np.negative, sink)  # an earlier result, of another function
    with monkeypatch.context() as patch:
        patch.setattr(staging.Staging, "abandon", lambda self, _: self._journal.close())
        if moment == "before the journal is gone":
            patch.setattr(staging.os, "remove", _unless_journal(die))
        else:
            writer = type(sink.create((4, 4), np.dtype("f8")))
            commit = writer.commit
            after = moment == "after commit"
            patch.setattr(writer, "commit", lambda self: (commit(self) if after else None, die()))
        with pytest.raises(Killed):
            run(Counting(), sink)
    never = Counting(1)
    run(never, sink, resume=True)
    assert never.calls == 0
    assert_same_bits(held(sink), whole)
    assert left(sink) == []


def _unless_journal(die, remove=os.remove):
    seen = []

    def removing(path):
        if str(path).endswith(".journal"):
            seen.append(path)
            if os.path.getsize(path) > 0 and b'"whole"' in Path(path).read_bytes():
                die()
        remove(path)

    return removing


CHANGES = {
    "image": ({"image": IMAGE + 1}, "image.digest"),
    "grid": ({"step": 3}, "grid.step: .*2.* -> .*3"),
    "func": ({"func": np.negative}, "func.name: .*Counting -> .*negative"),
    "weights": ({"weights": "gaussian"}, "weights: hann -> gaussian"),
    "fill": ({"fill": 0.5}, "fill: None -> 0.5"),
    "dtype": ({"dtype": "f4"}, "dtype: None -> <f4"),
    "layout": ({"layout": "feature"}, "layout: patch -> feature"),
    "merge": ({"merge": "sum"}, "merge: mean -> sum"),
    "finalize": ({"finalize": np.abs}, "finalize"),
    "where": ({"where": IMAGE > -1, "fill": 0}, "where: None -> "),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_run_is_refused_with_what_differs(tmp_path, change):
    sink = NpySink(str(tmp_path / "result.npy"))
    cut_short(sink)
    given, message = CHANGES[change]
    call = {"func": Counting(), "image": IMAGE, "patch": 7, "step": 2, **OPTIONS, **given}
    with pytest.raises(ValueError, match=message) as caught:
        pt.plan(**call, out=sink, resume=True)
    assert "another run" in str(caught.value)
    assert len(left(sink)) == 2


def test_bound_parameters_are_part_of_the_run(tmp_path):
    sink = NpySink(str(tmp_path / "result.npy"))
    parts = [functools.partial(_failing, at=[0], strength=s) for s in (2.0, 3.0)]
    with pytest.raises(Stopped):
        run(parts[0], sink)
    with pytest.raises(ValueError, match=r"func.strength: 2.0 -> 3.0"):
        run(parts[1], sink, resume=True)

    def closed(strength):
        return lambda batch: bent(batch, strength)

    names = [staging.describe(closed(s)) for s in (1, 2)]
    assert staging.differences(*names) == ["strength: 1 -> 2"]


def _failing(batch, at, strength):
    at[0] += 1
    if at[0] > 9:
        raise Stopped
    return bent(batch, strength)


def test_resume_needs_a_path():
    for out in (None, np.zeros_like(IMAGE)):
        with pytest.raises(ValueError, match=r"resume=True needs a result on disk.*out= a path"):
            pt.plan(bent, IMAGE, 7, out=out, resume=True)


def test_several_results_go_on_together(tmp_path):
    def both(batch):
        func(batch)
        return batch, (batch[:, 2:5, 2:5] > 0).astype(np.uint8)

    sinks = tuple(NpySink(str(tmp_path / name)) for name in ("a.npy", "b.npy"))
    options = {**OPTIONS, "weights": None, "fill": 0}
    func = Counting()
    expected = pt.map_patches(both, IMAGE, 7, 2, **options)
    func = Counting(9)
    with pytest.raises(Stopped):
        pt.map_patches(both, IMAGE, 7, 2, out=sinks, workers=1, **options)
    func = Counting()
    assert pt.map_patches(both, IMAGE, 7, 2, out=sinks, resume=True, **options) is sinks
    for sink, values in zip(sinks, expected, strict=True):
        assert_same_bits(np.load(sink.path), values)
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.npy"]


def labels(batch, counter):
    counter(batch)
    return np.stack([batch, -batch], -1)


def rows(batch, counter):
    counter(batch)
    return batch[:, 0]


@pytest.mark.parametrize(
    ("func", "options"),
    [
        (labels, {"finalize": functools.partial(np.argmax, axis=-1)}),
        (rows, {"merge": None, "where": IMAGE > 0.9, "fill": -1}),
    ],
)
def test_finalize_and_results_on_the_grid_go_on(tmp_path, func, options):
    def mapped(limit, **more):
        counted = functools.partial(func, counter=Counting(limit))
        return pt.map_patches(counted, IMAGE, 7, 2, batch_bytes=3000, **options, **more)

    sink = NpySink(str(tmp_path / "result.npy"))
    expected = mapped(None)
    with pytest.raises(Stopped):
        mapped(15, out=sink, workers=1)
    assert len(left(sink)) == 2
    mapped(None, out=sink, resume=True)
    assert_same_bits(np.load(sink.path), expected)


@pytest.mark.parametrize("victim", ["result", "journal"])
def test_a_full_disk_is_one_error_and_the_run_goes_on_later(tmp_path, monkeypatch, whole, victim):
    sink = NpySink(str(tmp_path / "result.npy"))
    writer = type(sink.create((4, 4), np.dtype("f8")))
    write, put, left_to_write = os.write, writer.__setitem__, [9]

    def full(function):
        def limited(*args):
            left_to_write[0] -= 1
            if left_to_write[0] < 0:
                if victim == "journal":
                    function(args[0], args[1][:7])  # torn
                raise OSError(errno.ENOSPC, "No space left on device")
            return function(*args)

        return limited

    with monkeypatch.context() as patch:
        if victim == "journal":
            patch.setattr("pantile.stream.resume.journal.os.write", full(write))
        else:
            patch.setattr(writer, "__setitem__", full(put))
        with pytest.raises(OSError, match="No space left"):
            run(Counting(), sink)
    run(Counting(), sink, resume=True)
    assert_same_bits(np.load(sink.path), whole)
    assert left(sink) == []


def test_a_place_that_cannot_be_made_is_tried_once(tmp_path, monkeypatch):
    sink = NpySink(str(tmp_path / "result.npy"))
    create, tried, together = NpySink.create, [], threading.Barrier(2, timeout=20)

    def full(self, shape, dtype):
        tried.append(1)
        if len(tried) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(self, shape, dtype)

    def meeting(batch):
        if batch[0, 0, 0] in (IMAGE[0, 0], IMAGE[14, 0]):  # of two tiles at work
            together.wait()
        return bent(batch)

    monkeypatch.setattr(NpySink, "create", full)
    for _ in range(5):
        tried.clear()
        with pytest.raises(OSError, match="No space left"):
            run(meeting if not together.broken else bent, sink, workers=2)
        time.sleep(0.1)  # what other threads are at
        assert os.listdir(tmp_path) == []


def test_the_image_is_not_replaced_by_its_result(tmp_path):
    np.save(tmp_path / "image.npy", IMAGE)
    with pytest.raises(ValueError, match="is the image itself"):
        pt.plan(bent, tmp_path / "image.npy", 7, out=tmp_path / "image.npy")


def test_the_plan_of_a_resumed_run_says_what_is_done(tmp_path):
    sink = NpySink(str(tmp_path / "result.npy"))
    cut_short(sink)
    plan = pt.plan(Counting(), IMAGE, 7, 2, out=sink, resume=True, **OPTIONS)
    assert f"{plan.blocks_done} of them done before" in str(plan)
    assert plan.blocks_done == sum(map(len, read_journal(sink.path + ".journal").done)) > 0
    entry = json.loads(Path(sink.path + ".journal").read_bytes().splitlines()[0][9:])
    assert entry["run"]["func"]["name"].endswith("Counting")


def test_killed_and_resumed_in_earnest():
    """`kill -9` of a real process; `benchmarks/kill.py` does it more often."""
    command = [sys.executable, "-m", "benchmarks.kill", "--times", "4", "--small", "--seed", "1"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills" in done.stdout


def test_two_runs_do_not_write_one_result(tmp_path):
    sink = NpySink(str(tmp_path / "result.npy"))
    command = (
        "import numpy, sys, pantile as pt\n"
        "try: pt.map_patches(numpy.negative, numpy.ones((9, 9)), 3, out=sys.argv[1])\n"
        "except BlockingIOError as error: print(error)"
    )
    said = []

    def meddling(batch):
        if not said:
            for resume in (True, False):
                with pytest.raises(BlockingIOError, match="another run is writing"):
                    run(bent, sink, resume=resume)
            arguments = [sys.executable, "-c", command, sink.path]
            said.append(subprocess.run(arguments, capture_output=True, text=True, check=True))
        return bent(batch)

    run(meddling, sink)
    assert "another run is writing" in said[0].stdout
    assert_same_bits(held(sink), pt.map_patches(bent, IMAGE, 7, 2, **OPTIONS))
    assert left(sink) == []


def test_a_first_call_that_fails_leaves_an_earlier_run_to_go_on_with(sink, whole):
    cut_short(sink)
    kept = left(sink)
    with pytest.raises(Stopped):
        run(Counting(1), sink)  # without resume
    with pytest.raises(ValueError, match=r"func\.name"):
        run(np.negative, sink, resume=True)
    assert left(sink) == kept
    again = Counting()
    run(again, sink, resume=True)
    assert again.patches < pt.PatchGrid(IMAGE.shape, 7, 2).n_patches
    assert_same_bits(held(sink), whole)


def test_a_plan_older_than_the_run_is_refused(tmp_path):
    sink = NpySink(str(tmp_path / "result.npy"))
    old = pt.plan(Counting(), IMAGE, 7, 2, out=sink, resume=True, **OPTIONS)
    cut_short(sink, batch_bytes=5000)
    with pytest.raises(ValueError, match="draw it again"):
        old.run()
    assert len(left(sink)) == 2


def test_other_chunks_are_another_run(tmp_path):
    pytest.importorskip("zarr")
    path = str(tmp_path / "result.zarr")
    cut_short(ZarrSink(path, chunks=(13, 20)))
    with pytest.raises(ValueError, match=r"out.result 0.chunks: \[13, 20\] -> \[20, 20\]"):
        run(Counting(), ZarrSink(path, chunks=(20, 20)), resume=True)


def test_whatever_is_bound_is_compared():
    class Settings:
        def __init__(self, strength):
            self.strength = strength

    pairs = [({1, 2}, {1, 3}), (b"a", b"b"), (Path("a"), Path("b")), (range(3), range(4))]
    for one, other in [*pairs, (Settings(1), Settings(2))]:
        first, second, again = (
            staging.describe(functools.partial(bent, strength=v)) for v in (one, other, one)
        )
        assert staging.differences(first, again) == []
        assert len(staging.differences(first, second)) == 1


def test_progress_of_a_run_that_is_done(tmp_path):
    sink = NpySink(str(tmp_path / "result.npy"))
    n, seen = pt.PatchGrid(IMAGE.shape, 7, 2).n_patches, []

    def killed(*_):
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pantile.files.write.npy_sink.NpyWriter.commit", killed)
        with pytest.raises(Stopped):
            run(bent, sink)
    run(bent, sink, resume=True, progress=lambda *now: seen.append(now))
    assert seen == [(n, n)]

"""Compiled loops: kept on disk for the next process, each operation under a name of its own."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from pantile.kernels import loops
from pantile.kernels.cache import _Entries, keep_on_disk
from pantile.kernels.compile import compiled_with

CALLS = """
import numpy as np
import pantile as pt
from pantile.kernels import loops

image = np.arange(48, dtype=np.float32).reshape(6, 8)
patches = pt.extract(image, 3, 1)
for merge in ("max", "min", "sum"):
    print(pt.unpatchify(patches, (6, 8), step=1, merge=merge).ravel()[20:23].tolist())
for loop in (loops._copy_by_patch, loops._keep_largest, loops._keep_smallest):
    stats = loop._dispatcher.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def run(folder: Path) -> list[str]:
    environment = dict(os.environ, NUMBA_CACHE_DIR=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", CALLS], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_second_process_compiles_no_shared_loop_again(tmp_path: Path) -> None:
    first, second = run(tmp_path), run(tmp_path)
    assert first[3:] == ["0 1"] * 3
    assert second[3:] == ["1 0"] * 3
    assert first[:3] == second[:3] == ["[20.0, 21.0, 22.0]"] * 2 + ["[180.0, 189.0, 132.0]"]
    names = [file.name.split("-")[0] for file in tmp_path.rglob("*")]
    assert {"loops._by_patch._larger", "loops._by_patch._smaller"} <= set(names)
    assert not list(tmp_path.rglob("*.nbi"))  # numba's index


def doubled(x: Any) -> Any:
    return x[0] * 2


def entries_of(function: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    dispatcher = numba.njit(function)
    keep_on_disk(dispatcher)
    return dispatcher


def test_who_compiles_at_the_same_time_keeps_the_loop_of_its_own_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # (numba's index, read by both before either has written, gave both one file: the later process
    # below took floats for integers)
    given = np.array([1.5]), np.array([3])
    at_once = [entries_of(doubled, tmp_path, monkeypatch) for _ in given]
    saves: list[tuple[Any, Any, Any]] = []
    with monkeypatch.context() as patched:
        patched.setattr(_Entries, "save", lambda *call: saves.append(call))
        for each, values in zip(at_once, given, strict=True):
            each(values)
    for call in (*saves, *saves[::-1]):
        _Entries.save(*call)
    later = entries_of(doubled, tmp_path, monkeypatch)
    assert [later(values) for values in given] == [3.0, 6]
    assert sum(later.stats.cache_hits.values()) == 2
    assert len(list(tmp_path.rglob("*.nbc"))) == len(list(tmp_path.rglob("*"))) - 1 == 2


@pytest.mark.parametrize("harm", ["cut", "another", "empty", "older"])
def test_a_file_that_is_damaged_or_for_something_else_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    first = entries_of(doubled, tmp_path, monkeypatch)
    assert (first(np.array([1.5])), first(np.array([3]))) == (3.0, 6)
    one, other = sorted(tmp_path.rglob("*.nbc"))
    whole = one.read_bytes()
    if harm == "another":
        shutil.copy(other, one)
    elif harm == "older":
        head = pickle.loads(whole)
        one.write_bytes(pickle.dumps(("0.1", head[1])) + whole[len(pickle.dumps(head)) :])
    else:
        one.write_bytes(whole[: len(whole) // 2 if harm == "cut" else 0])
    later = entries_of(doubled, tmp_path, monkeypatch)
    assert (later(np.array([1.5])), later(np.array([3]))) == (3.0, 6)
    assert sum(later.stats.cache_hits.values()) == 1
    again = entries_of(doubled, tmp_path, monkeypatch)
    assert (again(np.array([1.5])), again(np.array([3]))) == (3.0, 6)
    assert sum(again.stats.cache_hits.values()) == 2


_EACH_FOR_A_TYPE = """
import sys, time
import numpy as np
import pantile as pt

values = np.arange(81).reshape(9, 9).astype(sys.argv[1])
while time.time() < float(sys.argv[2]):
    pass
for merge in ("mean", "median", "max", "var"):
    found = pt.unpatchify(pt.extract(values, 3, 1), values.shape, 1, merge=merge)
    assert merge == "var" or (found == values).all(), (merge, found)
    assert merge != "var" or (found == 0).all(), found
"""


def test_processes_that_compile_for_different_types_at_once_agree(tmp_path: Path) -> None:
    environment = dict(os.environ, NUMBA_CACHE_DIR=str(tmp_path))
    for _ in range(2):  # what was compiled, then what was kept
        begin = str(time.time() + 1.5)
        started = [
            subprocess.Popen([sys.executable, "-c", _EACH_FOR_A_TYPE, kind, begin], env=environment)
            for kind in ("f8", "i8", "u8")
        ]
        assert [process.wait(300) for process in started] == [0, 0, 0]


def test_a_cache_that_cannot_be_written_costs_the_cache_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(_Entries, "save", refuse)
    largest = compiled_with(loops._by_patch, loops._larger)
    there, coming = np.zeros(5), np.array([-1.0, 4, 2])
    one, nowhere = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    tables = (one, nowhere, one, 0, 0, nowhere, nowhere, 3)
    for _ in range(2):
        largest(there, coming, *tables, None, None, None, None, None)
    np.testing.assert_array_equal(there, [0, 0, 4, 2, 0])


@pytest.mark.parametrize("steps", [(None, None), (1, 1), (None, 1), (1, None)])
def test_a_step_of_one_is_the_same_given_or_known(steps: tuple[int | None, ...]) -> None:
    sums, coming = np.arange(5.0), np.array([1, 2, 4], dtype=np.float32)
    one, nowhere = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    tables = (one, nowhere, one, 0, 0, nowhere, nowhere, 3)
    loops._add_by_patch(sums, coming, *tables, *steps, None, None, None)
    loops._add_by_patch(sums, coming, *tables, *steps, coming * 1.0, np.array([0.5]), nowhere)
    np.testing.assert_array_equal(sums, [0, 2.5, 6, 15, 4])


_LOADED_ALONE = """
import sys
import numpy as np
import pantile as pt

pt.extract(np.ones((9, 9), np.float32), 3)
assert not [name for name in sys.modules if name.startswith("scipy.linalg")]

import numba
product = numba.njit(lambda a, b: a @ b)
assert (product(np.eye(3) * 2, np.ones((3, 3))) == 2).all()
assert sys.modules["scipy.linalg.cython_blas"].__spec__ is not None
"""


def test_linear_algebra_is_imported_for_those_who_use_it_only() -> None:
    subprocess.run([sys.executable, "-c", _LOADED_ALONE], check=True)

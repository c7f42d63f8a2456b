"""Compiled loops: kept on disk for the next process, each operation under a name of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pantile.kernels import loops
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
    # processes that compile at the same time may not overwrite each other's largest with smallest
    names = {file.name.split("-")[0] for file in tmp_path.rglob("*.nbi")}
    assert {"loops._by_patch._larger", "loops._by_patch._smaller"} <= names


def test_a_cache_that_cannot_be_written_costs_the_cache_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from numba.core import caching

    def refuse(*_: Any) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", refuse)
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

"""The fuzzer: what it found once is kept, it still finds what is wrong, and a short hunt finds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import pantile as pt
from fuzz import Hunt, cases, hunt
from fuzz.checks import check_extract, check_grid, check_map, check_unpatchify
from fuzz.hostile import check_hostile
from fuzz.matrix_checks import check_matrix
from fuzz.source import script, source, strided
from pantile import PatchGrid
from pantile.geometry.limits import Limits, using_limits

pytest.importorskip("hypothesis")

ROOT = Path(__file__).parents[1]
ALONE = {"axes": None, "channel_axis": None}
KEPT = {
    "padding around swapped bytes": lambda: check_extract(
        np.array([[1.0, 2.0]], ">f4"), PatchGrid((1, 2), (1, 2), pad=1), ALONE
    ),
    "swapped bytes, merges that choose": lambda: check_unpatchify(
        np.array([[1.0]], ">f4"), PatchGrid(1, 1), ALONE, {"merge": "first"}
    ),
    "swapped bytes through map_patches": lambda: check_map(
        np.arange(9.0, dtype=">f4"), PatchGrid(9, 3), ALONE, "same", {"merge": "last"}, {}
    ),
    "swapped bytes, trimmed": lambda: check_unpatchify(
        np.array([[1.0, 2.0], [3.0, 4.0]], ">f4"),
        PatchGrid(3, 2),
        ALONE,
        {"merge": "mean", "weights": "trim"},
    ),
    "a variance below 0": lambda: check_matrix(
        np.array([[-238.35768127441406 - 285.621337890625j]], "c8"),
        PatchGrid((1, 1), 1, (1, 2), pad=((0, 1), (0, 3)), pad_mode="edge"),
        ALONE,
        scale=True,
        way="blocks",
    ),
    "a step past int64": lambda: check_grid(PatchGrid((4, 5), 2, 2**63)),
    "a step past int64, no tail": lambda: check_grid(PatchGrid((4, 5), 2, 2**63, tail="drop")),
    "a step past int64, centred": lambda: check_grid(PatchGrid((4, 5), 2, 2**63, pad="same")),
    "a dilation past int64 of one sample": lambda: check_grid(PatchGrid(5, 1, 2, dilation=2**63)),
}


@pytest.mark.parametrize("case", KEPT.values(), ids=list(KEPT))
def test_what_was_found_stays_fixed(case):
    case()


REFUSED = [
    ("pt.PatchMatrix(np.eye(5), 2).cov", {"ddof": "None"}),
    ("pt.PatchMatrix(np.eye(5), 2).sample", {"n": "None"}),
    ("pt.PatchMatrix(np.eye(5), 2).sample", {"n": "True"}),
    ("pt.PatchMatrix(np.eye(5), 2).sum", {"axis": "np.array([2, 2])"}),
    ("pt.PatchMatrix(np.eye(5), 2).explain", {"columns": "[None, None]"}),
    ("pt.PatchMatrix(np.eye(5), 2).explain", {"columns": "None"}),
    ("pt.unpatchify", {"patches": "np.ones((4, 2))", "shape": "5", "merge": "np.array([2, 2])"}),
    ("pt.PatchGrid((4, 5), 2).locate", {"element": "[None, None]"}),
    ("pt.PatchGrid((4, 5), 2).locate", {"element": "np.array(2)"}),
    ("pt.PatchGrid((4, 5), 2).__getitem__", {"index": "(2.0, 2.0)"}),
    ("pt.PatchGrid((4, 5), 2).flat_indices", {"rows": "np.zeros((2, 0, 2))"}),
    ("pt.patchify", {"image": "np.eye(4)", "patch": "2", "step": "2**63"}),
    ("pt.patchify", {"image": "np.eye(4)", "patch": "pt.PatchGrid((4, 4), 2)", "dilation": "np.array([2, 2])"}),
    ("pt.PatchGrid", {"shape": "5", "patch": "2", "step": "2**63", "tail": "'pad'"}),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "arguments"), REFUSED)
def test_what_was_refused_without_a_word_has_words(verb, arguments):
    check_hostile(verb, arguments)


def test_the_callers_errstate_holds_in_every_thread():
    patches = np.full((39 * 39, 4, 4), np.inf, np.float32)
    patches[::2] = -np.inf
    with using_limits(Limits(merge_leaf_elements=1000)), warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(invalid="ignore"):
            merged = pt.unpatchify(patches, PatchGrid((42, 42), 4))
    assert np.isnan(merged[10, 10])


def test_empty_flat_indices_keep_their_columns():
    assert PatchGrid((4, 5), 2).flat_indices([]).shape == (0, 4)


def some_trials(*names):
    every = cases.trials([np.dtype("f4"), np.dtype("u1")])
    return {name: every[name] for name in names or every}


def test_a_short_hunt_finds_nothing():
    number = 0 if os.environ.get("CI") else int(time.time())
    done = hunt(4, number, some_trials())
    assert not done.failures, "\n\n".join(map(str, done.failures))
    assert done.cases > 20


def test_a_planted_fault_is_found_made_small_and_repeated(monkeypatch):
    honest = pt.extract

    def faulty(image, grid, **options):
        found = honest(image, grid, **options)
        if grid.shape[-1] > 3:
            found[..., -1] += 1
        return found

    monkeypatch.setattr(pt, "extract", faulty)
    done = hunt(60, number=1, trials=some_trials("extract"), watch=stop_at_a_failure)
    (failure,) = done.failures
    assert "PatchGrid((4,), 1" in failure.script  # no smaller one shows it
    with pytest.raises(AssertionError):
        exec(failure.script, {})
    monkeypatch.setattr(pt, "extract", honest)
    exec(failure.script, {})


def stop_at_a_failure(going):
    if going.failures:
        going.deadline = 0.0


def test_hunts_with_one_seed_see_the_same_cases():
    def seen(number):
        found = []
        trial = some_trials("grid")["grid"]
        going = Hunt({}, time.monotonic() + 60)
        kept = cases.Trial(lambda **arguments: found.append(source(arguments)), trial.arguments)
        going._explore(kept, number)
        return found

    assert seen(5) == seen(5) != seen(6)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3)[:, ::-1],
        np.broadcast_to(np.float32(3), (2, 2)),
        np.array([np.nan, np.inf, -0.0]),
        np.zeros((0, 3), "u1"),
        np.arange(4, dtype=">i2").reshape(2, 2).T,
        np.zeros(3, [("a", "u1"), ("b", "f8")])["b"],
        np.array([1 + 2j, complex(np.nan, 1)]),
    ],
    ids=["reversed", "broadcast", "not finite", "empty", "swapped", "unaligned", "complex"],
)
def test_arrays_are_written_down_with_values_dtype_and_strides(array):
    names = {"np": np, "strided": strided, "nan": np.nan, "inf": np.inf}
    again = eval(source(array), names)
    np.testing.assert_array_equal(again, array)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert array.size == 0 or again.strides == array.strides


def test_a_script_runs_by_itself():
    grid = PatchGrid((4, 5), 2, pad=1, pad_mode="edge")
    image = np.arange(20, dtype="u1").reshape(4, 5)[::-1]
    text = script("checks", "check_extract", {"image": image, "grid": grid, "roles": ALONE})
    exec(text, {})


def fuzz(*arguments, **environment):
    command = [sys.executable, "-m", "fuzz", *arguments]
    inherited = {k: v for k, v in os.environ.items() if k != "NUMBA_BOUNDSCHECK"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=inherited | environment, cwd=ROOT
    )


def test_the_command_hunts_with_bounds_checks(tmp_path):
    done = fuzz(
        "--minutes",
        "0.03",
        "--seed",
        "4",
        "--only",
        "grid,patchify",
        NUMBA_CACHE_DIR=str(tmp_path / "n"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seed 4, checks: grid, patchify" in done.stdout
    assert "0 failures" in done.stdout


def test_an_unknown_check_is_refused():
    done = fuzz("--only", "gird", NUMBA_BOUNDSCHECK="1")
    assert done.returncode == 1
    assert "no check 'gird'; there are grid, patchify" in done.stderr

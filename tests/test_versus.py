"""Two source trees timed against each other: a slow one is found, and a tree is as fast as itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pantile as pt
from benchmarks import versus
from benchmarks.versus import Race

HERE = Path(pt.__file__).resolve().parents[1]


@pytest.fixture
def tree_is_small(monkeypatch):
    """The processes make the small calls only."""
    monkeypatch.setattr(versus, "WORKER", "tests._clock_of_small_calls")


@pytest.mark.usefixtures("tree_is_small")
def test_what_has_become_slow_is_first_and_fails(tmp_path, capsys):
    new = tmp_path / "slow"
    shutil.copytree(HERE / "pantile", new / "pantile", ignore=shutil.ignore_patterns("__pycache__"))
    with open(new / "pantile" / "__init__.py", "a", encoding="utf-8") as file:
        file.write("\n_honest = __getattr__('patchify')\n"
                   "def patchify(*a, **k):\n"
                   "    import time; time.sleep(0.002)\n"
                   "    return _honest(*a, **k)\n")  # fmt: skip
    command = ["--old", str(HERE), "--new", str(new), "--rounds", "3", "--sample", "2"]
    assert versus.main([*command, "--only", "patchify, a grid", "--allow", "5"]) == 1
    printed = capsys.readouterr().out
    assert "small: patchify, a grid" in printed
    assert "1 cases slower by more than 500 %" in printed


@pytest.mark.usefixtures("tree_is_small")
def test_a_tree_is_about_as_fast_as_itself(capsys):
    command = [
        "--old",
        str(HERE),
        "--new",
        str(HERE),
        "--rounds",
        "3",
        "--sample",
        "2",
        "--allow",
        "20",
    ]
    assert versus.main([*command, "--only", "grid[7]"]) == 0
    assert "all: 1 cases, median ratio" in capsys.readouterr().out


def test_a_case_is_slower_only_where_medians_and_best_times_say_so():
    assert Race("", [1.0, 1.0, 1.1], [1.2, 1.2, 1.3]).slower(0.05)
    assert not Race("", [1.0, 1.0, 1.1], [1.0, 1.2, 1.3]).slower(0.05)  # noise in the median
    assert not Race("", [0.9, 1.2, 1.2], [1.2, 1.2, 1.2]).slower(0.05)  # noise in the best
    assert not Race("", [1.0, 1.0], [0.5, 0.5]).slower(0.05)
    assert Race("", [1.0], [1.0], "new tree: RuntimeError").slower(0.05)
    assert Race("", [2.0, 1.0, 4.0], [1.0, 2.0, 3.0]).ratio == 1.0

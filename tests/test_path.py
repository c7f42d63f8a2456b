"""What one call runs through is counted right, and the names that are looked for are there."""

from __future__ import annotations

import numpy as np
import pytest

import pantile as pt
from benchmarks import path


def test_functions_of_ours_are_counted_and_no_others():
    image = np.ones((8, 8))
    pt.patchify(image, 3)
    with path.walked() as walk:
        pt.patchify(image, 3)
        np.median(image)
        sorted(each for each in "abc")
    names = {code.co_name for code in walk.calls}
    assert {"patchify"} <= names
    assert (
        not {"median", "<genexpr>", test_functions_of_ours_are_counted_and_no_others.__name__}
        & names
    )
    assert walk.functions == len(walk.calls) == sum(map(len, walk.by_file.values()))
    assert walk.files == len({code.co_filename for code in walk.calls})
    with path.walked() as nothing:
        np.median(image)
    assert nothing.functions == nothing.files == 0


def test_calls_are_counted_each_time():
    grid = pt.PatchGrid((8, 8), 3)
    with path.walked() as walk:
        for _ in range(3):
            grid.locate((1, 1))
    assert walk.calls[pt.PatchGrid.locate.__code__] == 3


def test_what_is_done_once_for_each_job_is_found_by_name(monkeypatch):
    walk = path.passed(path.TILE)
    counts = path.done(walk)
    assert all(times.isdigit() and int(times) > 0 for times in counts.values()), counts
    monkeypatch.setitem(path.ONCE, "rule compiled", ("pantile.nowhere:Rule.compiled",))
    assert path.done(walk)["rule compiled"] == "GONE: pantile.nowhere:Rule.compiled"


def test_the_command_prints_counts_and_fails_where_a_tile_passes_too_much(capsys):
    assert path.main(["--list", "patchify"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in path.CALLS)
    assert "patchify.py (" in printed
    assert path.main(["--most", "1"]) == path.main(["--files", "1"]) == 1


@pytest.mark.parametrize("name", path.CALLS)
def test_every_call_passes_something(name):
    walk = path.passed(name)
    assert 0 < walk.files <= walk.functions <= walk.calls.total()

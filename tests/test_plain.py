"""The table of plain ways: both sides of a cell do the same. How long they take is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases import Case, parse_case
from benchmarks.plain.__main__ import main
from benchmarks.plain.cell import Cell, Sides, agree, regime
from benchmarks.plain.table import FULL, TINY, Row, cells, measure, shorter
from benchmarks.timing import Timing

CELLS = list(shorter(cells(TINY)))


@pytest.mark.parametrize("operation", dict.fromkeys(cell.operation for cell in CELLS))
def test_both_sides_of_a_cell_give_one_result(operation: str) -> None:
    rows = [row for cell in CELLS if cell.operation == operation for row in measure(cell, 0, 0.0)]
    assert rows
    assert [" ".join(row.cells()) for row in rows if row.differs] == []


def test_every_value_of_every_dimension_is_met_in_the_main_operations() -> None:
    found = list(cells(FULL))
    for operation in (
        "extract",
        "unpatchify",
        "Merger",
        "map_patches",
        "X @ v",
        "X.T @ u",
        "X.std",
    ):
        cases = [cell.case for cell in found if cell.operation == operation]
        assert {case.patch[0] for case in cases} == {3, 8, 39, 64, 256}
        assert {case.ndim for case in cases} == {1, 2, 3}
        assert {case.dtype for case in cases} == {"float32", "float64", "uint8", "uint16"}
        assert {regime(case) for case in cases} == {
            "side by side",
            "half overlap",
            "step 4",
            "step 1",
        }


def test_a_plain_way_with_another_result_is_not_timed_but_told() -> None:
    image = np.arange(4.0)
    case = Case((4,), (2,), (1,), "float64")
    sides = Sides(lambda: image, {"right": image.copy, "wrong": lambda: image + 1})
    rows = measure(Cell("copy", "", case, lambda _: sides), 1, 1.0)
    assert {row.way: row.differs for row in rows} == {"right": False, "wrong": True}
    assert {row.way: row.plain is None for row in rows} == {"right": False, "wrong": True}


def test_agreement_is_of_shapes_and_of_whole_numbers_to_the_last_digit() -> None:
    assert agree(np.ones(3), np.ones(3) + 1e-7)
    assert not agree(np.ones(3), np.ones((3, 1)))
    assert not agree(np.ones(3), np.full(3, np.nan))
    assert not agree(np.full(3, 10**6), np.full(3, 10**6 + 1))


def test_a_ratio_is_the_plain_time_over_ours() -> None:
    cell = Cell("copy", "", parse_case("4:2:1:float64"), lambda _: Sides(list, {}))
    row = Row(cell, "slow", Timing((1.0, 2.0, 9.0)), Timing((8.0, 1.0, 4.0)))
    assert row.ratio == 2.0
    assert not row.short
    assert Row(cell, "quick", Timing((1.0,)), Timing((50e-6,))).short


def test_what_is_slower_is_printed_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.json"
    command = ["--quick", "--only", "PatchGrid coverage, 64", "--rounds", "1", "--again"]
    main([*command, "--json", str(path)])
    printed = capsys.readouterr().out
    assert (
        printed.index("Below 1.0:")
        < printed.index("of less than 100 us")
        < printed.index("PatchGrid:")
    )
    [row] = json.loads(path.read_text())["results"]
    assert row["agrees"]
    assert row["ratio"] == pytest.approx(np.median(row["plain"]) / np.median(row["ours"]))

"""The benchmarks run, once and small; that they agree is asserted, how long they take is not."""

import json
from pathlib import Path

import pytest

from benchmarks import growth, performance
from benchmarks.__main__ import main
from benchmarks.acceptance import PARTS
from benchmarks.cases import FULL, SMALL, Case, parse_case
from benchmarks.peers import PEERS, refusal
from benchmarks.roofline import roofline
from benchmarks.timing import interleave


def test_small_benchmark_runs_every_job_and_agrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    assert main(["--small", "--repeat", "1", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["results"]
    assert len(rows) == len(SMALL) * len(PEERS)
    timed = [row for row in rows if row["timing"]]
    expected = [(peer, case) for case in SMALL for peer in PEERS if not refusal(peer, case)]
    assert len(timed) == len(expected)
    assert all(row["agrees"] for row in timed)
    assert all(row["reason"] for row in rows if not row["timing"])
    assert "map_patches" in capsys.readouterr().out


def test_only_keeps_the_baseline_and_what_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    assert main(["--small", "--repeat", "1", "--only", "bincount", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["results"]
    assert {row["call"] for row in rows} == {"unpatchify", "index arrays, bincount"}
    assert "bincount" in capsys.readouterr().out


def test_a_case_is_named_by_its_code() -> None:
    assert all(parse_case(case.code) == case for case in (*FULL, *SMALL, *performance.CASES))
    assert parse_case("64x32:7:2:f4") == Case((64, 32), (7, 7), (2, 2), "float32")
    for wrong in ("64", "64x64:7:1", "64x:7:1:f4", "64:7:1:float7"):
        with pytest.raises(ValueError, match="SHAPE:PATCH:STEP:DTYPE"):
            parse_case(wrong)


def test_one_job_of_one_case_is_repeated_by_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    command = "--case 20x20x20:5x5x5:3x3x3:float32 --job cut --only NumPy --repeat 1"
    assert main(command.split()) == 0
    printed = capsys.readouterr().out
    assert "5x5x5 step 3x3x3 of 20x20x20, float32: cut" in printed
    assert "merge" not in printed


def test_a_report_has_tables_ratios_and_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "SERIES", {"workers": growth.SERIES["workers"]})
    monkeypatch.setattr(performance, "SMALL_CASES", performance.SMALL_CASES[:1])
    path = tmp_path / "performance.md"
    parts = [f"--part={name}" for name in ("machine", "memory", "peers", "growth")]
    assert main(["--report", "--small", "--minutes", "60", "--out", str(path), *parts]) == 0
    text = path.read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)
    timed = [p for p in PEERS if not refusal(p, performance.SMALL_CASES[0])]
    assert sum(f"| {p.library} | {p.call} |" in text for p in timed) == len(timed)
    assert all(
        "--case 48x48:9x9:1x1:float32" in line for line in text.splitlines() if "| yes |" in line
    )
    assert "python -m benchmarks.growth --series workers --only '2'" in text
    assert str(Path.home()) not in text
    assert [*tmp_path.iterdir()] == [path]
    assert main(["--report", "--small", "--out", str(path), "--part=machine"]) == 0
    assert path.read_text() == text  # what is not measured again stays
    assert "written" in capsys.readouterr().out


def test_sizes_name_who_runs_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "SIZES", (80, 100))
    monkeypatch.setattr("benchmarks.peers.total_memory", lambda: 40_000_000)
    path = tmp_path / "performance.md"
    command = "--report --small --minutes 60 --part sizes --out"
    assert main([*command.split(), str(path)]) == 0
    text = path.read_text()
    assert "| 80x80 | 0.0107 GB |" in text
    assert "its patches alone take 0.0234 GB" in text
    assert text.count("### ") == 3


def test_what_does_not_fit_the_time_budget_is_named(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    parts = ["--part=peers", "--part=growth"]
    assert main(["--report", "--small", "--minutes", "0", "--out", str(path), *parts]) == 0
    text = path.read_text()
    assert "Left out, for the time budget: 9x9 step 1x1 of 48x48" in text
    assert "Left out, for the time budget: patch, step, dtype" in text


def test_the_roofline_counts_what_is_moved() -> None:
    found = {(each.move, each.threads): each for each in roofline(4, repeat=1)}
    assert {move for move, _ in found} == {"copy", "read", "fill"}
    assert found["copy", 1].nbytes == 2 * found["read", 1].nbytes == 8_000_000
    assert all(each.gigabytes > 0 for each in found.values())


def test_growth_keeps_the_first_point_for_its_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    assert growth.main(["--series", "step", "--only", "10", "--size", "0.01", "--repeat", "1"]) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["1x1", "1"] in lines
    assert {name for name, *_ in filter(None, lines) if "x" in name} == {"1x1", "10x10"}


def test_tasks_take_turns() -> None:
    seen: list[str] = []
    tasks = {name: lambda name=name: seen.append(name) or _work() for name in "abc"}
    timings = interleave(tasks, repeat=3)
    assert all(len(timing.seconds) == 3 for timing in timings.values())
    turns = ["".join(seen[at : at + 3]) for at in range(6, 15, 3)]
    assert "".join(seen[:6]) == "aabbcc"
    assert all(sorted(turn) == list("abc") for turn in turns)
    assert len(set(turns)) > 1  # nobody always follows the same one


def test_slow_task_drops_out_and_says_so() -> None:
    timings = interleave({"slow": _work, "quick": lambda: None}, repeat=3, budget=1e-4)
    assert len(timings["slow"].seconds) == 1
    assert timings["slow"].note
    assert timings["slow"].best == timings["slow"].median == timings["slow"].worst


@pytest.mark.parametrize("part", ["grid", "view"])
def test_acceptance_part_measures_its_figures(part: str) -> None:
    figures = list(PARTS[part]())
    assert figures
    assert all(figure.target and figure.measured for figure in figures)


def _work() -> int:
    return sum(range(200_000))


def test_the_search_for_similar_patches_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import similar

    similar.main(["--small"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"uint8, k=16", "scikit-image nl_means, fast", "pantile", "groups"} <= {
        row["call"] for row in rows
    }
    assert all(row["seconds"] > 0 for row in rows)

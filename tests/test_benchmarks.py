"""The benchmarks run, once and small; that they agree is asserted, how long they take is not."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.acceptance import PARTS
from benchmarks.cases import SMALL
from benchmarks.peers import PEERS, refusal
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


def test_tasks_take_turns() -> None:
    seen: list[str] = []
    tasks = {name: lambda name=name: seen.append(name) or _work() for name in "abc"}
    timings = interleave(tasks, repeat=3)
    assert all(len(timing.seconds) == 3 for timing in timings.values())
    assert "".join(seen) == "aabbcc" + "abc" * 3


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

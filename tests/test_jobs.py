"""The real jobs in their small version: pantile's answer is that of the plain way."""

import json
from pathlib import Path

import pytest

from jobs import NAMES, load, missing
from jobs.__main__ import main


@pytest.mark.filterwarnings("ignore")  # what other libraries warn about is not ours to judge
@pytest.mark.parametrize("name", NAMES)
def test_a_job_has_the_answer_of_the_plain_way(name: str, tmp_path: Path) -> None:
    if missing(name):
        pytest.skip(f"{missing(name)} is not installed: it is not among the tests' requirements")
    job = load(name)
    size = job.SIZES["small"]
    mine, *others = [run(**job.make(tmp_path, **size)) for run in job.WAYS.values()]
    assert others
    for its in others:
        assert job.agree(mine, its)
    if hasattr(job, "also"):
        assert job.also(tmp_path, **size)


def test_the_command_prints_times_memory_and_agreement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.json"
    assert main(["volume", "--repeat", "1", "--json", str(path)]) == 0
    head, rule, row = capsys.readouterr().out.splitlines()[:3]
    assert head.count("|") == rule.count("|") == row.count("|")
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:2] == ["volume", "NumPy"]
    assert all(cell.count(" s,") == 2 for cell in cells[2:4])
    assert cells[4].count(" MB,") == 2
    assert cells[5].startswith("to ")
    assert [row["job"] for row in json.loads(path.read_text())] == ["volume"]

"""What the README shows runs, and the layers import only what they may."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(name: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL))


PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("name", [page for page in PAGES if blocks(page)])
def test_python_blocks_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    code = blocks(name)
    assert "import pantile" in code or "from pantile" in code
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


def test_layers_import_only_what_lies_below():
    pytest.importorskip("importlinter", reason="the dev extra brings import-linter")
    command = "from importlinter.cli import lint_imports_command as c; c()"
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(
        [sys.executable, "-c", command, *config],
        cwd=ROOT / "src",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


MAPS = [
    "CONTRIBUTING.md",
    *(f"docs/decisions/{p.name}" for p in (ROOT / "docs/decisions").glob("*.md")),
]


def named_files(text):
    """Files and folders named in a text, by their path from the repository or from the package."""
    return re.findall(r"`([\w-]+/[\w/-]*(?:\.\w+)?)", text)


def file_of(name):
    places = (ROOT / "src/pantile" / name, ROOT / name)
    return next((place for place in places if place.exists()), None)


@pytest.mark.parametrize("name", MAPS)
def test_the_files_that_a_map_names_are_there(name):
    gone = [n for n in named_files((ROOT / name).read_text()) if file_of(n) is None]
    assert not gone, f"{name} names {gone}"


def test_what_to_open_for_a_change_holds_the_names_that_are_told():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = text.partition("### Which file to open")[2].partition("###")[0].splitlines()[4:]
    rows = [row for row in rows if row.startswith("|")]
    assert len(rows) >= 8
    for row in rows:
        files = [file_of(n) for n in named_files(row) if n.endswith(".py")]
        assert files, row
        code = "\n".join(file.read_text() for file in files)
        for name in re.findall(r"`([A-Za-z_.]+)`", row.partition("|")[2].partition("|")[2]):
            if not name.endswith(".py") and name not in ("np.pad", "map_patches"):
                assert re.search(rf"\b{name.rpartition('.')[2]}\b", code), (name, row)


def test_the_layers_of_the_map_are_those_of_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"][::-1]
    place = {n.strip()[8:]: k for k, row in enumerate(layers) for n in row.split("|")}
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("| layer |")[2].partition("\n\n")[0]
    shown = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in text.splitlines()[2:]]
    names = [name for row in shown for name in row]
    order = [place[name] for name in names]
    assert sorted(names) == sorted(place)
    assert order == sorted(order)


def test_decisions_have_numbers_of_their_own():
    numbers = Counter(Path(name).name[:4] for name in MAPS[1:])
    assert max(numbers.values()) == 1, numbers
    for name in MAPS[1:]:
        assert (ROOT / name).read_text().startswith(f"# {Path(name).name[:4]}: ")


CASES = ("39x39 step 1x1 of 400x400, float32: ", "7x7 step 1x1 of 1024x1024, float32: ")
TABLES = {
    "mean of overlapping patches, over `unpatchify`": "mean of overlapping patches",
    "all patches copied out, over `extract`": "windows to a contiguous matrix",
}


def ratios_of(section):
    """Times over pantile's of each row of a section of the performance report, and whether it is another's."""
    report = (ROOT / "docs/performance.md").read_text()
    table = report.partition(f"### {section}\n")[2].partition("\n#")[0]
    rows = [
        [c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines() if "--job" in line
    ]
    return [(float(row[0]), row[1] != "pantile") for row in rows]


@pytest.mark.parametrize("job", TABLES)
@pytest.mark.parametrize("column", [0, 1])
def test_figures_of_the_readme_are_the_reports_and_no_faster_row_is_left_out(job, column):
    table = (ROOT / "README.md").read_text().partition(f"| {job} |")[2].partition("\n\n")[0]
    cells = [line.split("|")[2 + column] for line in table.splitlines()[2:]]
    shown = [figure for cell in cells for figure in re.findall(r"\d+(?:\.\d+)?", cell)]
    ratios = ratios_of(CASES[column] + TABLES[job])
    assert shown
    assert ratios

    def close(figure, ratio):
        return abs(float(figure) - ratio) <= 0.501 * 10 ** -len(figure.partition(".")[2])

    made_up = [f for f in shown if not any(close(f, ratio) for ratio, _ in ratios)]
    assert not made_up, f"the report has no such figures: {made_up}"
    faster = [ratio for ratio, others in ratios if others and ratio < 1]
    left_out = [ratio for ratio in faster if not any(close(f, ratio) for f in shown)]
    assert not left_out, f"others are faster here, and the README does not say so: {left_out}"


def test_every_module_names_what_it_offers():
    for path in sorted((ROOT / "src" / "pantile").rglob("*.py")):
        text = path.read_text()
        if re.search(r"^(def|class) [a-zA-Z]", text, re.MULTILINE):
            assert re.search(r"^__all__ = \[", text, re.MULTILINE), f"{path} has no __all__"

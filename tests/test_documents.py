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


def test_every_module_names_what_it_offers():
    for path in sorted((ROOT / "src" / "pantile").rglob("*.py")):
        text = path.read_text()
        if re.search(r"^(def|class) [a-zA-Z]", text, re.MULTILINE):
            assert re.search(r"^__all__ = \[", text, re.MULTILINE), f"{path} has no __all__"

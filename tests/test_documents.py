"""What the README shows runs, and the layers import only what they may."""

import re
import subprocess
import sys
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


def test_every_module_names_what_it_offers():
    for path in sorted((ROOT / "src" / "pantile").rglob("*.py")):
        text = path.read_text()
        if re.search(r"^(def|class) [a-zA-Z]", text, re.MULTILINE):
            assert re.search(r"^__all__ = \[", text, re.MULTILINE), f"{path} has no __all__"

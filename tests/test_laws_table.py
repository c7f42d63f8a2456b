"""The table of laws 11 to 14 knows every public operation, and what it says is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import pantile as pt
from tests import _law_calls as below
from tests._law_table import TABLE, rows

HERE = Path(__file__).parent
CASES = [
    *(HERE / f"{name}.py" for name in ("_law_calls", "_law_models", "test_laws_growth")),
    HERE.parent / "fuzz" / "law_checks.py",
]


def public() -> set[str]:
    from pantile.cli.commands import app

    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    return (
        set(pt.__all__) - {"__version__"}
        | below.public_names()
        | {f"tensors.{name}" for name in pt.tensors.__all__}
        | {f"cli.{name}" for name in commands}
    )


@cache
def texts_by_test() -> dict[str, str]:
    """The text of the files that have a test of this name, with that of the modules they take cases from."""
    found: dict[str, str] = {}
    for path in HERE.glob("test_*.py"):
        if path.name == Path(__file__).name:
            continue
        text = path.read_text()
        cases = "".join(path.read_text() for path in CASES if path.stem in text)
        for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE):
            found[name] = found.get(name, "") + text + cases
    return found


def test_every_public_operation_has_a_row() -> None:
    """A new one does not get around a law: it says under which it falls, or why it does not."""
    assert public() == rows().keys()


@pytest.mark.parametrize("key", TABLE)
def test_what_a_row_names_is_there(key: str) -> None:
    for name in key.split(" & "):
        word = name.rpartition(".")[2].removeprefix("Tensor")
        for law, cell in TABLE[key]._asdict().items():
            if cell.startswith("no: "):
                assert len(cell) > 10, f"{name}, {law}: say why"
                continue
            texts = [texts_by_test().get(test, "") for test in cell.split(", ")]
            assert all(texts), f"{name}, {law}: no such test as {cell}"
            assert any(re.search(rf"(?i)\b{word}\b", text) for text in texts), (
                f"{cell} knows no {name}"
            )

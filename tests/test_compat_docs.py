"""Every place of `docs/compat.md` where pantile differs from an original, run as it stands there."""

from __future__ import annotations

import doctest
import re
import warnings
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "compat.md").read_text()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def sessions() -> list[tuple[str, str]]:
    """Return the title and the session of each block: ``library: place``."""
    found, library, place = [], "", ""
    for part in re.split(r"(?=^#{2,3} )|(?=^```pycon)", TEXT, flags=re.MULTILINE):
        head = part.split("\n", 1)[0]
        if head.startswith("## "):
            library, place = head[3:], ""
        elif head.startswith("### "):
            place = head[4:]
        elif head == "```pycon":
            found.append((f"{library}: {place}", part.split("```")[1].removeprefix("pycon\n")))
    return found


@pytest.mark.parametrize(("title", "session"), sessions(), ids=[title for title, _ in sessions()])
def test_the_place_is_as_described(title, session):
    for name in re.findall(r"^>>> (?:import|from) (\w+)", session, re.MULTILINE):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip(name)
    test = doctest.DocTestParser().get_doctest(session, {}, title, "docs/compat.md", 0)
    assert test.examples
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


def test_every_place_has_a_session():
    places = re.findall(r"^### .*$", TEXT, re.MULTILINE)
    shown = {title.split(": ", 1)[1] for title, _ in sessions()}
    assert {place.removeprefix("### ") for place in places} == shown
    assert all(
        place.startswith(("### Refused: ", "### Corrected: ", "### Followed: ")) for place in places
    )

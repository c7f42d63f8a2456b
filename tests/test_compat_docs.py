"""Every place of `docs/compat.md` where pantile differs from an original, run as it stands there."""

from __future__ import annotations

import doctest
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pantile as pt
from pantile import PatchGrid
from pantile.testing import slow

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


# The libraries that have no module of their own: the second column of the table, run as it stands


def rows() -> list[tuple[str, str]]:
    """Return each expression of the table's second column, with its row."""
    table = TEXT.split("## kornia, tiler, MONAI, PyLops")[1]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    cells = [line.strip("|").split("|") for line in lines]
    return [
        (theirs.strip(), code)
        for theirs, mine in cells
        for code in re.findall(r"`([^`]+)`", mine)
        if "(" in code
    ]


def slow_answer(theirs: str, given: dict[str, Any]) -> Any:
    """Compute by plain loops what a row must give."""
    x, y, grid = given["x"], given["y"], given["grid"]
    if "dense_patch_slices" in theirs:
        return list(grid)
    if "extract_tensor_patches" in theirs:
        padded = PatchGrid(given["shape"], given["p"], given["s"], pad=given["q"], tail="drop")
        return slow.extract(x, padded, channel_axis=1)
    if "Splitter" in theirs:
        tiles = PatchGrid(given["shape"], given["p"], given["s"], tail="pad")
        return slow.extract(x, tiles, channel_axis=1)
    if "get_all_tiles" in theirs:
        return slow.extract(x, PatchGrid(given["shape"], given["p"], given["s"], tail="pad"))
    if "combine" in theirs:
        return slow.unpatchify(y, grid, channel_axis=1)
    if "sliding_window_inference" in theirs:
        options = {"channel_axis": 1, "weights": given["w"]}
        return slow.map_patches(lambda b: 2 * b + 1, x, grid, **options)
    options = {"weights": given["w"]} if "window=w" in theirs else {}
    return slow.unpatchify(y, grid, merge="sum" if "Patch2D" in theirs else "mean", **options)


def scene(theirs: str) -> dict[str, Any]:
    """Values for the names that a row uses: channels where the row's library has them."""
    channels = any(word in theirs for word in ("kornia", "Splitter", "sliding_window"))
    rng, grid = np.random.default_rng(0), PatchGrid((20, 24), (6, 8), (4, 4))
    x = rng.random((2, 3, 20, 24) if channels else (20, 24))
    y = slow.extract(x, grid, channel_axis=1 if channels else None)
    named = {"shape": (20, 24), "p": (6, 8), "s": (4, 4), "q": (2, 1), "grid": grid}
    return {**named, "x": x, "y": y + rng.random(y.shape), "w": rng.random((6, 8)) + 0.1}


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
@pytest.mark.parametrize(("theirs", "code"), rows(), ids=[code for _, code in rows()])
def test_the_row_runs_as_it_is_written(theirs: str, code: str, kind: str) -> None:
    """Two failed where the weights were a tensor, as those who come from torch have them."""
    given = scene(theirs)
    wanted = slow_answer(theirs, given)
    names = {name: getattr(pt, name) for name in pt.__all__} | given
    if kind == "tensors" or "torch" in code:
        torch = pytest.importorskip("torch")
        names |= {"torch": torch, "f": lambda batch: 2 * batch + 1}
    if kind == "tensors":
        names |= {name: torch.from_numpy(given[name]) for name in ("x", "y", "w")}
    found = eval(code, names)
    if isinstance(found, pt.Merger):
        found.add(names["y"], range(len(given["grid"])))
        found = found.result()
    if isinstance(wanted, list):
        assert found == wanted
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-12)

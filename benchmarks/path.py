"""Count what one call runs through: ``python -m benchmarks.path [--list CALL]``.

For a tile of `map_patches` (64x64, one tile, one worker, the second call) and for small calls of the
other verbs: how many functions of ours are entered, how often, in how many files; and how often work
that is to be done once for each job is done. Functions are counted by their code, comprehensions as
part of the function they stand in. ``--list`` names them, by file; ``--most`` and ``--files`` make it
fail where a tile passes more.
"""

from __future__ import annotations

import inspect
import sys
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

import pantile as pt
from benchmarks.report import print_table

__all__ = ["CALLS", "ONCE", "Walk", "main", "passed", "walked"]

TILE = "map_patches"
MOST, FILES = 120, 18  # what a tile is to pass at most

ONCE: dict[str, tuple[str, ...]] = {
    "rule compiled": ("pantile.merge.spec:MergeRule.compile",),
    "weights resolved": ("pantile.merge.weights:resolve_weights",),
    "axis profiles made": ("pantile.geometry.axis:AxisGrid.profile",),
}
"""Functions that do what is to be done once for each job (once for each axis, for profiles).

``module:name`` of each; several where it has several homes. A name that has moved is said to be gone:
write its new place here.
"""

ROOT = str(Path(pt.__file__).resolve().parent)
_PARTS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")


@dataclass
class Walk:
    """The functions of ours that one call entered, and how often."""

    calls: Counter[CodeType] = field(default_factory=Counter)

    @cached_property
    def by_file(self) -> dict[str, list[str]]:
        """Names of functions with their calls, file by file."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for code, n in self.calls.items():
            name = code.co_qualname.replace("<locals>.", "")
            file = str(Path(code.co_filename).relative_to(ROOT))
            found[file].append(name + (f" x{n}" if n > 1 else ""))
        return {file: sorted(found[file]) for file in sorted(found)}

    @property
    def functions(self) -> int:
        return len(self.calls)

    @property
    def files(self) -> int:
        return len(self.by_file)


@contextmanager
def walked() -> Iterator[Walk]:
    """Count functions of ours that the block enters, in its own thread."""
    walk = Walk()

    def see(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT) and code.co_name not in _PARTS:
            walk.calls[code] += 1

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        yield walk
    finally:
        sys.setprofile(before)


def _calls() -> dict[str, Callable[[], Any]]:
    """Calls of the verbs on what is small, by name."""
    image = np.random.default_rng(0).random((64, 64))
    grid = pt.PatchGrid(image.shape, 8, 4)
    patches, rows = pt.extract(image, grid), np.arange(4)
    merger, full, X = pt.Merger(grid), pt.Merger(grid), pt.PatchMatrix(image, grid)
    full.add(patches, range(len(grid)))
    return {
        TILE: lambda: pt.map_patches(_same, image, grid, workers=1),
        "map_patches, hann": lambda: pt.map_patches(_same, image, grid, workers=1, weights="hann"),
        "map_patches, merge=None": lambda: pt.map_patches(
            _first, image, grid, workers=1, merge=None
        ),
        "plan": lambda: pt.plan(_same, image, grid, workers=1),
        "PatchGrid": lambda: pt.PatchGrid(image.shape, 8, 4),
        "patchify": lambda: pt.patchify(image, 8, 4),
        "extract": lambda: pt.extract(image, grid),
        "extract, one patch": lambda: pt.extract(image, grid, indices=[7]),
        "unpatchify": lambda: pt.unpatchify(patches, grid),
        "unpatchify, hann": lambda: pt.unpatchify(patches, grid, weights="hann"),
        "Merger.add": lambda: merger.add(patches[:4], rows),
        "Merger.result": full.result,
        "PatchMatrix": lambda: pt.PatchMatrix(image, grid),
        "X[rows]": lambda: X[rows],
        "X @ v": lambda: X @ np.ones(64),
        "X.gram()": X.gram,
    }


def _same(batch: Any) -> Any:
    return batch


def _first(batch: Any) -> Any:
    return batch[:, 0, 0]


CALLS = tuple(_calls())
"""Names of what is counted."""


def passed(name: str) -> Walk:
    """What the second call of that name passes: the first one compiles and imports."""
    calls = _calls()
    calls[name]()
    with walked() as walk:
        calls[name]()
    return walk


def code_of(place: str) -> CodeType | None:
    """The code of the function at ``module:name``; None where the name is gone.

    >>> code_of("pantile.geometry.nowhere:AxisGrid") is None
    True
    """
    module, _, path = place.partition(":")
    try:
        found: Any = import_module(module)
        for name in path.split("."):
            found = inspect.getattr_static(found, name)
    except (ImportError, AttributeError):
        return None
    found = getattr(found, "func", None) or getattr(found, "fget", None) or found
    found = inspect.unwrap(getattr(found, "__func__", found))
    return getattr(found, "__code__", None)


def done(walk: Walk) -> dict[str, str]:
    """How often each kind of work in `ONCE` was done on a walk."""
    found = {}
    for what, places in ONCE.items():
        codes = [code_of(place) for place in places]
        gone = [place for place, code in zip(places, codes, strict=True) if code is None]
        times = sum(walk.calls[code] for code in codes if code is not None)
        found[what] = f"GONE: {', '.join(gone)}" if gone else f"{times}"
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts; return 1 where a tile passes more than it may."""
    parser = ArgumentParser(prog="python -m benchmarks.path", description=__doc__)
    parser.add_argument("--list", choices=CALLS, metavar="CALL", action="append", default=[],
                        help=f"name the functions of a call: {', '.join(CALLS)}")  # fmt: skip
    parser.add_argument("--most", type=int, help=f"functions a tile may pass; {MOST} is the aim")
    parser.add_argument("--files", type=int, help=f"files a tile may pass; {FILES} is the aim")
    options = parser.parse_args(arguments)
    walks = {name: passed(name) for name in CALLS}
    rows = [_row(name, walk) for name, walk in walks.items()]
    print_table(ROOT, ("call", "functions", "calls", "files", *ONCE), rows)
    for name in options.list:
        _list(name, walks[name])
    tile = walks[TILE]
    over = tile.functions > (options.most or 10**9) or tile.files > (options.files or 10**9)
    print(f"\na tile of map_patches: {tile.functions} functions of at most {MOST},"
          f" {tile.files} files of at most {FILES}")  # fmt: skip
    return int(over)


def _row(name: str, walk: Walk) -> tuple[str, ...]:
    counts = walk.functions, walk.calls.total(), walk.files
    return (name, *map(str, counts), *done(walk).values())


def _list(name: str, walk: Walk) -> None:
    print(f"\n{name}")
    for file, names in walk.by_file.items():
        print(f"  {file} ({len(names)}): {', '.join(names)}")


if __name__ == "__main__":
    sys.exit(main())

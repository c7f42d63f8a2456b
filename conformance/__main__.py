"""Run every suite against the libraries installed here, print the table, write it with ``--write``.

``python -m conformance`` uses the environment it runs in; ``bash conformance/run.sh`` makes one with every
library named. It fails if a test fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.substitute import EXCEPTIONS
from conformance.suites import (
    LIBRARIES,
    ROOT,
    Library,
    Result,
    Tally,
    run_pytest,
    tally_of,
    test_checkout,
    test_their_own,
    version_of,
)

__all__ = ["Row", "main"]

PAGE = ROOT / "docs" / "conformance.md"
HEAD = """# Conformance

Written by `python -m conformance --write`; `bash conformance/run.sh` does it in an environment of its own
with every library named here.

- *Their own tests* are the tests that came with the installed library, run with its functions replaced by
  ours: nothing is copied, nothing fetched. For torch they are the sample inputs of its test database.
- *Agreement* are our tests with the library as oracle, most of them by Hypothesis, {examples} examples each.
- *Differs on purpose* are the places of [compat.md](compat.md), each reproduced.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    library: Library
    version: str
    theirs: Tally
    agreement: Tally
    refused: Tally

    @property
    def failures(self) -> list[Result]:
        return [*self.theirs.failures, *self.agreement.failures, *self.refused.failures]

    def __str__(self) -> str:
        tallies = " | ".join(map(str, (self.theirs, self.agreement, self.refused)))
        return f"| {self.library.name} | {self.version or '-'} | {tallies} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--examples", type=int, default=100, help="of each Hypothesis test")
    parser.add_argument("--require-all", action="store_true", help="fail if a library is missing")
    parser.add_argument(
        "--checkout",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a library's checkout, for tests of its own that its distributions lack",
    )
    options = parser.parse_args(arguments)
    os.environ["PANTILE_EXAMPLES"] = str(options.examples)
    rows = _rows(dict(text.split("=", 1) for text in options.checkout))
    page = "\n".join([HEAD.format(examples=options.examples), *_table(rows), "", *_notes()])
    print(page)
    if options.write:
        PAGE.write_text(page)
    return _verdict(rows, options.require_all)


def _rows(checkouts: dict[str, str]) -> list[Row]:
    places = run_pytest(["tests/test_compat_docs.py", "-k", "place_is"])
    rows = []
    for library in LIBRARIES:
        print(f"{library.name} ...", file=sys.stderr, flush=True)
        rows.append(_row(library, places, checkouts.get(library.name)))
    return rows


def _row(library: Library, places: Sequence[Result], checkout: str | None) -> Row:
    installed = version_of(library)
    missing = bool(library.distribution) and not installed
    theirs = [] if missing or not library.theirs else _their_own(library)
    if checkout is not None and not missing:
        theirs = [*theirs, *test_checkout(Path(checkout), library.source)]
    agreement = [] if missing else run_pytest([*library.agreement.split(), "-k", library.only])
    differs = [place for place in places if f"[{library.name}: " in place.name]
    return Row(library, installed, tally_of(theirs), tally_of(agreement), tally_of(differs))


def _their_own(library: Library) -> list[Result]:
    if library.theirs.endswith(".py"):
        return run_pytest([library.theirs])
    return test_their_own(library.theirs)


def _table(rows: Sequence[Row]) -> list[str]:
    head = ["| library | version | their own tests | agreement | differs on purpose |"]
    return [*head, "| --- | --- | --- | --- | --- |", *map(str, rows)]


def _notes() -> list[str]:
    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}."
    lines = [f"- `{name}`: {reason}." for name, reason in EXCEPTIONS.items()]
    return ["Not run just as they came:", "", *lines, "", where, ""]


def _verdict(rows: Sequence[Row], require_all: bool) -> int:
    for row in rows:
        for failure in row.failures:
            print(f"FAILED {row.library.name}: {failure.name}: {failure.text}", file=sys.stderr)
    absent = [row.library.name for row in rows if row.library.distribution and not row.version]
    if absent:
        print(f"not installed: {', '.join(absent)}", file=sys.stderr)
    return int(any(row.failures for row in rows) or (require_all and bool(absent)))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())

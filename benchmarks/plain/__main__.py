"""Every operation beside the plainest lines of NumPy, SciPy or torch: ``python -m benchmarks.plain``.

A cell is one operation in one regime. Our call and each plain way of the same give one result, which
is compared first; then they are timed in turns, in an order that changes from round to round, and the
medians divided: below 1.0 the plain way is faster. Such cells are printed first (those whose plain way
takes less than 100 us apart), then the table by operation.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.plain.cell import Cell
from benchmarks.plain.table import FULL, QUICK, TINY, Row, cells, measure, print_rows, shorter
from benchmarks.report import machine, print_table, write_json

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if results differ, or a cell is below 1.0 that takes 100 us or more."""
    options = _parse(arguments)
    begin = time.monotonic()
    size = TINY if options.check else QUICK if options.quick else FULL
    size = replace(size, elements=options.elements or size.elements)
    chosen = list(cells(size, options.only))
    if options.quick and not options.only:
        chosen = list(shorter(chosen))
    end = begin + 60 * (options.minutes or (1.8 if options.quick else 15))
    rows: list[Row] = []
    for k, cell in enumerate(chosen):
        if not options.check and time.monotonic() > end:
            left = f"{len(chosen) - k} of {len(chosen)} cells left out: no time (--minutes)"
            print(left, file=sys.stderr)
            break
        rows += _measured(cell, options, 1)
        if sys.stderr.isatty() or (k + 1) % 50 == 0:
            print(f"{k + 1}/{len(chosen)} {cell.name}", file=sys.stderr, flush=True)
    if options.again:
        rows = _again(rows, options)
    if options.check:
        wrong = [" ".join(row.cells()) for row in rows if row.differs]
        print("\n".join([*wrong, f"{len(rows)} cells, {len(wrong)} differ"]))
        return int(bool(wrong))
    print_table("Machine", ("what", "which"), machine().items())
    print_rows(rows)
    print(f"{len(rows)} cells, {time.monotonic() - begin:.0f} s")
    if options.json:
        write_json(options.json, [row.as_dict() for row in rows])
    return int(any(row.differs or (row.ratio < 1 and not row.short) for row in rows))


def _measured(cell: Cell, options: Namespace, times: int) -> list[Row]:
    repeat = 0 if options.check else options.rounds * times
    return measure(cell, repeat, options.budget * times)


def _again(rows: Sequence[Row], options: Namespace) -> list[Row]:
    """The same rows, those below 1.0 timed anew and four times as long."""
    slow = dict.fromkeys(row.cell for row in rows if row.ratio < 1 and not row.differs)
    found = {cell: _measured(cell, options, 4) for cell in slow}
    kept = [row for row in rows if row.cell not in found]
    return kept + [row for each in found.values() for row in each]


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks.plain", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the cells: under 2 minutes")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="cells whose name has it")
    parser.add_argument(
        "--again", action="store_true", help="time cells below 1.0 anew, and longer"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="samples of each side")
    parser.add_argument(
        "--budget", type=float, default=0.2, help="seconds a side of a cell may use"
    )
    parser.add_argument(
        "--check", action="store_true", help="tiny cells, no times: do both sides agree?"
    )
    parser.add_argument(
        "--elements", type=float, metavar="N",
        help=f"elements of all patches of a cell: {QUICK.elements:.3g} for --quick, else {FULL.elements:.3g}",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, metavar="N",
                        help="1.8 for --quick, else 15; then it prints what it has")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Time pantile and its peers on the same work: ``python -m benchmarks [--small]``.

``--report`` writes `docs/performance.md` instead: peers, growth, memory, first calls.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.cases import FULL, SMALL, Case, parse_case
from benchmarks.jobs import Row, measure, peers_of
from benchmarks.peers import JOBS, Job, missing
from benchmarks.performance import PARTS, Report, write_report
from benchmarks.report import digits, duration, machine, print_table, write_json

__all__ = ["main", "run"]

HEAD = ("library", "call", "median", "best to worst", "Gel/s", "x pantile", "same", "note")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each case and job (return 1 if an answer differs), or write the report."""
    options = _parse(arguments)
    if options.report:
        return _report(options)
    print_table("Machine", ("what", "which"), machine().items())
    print("\nleft out, not installed:", ", ".join(missing()) or "none")
    cases = options.case or (SMALL if options.small else FULL)
    rows = list(run(cases, options))
    if options.json:
        write_json(options.json, [row.as_dict() for row in rows])
    return int(any(row.agrees is False for row in rows))


def _report(options: Namespace) -> int:
    report = Report(options.small, options.minutes, options.huge)
    chosen = [name for name in PARTS if not options.part or name in options.part]
    path = options.out or Path("docs" if not options.small else ".") / "performance.md"
    write_report(report, chosen, path)  # an answer that differs is said there
    return 0


def run(cases: Iterable[Case], options: Namespace) -> Iterator[Row]:
    """Yield the rows of every job of every case, printing each job's table when it is done."""
    for case in cases:
        for job in options.job or JOBS:
            peers = peers_of(job, options.only)
            rows, _ = measure(case, job, peers, repeat=options.repeat, budget=options.budget)
            _print_job(case, job, rows)
            yield from rows


def _print_job(case: Case, job: Job, rows: list[Row]) -> None:
    if rows:
        print_table(f"{case}: {job}, {JOBS[job]}", HEAD, map(_cells, rows))


def _cells(row: Row) -> list[str]:
    name = [row.peer.library, row.peer.call]
    if row.timing is None:
        return [*name, "", "", "", "", "", row.reason]
    timing, same = row.timing, "yes" if row.agrees else "NO"
    spread = f"{duration(timing.best)} to {duration(timing.worst)}"
    rate, ratio = digits(row.throughput or 0), digits(row.ratio or 0)
    return [*name, duration(timing.median), spread, rate, ratio, same, timing.note]


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--small", action="store_true", help="small images, in seconds")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="peers whose name has it")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="samples of each peer")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds a peer may use")
    parser.add_argument("--case", type=parse_case, action="append", metavar="CODE",
                        help="SHAPE:PATCH:STEP:DTYPE, like 400x400:39:1:float32, repeatable")  # fmt: skip
    parser.add_argument("--job", choices=JOBS, action="append", help="only this job, repeatable")
    parser.add_argument("--report", action="store_true", help="write docs/performance.md")
    parser.add_argument("--part", choices=PARTS, action="append", help="of the report, repeatable")
    parser.add_argument("--minutes", type=float, default=15.0, help="what the report may take")
    parser.add_argument("--huge", action="store_true", default=None,
                        help="10^8 patches in the report, whatever they take")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="PATH", help="where the report goes")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

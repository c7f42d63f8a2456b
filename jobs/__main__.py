"""Run real jobs and print a table: ``python -m jobs [NAME ...] [--full] [--repeat N] [--json PATH]``."""

import json
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from jobs import NAMES, load, missing
from jobs.measure import Run, measured

__all__ = ["Row", "main", "rows_of"]

HEAD = ("job", "against", "time, its, ratio", "processor time", "memory", "answers agree", "data")


@dataclass(frozen=True)
class Row:
    """A job beside one plain way, pantile's figure first: medians of seconds, of seconds of all
    processors (which other programs disturb less), and of the bytes at the peak beyond the start."""

    job: str
    against: str
    seconds: tuple[float, float]
    busy: tuple[float, float]
    nbytes: tuple[float, float]
    agreement: str
    data: str

    def cells(self) -> tuple[str, ...]:
        figures = (
            _beside(*self.seconds, "s"),
            _beside(*self.busy, "s"),
            _beside(*(n / 1e6 for n in self.nbytes), "MB"),
        )
        return (self.job, self.against, *figures, self.agreement, self.data)


def _beside(mine: float, its: float, unit: str) -> str:
    return f"{mine:.3g} {unit}, {its:.3g} {unit}, **{mine / max(its, 1e-3):.2f}**"


def rows_of(name: str, size: str, repeat: int) -> Iterator[Row]:
    """Measure a job, its ways in turns, and yield a row for each plain way."""
    job = load(name)
    mine, *others = job.WAYS
    runs: dict[str, list[Run]] = {way: [] for way in job.WAYS}
    agreement: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeat):
            found = {}
            for way in list(runs)[:: 1 if turn % 2 == 0 else -1]:
                run, found[way] = measured(name, way, size, Path(folder))
                runs[way].append(run)
            agreement |= {way: job.agree(found[mine], found[way]) for way in others}
    for way in others:
        figures = {
            figure: tuple(median(getattr(run, figure) for run in runs[w]) for w in (mine, way))
            for figure in ("seconds", "busy", "nbytes")
        }
        data = job.DATA.format(**job.SIZES[size])
        yield Row(name, way, **figures, agreement=agreement[way], data=data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, a line as soon as it is known, and what else was checked below it."""
    parser = ArgumentParser(prog="python -m jobs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"of {', '.join(NAMES)}; all by default")  # fmt: skip
    parser.add_argument("--full", action="store_true", help="the real sizes, not the small ones")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="processes of each way")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the rows there, too")
    options = parser.parse_args(arguments)
    if not set(options.names) <= set(NAMES):
        parser.error(f"NAME must be of {', '.join(NAMES)}, got {' '.join(options.names)}")
    size = "full" if options.full else "small"
    _print(HEAD)
    _print(["---"] * len(HEAD))
    rows, notes = [], []
    for name in options.names or NAMES:
        if missing(name):
            notes.append(f"{name}: left out, {missing(name)} is not installed")
            continue
        for row in rows_of(name, size, options.repeat):
            rows.append(row)
            _print(row.cells())
        job = load(name)
        if hasattr(job, "also"):
            with tempfile.TemporaryDirectory() as folder:
                notes.append(f"{name}: {job.also(Path(folder), **job.SIZES[size])}")
    print("", *notes, sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


def _print(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())

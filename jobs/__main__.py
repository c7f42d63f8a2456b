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

HEAD = (
    "job", "against", "time", "its time", "ratio", "memory", "its memory", "ratio", "answers agree", "data",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A job beside one plain way: medians of seconds, and of bytes at the peak beyond the start."""

    job: str
    against: str
    seconds: float
    its_seconds: float
    nbytes: float
    its_nbytes: float
    agreement: str
    data: str

    def cells(self) -> tuple[str, ...]:
        return (
            self.job,
            self.against,
            f"{self.seconds:.3g} s",
            f"{self.its_seconds:.3g} s",
            f"{self.seconds / self.its_seconds:.2f}",
            f"{self.nbytes / 1e6:.0f} MB",
            f"{self.its_nbytes / 1e6:.0f} MB",
            f"{self.nbytes / max(self.its_nbytes, 1):.2f}",
            self.agreement,
            self.data,
        )


def rows_of(name: str, size: str, repeat: int) -> Iterator[Row]:
    """Measure a job, its ways in turns, and yield a row for each plain way."""
    job = load(name)
    mine, *others = job.WAYS
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, list[Run]] = {way: [] for way in job.WAYS}
        agreement: dict[str, str] = {}
        for turn in range(repeat):
            for way in list(runs)[:: 1 if turn % 2 == 0 else -1]:
                run = measured(name, way, size, Path(folder))
                runs[way].append(run if not turn else Run(run.seconds, run.nbytes, None))
            if not turn:
                for way in others:
                    agreement[way] = job.agree(runs[mine][0].answer, runs[way][0].answer)
    seconds = {way: median(run.seconds for run in each) for way, each in runs.items()}
    nbytes = {way: median(run.nbytes for run in each) for way, each in runs.items()}
    data = job.DATA.format(**job.SIZES[size])
    for way in others:
        yield Row(
            name, way, seconds[mine], seconds[way], nbytes[mine], nbytes[way], agreement[way], data
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, a line as soon as it is known, and what else was checked below it."""
    parser = ArgumentParser(prog="python -m jobs", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME",
                        help=f"of {', '.join(NAMES)}; all by default")  # fmt: skip
    parser.add_argument("--full", action="store_true", help="the real sizes, not the small ones")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="processes of each way")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the rows there, too")
    options = parser.parse_args(arguments)
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
    print(*notes, sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


def _print(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())

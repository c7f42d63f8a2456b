"""What is printed: facts, tables and a progress bar."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

import pantile as pt
from pantile.cli.options import Unnamed
from pantile.stream.plan import Plan, readable_size
from pantile.stream.progress import bar

if TYPE_CHECKING:  # what a command needs is imported when it runs
    from pantile.cli.demonstration import Demonstration, PassRecord
    from pantile.cli.subject import Subject
    from pantile.denoise import Pass
    from pantile.denoise.sliding_dct import Progress as Callback
    from pantile.files.whole.picture import Picture

__all__ = [
    "facts_of",
    "info_facts",
    "plan_of",
    "print_demonstrations",
    "print_info",
    "print_json",
    "print_plain",
    "print_sigma",
    "print_written",
    "watch_pass",
    "watch_progress",
]

COLUMNS = ("pass", "patch", "patches", "seconds", "Gel/s", "expanded matrix")


def print_demonstrations(demonstrations: list[Demonstration]) -> None:
    """Print a table for each of `demonstrations`, its PSNR, and the memory that all of them took."""
    output = _open_console()
    for demonstration in demonstrations:
        size = _format_sizes(demonstration.clean.shape[:2])
        title = f"{demonstration.name}.jpg, {size}, noise of sigma {demonstration.sigma:g}"
        output.print(_make_table(title, demonstration.records))
        gain = demonstration.after - demonstration.before
        output.print(
            f"PSNR {demonstration.before:.2f} dB before, "
            f"[bold]{demonstration.after:.2f} dB[/bold] after: {gain:+.2f} dB\n"
        )
    largest = max(
        record.expanded for demonstration in demonstrations for record in demonstration.records
    )
    output.print(_describe_memory(largest))


def _make_table(title: str, records: list[PassRecord]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for record in records:
        table.add_row(
            record.name,
            _format_sizes((record.patch, record.patch, record.channels)),
            f"{record.n_patches:,}",
            f"{record.seconds:.2f}",
            f"{record.rate:.2f}",
            readable_size(record.expanded),
        )
    return table


def _describe_memory(expanded: int) -> str:
    peak = _peak_memory()
    held = f"Peak memory of the whole process {readable_size(peak)}; " if peak else ""
    return f"{held}the largest expanded matrix alone would take {readable_size(expanded)}."


def print_sigma(picture: Picture, sigma: float) -> None:
    """Print what `picture` is, and what unit sigma has."""
    low, high = float(picture.pixels.min()), float(picture.pixels.max())
    unit = f"sigma = {sigma:g} in the picture's own values, here {low:g} to {high:g}"
    _print_plainly(f"{picture.header}\n{unit}")


def print_written(path: Path) -> None:
    """Print where the result is."""
    _print_plainly(f"Written: {path}")


def print_info(subject: Subject, planned: Plan) -> None:
    """Print the image, its patch grid, the size of the expanded matrix, and the plan."""
    frame = planned.job.frame
    facts = {
        subject.noun: str(subject),
        "covered": _describe_coverage(*_count_touches(planned.grid)),
        "matrix": f"{frame.n_patches:,} x {frame.features:,} {subject.image.dtype}",
    }
    lines = [f"{name:<9} {fact}" for name, fact in facts.items()]
    _print_plainly("\n".join([*lines, str(planned)]))


def plan_of(subject: Subject, grid: pt.PatchGrid, where: dict[str, Any]) -> Plan:
    """The plan for an image, of which no pixel is decoded; elements that no patch touches are filled with 0."""
    image = subject.image if subject.header is None else np.asarray(subject.image)
    return pt.plan(lambda batch: batch, image, grid, **where, fill=0, out=Unnamed())


def info_facts(subject: Subject, planned: Plan) -> dict[str, object]:
    """What `print_info` says, for machines."""
    frame, (fewest, most) = planned.job.frame, _count_touches(planned.grid)
    return {
        **subject.facts(),
        "axes": [
            frame.order[k]
            for k in range(len(frame.order))
            if k >= frame.n_batch and k != frame.channel
        ],
        "channel_axis": None if frame.channel is None else frame.order[frame.channel],
        "covered": {"least": fewest, "most": most},
        "matrix": [frame.n_patches, frame.features],
        **facts_of(planned),
    }


def facts_of(planned: Plan) -> dict[str, object]:
    """What a plan says, for machines."""
    frame = planned.job.frame
    return {
        "grid": planned.grid.to_dict(),
        "counts": list(planned.grid.counts),
        "patch": list(frame.patch_shape),
        "patches": planned.n_patches,
        "tasks": planned.tasks,
        "tile": list(planned.tiling.lengths),
        "blocks": len(planned.blocks),
        "largest_block": list(planned.blocks.largest),
        "batch": planned.job.batch,
        "batch_bytes": planned.batch_bytes,
        "layout": planned.job.layout,
        "workers": planned.workers,
        "held_bytes": planned.projected_bytes,
        "reads": planned.reads,
        "read_bytes": planned.read_bytes,
        "written_bytes": planned.written_bytes,
        "expanded_bytes": planned.expanded_bytes,
    }


def _count_touches(grid: pt.PatchGrid) -> tuple[int, int]:
    """The fewest and the most patches that touch a pixel, as products over the axes."""
    touches = [axis.coverage() for axis in grid.axis_grids]
    return (
        math.prod(int(axis.min()) for axis in touches),
        math.prod(int(axis.max()) for axis in touches),
    )


def _describe_coverage(fewest: int, most: int) -> str:
    return f"each pixel by {fewest:,} to {most:,} patches" + ("" if fewest else ": there are holes")


@contextmanager
def watch_pass(stage: Pass) -> Iterator[Callback]:
    """A progress callback that draws a bar for one pass."""
    with bar(stage.name) as report:
        yield report


@contextmanager
def watch_progress(quiet: bool) -> Iterator[Callback]:
    """A progress callback that draws a bar, or one that does nothing if `quiet`."""
    if quiet:
        yield lambda *_: None
        return
    with bar() as report:
        yield report


def print_plain(text: str) -> None:
    """Print `text` as it is."""
    _print_plainly(text)


def print_json(facts: object) -> None:
    """Print one JSON value, and nothing else."""
    print(json.dumps(facts))


def _print_plainly(text: str) -> None:
    """Print `text` without rich, which breaks long lines and exits when the output is closed."""
    print(text)


def _open_console() -> Console:
    """Where results are printed; 100 columns where no terminal says otherwise."""
    output = Console()
    return output if output.is_terminal else Console(width=100)


def _format_sizes(values: tuple[int, ...]) -> str:
    """Sizes with a cross between them.

    >>> _format_sizes((389, 602))
    '389 x 602'
    """
    return " x ".join(f"{value:,}" for value in values)


def _peak_memory() -> int | None:
    """The most bytes this process has ever held; None where the system has no such number."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB

"""What is printed: facts, tables and a progress bar."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import pantile as pt
from pantile.cli.demonstration import Demonstration, PassRecord
from pantile.cli.denoising import Pass
from pantile.cli.denoising import Progress as Callback
from pantile.cli.picture import Header, Picture
from pantile.engine.plan import Plan, readable
from pantile.engine.progress import bar

__all__ = [
    "print_demonstrations",
    "print_info",
    "print_json",
    "print_plain",
    "print_sigma",
    "print_written",
    "watched",
    "watching",
]

COLUMNS = ("pass", "patch", "patches", "seconds", "Gel/s", "expanded matrix")


def print_demonstrations(shown: list[Demonstration]) -> None:
    """Print a table for each of `shown`, its PSNR, and the memory that all of them took."""
    output = _console()
    for demonstration in shown:
        size = _sizes(demonstration.clean.shape[:2])
        title = f"{demonstration.name}.jpg, {size}, noise of sigma {demonstration.sigma:g}"
        output.print(_table(title, demonstration.records))
        gain = demonstration.after - demonstration.before
        output.print(
            f"PSNR {demonstration.before:.2f} dB before, "
            f"[bold]{demonstration.after:.2f} dB[/bold] after: {gain:+.2f} dB\n"
        )
    largest = max(record.expanded for demonstration in shown for record in demonstration.records)
    output.print(_memory(largest))


def _table(title: str, records: list[PassRecord]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for record in records:
        table.add_row(
            record.name,
            _sizes((record.patch, record.patch, record.channels)),
            f"{record.n_patches:,}",
            f"{record.seconds:.2f}",
            f"{record.rate:.2f}",
            readable(record.expanded),
        )
    return table


def _memory(expanded: int) -> str:
    peak = _peak_memory()
    held = f"Peak memory of the whole process {readable(peak)}; " if peak else ""
    return f"{held}the largest expanded matrix alone would take {readable(expanded)}."


def print_sigma(picture: Picture, sigma: float) -> None:
    """Print what `picture` is, and what unit sigma has."""
    low, high = float(picture.pixels.min()), float(picture.pixels.max())
    unit = f"sigma = {sigma:g} in the picture's own values, here {low:g} to {high:g}"
    _say(f"{picture.header}\n{unit}")


def print_written(path: Path) -> None:
    """Print where the result is."""
    _say(f"Written: {path}")


def print_info(header: Header, grid: pt.PatchGrid) -> None:
    """Print the picture, its patch grid, the expanded matrix and the plan that does without."""
    channels = header.channels + header.alpha
    facts = {
        "picture": str(header),
        "covered": _coverage(grid),
        "matrix": f"{grid.n_patches:,} x {grid.features * channels:,} {header.dtype}",
    }
    lines = [f"{name:<9} {fact}" for name, fact in facts.items()]
    _say("\n".join([*lines, str(_plan(header, grid))]))


def _coverage(grid: pt.PatchGrid) -> str:
    """How many patches touch a pixel, from one axis at a time: the product needs no image."""
    touches = [axis.coverage() for axis in grid.axis_grids]
    fewest = math.prod(int(axis.min()) for axis in touches)
    most = math.prod(int(axis.max()) for axis in touches)
    return f"each pixel by {fewest:,} to {most:,} patches" + ("" if fewest else ": there are holes")


def _plan(header: Header, grid: pt.PatchGrid) -> Plan:
    """The plan for a picture like `header`, for which one value stands: nothing is decoded."""
    channels = header.channels + header.alpha
    shape = (*header.shape, channels) if channels > 1 else header.shape
    image = np.broadcast_to(np.zeros((), header.dtype), shape)
    axis = -1 if channels > 1 else None
    return pt.plan(
        lambda batch: batch, image, grid, channel_axis=axis, fill=0
    )  # holes are told above


@contextmanager
def watched(stage: Pass) -> Iterator[Callback]:
    """A progress callback that draws a bar for one pass."""
    with bar(stage.name) as report:
        yield report


@contextmanager
def watching(quiet: bool) -> Iterator[Callback]:
    """A progress callback that draws a bar, unless nobody wants it."""
    if quiet:
        yield lambda *_: None
        return
    with bar() as report:
        yield report


def print_plain(text: str) -> None:
    """Print `text` as it is."""
    _say(text)


def print_json(facts: dict[str, object]) -> None:
    """Print one JSON object, and nothing else."""
    print(json.dumps(facts))


def _say(text: str) -> None:
    """Print `text` as it is: no colours, no markup, no line breaks of rich's own."""
    _console().print(text, highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    """Where results are printed; 100 columns where no terminal says otherwise."""
    output = Console()
    return output if output.is_terminal else Console(width=100)


def _sizes(values: tuple[int, ...]) -> str:
    """Sizes as they are spoken.

    >>> _sizes((389, 602))
    '389 x 602'
    """
    return " x ".join(f"{value:,}" for value in values)


def _peak_memory() -> int | None:
    """The most bytes this process has ever held, or None where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB

"""The commands for images of any size: map, plan, extract, merge."""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pantile.cli.options import (
    AxesOption,
    BatchOption,
    ChannelOption,
    DatasetOption,
    DilationOption,
    DtypeOption,
    FillOption,
    JsonOption,
    LevelOption,
    MaxPixelsOption,
    MemoryOption,
    MergeOption,
    PadModeOption,
    PadOption,
    PatchOption,
    ResumeOption,
    SeriesOption,
    StepOption,
    Tail,
    TailOption,
    Unnamed,
    WeightsOption,
    WorkersOption,
    lay_grid,
    load_function,
    merge_options,
)

__all__ = ["add_commands"]

MANY_FILES = 10_000
Image = Annotated[
    Path, typer.Argument(metavar="IN", exists=True, help="npy, zarr, TIFF, HDF5, PNG, JPEG.")
]
Out = Annotated[
    Path, typer.Argument(metavar="OUT", help=".npy, .zarr, .tif; .png, .jpg, .webp where it fits.")
]
Func = Annotated[
    str,
    typer.Option(
        metavar="MODULE:NAME", help="The function of a batch: module:name or file.py:name."
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add map, plan, extract and merge to the command line."""
    for command in (map_, plan, extract, merge):
        app.command(name=command.__name__.rstrip("_"))(command)


def map_(
    source: Image,
    out: Out,
    func: Func,
    patch: PatchOption,
    step: StepOption = "1",
    dilation: DilationOption = "1",
    tail: TailOption = Tail.SHIFT,
    pad: PadOption = "0",
    pad_mode: PadModeOption = "constant",
    axes: AxesOption = None,
    channel_axis: ChannelOption = None,
    merge: MergeOption = "mean",
    weights: WeightsOption = None,
    dtype: DtypeOption = None,
    fill: FillOption = None,
    batch: BatchOption = None,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    resume: ResumeOption = False,
    dataset: DatasetOption = None,
    level: LevelOption = None,
    series: SeriesOption = None,
    max_pixels: MaxPixelsOption = None,
    json: JsonOption = False,
) -> None:
    """Run a function over every patch of an image of any size, and merge what it returns.

    --merge none puts one result per patch on the grid.
    """
    import pantile as pt
    from pantile.files import open_image

    image = open_image(source, dataset=dataset, level=level, series=series, max_pixels=max_pixels)
    grid, where = lay_grid(image, patch, step, dilation, tail, pad, pad_mode, axes, channel_axis)
    with _print_warnings():
        options = merge_options(merge, weights, dtype, fill, memory, workers, resume)
        planned = pt.plan(
            load_function(func), image, grid, **where, **options, batch=batch, out=out
        )
    _run_and_report(planned.n_patches, out, json, lambda report: _run(planned, report))


@contextmanager
def _print_warnings() -> Iterator[None]:
    """Print each warning raised inside as one line on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for each in caught:
        typer.echo(f"pantile: {each.message}", err=True)


def _run(planned: Any, progress: Any) -> Any:
    resources = replace(planned.resources, progress=progress)
    return replace(planned, resources=resources).run()


def plan(
    source: Image,
    patch: PatchOption,
    step: StepOption = "1",
    dilation: DilationOption = "1",
    tail: TailOption = Tail.SHIFT,
    pad: PadOption = "0",
    pad_mode: PadModeOption = "constant",
    axes: AxesOption = None,
    channel_axis: ChannelOption = None,
    merge: MergeOption = "mean",
    weights: WeightsOption = None,
    dtype: DtypeOption = None,
    batch: BatchOption = None,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    out: Annotated[Path | None, typer.Option(help="As OUT of map.")] = None,
    dataset: DatasetOption = None,
    level: LevelOption = None,
    series: SeriesOption = None,
    max_pixels: MaxPixelsOption = None,
    json: JsonOption = False,
) -> None:
    """Say what `map` would hold, read and write, without doing it."""
    import pantile as pt
    from pantile.cli import report
    from pantile.files import open_image

    image = open_image(source, dataset=dataset, level=level, series=series, max_pixels=max_pixels)
    grid, where = lay_grid(image, patch, step, dilation, tail, pad, pad_mode, axes, channel_axis)
    with _print_warnings():
        options = merge_options(merge, weights, dtype, 0, memory, workers)
        planned = pt.plan(
            _return_batch, image, grid, **where, **options, batch=batch, out=out or Unnamed()
        )
    if not json:
        report.print_plain(f"image     {image.shape} {image.dtype}\n{planned}")
        return
    facts = {"shape": list(image.shape), "dtype": str(image.dtype), **where}
    report.print_json({**facts, **report.facts_of(planned)})


def _return_batch(batch: Any) -> Any:
    return batch


def extract(
    source: Image,
    out: Annotated[
        Path, typer.Argument(metavar="DIR|OUT", help="A new folder of tiles, or .npy, or .zarr.")
    ],
    patch: PatchOption,
    step: Annotated[
        str | None,
        typer.Option(
            metavar="N|NxM", help="Elements between tiles; by default they lie side by side."
        ),
    ] = None,
    dilation: DilationOption = "1",
    tail: TailOption = Tail.SHIFT,
    pad: PadOption = "0",
    pad_mode: PadModeOption = "constant",
    axes: AxesOption = None,
    channel_axis: ChannelOption = None,
    format: Annotated[str, typer.Option(help="Kind of file in a folder: png, tif or npy.")] = "png",
    yes: Annotated[
        bool, typer.Option("--yes", help=f"Write more than {MANY_FILES:,} files without asking.")
    ] = False,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    resume: ResumeOption = False,
    dataset: DatasetOption = None,
    level: LevelOption = None,
    series: SeriesOption = None,
    max_pixels: MaxPixelsOption = None,
    json: JsonOption = False,
) -> None:
    """Cut an image into tiles: a folder of files, or one array; with a manifest for `merge`."""
    from pantile.files import open_image
    from pantile.tileset.manifest import is_array
    from pantile.tileset.write import plan_tiles, write_tiles

    image = open_image(source, dataset=dataset, level=level, series=series, max_pixels=max_pixels)
    grid, where = lay_grid(
        image, patch, step or patch, dilation, tail, pad, pad_mode, axes, channel_axis
    )
    kind = {**where, "suffix": f".{format.lstrip('.').lower()}"}
    if not yes and not is_array(out):
        _confirm(out, plan_tiles(image, out, grid, **kind).n_tiles)
    options = {**kind, "memory": memory, "workers": workers, "resume": resume}
    _run_and_report(
        None, out, json, lambda report: write_tiles(image, out, grid, **options, progress=report)
    )


def _confirm(out: Path, n_files: int) -> None:
    """Ask before many files are written; without a terminal to ask in, raise a `ValueError`."""
    if n_files <= MANY_FILES:
        return
    if all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        if not typer.confirm(f"{out} will hold {n_files:,} files. Go on?", err=True):
            raise typer.Exit(1)
        return
    raise ValueError(
        f"{out} would hold {n_files:,} files: say --yes if that is meant, take a larger --step,"
        " or write one array, .npy or .zarr"
    )


def merge(
    source: Annotated[
        Path,
        typer.Argument(metavar="DIR", exists=True, help="What `extract` made, worked on or not."),
    ],
    out: Out,
    merge: MergeOption = "mean",
    weights: WeightsOption = None,
    dtype: DtypeOption = None,
    fill: FillOption = None,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Merge tiles into an image again, by the manifest beside them."""
    from pantile.tileset import merge_tiles

    options = merge_options(merge, weights, dtype, fill, memory, workers, resume)
    _run_and_report(
        None, out, json, lambda report: merge_tiles(source, out, **options, progress=report)
    )


def _run_and_report(
    n_patches: int | None, out: Path, json: bool, work: Callable[[Callable[[int, int], None]], Any]
) -> None:
    """Do the work with a progress bar on a terminal, and say what it took."""
    from pantile.cli import report

    begin, count = time.perf_counter(), n_patches or 0
    with report.watch_progress(quiet=json) as bar:

        def count_and_draw(done: int, total: int) -> None:
            nonlocal count
            count = total
            bar(done, total)

        work(count_and_draw)
    seconds = time.perf_counter() - begin
    facts = {"out": str(out), "patches": count, "seconds": seconds}
    if json:
        report.print_json({**facts, "patches_per_second": count / seconds})
    else:
        rate = f"{count:,} patches in {seconds:.1f} s, {count / seconds:,.0f} a second"
        report.print_plain(f"{rate}\nWritten: {out}")

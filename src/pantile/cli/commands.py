"""The commands for one picture: read the arguments, call what does the work, print what it says."""

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pantile.cli.oneline import OneLineErrors
from pantile.cli.options import (
    AxesOption,
    ChannelOption,
    DatasetOption,
    DilationOption,
    JsonOption,
    LevelOption,
    PadOption,
    PatchOption,
    SeriesOption,
    StepOption,
    Tail,
    TailOption,
    WorkersOption,
    lay_grid,
)
from pantile.cli.streaming import add_commands

__all__ = ["app", "run"]

# What a command needs is imported when it runs: --help is not to wait for numba and matplotlib.

app = typer.Typer(
    name="pantile",
    cls=OneLineErrors,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Overlapping patches of images: cut without copying, work on them, merge them back.",
)


class Photograph(StrEnum):
    """Which of scikit-learn's photographs to show."""

    CHINA = "china"
    FLOWER = "flower"
    BOTH = "both"


class Method(StrEnum):
    """How to denoise."""

    DCT = "dct"
    GROUPS = "groups"


def run(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line `argv`."""
    try:
        app(argv)
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def _check_sigma(sigma: float) -> float:
    if not (math.isfinite(sigma) and sigma > 0):
        raise typer.BadParameter(f"{sigma:g} is not a positive number")
    return sigma


SIGMA = "Standard deviation of the noise, in the picture's own values (8-bit: 0 to 255)."
Sigma = Annotated[float, typer.Option(callback=_check_sigma, metavar="S", help=SIGMA)]
Patch = Annotated[int, typer.Option(min=2, metavar="N", help="Side of the first pass's patches.")]
Images = Annotated[
    list[Path], typer.Argument(metavar="IN...", exists=True, help="Anything that `map` reads.")
]
Input = Annotated[Path, typer.Argument(metavar="IN", exists=True, dir_okay=False)]


def _check_patch(patch: int, shape: tuple[int, int]) -> None:
    """Raise where a patch does not fit into a picture, before anything is printed."""
    if patch > min(shape):
        sizes = " x ".join(map(str, shape))
        raise typer.BadParameter(
            f"{patch} is more than the picture has, {sizes}: at most {min(shape)}",
            param_hint="--patch",
        )


@app.callback(invoke_without_command=True)
def pantile(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Overlapping patches of images: cut without copying, work on them, merge them back."""
    if version:
        import pantile as pt

        typer.echo(f"pantile {pt.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    image: Annotated[Photograph, typer.Option(help="The photograph.")] = Photograph.CHINA,
    sigma: Sigma = 25.0,
    patch: Patch = 8,
    workers: WorkersOption = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="Where the picture goes; its extension names the format."
        ),
    ] = Path("pantile-demo.png"),
) -> None:
    """Add noise to a photograph, denoise it through all of its patches, and say what that took."""
    from pantile.cli import demonstration, figure, report

    figure.check_figure(out)
    _check_patch(patch, demonstration.SHAPE)
    names = demonstration.PHOTOGRAPHS if image is Photograph.BOTH else (image.value,)
    demonstrations = [
        demonstration.demonstrate(name, sigma, patch, workers, report.watch_pass) for name in names
    ]
    report.print_demonstrations(demonstrations)
    figure.save(out, demonstrations)
    report.print_written(out)


@app.command()
def denoise(
    source: Input,
    out: Annotated[Path, typer.Argument(metavar="OUT")],
    sigma: Sigma,
    patch: Patch = 8,
    method: Annotated[
        Method,
        typer.Option(help="Each patch by itself, or groups of similar ones: slower, better."),
    ] = Method.DCT,
    workers: WorkersOption = None,
) -> None:
    """Take white Gaussian noise out of a PNG, JPEG or TIFF picture.

    OUT keeps the value type and the alpha channel of IN. Its extension names the format.
    """
    from pantile import denoise as methods
    from pantile.cli import files, report
    from pantile.files.whole import formats

    header = formats.read_header(source)
    files.check_output(out, source, header)
    _check_patch(patch, header.shape)
    picture = formats.read_picture(source)
    report.print_sigma(picture, sigma)
    clean = getattr(methods, method.value)
    pixels = clean(
        picture.pixels, sigma, patch, channel_axis=-1, workers=workers, watch=report.watch_pass
    )
    files.write(out, picture.with_pixels(pixels))
    report.print_written(out)


@app.command()
def info(
    images: Images,
    patch: PatchOption,
    step: StepOption = "1",
    tail: TailOption = Tail.SHIFT,
    pad: PadOption = "0",
    dilation: DilationOption = "1",
    axes: AxesOption = None,
    channel_axis: ChannelOption = None,
    dataset: DatasetOption = None,
    level: LevelOption = None,
    series: SeriesOption = None,
    json: JsonOption = False,
) -> None:
    """Print an image's patch grid, what the expanded matrix would take, and the plan without it.

    Reads the header of the image only. With --json, several images make a list.
    """
    from pantile.cli import report
    from pantile.cli.subject import subject_of

    found = []
    for image in images:
        subject = subject_of(image, dataset=dataset, level=level, series=series)
        grid, where = lay_grid(
            subject.image, patch, step, dilation, tail, pad, "constant", axes, channel_axis
        )
        found.append((subject, report.plan_of(subject, grid, where)))
    if json:
        facts = [report.info_facts(*each) for each in found]
        report.print_json(facts if len(facts) > 1 else facts[0])
        return
    for number, each in enumerate(found):
        if len(found) > 1:
            report.print_plain("\n" * (number > 0) + f"{each[0].path}")
        report.print_info(*each)


add_commands(app)

"""Options that several commands share, and how their words become values."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "AxesOption",
    "BatchOption",
    "ChannelOption",
    "DatasetOption",
    "DilationOption",
    "DtypeOption",
    "FillOption",
    "JsonOption",
    "LevelOption",
    "MaxPixelsOption",
    "MemoryOption",
    "MergeOption",
    "PadModeOption",
    "PadOption",
    "PatchOption",
    "ResumeOption",
    "SeriesOption",
    "StepOption",
    "Tail",
    "TailOption",
    "Unnamed",
    "WeightsOption",
    "WorkersOption",
    "choose_channel",
    "lay_grid",
    "load_function",
    "merge_options",
    "parse_dtype",
    "parse_number",
    "parse_sizes",
    "parse_weights",
]


class Tail(StrEnum):
    """What happens where the step does not divide."""

    SHIFT = "shift"
    RESPACE = "respace"
    PAD = "pad"
    DROP = "drop"
    CENTER = "center"
    ERROR = "error"


def _option(help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(help=help_text, metavar=metavar)


PatchOption = Annotated[str, _option("Shape of a patch, as in 39 or 39x17.", "N|NxM")]
StepOption = Annotated[str, _option("Elements between neighbouring patches.", "N|NxM")]
DilationOption = Annotated[str, _option("Elements between samples of a patch.", "N|NxM")]
TailOption = Annotated[Tail, _option("What happens where the step does not divide.")]
PadOption = Annotated[str, _option('Elements around the image, or "same".', "N|NxM|same")]
PadModeOption = Annotated[str, _option("What lies outside, by NumPy's names.", "MODE")]
AxesOption = Annotated[str | None, _option("The patched axes; by default the last ones.", "A,B")]
ChannelOption = Annotated[
    str | None,
    _option(
        'The axis of channels, which travels inside each patch, or "none"; by default what the file says:'
        " the last one of a colour picture.",
        "A|none",
    ),
]
DatasetOption = Annotated[str | None, _option("Which array of an HDF5 file or Zarr group.", "NAME")]
LevelOption = Annotated[
    int | None, typer.Option(help="Which resolution of a pyramid; 0 is the full one.")
]
SeriesOption = Annotated[
    int | None, typer.Option(help="Which image of a TIFF or OME-Zarr, or frame of an animation.")
]
MaxPixelsOption = Annotated[
    int | None, typer.Option(min=1, help="How many pixels a PNG or JPEG may unpack to.")
]
MergeOption = Annotated[
    str,
    _option(
        "How overlaps combine: mean, sum, max, min, median, var, vote, first, last, center; or none."
    ),
]
WeightsOption = Annotated[
    str | None, _option("Taper of a patch: hann, or with a parameter as in gaussian,4.", "NAME")
]
DtypeOption = Annotated[str | None, _option("Of the result; integers are rounded.", "DTYPE")]
FillOption = Annotated[float | None, _option("What elements hold that no patch touches.")]
MemoryOption = Annotated[str | None, _option("A budget, as in 2GB.", "SIZE")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Threads; as many as there are cores.")
]
BatchOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Patches per call of the function; by default 2 MiB."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on where a run was cut short.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]


class Unnamed:
    """Stands for the output file of `map` in a plan that was given none."""

    def create(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Never called: a plan writes nothing."""
        raise AssertionError("a plan writes nothing")

    reopen = create


def parse_sizes(option: str, text: str) -> int | tuple[int, ...]:
    """39 for "39", (39, 17) for "39x17"."""
    try:
        found = tuple(int(part) for part in text.replace(",", "x").split("x"))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a whole number, or one per axis as in 39x17", param_hint=option
        ) from None
    return found if len(found) > 1 else found[0]


def choose_channel(image: Any, named: int | tuple[int, ...] | None, text: str | None) -> int | None:
    """The axis of channels: by the option, else by the file unless that axis is patched."""
    ndim = len(image.shape)
    if text is not None:
        return None if text.lower() == "none" else _parse_axis("--channel-axis", text, ndim)
    by_file: int | None = getattr(image, "channel_axis", None)
    patched = (named,) if isinstance(named, int) else named or ()
    return None if by_file in {a % ndim for a in patched} else by_file


def _parse_axis(option: str, text: str, ndim: int) -> int:
    try:
        axis = int(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a whole number or none", param_hint=option
        ) from None
    if not -ndim <= axis < ndim:
        raise typer.BadParameter(f"{axis}: the image has {ndim} axes", param_hint=option)
    return axis % ndim


def lay_grid(
    image: Any, patch: str, step: str, dilation: str, tail: Tail, pad: str, pad_mode: str,
    axes: str | None, channel_axis: str | None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """The grid of an image, and the axes as keyword arguments."""
    import pantile as pt
    from pantile.geometry.frame import patch_ndim, patched_axes

    shape = tuple(image.shape)
    size = parse_sizes("--patch", patch)
    named = None if axes is None else parse_sizes("--axes", axes)
    channel = choose_channel(image, named, channel_axis)
    n = patch_ndim(size, len(shape), named, channel)
    if channel is not None and channel_axis is None and n == len(shape):
        raise typer.BadParameter(
            f"{patch!r} has {n} axes, and axis {channel} of the image, {shape}, holds its channels, which"
            " are not cut: leave that one out, or say --channel-axis none",
            param_hint="--patch",
        )
    places = patched_axes(len(shape), n, named, channel)
    grid = pt.PatchGrid(
        [shape[a] for a in places],
        size,
        parse_sizes("--step", step),
        dilation=parse_sizes("--dilation", dilation),
        tail=tail.value,
        pad="same" if pad == "same" else parse_sizes("--pad", pad),
        pad_mode=pad_mode,  # type: ignore[arg-type]
    )
    return grid, {"axes": places, "channel_axis": channel}


def parse_dtype(text: str | None) -> str | None:
    """The name of a dtype; a usage error where NumPy knows no such one."""
    try:
        import numpy as np

        return text if text is None else np.dtype(text).name
    except TypeError:
        raise typer.BadParameter(
            f"{text!r} is no type of numbers, such as uint8, uint16 or float32",
            param_hint="--dtype",
        ) from None


def parse_weights(text: str | None) -> Any:
    """The taper that a word means: "hann" for hann, ("gaussian", 4.0) for gaussian,4."""
    if text is None:
        return None
    name, *numbers = text.split(",")
    return (name, *(parse_number("--weights", n) for n in numbers)) if numbers else name


def merge_options(
    merge: str, weights: str | None, dtype: str | None, fill: float | None, memory: str | None,
    workers: int | None, resume: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """How results merge and what may be used for it, as keyword arguments of `pantile.map_patches`."""
    return {
        "merge": None if merge == "none" else merge,
        "weights": parse_weights(weights),
        "dtype": parse_dtype(dtype),
        "fill": fill,
        "memory": memory,
        "workers": workers,
        "resume": resume,
    }


def parse_number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number", param_hint=option) from None


def load_function(text: str) -> Callable[..., Any]:
    """The function that ``module:name`` or ``file.py:name`` means."""
    module, _, name = text.rpartition(":")
    if not module or not name or module.startswith("."):
        raise typer.BadParameter(
            f"{text!r} is not module:name, as in filters:denoise", param_hint="--func"
        )
    found = _load_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise typer.BadParameter(f"{module} has no {part!r}", param_hint="--func")
        found = getattr(found, part)
    if not callable(found):
        raise typer.BadParameter(f"{text} is not a function", param_hint="--func")
    function: Callable[..., Any] = found
    return function


def _load_module(name: str) -> Any:
    path = Path(name)
    try:
        if path.suffix == ".py":
            return _load_file(path)
        sys.path.insert(0, "")
        return importlib.import_module(name)
    except typer.BadParameter:
        raise
    except ModuleNotFoundError as error:
        if name == error.name or name.startswith(f"{error.name}."):
            reason = f"there is no module {name!r} here or installed"
        else:
            reason = f"{name} needs {error.name}, which is not installed"
    except Exception as error:
        reason = f"{name} cannot be imported, {_say_where(error)}{type(error).__name__}: {error}"
    raise typer.BadParameter(reason, param_hint="--func")


def _say_where(error: Exception) -> str:
    """Line and file of an error in the user's module; empty for a syntax error, which names them itself."""
    lines = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not lines:
        return ""
    return f"line {lines[-1].lineno} of {lines[-1].filename}: "


def _load_file(path: Path) -> Any:
    """The module in a file, which may import its neighbours; an installed module of the same name is not taken."""
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}", param_hint="--func")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module

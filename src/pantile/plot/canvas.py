"""What all plots share: axes, notes below them, checks, and values scaled for drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Array",
    "add_notes",
    "as_picture",
    "axes_or_current",
    "require_planar",
    "show_frame",
    "show_signal",
    "unit_range",
]

Array = npt.NDArray[Any]
QUIET = "0.35"


def axes_or_current(ax: Axes | None) -> Axes:
    """``ax``, or the current axes of pyplot."""
    if ax is not None:
        if not hasattr(ax, "add_collection"):
            raise TypeError(f"ax must be matplotlib Axes, got {type(ax).__name__}")
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('pantile.plot needs matplotlib: pip install "pantile[plot]"') from error
    current: Axes = pyplot.gca()
    return current


def require_planar(ndim: int, what: str, instead: str) -> None:
    """Refuse what has more than two axes."""
    if ndim > 2:
        raise ValueError(f"{what} of 1 or 2 axes can be drawn, this one has {ndim}: {instead}")


def add_notes(ax: Any, *notes: str) -> None:
    """Write notes below the axes."""
    text = "\n".join(note for note in notes if note)
    if not text:
        return
    if ax.axison:
        ax.set_xlabel(text, fontsize="small", color=QUIET, loc="left")
    else:  # hidden axes hide their label, too
        ax.annotate(
            text, (0, 0), xycoords="axes fraction", xytext=(0, -4), textcoords="offset points",
            va="top", ha="left", fontsize="small", color=QUIET, annotation_clip=False,
        )  # fmt: skip


def show_frame(ax: Any) -> None:
    """Axes of an image: square elements, a few quiet ticks, no box."""
    ax.set_aspect("equal")
    sizes = [abs(high - low) for low, high in (ax.get_xlim(), ax.get_ylim())]
    for axis, size in zip("xy", sizes, strict=True):
        ax.locator_params(axis=axis, integer=True, nbins=max(2, round(6 * size / max(sizes))))
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=2, labelsize="small", colors=QUIET)


def show_signal(ax: Any) -> None:
    """Axes of a signal: open at the top and to the right."""
    ax.locator_params(axis="x", integer=True, nbins=8)
    ax.tick_params(labelsize="small")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def as_picture(image: Array, channel_axis: int | None) -> Array:
    """An image as `imshow` takes it: ``(rows, columns)``, or with 3 or 4 colours last, scaled to 0..1."""
    if channel_axis is None:
        return image
    moved = np.moveaxis(image, channel_axis, -1)
    if moved.shape[-1] == 1:
        return moved[..., 0]
    if moved.shape[-1] not in (3, 4):
        raise ValueError(
            f"channel_axis={channel_axis} has {moved.shape[-1]} channels, and 1, 3 or 4 can be drawn: choose some,"
            " like image[..., :3]"
        )
    return moved if moved.dtype == np.uint8 else unit_range(moved)


def unit_range(values: Array) -> Array:
    """Values scaled to 0..1; NaN and infinity do not count for the range."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    span = float(high) - float(low) or 1.0
    return np.clip((values.astype(np.float64) - float(low)) / span, 0, 1)

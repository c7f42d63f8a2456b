"""The patches of a grid drawn over an image or a signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..geometry import AxisGrid, PatchGrid
from ..geometry.frame import frame_of
from ..ops.arrays import as_array
from .canvas import (
    Array,
    add_notes,
    as_picture,
    axes_or_current,
    require_planar,
    show_frame,
    show_signal,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["grid"]

LINE = "#c2410c"
FILL = "#f97316"
ALL = 64  # patches that are drawn each; of more, some
SPREAD = 12  # patches drawn along an axis where not all are
SAMPLES = 400  # samples of a dilated patch that are dotted
LANES = 12  # rows of bars below a signal
INSTEAD = "draw a slice, plot.grid(image[k], patch[1:], step), or two axes of the grid"


def grid(
    image: npt.ArrayLike | PatchGrid | None,
    patch: int | Sequence[int] | PatchGrid | None = None,
    step: int | Sequence[int] = 1,
    *,
    channel_axis: int | None = None,
    indices: npt.ArrayLike | None = None,
    ax: Axes | None = None,
    cmap: Any = "gray",
) -> Axes:
    """The patches of a grid as outlines over an image, or as bars below a signal; returns the axes.

    The first patch is filled, its neighbours dashed, padding dotted. Of more than 64 patches some
    are drawn, which a note below the axes says.

    Parameters
    ----------
    image : array_like or PatchGrid
        An image of 2 axes, a signal of 1, with a channel axis or without; or a grid alone, which is
        drawn bare (None and the grid as ``patch`` mean the same).
    patch, step : optional
        The shape of a patch and the elements between patches, or a `PatchGrid`.
    channel_axis : int, optional
        An axis of 1, 3 or 4 colours.
    indices : array_like of int, optional
        Which patches to draw, as flat indices, instead of a choice.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the current axes.
    cmap : optional
        Colours of an image without channels.

    Raises
    ------
    ValueError, TypeError, ImportError
        Where the image has more than two patched axes, or matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> import pantile as pt
    >>> ax = grid(np.eye(9), pt.PatchGrid((9, 9), 4, 3), ax=Figure().subplots())
    >>> len(ax.patches)  # nine patches and the frame of the image
    10
    >>> ax = grid(pt.PatchGrid((9, 9), 4, 3), ax=Figure().subplots())
    """
    if isinstance(image, PatchGrid):
        if patch is not None:
            raise TypeError(
                "patch goes with an image: give the grid alone, plot.grid(grid), or plot.grid(image, patch)"
            )
        image, patch = None, image
    array = None if image is None else as_array(image)
    made = _grid_of(array, patch, step, channel_axis)
    require_planar(made.ndim, "grids", INSTEAD)
    chosen, note = _choose_patches(made, indices)
    if array is not None and array.ndim - (channel_axis is not None) != made.ndim:
        raise ValueError(
            f"image has axes beside the patched ones, shape {array.shape}: draw one of its images, image[k],"
            " or name its colours with channel_axis="
        )
    ax = axes_or_current(ax)
    draw = _draw_image if made.ndim == 2 else _draw_signal
    draw(ax, array, made, chosen, indices is None, channel_axis, cmap)
    add_notes(ax, note)
    return ax


def _grid_of(array: Array | None, patch: Any, step: Any, channel_axis: int | None) -> PatchGrid:
    if patch is None:
        raise TypeError("patch is missing: plot.grid(image, patch, step), or plot.grid(grid)")
    if array is not None:
        return frame_of(array.shape, patch, step, channel_axis=channel_axis).grid
    if not isinstance(patch, PatchGrid):
        raise TypeError(
            "without an image the grid must be given: plot.grid(PatchGrid(shape, patch))"
        )
    return patch


def _choose_patches(
    made: PatchGrid, indices: npt.ArrayLike | None
) -> tuple[list[tuple[int, ...]], str]:
    """Which patches to draw, as one index per axis, and what to say about the others."""
    if indices is not None:
        rows = made.as_rows(indices)
        return list(
            zip(*(i.tolist() for i in np.unravel_index(rows, made.counts)), strict=True)
        ), ""
    if made.n_patches <= ALL:
        return list(np.ndindex(*made.counts)), ""
    some = [_spread_patches(axis) for axis in made.axis_grids]
    drawn = " x ".join(str(len(s)) for s in some)
    every = " x ".join(f"{n:,}" for n in made.counts)
    return _combine(some), f"{drawn} of {every} patches"


def _spread_patches(axis: AxisGrid) -> list[int]:
    """Indices of patches evenly over the axis that do not overlap, and of the last one, which may."""
    stride = max(1, -(-axis.extent // max(1, axis.gap)))
    stride *= max(1, -(-axis.count // (stride * SPREAD)))
    return sorted({*range(0, axis.count, stride), axis.count - 1})


def _combine(some: list[list[int]]) -> list[tuple[int, ...]]:
    return [
        tuple(s[i] for s, i in zip(some, at, strict=True)) for at in np.ndindex(*map(len, some))
    ]


def _draw_image(
    ax: Any,
    array: Array | None,
    made: PatchGrid,
    chosen: list[tuple[int, ...]],
    guide: bool,
    channel_axis: int | None,
    cmap: Any,
) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    rows, columns = made.shape
    frame = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    if array is not None:
        picture = as_picture(array, channel_axis)
        ax.imshow(picture, cmap=cmap, extent=frame, interpolation="antialiased")
    ax.add_patch(Rectangle((-0.5, -0.5), columns, rows, fill=False, ec="0.3", lw=1))
    for at in chosen:  # filled lightly, so that what overlaps is darker
        _draw_outline(ax, made, at, fill=True, fc=(*to_rgb(FILL), 0.06))
    if guide and chosen:
        _draw_guide(ax, made, chosen)
    down, across = (_find_span(axis) for axis in made.axis_grids)
    margin = 0.02 * max(down[1] - down[0], across[1] - across[0])
    ax.set_xlim(across[0] - 0.5 - margin, across[1] - 0.5 + margin)
    ax.set_ylim(down[1] - 0.5 + margin, down[0] - 0.5 - margin)
    show_frame(ax)


def _find_span(axis: AxisGrid) -> tuple[int, int]:
    return min(0, axis.start(0)), max(axis.size, axis.end)


def _draw_outline(ax: Any, made: PatchGrid, at: tuple[int, ...], **style: Any) -> None:
    from matplotlib.patches import Rectangle

    top, left = (axis.start(i) for axis, i in zip(made.axis_grids, at, strict=True))
    high, wide = made.extent
    options: dict[str, Any] = {"fill": False, "ec": LINE, "lw": 1.0} | style
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), wide, high, **options))


def _draw_guide(ax: Any, made: PatchGrid, chosen: list[tuple[int, ...]]) -> None:
    """The first patch filled, dotted where it is dilated; its neighbours dashed where they are not drawn."""
    from matplotlib.colors import to_rgb

    first = ax.patches[1]
    first.set(facecolor=(*to_rgb(FILL), 0.4), linewidth=2, zorder=3)
    near = [(0, min(1, made.counts[1] - 1)), (min(1, made.counts[0] - 1), 0)]
    for at in near:
        if at not in chosen:
            _draw_outline(ax, made, at, linestyle=(0, (3, 2)), lw=1.2)
    if max(made.dilation) > 1 and made.features <= SAMPLES:
        places = [a.start(0) + np.arange(a.patch) * a.dilation for a in made.axis_grids]
        y, x = np.meshgrid(*places, indexing="ij")
        ax.plot(x.ravel(), y.ravel(), ".", color=LINE, markersize=4, zorder=4)


def _draw_signal(
    ax: Any,
    array: Array | None,
    made: PatchGrid,
    chosen: list[tuple[int, ...]],
    guide: bool,
    channel_axis: int | None,
    _: Any,
) -> None:
    """The signal as a line, and its patches as bars below, side by side where they overlap."""
    from matplotlib.colors import to_rgb

    (axis,) = made.axis_grids
    lanes = _assign_lanes(axis, [i for (i,) in chosen])
    low, high = 0.0, 1.0
    if array is not None:
        signal = array if channel_axis is None else np.moveaxis(array, channel_axis, -1)
        ax.plot(np.arange(axis.size), signal, lw=1.2, color=None if signal.ndim > 1 else "0.25")
        finite = signal[np.isfinite(signal)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    lane = (high - low or 1.0) * 0.6 / (max(lanes, default=0) + 1)
    for n, (i,) in enumerate(chosen):
        height = low - lane * (1.2 + lanes[n])
        first = guide and n == 0
        bar = [(axis.start(i) - 0.5, axis.extent)]
        colour = FILL if first else (*to_rgb(FILL), 0.3)
        ax.broken_barh(bar, (height, 0.8 * lane), facecolor=colour, edgecolor=LINE, linewidth=0.8)
    _mark_ends(ax, axis)


def _assign_lanes(axis: AxisGrid, chosen: list[int]) -> list[int]:
    """For each patch the first row of bars that is free there; at most 12 rows."""
    ends: list[int] = []
    found = []
    for i in chosen:
        start = axis.start(i)
        free = [lane for lane, end in enumerate(ends) if end <= start]
        if not free and len(ends) < LANES:
            ends.append(0)
            free = [len(ends) - 1]
        lane = free[0] if free else min(range(len(ends)), key=ends.__getitem__)
        ends[lane] = start + axis.extent
        found.append(lane)
    return found


def _mark_ends(ax: Any, axis: AxisGrid) -> None:
    """Dotted lines where the signal begins and ends, if patches reach past them."""
    begin, end = _find_span(axis)
    for edge in (0, axis.size):
        if begin < edge < end:
            ax.axvline(edge - 0.5, color="0.4", lw=1, linestyle=":")
    margin = 0.02 * (end - begin) + 0.5
    ax.set_xlim(begin - margin, end - 1 + margin)
    show_signal(ax)

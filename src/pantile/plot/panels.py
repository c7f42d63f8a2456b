"""Many patches in one picture: a montage, and the components of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..geometry.arguments import as_count
from ..geometry.arrays import to_array
from .canvas import Array, add_notes, axes_or_current, show_signal, unit_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["components", "montage"]

MOST = 144
LINES = 24
SCALES = ("all", "each")
SMALLEST_FONT = 4.0  # points


def montage(
    patches: npt.ArrayLike,
    *,
    channel_axis: int | Literal["auto"] | None = "auto",
    columns: int | None = None,
    most: int = MOST,
    scale: Literal["all", "each"] = "all",
    titles: Sequence[str] | None = None,
    cmap: Any = "gray",
    ax: Axes | None = None,
) -> Axes:
    """Patches side by side in one picture; returns the axes.

    Parameters
    ----------
    patches : array_like
        ``(n, rows, columns)`` as `extract` gives them, ``(n0, n1, rows, columns)`` as `patchify`
        does (then they lie as on the grid), or ``(n, size)`` of a signal, which become lines.
    channel_axis : int, "auto" or None
        The axis of 1, 3 or 4 colours; None where there is none. With "auto" a last axis of 3 or 4
        holds colours if the values can be colours (uint8, or floats in 0..1) and the axis before it
        is longer than 4: ``(n, 39, 39, 3)`` are patches in colour, ``(n0, n1, 3, 3)`` small ones
        on their grid.
    columns : int, optional
        Patches in a row; by default as many as suit the shape of the axes.
    most : int
        Patches that are drawn at most. Of more, some are drawn, evenly spaced, and a note says so.
    scale : {"all", "each"}
        Whether all patches share one range of grey (or colours), or each has its own.
    titles : sequence of str, optional
        What stands above each patch, one for each that was given.
    cmap : optional
        Colours of patches without channels.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the current axes.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> import pantile as pt
    >>> patches = pt.extract(np.eye(12), 5, 3)
    >>> montage(patches, ax=Figure().subplots()).images[0].get_array().shape
    (23, 29)
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be 'all' or 'each', got {scale!r}")
    array, counts = _stack(patches, channel_axis)
    most, n = as_count(most, "most"), math.prod(counts)
    if titles is not None and len(titles) != n:
        raise ValueError(f"titles has {len(titles)} entries for {n} patches")
    if array.ndim == 2:
        return _draw_lines(axes_or_current(ax), array, min(most, LINES), scale, titles)
    kept, note = _choose_some(n, most)
    if len(counts) > 1 and not note:
        columns = columns or counts[1]
    tiles = array[np.unravel_index(kept, counts)]  # no others are touched: it may be a view
    ax = axes_or_current(ax)
    columns = _choose_columns(ax, len(kept), columns, tiles.shape[1:3])
    shown = [None if titles is None else titles[i] for i in kept]
    return _draw_tiles(ax, tiles, columns, scale, shown, cmap, note)


def _stack(
    patches: npt.ArrayLike, channel_axis: int | Literal["auto"] | None
) -> tuple[Array, tuple[int, ...]]:
    """Patches as ``(*counts, ...)`` with channels last, and their counts along one axis or two."""
    array = to_array(patches, "patches")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"patches must hold real numbers to be drawn, got dtype {array.dtype}")
    channels: tuple[int, ...] = ()
    if channel_axis == "auto":
        channel_axis = -1 if _looks_coloured(array) else None
    if channel_axis is not None:
        array = np.moveaxis(array, channel_axis, -1)
        channels = array.shape[-1:]
        if channels[0] not in (1, 3, 4):
            raise ValueError(
                f"channel_axis={channel_axis} has {channels[0]} channels, and 1, 3 or 4 can be drawn"
            )
    ndim = array.ndim - len(channels)
    if ndim not in (2, 3, 4) or array.size == 0 or (ndim == 2 and channels):
        raise ValueError(
            f"patches of shape {np.shape(patches)} cannot be drawn: give (n, rows, columns), (n0, n1, rows, columns)"
            " or (n, size), with channel_axis= for colours; of patches with more axes draw a slice, patches[:, k]"
        )
    return array, array.shape[: max(1, ndim - 2)]


def _looks_coloured(array: Array) -> bool:
    """Whether the last axis looks like red, green and blue (and opacity)."""
    if array.ndim not in (4, 5) or array.shape[-1] not in (3, 4) or not array.size:
        return False
    if array.shape[-2] <= 4:  # 3 columns rather than 3 colours
        return False
    if array.dtype.kind != "f":
        return array.dtype == np.uint8
    some = array[_choose_some(len(array), MOST)[0]]  # told by some, since there may be many
    least, most = np.fmin.reduce(some, axis=None), np.fmax.reduce(some, axis=None)
    return bool(least >= 0 and most <= 1)  # NaN is skipped


def _choose_some(n: int, most: int) -> tuple[Array, str]:
    if n <= most:
        return np.arange(n), ""
    return np.linspace(0, n - 1, most).round().astype(
        int
    ), f"{most:,} of {n:,} patches, evenly spaced"


def _choose_columns(ax: Any, n: int, columns: int | None, patch: tuple[int, ...]) -> int:
    if columns is not None:
        return min(as_count(columns, "columns"), n)
    across = ax.bbox.width / ax.bbox.height * (patch[0] + 1) / (patch[1] + 1)
    return max(1, min(n, round(math.sqrt(n * across))))


def _draw_tiles(
    ax: Axes,
    tiles: Array,
    columns: int,
    scale: str,
    titles: Sequence[str | None],
    cmap: Any,
    note: str,
) -> Axes:
    coloured = tiles.ndim == 4 and tiles.shape[-1] > 1
    tiles = tiles if coloured else tiles.reshape(tiles.shape[:3])
    n, (high, wide) = len(tiles), tiles.shape[1:3]
    gap, rows = max(1, round(0.06 * max(high, wide))), -(-n // columns)
    font, unit = _choose_font(
        ax, (rows * (1.35 * high + gap), columns * (wide + gap)), columns, titles
    )
    head = gap + round(1.3 * font / unit)
    shape = (rows * (high + head) - (0 if font else gap), columns * (wide + gap) - gap)
    canvas = np.ones((*shape, 4)) if coloured else np.full(shape, np.nan)
    for k, tile in enumerate(_scale_tiles(tiles, scale)):
        top = k // columns * (high + head) + (head if font else 0)
        left = k % columns * (wide + gap)
        canvas[top : top + high, left : left + wide] = _add_opacity(tile) if coloured else tile
        if font:
            middle = left + wide / 2 - 0.5
            ax.text(middle, top - 0.7, titles[k] or "", ha="center", va="bottom", fontsize=font)
    ax.imshow(canvas, cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    add_notes(ax, note)
    return ax


def _choose_font(
    ax: Any, shape: tuple[float, float], columns: int, titles: Sequence[str | None]
) -> tuple[float, float]:
    """Size of titles that fit above tiles, in points (0: none would be readable), and of an element."""
    points = 72 / ax.figure.dpi
    unit = min(points * ax.bbox.height / shape[0], points * ax.bbox.width / shape[1])
    longest = max(len(title or "") for title in titles)
    if not longest:
        return 0.0, unit
    size = min(9.0, unit * shape[1] / columns / (0.62 * longest))
    return (size if size >= SMALLEST_FONT else 0.0), unit


def _add_opacity(tile: Array) -> Array:
    if tile.shape[-1] == 4:
        return tile
    return np.concatenate([tile, np.ones((*tile.shape[:2], 1))], axis=-1)


def _scale_tiles(tiles: Array, scale: str) -> Array:
    """Tiles in 0..1; NaN, which is drawn as nothing, stays."""
    if scale == "fixed":  # in 0..1 already
        return tiles
    return unit_range(tiles) if scale == "all" else np.stack([unit_range(tile) for tile in tiles])


def _draw_lines(
    ax: Axes, array: Array, most: int, scale: str, titles: Sequence[str] | None
) -> Axes:
    """Patches of a signal as lines below each other."""
    kept, note = _choose_some(len(array), most)
    shown = _scale_tiles(array[kept], scale)
    ticks = -np.arange(len(kept))
    for height, line in zip(ticks, shown, strict=True):
        ax.plot(np.arange(array.shape[1]), height + 0.85 * line, lw=1.2, color="#1f4e63")
    ax.set_yticks(
        ticks + 0.4, [str(i) if titles is None else titles[i] for i in kept], fontsize="small"
    )
    ax.tick_params(axis="y", length=0)
    show_signal(ax)
    ax.spines["left"].set_visible(False)
    add_notes(ax, note)
    return ax


def components(
    model: Any,
    *,
    channel_axis: int | None = None,
    most: int = 36,
    columns: int | None = None,
    cmap: Any = "RdBu_r",
    ax: Axes | None = None,
) -> Axes:
    """Components as patches, each in its own range around 0; returns the axes.

    Parameters
    ----------
    model : array_like or estimator
        Components ``(k, *patch)``, with a channel axis where ``channel_axis`` says so; or an
        estimator with ``components_`` ``(k, features)`` and ``patch``, such as
        `pantile.learn.PatchPCA`, whose share of the variance then stands above each component.
    channel_axis : int, optional
        The axis of 1, 3 or 4 colours among the components' axes.
    most, columns, ax
        As in `montage`; the first ``most`` components are drawn.
    cmap : optional
        Diverging colours: 0 is in the middle.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> ax = components(np.eye(9).reshape(9, 3, 3) - 0.5, ax=Figure().subplots())
    >>> len(ax.texts)
    9
    """
    array, channels, shares = _components_of(model, channel_axis)
    most = as_count(most, "most")
    first = array[:most]
    size = np.abs(first).reshape(len(first), -1).max(axis=1)
    size = np.where(np.isfinite(size) & (size > 0), size, 1)
    centred = 0.5 + 0.5 * first / size.reshape(-1, *[1] * (first.ndim - 1))
    titles = [_write_title(k, shares) for k in range(len(first))]
    note = f"the first {most:,} of {len(array):,} components" if len(array) > most else ""
    if array.ndim - channels == 2:
        return _draw_lines(axes_or_current(ax), array, min(most, LINES), "each", titles)
    ax = axes_or_current(ax)
    columns = _choose_columns(ax, len(first), columns, first.shape[1:3])
    return _draw_tiles(ax, centred, columns, "fixed", titles, cmap, note)


def _write_title(k: int, shares: Array | None) -> str:
    if shares is None:
        return str(k)
    return f"{100 * shares[k]:.2g}%" if shares[k] >= 1e-4 else "<0.01%"


def _components_of(model: Any, channel_axis: int | None) -> tuple[Array, int, Array | None]:
    """Components ``(k, *patch[, channels])``, whether there are channels, and their shares of the variance."""
    flat = getattr(model, "components_", None)
    if flat is None:
        if hasattr(model, "fit"):
            raise ValueError(
                f"{type(model).__name__} has no components_ yet: fit it before drawing them"
            )
        array = to_array(model, "model")
        array = array if channel_axis is None else np.moveaxis(array, channel_axis, -1)
        return _as_drawable(array, channel_axis is not None), int(channel_axis is not None), None
    flat = np.asarray(flat)
    shape, place = _find_patch_shape(model, math.prod(flat.shape[1:]))
    array = flat.reshape(len(flat), *shape)
    array = array if place is None else np.moveaxis(array, 1 + place, -1)
    shares = getattr(model, "explained_variance_ratio_", None)
    channels = place is not None
    return (
        _as_drawable(array, channels),
        int(channels),
        None if shares is None else np.asarray(shares),
    )


def _find_patch_shape(model: Any, features: int) -> tuple[tuple[int, ...], int | None]:
    """The shape of a component, and which of its axes are the channels (None: there are none)."""
    patch = model.patch
    whole = getattr(model, "patch_shape_", None)
    guesses = [tuple(patch)] if np.ndim(patch) else [(int(patch),) * nd for nd in (2, 1)]
    for guess in guesses:
        if features == math.prod(guess) and whole in (None, guess):
            return guess, None
    for guess in guesses:
        channels = features // math.prod(guess)
        shapes = [(*guess[:k], channels, *guess[k:]) for k in range(len(guess), -1, -1)]
        for shape in shapes if features == math.prod(shapes[0]) else ():
            if whole in (None, shape):
                last = len(guess) if shape[-1] == channels else shape.index(channels)
                known = getattr(model, "channel_place_", None)  # a patch may be as wide as colours
                return shape, last if known is None else known
    raise ValueError(
        f"components of {features} features are no patches of shape {whole or patch}, of 1 or 2 axes"
    )


def _as_drawable(array: Array, channels: bool) -> Array:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"components must be real numbers, got dtype {array.dtype}")
    ndim = array.ndim - channels
    if (
        ndim not in (2, 3)
        or array.size == 0
        or (channels and (ndim == 2 or array.shape[-1] not in (1, 3, 4)))
    ):
        raise ValueError(
            f"components of shape {array.shape} cannot be drawn: give (k, rows, columns) or (k, size), with 1, 3 or 4"
            " colours on channel_axis; of components with more axes draw a slice, components[:, j]"
        )
    return array.astype(np.float64)

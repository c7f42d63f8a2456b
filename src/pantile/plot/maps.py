"""How many patches touch each element, and how much weight they bring: maps with a colour bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..geometry import AxisGrid, PatchGrid
from ..merge.weights import as_weights, resolve_weights
from ..ops.unpatchify import unpatchify
from .canvas import Array, add_notes, axes_or_current, require_planar, show_frame, show_signal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coverage", "weight_sum"]

CELLS = 1024  # cells that an axis of a map has at most
FEW = 12  # counts that get a colour each
HOLE = "#e11d48"
INSTEAD = "draw two of its axes, PatchGrid(shape[-2:], patch[-2:], step[-2:])"


def coverage(
    grid: PatchGrid, *, ax: Axes | None = None, cmap: Any = "viridis", colorbar: bool = True
) -> Axes:
    """A map of how many patches touch each element, holes in red; returns the axes.

    An axis of more than 1024 elements is drawn in cells that show their least covered element.

    >>> from matplotlib.figure import Figure
    >>> import pantile as pt
    >>> ax = coverage(pt.PatchGrid((20, 30), 8, 4), ax=Figure().subplots())
    >>> int(ax.images[0].get_array().max())
    6
    """
    vectors = [axis.coverage() for axis in _check_grid(grid).axis_grids]
    return _draw(grid, vectors, None, "patches that touch an element", ax, cmap, colorbar)


def weight_sum(
    grid: PatchGrid,
    weights: Any = None,
    *,
    ax: Axes | None = None,
    cmap: Any = "viridis",
    colorbar: bool = True,
) -> Axes:
    """A map of the sum of the weights in each element, which a mean divides by; returns the axes.

    ``weights`` are those of `unpatchify`: a window's name, one vector per axis, or an array of the
    patch's shape. Where they sum to 0 the map is red.

    >>> from matplotlib.figure import Figure
    >>> import pantile as pt
    >>> ax = weight_sum(pt.PatchGrid((20, 30), 8, 4), "hann", ax=Figure().subplots())
    >>> ax.get_title()
    'weights: hann'
    """
    if isinstance(weights, str) and weights == "trim":
        raise ValueError("weights='trim' takes one patch for each element: there is no sum to draw")
    taper = resolve_weights(as_weights(weights), _check_grid(grid).patch)
    if taper is None or isinstance(taper, tuple):
        given = [None] * grid.ndim if taper is None else list(taper)
        vectors = [a.profile(w) for a, w in zip(grid.axis_grids, given, strict=True)]
        whole = None
    else:
        vectors, whole = [], _sum_weights(grid, taper)
    ax = _draw(grid, vectors, whole, "sum of weights", ax, cmap, colorbar)
    ax.set_title(f"weights: {weights if isinstance(weights, str) else _describe_weights(weights)}")
    return ax


def _check_grid(grid: PatchGrid) -> PatchGrid:
    if not isinstance(grid, PatchGrid):
        raise TypeError(
            f"grid must be a PatchGrid, got {type(grid).__name__}: PatchGrid(image.shape, patch)"
        )
    require_planar(grid.ndim, "grids", INSTEAD)
    return grid


def _describe_weights(weights: Any) -> str:
    if isinstance(weights, tuple) and weights and isinstance(weights[0], str):
        return ", ".join(map(str, weights))
    return "none" if weights is None else "given"


def _sum_weights(grid: PatchGrid, taper: Array) -> Array:
    """The sum of weights in each element, for weights that are no product of vectors: merged from ones."""
    ones = np.broadcast_to(np.float64(1), (grid.n_patches, *grid.patch))
    return unpatchify(ones, grid, merge="sum", weights=taper, fill=0)


def _draw(
    grid: PatchGrid,
    vectors: list[Array],
    whole: Array | None,
    label: str,
    ax: Axes | None,
    cmap: Any,
    colorbar: bool,
) -> Axes:
    ax = axes_or_current(ax)
    if grid.ndim == 1:
        _draw_line(ax, grid.axis_grids[0], vectors[0] if whole is None else whole, label)
        return ax
    values, cell = _reduce_to_cells(vectors, whole)
    mapped = _draw_map(ax, grid.shape, values, cmap)
    if colorbar:
        _add_bar(ax, mapped, values, label)
    least = f"a cell shows the least of {cell[0]} x {cell[1]} elements" if cell != (1, 1) else ""
    add_notes(ax, _describe_holes(_count_holes(vectors, whole)), least)
    return ax


def _describe_holes(n: int) -> str:
    return f"red: {n:,} elements uncovered" if n else ""


def _count_holes(vectors: list[Array], whole: Array | None) -> int:
    if whole is not None:
        return int((whole == 0).sum())
    touched = int(np.prod([int((v > 0).sum()) for v in vectors], dtype=object))
    return int(np.prod([len(v) for v in vectors], dtype=object)) - touched


def _reduce_to_cells(vectors: list[Array], whole: Array | None) -> tuple[Array, tuple[int, int]]:
    """The map as at most 1024 x 1024 cells, each with the least value in it, and the size of a cell."""
    if whole is None:
        reduced = [_reduce_axis(v, 0) for v in vectors]
        values = np.multiply.outer(reduced[0][0], reduced[1][0])
        return values, (reduced[0][1], reduced[1][1])
    rows, high = _reduce_axis(whole, 0)
    values, wide = _reduce_axis(rows, 1)
    return values, (high, wide)


def _reduce_axis(values: Array, axis: int) -> tuple[Array, int]:
    size = -(-values.shape[axis] // CELLS)
    return np.minimum.reduceat(values, np.arange(0, values.shape[axis], size), axis), size


def _draw_map(ax: Any, shape: tuple[int, ...], values: Array, cmap: Any) -> Any:
    import matplotlib

    colours = matplotlib.colormaps.get_cmap(cmap).with_extremes(bad=HOLE)
    masked = np.ma.masked_equal(values, 0)
    frame = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    options: dict[str, Any] = {"cmap": colours, "extent": frame, "interpolation": "nearest"}
    levels = _find_levels(values)
    if levels is not None:
        edges = np.append(levels - 0.5, levels[-1] + 0.5)
        options["norm"] = matplotlib.colors.BoundaryNorm(edges, colours.N)
    elif masked.count():
        options |= {"vmin": min(0, float(masked.min())), "vmax": float(masked.max())}
    mapped = ax.imshow(masked, **options)
    show_frame(ax)
    return mapped


def _find_levels(values: Array) -> Array | None:
    """All counts from the least to the most, or None where they are many."""
    if values.dtype.kind not in "iu" or not values.any():
        return None
    low, high = int(values[values > 0].min()), int(values.max())
    return np.arange(low, high + 1) if high - low < FEW else None


def _add_bar(ax: Any, mapped: Any, values: Array, label: str) -> None:
    beside = ax.inset_axes((1.03, 0, 0.04, 1))  # as high as the map, whatever its shape
    bar = ax.figure.colorbar(mapped, cax=beside)
    bar.set_label(label, fontsize="small")
    bar.ax.tick_params(labelsize="small")
    bar.outline.set_visible(False)
    levels = _find_levels(values)
    if levels is not None:
        bar.set_ticks(levels, labels=[str(n) for n in levels])
        bar.ax.tick_params(which="minor", length=0)


def _draw_line(ax: Any, axis: AxisGrid, values: npt.NDArray[Any], label: str) -> None:
    edges = np.arange(axis.size + 1) - 0.5
    ax.stairs(values, edges, fill=True, color="#3b82a0", alpha=0.6)
    ax.stairs(values, edges, color="#1f4e63", linewidth=1)
    holes = values == 0
    ax.fill_between(edges, 0, 1, np.append(holes, False), step="post", color=HOLE, alpha=0.35,
                    linewidth=0, transform=ax.get_xaxis_transform())  # fmt: skip
    ax.set_xlim(-0.5, axis.size - 0.5)
    ax.set_ylim(0, 1.05 * float(values.max()) or 1)
    ax.set_ylabel(label)
    ax.locator_params(axis="y", integer=values.dtype.kind in "iu")
    show_signal(ax)
    add_notes(ax, _describe_holes(int(holes.sum())))

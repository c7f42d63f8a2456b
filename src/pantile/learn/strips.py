"""Predictions of images that are read, and results that are written, some rows of windows at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_axis
from ..kernels.read import read_block
from ..matrix.guard import check_fits, format_bytes
from ..stream.options import as_bytes
from ..stream.source import as_source
from .base import Images, PatchModel

__all__ = ["predict_images"]

Array = NDArray[Any]

_HELD = 128  # bytes for each window at work: its elements, what is made of them, its result


def predict_images(
    model: PatchModel,
    image: Images,
    one: Callable[[Any, Array], Array],
    out: Any = None,
    memory: int | str | None = None,
) -> Any:
    """``one(model, image)`` of an image or each of a list; by strips where that is asked for.

    Paths, and what is read by slices, are never read whole. ``out`` is where the result goes (for a
    list, a list of places), and ``memory`` a budget for what is held beside it.
    """
    if out is None and memory is None and not _is_read(image):
        return model._map_images(image, lambda each: one(model, each))
    budget = None if memory is None else as_bytes(memory)
    if isinstance(image, list | tuple) and any(hasattr(i, "ndim") or _is_read(i) for i in image):
        places = [None] * len(image) if out is None else out
        if not isinstance(places, list | tuple) or len(places) != len(image):
            raise ValueError(f"out must be a list of {len(image)} places, one for each image")
        pairs = zip(image, places, strict=True)
        return [_predict(model, as_source(i), one, _as_place(o), budget, o) for i, o in pairs]
    return _predict(model, as_source(image), one, _as_place(out), budget, out)


def _is_read(image: Any) -> bool:
    """Whether an image is a path, or read by slices."""
    if isinstance(image, list | tuple):
        return any(_is_read(each) for each in image)
    if isinstance(image, str | os.PathLike):
        return True
    lazy = all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__"))
    known = isinstance(image, np.ndarray) or hasattr(image, "__array_interface__")
    chunked = type(image).__module__.partition(".")[0] in ("zarr", "h5py", "pantile")
    return lazy and chunked and not known


def _as_place(out: Any) -> Any:
    """Where a result goes: None, a sink, or what is there and has slices that can be assigned."""
    if isinstance(out, str | os.PathLike) or hasattr(out, "reopen"):
        from ..files import sink_of

        return sink_of(out)
    if out is not None and not all(hasattr(out, n) for n in ("shape", "dtype", "__setitem__")):
        raise TypeError(
            f"out must be a path, a sink, or have shape, dtype and slice assignment, got {type(out).__name__}"
        )
    return out


def _predict(
    model: PatchModel,
    source: Any,
    one: Callable[[Any, Array], Array],
    place: Any,
    budget: int | None,
    out: Any,
) -> Any:
    shape = tuple(source.shape)
    whole = model._result_shape_of(shape)
    result: Any = None
    try:
        for rows, block, part in _iterate_strips(model, source, place is None, budget):
            found = one(part, block)
            if result is None:
                tail = found.shape[len(whole) :]
                result = _make_place(place, (*whole, *tail), found.dtype)
            result[(rows, *(slice(None),) * (len(whole) - 1 + len(tail)))] = found
        if hasattr(result, "commit"):
            result.commit()
    except BaseException:
        if hasattr(result, "discard"):
            with suppress(OSError):
                result.discard()
        raise
    return result if out is None else out


def _make_place(place: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    if place is None:
        nbytes = math.prod(shape) * dtype.itemsize
        check_fits(nbytes, "the result of predict", "give out= a path to write it to")
        return np.empty(shape, dtype)
    if hasattr(place, "reopen"):
        return place.create(shape, dtype)
    if tuple(place.shape) != shape:
        raise ValueError(
            f"out must have the shape of the result, {shape}, got {tuple(place.shape)}"
        )
    if not np.can_cast(dtype, place.dtype, "same_kind"):
        raise TypeError(f"out is {place.dtype}, and the result is {dtype}: give an array of that")
    return place


def _iterate_strips(
    model: PatchModel, source: Any, held: bool, budget: int | None
) -> Iterator[tuple[slice, Array, PatchModel]]:
    """Rows of the result, the elements that these depend on, and the model for them: without padding."""
    shape = tuple(source.shape)
    grid, whole = model.grid(shape), model._result_shape_of(shape)
    channel = (
        None
        if model.channel_axis is None
        else as_axis(model.channel_axis, len(shape), "channel_axis")
    )
    axes = [axis for axis in range(len(shape)) if axis != channel]
    patched = axes[len(axes) - grid.ndim :]
    bounds, margins = [(0, n) for n in shape], [(0, 0)] * len(shape)
    for axis, own, margin in zip(patched, grid.axis_grids, grid.margins, strict=True):
        bounds[axis], margins[axis] = own.span(0, own.count), margin
    for rows in _split_rows(model, source, grid, whole, held, budget):
        first = grid.axis_grids[0]
        batched = axes[0] not in patched
        span = (rows.start, rows.stop) if batched else first.span(rows.start, rows.stop)
        bounds[axes[0]] = span
        block = read_block(source, tuple(bounds), tuple(margins), grid.pad_mode, grid.pad_value)
        yield rows, block, _without_padding(model, grid, budget)


def _without_padding(model: PatchModel, grid: PatchGrid, budget: int | None) -> PatchModel:
    """The fitted model, for blocks that hold their padding already."""
    part: Any = copy(model)
    part.patch, part.step, part.pad = grid.patch, grid.step, 0
    part.grid = lambda shape: PatchGrid(part._sizes(shape)[-grid.ndim :], grid.patch, grid.step)
    if budget is not None:
        slab = max(1 << 20, min(part.limits.slab_bytes, budget // 4))
        rows = max(1 << 20, min(part.limits.row_block_bytes, budget // 8))
        part.limits = replace(part.limits, slab_bytes=slab, row_block_bytes=rows)
    return part  # type: ignore[no-any-return]


def _split_rows(
    model: PatchModel,
    source: Any,
    grid: PatchGrid,
    whole: tuple[int, ...],
    held: bool,
    budget: int | None,
) -> Iterator[slice]:
    """Rows of the result's first axis that are predicted together; evenly spaced windows each."""
    others = math.prod(whole[1:])
    batched = len(whole) > grid.ndim
    least = 1 if batched else grid.extent[0]
    own = (
        math.prod(source.shape)
        // source.shape[_first(model, source)]
        * np.dtype(source.dtype).itemsize
    )
    rows = max(1, model.limits.tree_strip_windows // others)
    if budget is not None:
        result = 8 * math.prod(whole) if held else 0
        room = budget - result - least * own
        each = _HELD * others + own * (1 if batched else grid.step[0])
        if room < each:
            raise MemoryError(
                f"predict needs {format_bytes(result + least * own + each)} for one row of windows"
                f"{' and the result' if held else ''}, but memory={format_bytes(budget)}: allow that much"
                f"{', or give out= a path' if held else ''}"
            )
        rows = min(rows, int(room // each))
    begins = [0] if batched else [0, *grid.axis_grids[0].breaks(0, whole[0])]
    for begin, end in zip(begins, [*begins[1:], whole[0]], strict=True):
        for at in range(begin, end, rows):
            yield slice(at, min(at + rows, end))


def _first(model: PatchModel, source: Any) -> int:
    """The first axis that is not that of channels."""
    if model.channel_axis is None:
        return 0
    return int(as_axis(model.channel_axis, len(source.shape), "channel_axis") == 0)

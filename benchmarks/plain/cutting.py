"""Cells of `patchify`, `extract`, `PatchGrid` and `masked_patchify`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import pantile as pt
from benchmarks.cases import Array, Case
from benchmarks.plain.cell import Cell, Sides
from benchmarks.plain.sizes import COVERING, REGIMES, Kind, Size, sized
from benchmarks.plain.torches import unfolded, windows_of
from benchmarks.plain.ways import places
from benchmarks.timing import Task

__all__ = ["cells"]


def cells(size: Size) -> Iterator[Cell]:
    """Every cell about cutting."""
    for kind in REGIMES:
        yield Cell("extract", "", sized(kind, size), _extract)
    makes = {"feature layout": _feature, "into out": _into, "indices": _indices,
             "padded": _padded, "channels": _channels}  # fmt: skip
    for kind in COVERING:
        for what, make in makes.items():
            yield Cell("extract", what, sized(kind, size), make)
    for kind in COVERING[:6]:
        yield Cell("patchify", "", sized(kind, size), _view)
        yield Cell("PatchGrid", "coverage", sized(kind, size.at_most(20_000)), _coverage)
        yield Cell("PatchGrid", "flat_indices", sized(kind, Size(size.elements / 4)), _flat)
    for kind in (Kind(2, 3, 1), Kind(1, 64, 1), Kind(3, 3, 1, "uint8"), Kind(2, 8, 1, "uint16")):
        few = Size(size.elements / 100, size.patches)  # the mask is much larger than the patches
        yield Cell("masked_patchify", "", sized(kind, few), _masked)


def _grid(case: Case) -> pt.PatchGrid:
    return pt.PatchGrid(case.shape, case.patch, case.step)


def _rows(case: Case, array: Array) -> Array:
    return array.reshape(-1, *case.patch)


def _extract(case: Case) -> Sides:
    image, grid = case.image(), _grid(case)
    plain: dict[str, Task] = {"windows, copied": lambda: _rows(case, case.view(image).copy())}
    if case.step == case.patch:
        plain["reshape, copied"] = lambda: _rows(case, _split(case, image).copy())
    windows = windows_of(case, image)
    if windows is not None:
        plain["torch, unfold of a tensor"] = windows
    return Sides(lambda: pt.extract(image, grid), plain)


def _split(case: Case, image: Array) -> Array:
    sizes = [n for pair in zip(case.counts, case.patch, strict=True) for n in pair]
    order = (*range(0, 2 * case.ndim, 2), *range(1, 2 * case.ndim, 2))
    return image.reshape(sizes).transpose(order)


def _columns(case: Case, image: Array) -> Array:
    """Windows copied with the patch index fastest."""
    axes = (*range(case.ndim, 2 * case.ndim), *range(case.ndim))
    columns = np.ascontiguousarray(case.view(image).transpose(axes))
    return columns.reshape(case.features, case.n_patches).T.reshape(-1, *case.patch)


def _feature(case: Case) -> Sides:
    image, grid = case.image(), _grid(case)
    plain: dict[str, Task] = {"windows transposed, copied": lambda: _columns(case, image)}
    columns = unfolded(case, image)
    if columns is not None:
        plain["torch unfold"] = columns
    return Sides(lambda: pt.extract(image, grid, layout="feature"), plain)


def _into(case: Case) -> Sides:
    image, grid = case.image(), _grid(case)
    ours = np.empty((case.n_patches, *case.patch), image.dtype)
    theirs = np.empty((*case.counts, *case.patch), image.dtype)

    def copy() -> Array:
        theirs[...] = case.view(image)
        return _rows(case, theirs)

    return Sides(lambda: pt.extract(image, grid, out=ours), {"windows, assigned": copy})


def _indices(case: Case) -> Sides:
    """A third of the patches, at most a few hundred, in any order."""
    image, grid = case.image(), _grid(case)
    chosen = np.random.default_rng(1).permutation(case.n_patches)[
        : min(500, case.n_patches // 3 + 1)
    ]

    def fancy() -> Array:
        return case.view(image)[np.unravel_index(chosen, case.counts)]

    return Sides(lambda: pt.extract(image, grid, indices=chosen), {"windows[rows]": fancy})


def _padded(case: Case) -> Sides:
    image, margin = case.image(), case.patch[0] // 2
    if case.step[0] > margin:
        margin = case.step[0]
    pads = {"pad": margin, "pad_mode": "reflect"}
    grid = pt.PatchGrid(case.shape, case.patch, case.step, tail="drop", **pads)

    def pad() -> Array:
        wide = np.pad(image, margin, mode="reflect")
        return _rows(case, np.ascontiguousarray(case.view(wide)))

    return Sides(lambda: pt.extract(image, grid), {"np.pad, windows, copied": pad})


def _channels(case: Case) -> Sides:
    """Three channels in the last axis, which come last in each patch, too."""
    image = np.stack([case.image(seed) for seed in range(3)], axis=-1)
    grid = _grid(case)

    def windows() -> Array:
        steps = tuple(slice(None, None, step) for step in case.step)
        view = np.lib.stride_tricks.sliding_window_view(image, case.patch, range(case.ndim))[steps]
        return np.ascontiguousarray(np.moveaxis(view, case.ndim, -1)).reshape(-1, *case.patch, 3)

    return Sides(lambda: pt.extract(image, grid, channel_axis=-1), {"windows, copied": windows})


def _view(case: Case) -> Sides:
    image = case.image()
    return Sides(
        lambda: pt.patchify(image, case.patch, case.step),
        {"sliding_window_view": lambda: case.view(image)},
    )


def _coverage(case: Case) -> Sides:
    grid = _grid(case)

    def count() -> Array:
        found = np.zeros(case.shape, np.int64)
        for place in places(case):
            found[place] += 1
        return found

    return Sides(grid.coverage, {"patch by patch": count})


def _flat(case: Case) -> Sides:
    grid = _grid(case)

    def windows() -> Array:
        numbers = np.arange(np.prod(case.shape)).reshape(case.shape)
        return case.view(numbers).reshape(grid.n_patches, -1)

    return Sides(grid.flat_indices, {"windows of arange": windows})


def _masked(case: Case) -> Sides:
    image = case.image()
    return Sides(
        lambda: _shown(pt.masked_patchify(image, case.patch)),
        {"as_strided and a mask": partial(_by_hand, case, image)},
    )


def _shown(found: Any) -> Array:
    """The mask: what costs anything of a masked view."""
    mask: Array = np.ma.getmaskarray(found)
    return mask


def _by_hand(case: Case, image: Array) -> Array:
    strides = [s // image.itemsize for s in image.strides]
    span = sum((p - 1) * s for p, s in zip(case.patch, strides, strict=True)) + 1
    n = image.size - span + 1
    rolled = np.lib.stride_tricks.as_strided(image, (n, span), (image.itemsize,) * 2)
    mask = np.ones((n, span), bool)
    starts = np.zeros(case.shape, bool)
    starts[tuple(slice(0, count) for count in case.counts)] = True
    samples = np.zeros(case.shape, bool)
    samples[tuple(slice(0, p) for p in case.patch)] = True
    mask[np.ix_(starts.ravel()[:n], samples.ravel()[:span])] = False
    return _shown(np.ma.masked_array(rolled, mask))

"""Cells of `unpatchify` and `Merger`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

import pantile as pt
from benchmarks.cases import Array, Case, Layout
from benchmarks.plain.cell import Cell, Sides
from benchmarks.plain.sizes import COVERING, REGIMES, Size, sized
from benchmarks.plain.torches import folded
from benchmarks.plain.ways import LABELS, MERGES, by_patch, crops, laid_out, loops, weighted
from benchmarks.timing import Task

__all__ = ["cells"]

LAID = ("mean", "sum", "max", "last")
"""Merges of which one cell each is compared with a reshape, too, where patches lie side by side."""


def cells(size: Size) -> Iterator[Cell]:
    """Every cell about merging."""
    for kind in REGIMES:
        yield Cell("unpatchify", "mean", sized(kind, size), partial(_merge, "mean", "patch"))
    for kind in COVERING:
        for name in MERGES:
            small = size if name not in ("median", "vote") else Size(size.elements / 4)
            yield Cell("unpatchify", name, sized(kind, small), partial(_merge, name, "patch"))
        for name in ("mean", "max", "first"):
            what = f"{name}, feature layout"
            yield Cell("unpatchify", what, sized(kind, size), partial(_merge, name, "feature"))
        for what in ("hann", "taper", "each"):
            yield Cell(
                "unpatchify", f"mean, {WEIGHTS[what]}", sized(kind, size), partial(_weigh, what)
            )
        yield Cell("unpatchify", "mean, trim", sized(kind, size), _trim)
        if kind.dtype.startswith("u"):
            yield Cell("unpatchify", "mean as integers", sized(kind, size), _rounded)
        yield Cell("unpatchify", "mean into out", sized(kind, size), _into)
        few = size.at_most(3000)
        for batch in (1, 16, 500):
            what = f"mean, {batch} at a time"
            yield Cell("Merger", what, sized(kind, few), partial(_merger, "mean", batch))
        for name in ("sum", "max"):
            yield Cell(
                "Merger", f"{name}, 16 at a time", sized(kind, few), partial(_merger, name, 16)
            )
        yield Cell(
            "Merger", "mean, hann, 16 at a time", sized(kind, few), partial(_merger, "hann", 16)
        )


WEIGHTS = {"hann": "hann", "taper": "weights of an array", "each": "patch_weights"}


def _grid(case: Case) -> pt.PatchGrid:
    return pt.PatchGrid(case.shape, case.patch, case.step)


def _patches(case: Case, layout: Layout = "patch", labels: bool = False) -> Array:
    patches = case.patches()
    if labels:
        patches = np.floor(patches * LABELS) if patches.dtype.kind == "f" else patches % LABELS
        patches = patches.astype(case.dtype)
    return case.arrange(patches, layout).reshape(-1, *case.patch)


def _merge(name: str, layout: Layout, case: Case) -> Sides:
    patches, grid = _patches(case, layout, name == "vote"), _grid(case)
    plain: dict[str, Task] = {
        way: partial(MERGES[name], case, patches, pairs) for way, pairs in loops(case).items()
    }
    if name in LAID and case.step == case.patch:
        wide = np.dtype(case.dtype).kind != "f" and name == "mean"
        plain["reshape"] = lambda: laid_out(case, patches).astype(
            np.float64 if wide else case.dtype, copy=True
        )
    if name == "center" and by_patch in loops(case).values():
        plain["cropped patches"] = lambda: crops(case, patches)
    if name in ("mean", "sum"):
        torch = folded(case, patches, name == "mean")
        if torch is not None:
            plain["torch fold"] = torch
    return Sides(lambda: pt.unpatchify(patches, grid, merge=name), plain)  # type: ignore[arg-type]


def _hann(case: Case) -> tuple[Array, ...]:
    return tuple(np.hanning(p + 2)[1:-1] for p in case.patch)


def _outer(vectors: tuple[Array, ...], dtype: str) -> Array:
    whole = np.ones(())
    for vector in vectors:
        whole = whole[..., None] * vector
    return whole.astype(dtype) if np.dtype(dtype).kind == "f" else whole


def _weigh(what: str, case: Case) -> Sides:
    patches, grid = _patches(case), _grid(case)
    vectors = _hann(case)
    taper = _outer(vectors, case.dtype)
    if what == "each":
        each = np.random.default_rng(1).random(case.n_patches) + 0.5
        ways = {n: partial(weighted, case, patches, p, None, each) for n, p in loops(case).items()}
        return Sides(lambda: pt.unpatchify(patches, grid, patch_weights=each), ways)
    if what == "taper":  # no product of one vector for each axis
        taper = taper + np.random.default_rng(1).random(case.patch).astype(taper.dtype)
    ways = {name: partial(weighted, case, patches, p, taper) for name, p in loops(case).items()}
    weights = vectors if what == "hann" else taper
    return Sides(lambda: pt.unpatchify(patches, grid, weights=weights), ways)


def _trim(case: Case) -> Sides:
    patches, grid = _patches(case), _grid(case)
    plain: dict[str, Task] = {
        way: partial(MERGES["center"], case, patches, pairs)
        for way, pairs in loops(case).items()
        if pairs is not by_patch
    }
    if by_patch in loops(case).values():
        plain["cropped patches"] = lambda: crops(case, patches)
    return Sides(lambda: pt.unpatchify(patches, grid, weights="trim"), plain)


def _rounded(case: Case) -> Sides:
    patches, grid = _patches(case), _grid(case)

    def by(pairs: object) -> Array:
        mean = MERGES["mean"](case, patches, pairs)  # type: ignore[arg-type]
        return np.rint(mean).astype(case.dtype)

    ways = {way: partial(by, pairs) for way, pairs in loops(case).items()}
    return Sides(lambda: pt.unpatchify(patches, grid, dtype=case.dtype), ways)


def _into(case: Case) -> Sides:
    patches, grid = _patches(case), _grid(case)
    dtype = case.dtype if np.dtype(case.dtype).kind == "f" else "float64"
    out, total, count = (
        np.empty(case.shape, dtype),
        np.empty(case.shape, dtype),
        np.empty(case.shape),
    )

    def by(pairs: object) -> Array:
        total[...] = count[...] = 0
        for place, values, _ in pairs(case, patches, True):  # type: ignore[operator]
            total[place] += values
            count[place] += 1
        return np.divide(total, count, out=total, casting="unsafe")

    ways = {way: partial(by, pairs) for way, pairs in loops(case).items()}
    return Sides(lambda: pt.unpatchify(patches, grid, out=out), ways)


def _merger(name: str, batch: int, case: Case) -> Sides:
    """Patches that come in batches, one after the other."""
    patches, grid = _patches(case), _grid(case)
    merge = "mean" if name == "hann" else name
    vectors = _hann(case) if name == "hann" else None
    numbers = np.arange(case.n_patches)

    def ours() -> Array:
        merger = pt.Merger(grid, merge=merge, weights=vectors)  # type: ignore[arg-type]
        for k in range(0, case.n_patches, batch):
            merger.add(patches[k : k + batch], numbers[k : k + batch])
        return merger.result()

    def plain() -> Array:
        if vectors is not None:
            return weighted(case, patches, by_patch, _outer(vectors, case.dtype))
        return MERGES[merge](case, patches, by_patch)

    return Sides(ours, {"patch by patch": plain})

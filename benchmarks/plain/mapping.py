"""Cells of `map_patches`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import pantile as pt
from benchmarks.cases import Array, Case
from benchmarks.plain.cell import Cell, Sides
from benchmarks.plain.sizes import COVERING, REGIMES, Size, sized
from benchmarks.plain.ways import MERGES, Pairs, by_patch, loops, places, weighted
from benchmarks.timing import Task

__all__ = ["cells"]

Func = Callable[[Array], Array]


def cells(size: Size) -> Iterator[Cell]:
    """Every cell about `map_patches`."""
    for kind in REGIMES:
        yield Cell("map_patches", "identity", sized(kind, size), partial(_map, _same, "mean"))
    for kind in COVERING:
        case = sized(kind, size)
        yield Cell("map_patches", "doubled", case, partial(_map, _doubled, "mean"))
        for merge in ("sum", "max", "first", "center"):
            yield Cell("map_patches", f"identity, {merge}", case, partial(_map, _same, merge))
        small = sized(kind, Size(size.elements / 4))
        for merge in ("median", "var"):
            yield Cell("map_patches", f"flipped, {merge}", small, partial(_map, _flipped, merge))
        yield Cell("map_patches", "identity, hann", case, _hann)
        yield Cell(
            "map_patches", "identity, one worker", case, partial(_map, _same, "mean", workers=1)
        )
        yield Cell("map_patches", "a mean each, merge=None", case, _on_grid)
        yield Cell(
            "map_patches", "a third of the patches", sized(kind, size.at_most(20_000)), _where
        )
        if kind.dtype.startswith("u"):
            yield Cell("map_patches", "identity, rounded", case, _rounded)


def _same(batch: Array) -> Array:
    return batch


def _doubled(batch: Array) -> Array:
    found: Array = batch * batch.dtype.type(2)
    return found


def _flipped(batch: Array) -> Array:
    """Patches that differ where they overlap."""
    return batch[:, ::-1]


def _grid(case: Case) -> pt.PatchGrid:
    return pt.PatchGrid(case.shape, case.patch, case.step)


class _Called:
    """The patches of an image as a list of what ``func`` makes of each, one after the other."""

    def __init__(self, case: Case, image: Array, func: Func) -> None:
        self.places, self.image, self.func = list(places(case)), image, func

    def __getitem__(self, k: int) -> Array:
        found: Array = self.func(self.image[self.places[k]][None])[0]
        return found


class _Stream:
    """Looks like an array of patches to the plain loops; each is cut and worked on in its turn."""

    def __init__(self, case: Case, image: Array, func: Func) -> None:
        self.rows, self.dtype = _Called(case, image, func), image.dtype

    def reshape(self, *_: int) -> _Called:
        return self.rows


def _worked(case: Case, image: Array, func: Func, pairs: Pairs) -> Any:
    """What a plain loop merges: patch by patch one at a time, else all windows in one batch."""
    if pairs is by_patch:
        return _Stream(case, image, func)
    return func(np.ascontiguousarray(case.view(image)).reshape(-1, *case.patch))


def _map(func: Func, merge: str, case: Case, **options: Any) -> Sides:
    image, grid = case.image(), _grid(case)

    def plain(pairs: Pairs) -> Array:
        return MERGES[merge](case, _worked(case, image, func, pairs), pairs)

    ways: dict[str, Task] = {way: partial(plain, pairs) for way, pairs in loops(case).items()}
    return Sides(lambda: pt.map_patches(func, image, grid, merge=merge, **options), ways)  # type: ignore[call-overload]


def _hann(case: Case) -> Sides:
    image, grid = case.image(), _grid(case)
    vectors = tuple(np.hanning(p + 2)[1:-1] for p in case.patch)
    taper = np.ones(())
    for vector in vectors:
        taper = taper[..., None] * vector
    if image.dtype.kind == "f":
        taper = taper.astype(image.dtype)

    def plain(pairs: Pairs) -> Array:
        return weighted(case, _worked(case, image, _same, pairs), pairs, taper)

    ways: dict[str, Task] = {way: partial(plain, pairs) for way, pairs in loops(case).items()}
    return Sides(lambda: pt.map_patches(_same, image, grid, weights=vectors), ways)


def _rounded(case: Case) -> Sides:
    image, grid = case.image(), _grid(case)

    def plain(pairs: Pairs) -> Array:
        found = MERGES["mean"](case, _worked(case, image, _same, pairs), pairs)
        return np.rint(found).astype(case.dtype)

    ways: dict[str, Task] = {way: partial(plain, pairs) for way, pairs in loops(case).items()}
    return Sides(lambda: pt.map_patches(_same, image, grid, dtype=case.dtype), ways)


def _on_grid(case: Case) -> Sides:
    image, grid = case.image(), _grid(case)
    axes = tuple(range(1, case.ndim + 1))

    def mean(batch: Array) -> Array:
        found: Array = batch.mean(axes)
        return found

    def copied() -> Array:
        patches = np.ascontiguousarray(case.view(image)).reshape(-1, *case.patch)
        return mean(patches).reshape(case.counts)

    def viewed() -> Array:
        found: Array = case.view(image).mean(tuple(range(case.ndim, 2 * case.ndim)))
        return found

    ways: dict[str, Task] = {"windows, copied": copied, "mean of windows": viewed}
    return Sides(lambda: pt.map_patches(mean, image, grid, merge=None), ways)


def _where(case: Case) -> Sides:
    image, grid = case.image(), _grid(case)
    chosen = np.random.default_rng(1).random(case.counts) < 1 / 3
    chosen.flat[0] = True
    wide = image.dtype if image.dtype.kind == "f" else np.float64

    def plain() -> Array:
        total, count = np.zeros(case.shape, wide), np.zeros(case.shape, wide)
        for place, wanted in zip(places(case), chosen.flat, strict=True):
            if wanted:
                total[place] += image[place]
                count[place] += 1
        return np.divide(total, count, out=total, where=count > 0)

    return Sides(
        lambda: pt.map_patches(_same, image, grid, where=chosen, fill=0), {"patch by patch": plain}
    )

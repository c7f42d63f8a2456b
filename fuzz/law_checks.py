"""Checks of what holds whatever is computed: axes do not matter, late is early, nothing is kept."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

import pantile as pt

from .tiles import tiles_of

__all__ = [
    "check_axes", "check_matrix_axes", "check_where", "matrix_scenes", "scenes", "where_scenes",
]  # fmt: skip

Array = npt.NDArray[Any]
Roles = dict[str, Any]

REDUCED: dict[str, Callable[[Array, int], Any]] = {
    "labels": lambda slab, axis: slab.argmax(axis),
    "largest": lambda slab, axis: slab.max(axis, keepdims=True),
    "reversed": lambda slab, axis: np.flip(slab, axis),
    "repeated": lambda slab, axis: np.concatenate([slab, slab], axis),
    "first two": lambda slab, axis: slab.take([0, 0], axis),
}
"""Functions for ``finalize``, of a slab and its channel axis."""


def check_axes(
    image: Array,
    grid: pt.PatchGrid,
    order: Sequence[int],
    mix: Sequence[Sequence[int]],
    reduced: str,
    merge: str,
    where: Any,
    target: str,
    chunks: Sequence[int],
    workers: int = 1,
    batch_bytes: int | None = None,
    tiles: int | None = None,
    lazy: bool = False,
) -> None:
    """`map_patches` of an image ``(channels, *batch, *patched)`` with its axes in another ``order``.

    The results are those of the plain order in that other one; what ``finalize`` makes is what it
    makes of the result afterwards; a plan that is run, once and again, is the call; and nothing of
    the caller's is kept. ``lazy`` does the same of a dask array in ``chunks``.
    """
    n = grid.ndim
    fill = {} if where is None else {"where": where, "fill": 7}
    options = {"merge": merge, "batch_bytes": batch_bytes, "workers": workers, **fill}
    turned = np.ascontiguousarray(image.transpose(order))
    places = [list(order).index(a) for a in range(image.ndim)]
    roles: Roles = {"channel_axis": places[0], "axes": tuple(places[-n:])}
    func = _Mixed(mix, 1 + sum(a < places[0] for a in places[-n:]))
    plainly = _Mixed(mix, 1)
    plain: Roles = {"channel_axis": 0, "axes": tuple(range(image.ndim - n, image.ndim))}
    held = sys.getrefcount(turned)
    with np.errstate(all="ignore"), tiles_of(tiles), TemporaryDirectory() as folder:
        wanted = np.asarray(pt.map_patches(plainly, image, grid, **plain, **options))
        found = pt.map_patches(func, turned, grid, **roles, **options)
        np.testing.assert_array_equal(found, wanted.transpose(order))
        axis = places[0]
        late = np.asarray(REDUCED[reduced](found, axis))
        plan = pt.plan(
            func, turned, grid, **roles, **options,
            finalize=lambda slab: REDUCED[reduced](slab, axis),
            out=_place(target, Path(folder), chunks[: late.ndim]),
        )  # fmt: skip
        for _ in range(2):
            early = plan.run()
            if target:
                early = pt.files.open_image(getattr(early, "path", early))[
                    (slice(None),) * late.ndim
                ]
            np.testing.assert_array_equal(early, late)
        del plan
        if lazy:
            given = {**roles, "merge": merge, "batch_bytes": batch_bytes, **fill}
            delayed = _in_chunks(turned, chunks)
            direct = pt.map_patches(func, delayed, grid, **given)
            np.testing.assert_array_equal(_computed(direct), found)
            direct = pt.map_patches(
                func, delayed, grid, **given, finalize=lambda slab: REDUCED[reduced](slab, axis)
            )
            np.testing.assert_array_equal(_computed(direct), late)
            del delayed, direct
            gc.collect()  # a graph has cycles
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("pantile-") for name in names), f"left behind: {names}"
    assert sys.getrefcount(turned) <= held, "the image is kept"


def _in_chunks(image: Array, chunks: Sequence[int]) -> Any:
    import dask.array

    sizes = tuple(min(c, n) for c, n in zip(chunks, image.shape, strict=True))
    return dask.array.from_array(image, sizes, name=False)


def _computed(lazy: Any) -> Array:
    return np.asarray(lazy.compute(scheduler="synchronous"))


def check_matrix_axes(
    image: Array,
    grid: pt.PatchGrid,
    order: Sequence[int],
    where: Any = None,
    center: bool = False,
    scale: bool = False,
    chunks: Sequence[int] | None = None,
    seed: int = 0,
) -> None:
    """`PatchMatrix` of an image ``(channels, *batch, *patched)`` with its axes in another ``order``.

    The rows are those of the plain order, their features where the channel axis puts them; products
    and moments too; and so it is of a dask array in ``chunks``.
    """
    n = grid.ndim
    options = {"where": where, "center": center, "scale": scale}
    turned = np.ascontiguousarray(image.transpose(order))
    places = [list(order).index(a) for a in range(image.ndim)]
    channel, axes = places[0], tuple(places[-n:])
    at = sum(a < channel for a in axes)
    plain = pt.PatchMatrix(
        image, grid, channel_axis=0, axes=range(image.ndim - n, image.ndim), **options
    )
    moved = np.moveaxis(np.arange(plain.shape[1]).reshape(plain.patch_shape), 0, at).ravel()
    sources = [turned] if chunks is None else [turned, _in_chunks(turned, chunks)]
    rng = np.random.default_rng(seed)
    V, U = rng.integers(-5, 5, (plain.shape[1], 2)), rng.integers(-5, 5, (len(plain), 2))
    wanted = {
        "rows": np.asarray(plain)[:, moved],
        "X @ V": plain @ V,
        "X.T @ U": (plain.T @ U)[moved],
        "gram": plain.gram()[np.ix_(moved, moved)],
        "mean": plain.mean(0)[moved],
        "var": plain.var(0)[moved],
    }
    largest = 1e-11 * max(1.0, float(np.abs(image).max())) ** 2 * max(1, len(plain))
    for source in sources:
        X = pt.PatchMatrix(source, grid, channel_axis=channel, axes=axes, **options)
        found = {
            "rows": X[np.arange(len(X))],
            "X @ V": X @ V[moved],
            "X.T @ U": X.T @ U,
            "gram": X.gram(),
            "mean": X.mean(0),
            "var": X.var(0),
        }
        for name, value in found.items():
            got = _computed(value) if hasattr(value, "compute") else value
            np.testing.assert_allclose(
                got, wanted[name], rtol=1e-9, atol=20 * largest, err_msg=name
            )


def check_where(
    image: Array,
    grid: pt.PatchGrid,
    mask: Array,
    merge: str | None,
    weights: str | None = None,
    workers: int = 1,
    tiles: int | None = None,
    chunks: Sequence[int] | None = None,
) -> None:
    """``where`` is the full run, wherever it holds every patch of an element; else what it says.

    A ``mask`` of the image selects every patch that touches a True, so there the result is that of
    the full run; where no selected patch lies it is ``fill``. In between, where some patches of an
    element take part, it is their merge alone: `unpatchify` of those. On the grid (``merge=None``)
    it is the full run with ``fill`` where nothing was selected. A dask array in ``chunks`` gives the
    same.
    """
    options: Roles = {"merge": merge, "weights": weights, "workers": workers}
    func = _Squares() if merge is not None else _Tops()
    chosen = np.zeros(grid.counts, bool)
    for i, region in enumerate(grid):
        chosen.flat[i] = mask[region].any()
    with np.errstate(all="ignore"), tiles_of(tiles):
        full = pt.map_patches(func, image, grid, **options)
        part = pt.map_patches(func, image, grid, **options, where=mask, fill=-7)
        again = pt.map_patches(func, image, grid, **options, where=chosen, fill=-7)
        delayed = None
        if chunks is not None:
            lazy = _in_chunks(image, chunks)
            options.pop("workers")
            delayed = _computed(pt.map_patches(func, lazy, grid, **options, where=mask, fill=-7))
    np.testing.assert_array_equal(again, part)
    near = np.testing.assert_array_equal if weights is None else _near
    if delayed is not None:
        near(delayed, part)  # chunks are other tiles: weighted sums are rounded elsewhere
    if merge is None:
        np.testing.assert_array_equal(part, np.where(chosen, full, -7))
        return
    untouched, whole = np.ones(image.shape, bool), np.ones(image.shape, bool)
    for i, region in enumerate(grid):
        (untouched if chosen.flat[i] else whole)[region] = False
    whole &= ~untouched
    assert whole[mask].all(), "a True of the mask has a patch that is not selected"
    near(part[whole], full[whole])
    assert (part[untouched] == -7).all(), "elements that no selected patch touches hold fill"
    merger = pt.Merger(grid, merge=merge, weights=weights, fill=-7)  # type: ignore[arg-type]
    rows = np.flatnonzero(chosen)
    if len(rows):
        merger.add(func(pt.extract(image, grid, indices=rows)), rows)
        near(part, merger.result())


def _near(actual: Array, desired: Array) -> None:
    np.testing.assert_allclose(actual, desired, rtol=1e-6, atol=1e-5)


class _Squares:
    """Whole numbers that differ from patch to patch, so that it shows which of them took part."""

    def __call__(self, batch: Array) -> Array:
        ends = batch.reshape(len(batch), -1)[:, [0, -1]].sum(1)
        return np.asarray(batch * batch + ends.reshape(-1, *[1] * (batch.ndim - 1)))


class _Tops:
    def __call__(self, batch: Array) -> Array:
        return np.asarray(batch.reshape(len(batch), -1).max(1))


class _Mixed:
    """Other channels as whole-numbered sums of those there are, so that no order of adding rounds."""

    def __init__(self, mix: Sequence[Sequence[int]], axis: int) -> None:
        self.mix, self.axis = np.asarray(mix, float), axis

    def __call__(self, batch: Array) -> Array:
        return np.moveaxis(np.moveaxis(batch, self.axis, -1) @ self.mix.T, -1, self.axis)


def _place(target: str, folder: Path, chunks: Sequence[int]) -> Any:
    if target == ".zarr":
        return pt.files.ZarrSink(str(folder / "a.zarr"), chunks=tuple(chunks))
    return folder / f"a{target}" if target else None


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    """Images with channels, and where their axes may go."""
    n, batches = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    channels = draw(st.integers(1, 4))
    shape = [draw(st.integers(4, 14)) for _ in range(n)]
    patch = [draw(st.integers(1, min(5, size))) for size in shape]
    step = [draw(st.integers(1, p)) for p in patch]
    seed = draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    whole = (channels, *[2] * batches, *shape)
    order = draw(st.permutations(range(len(whole))))
    grid = pt.PatchGrid(shape, patch, step)
    classes = draw(st.integers(1, 6))
    chosen = rng.random(grid.counts) < 0.7
    return {
        "image": rng.integers(-9, 9, whole).astype(draw(st.sampled_from(["f4", "f8"]))),
        "grid": grid,
        "order": list(order),
        "mix": rng.integers(-3, 4, (classes, channels)).tolist(),
        "reduced": draw(st.sampled_from(sorted(REDUCED))),
        "merge": draw(st.sampled_from(["mean", "sum", "max", "first", "center"])),
        "where": draw(st.sampled_from([None, chosen])),
        "target": draw(st.sampled_from(["", "", ".npy", ".zarr"])),
        "chunks": [draw(st.integers(1, 9)) for _ in whole],
        "workers": draw(st.sampled_from([1, 2])),
        "batch_bytes": draw(st.sampled_from([None, 300])),
        "tiles": draw(st.sampled_from([None, 20, 200])),
        "lazy": find_spec("dask") is not None and draw(st.sampled_from([False, False, True])),
    }


@st.composite
def matrix_scenes(draw: st.DrawFn) -> dict[str, Any]:
    """As `scenes`, for matrices."""
    scene = draw(scenes())
    lazy = find_spec("dask") is not None and draw(st.sampled_from([False, False, True]))
    kept = {name: scene[name] for name in ("image", "grid", "order", "where")}
    if kept["where"] is not None and not kept["where"].any():
        kept["where"] = None
    return {
        **kept,
        "center": draw(st.sampled_from([False, False, True])),
        "scale": draw(st.sampled_from([False, False, True])),
        "chunks": scene["chunks"] if lazy else None,
        "seed": draw(st.integers(0, 99)),
    }


@st.composite
def where_scenes(draw: st.DrawFn) -> dict[str, Any]:
    """Images without channels, and masks of them."""
    n = draw(st.integers(1, 2))
    shape = [draw(st.integers(4, 16)) for _ in range(n)]
    patch = [draw(st.integers(1, min(5, size))) for size in shape]
    step = [draw(st.integers(1, p)) for p in patch]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    merge = draw(st.sampled_from(["mean", "sum", "max", "min", "median", "first", "center", None]))
    weighed = merge in ("mean", "sum") and draw(st.booleans())
    lazy = find_spec("dask") is not None and draw(st.sampled_from([False, False, True]))
    share = draw(st.sampled_from([0.02, 0.1, 0.5]))
    mask = rng.random(shape) < share
    mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return {
        "image": rng.integers(-9, 9, shape).astype(draw(st.sampled_from(["f4", "f8"]))),
        "grid": pt.PatchGrid(shape, patch, step),
        "mask": mask,
        "merge": merge,
        "weights": "hann" if weighed else None,
        "workers": draw(st.sampled_from([1, 2])),
        "tiles": draw(st.sampled_from([None, 20, 200])),
        "chunks": [draw(st.integers(1, 9)) for _ in shape] if lazy else None,
    }

"""Checks of what holds whatever is computed: axes do not matter, late is early, nothing is kept."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

import pantile as pt

from .tiles import tiles_of

__all__ = ["check_axes", "scenes"]

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
) -> None:
    """`map_patches` of an image ``(channels, *batch, *patched)`` with its axes in another ``order``.

    The results are those of the plain order in that other one; what ``finalize`` makes is what it
    makes of the result afterwards; a plan that is run, once and again, is the call; and nothing of
    the caller's is kept.
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
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("pantile-") for name in names), f"left behind: {names}"
    assert sys.getrefcount(turned) <= held, "the image is kept"


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
    }

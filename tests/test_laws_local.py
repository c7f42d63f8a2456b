"""Law 11, cost is local: what a call of few patches reads, calls and allocates does not grow with the image.

Counted, not timed: elements read of a source that counts, patches that ``func`` got, bytes at the peak.
"""

from __future__ import annotations

import functools
import itertools
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt

Array = NDArray[Any]
SIDES = 300, 3000


class Counted:
    """An image that is nowhere, and counts the elements that are read of it."""

    def __init__(self, side: int) -> None:
        self.shape, self.dtype, self.read = (side, side), np.dtype(np.float32), 0
        self._lock = threading.Lock()

    def __getitem__(self, key: Any) -> Array:
        sizes = [len(range(*part.indices(n))) for part, n in zip(key, self.shape, strict=True)]
        with self._lock:
            self.read += sizes[0] * sizes[1]
        return np.ones(sizes, np.float32)


class Calls:
    """The identity, which counts its patches."""

    def __init__(self, stop: int | None = None) -> None:
        self.patches, self._stop = 0, stop  # _: no parameter of the run
        self._lock = threading.Lock()

    def __call__(self, batch: Array) -> Array:
        with self._lock:
            self.patches += len(batch)
            if self._stop is not None and self.patches >= self._stop:
                raise InterruptedError("enough")
        return batch


def corner_of_the_image(side: int) -> Array:
    where = np.zeros((side, side), bool)
    where[-20:, -20:] = True
    return where


def corner_of_the_counts(side: int) -> Array:
    where = np.zeros(pt.PatchGrid((side, side), 16, 8).counts, bool)
    where[-3:, -3:] = True
    return where


@pytest.mark.parametrize("mask", [corner_of_the_image, corner_of_the_counts])
@pytest.mark.parametrize("merge", ["mean", None])
@pytest.mark.parametrize("workers", [1, 2])
def test_where_of_a_corner_reads_and_calls_for_the_corner(
    mask: Callable[[int], Array], merge: Any, workers: int
) -> None:
    found = []
    for side in SIDES:
        image, calls = Counted(side), Calls()
        tops = (lambda b, c=calls: c(b)[:, 0, 0]) if merge is None else calls
        options = {"merge": merge, "where": mask(side), "fill": 0, "workers": workers}
        pt.map_patches(tops, image, 16, 8, **options)
        found.append((image.read, calls.patches))
    (read, patches), (read_large, patches_large) = found
    assert patches_large <= 2 * patches
    assert read_large <= 2 * read, found


def test_a_run_that_is_nearly_done_reads_what_is_left(tmp_path: Path, tiles_of: Any) -> None:
    """All but a few blocks are on disk: a resumed run reads and calls for those, whatever lies behind it."""
    found = []
    with tiles_of(2000):
        for side in (200, 600):
            path = str(tmp_path / f"{side}.npy")
            total = pt.PatchGrid((side, side), 16, 8).n_patches
            with pytest.raises(InterruptedError):
                pt.map_patches(
                    Calls(total - 5), Counted(side), 16, 8, out=path, workers=1, batch_bytes=20_000
                )
            image, calls = Counted(side), Calls()
            pt.map_patches(
                calls, image, 16, 8, out=path, workers=1, batch_bytes=20_000, resume=True
            )
            found.append((image.read, calls.patches, image.shape[0] ** 2, total))
    (read, patches, _, _), (read_large, patches_large, size, total) = found
    assert patches_large < total / 3, found
    assert read_large < size / 3, found
    assert patches_large <= 4 * patches, found  # a row of tiles at most: 3 times the side
    assert read_large <= 4 * read, found


def peak(call: Callable[[], Any]) -> int:
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def added(side: int, **options: Any) -> Callable[[], Any]:
    merger = pt.Merger(pt.PatchGrid((side, side), 8, 4), **options)
    patches = np.ones((4, 8, 8), np.float32)
    firsts = itertools.count(0, 200)  # apart from each other: a median keeps all that meets
    return lambda: merger.add(patches, np.array([0, 1, 50, 51]) + next(firsts))


def masked_rows(side: int) -> Callable[[], Any]:
    X = pt.PatchMatrix(np.zeros((side, side), np.float32), 8, 4, where=np.eye(side) > 0)
    return lambda: (X[[0, 5, 9]], X[3], X.sample(4, rng=0))


def located(side: int) -> Callable[[], Any]:
    grid = pt.PatchGrid((side, side), 8, 4, pad=2, pad_mode="reflect")
    return lambda: (grid.locate((side // 2, 9)), grid[len(grid) - 1], grid.flat_indices([0, 7]))


def windows(side: int) -> Callable[[], Any]:
    from pantile.compat.numpy import sliding_window_view
    from pantile.compat.skimage import view_as_windows
    from pantile.compat.sklearn import extract_patches_2d

    image = np.zeros((side, side))
    return lambda: (
        sliding_window_view(image, (8, 8)),
        view_as_windows(image, 8, 4),
        extract_patches_2d(image, (8, 8), max_patches=3, random_state=0),
    )


def reversed_axes(side: int) -> Callable[[], Any]:
    image = np.zeros((side, side, 3), np.float32)[::-1, ::-1]
    grid = pt.PatchGrid((side, side), 8, 4)
    where = np.zeros(grid.counts, bool)
    where[:2, :2] = True
    tops = lambda b: b[:, 0, 0, 0]  # noqa: E731
    return lambda: (
        pt.extract(image, grid, channel_axis=2, indices=[0]),
        pt.extract(image, grid, channel_axis=2, indices=[0, 5, -1], layout="feature"),
        pt.map_patches(
            tops, image, grid, channel_axis=2, merge=None, where=where, fill=0,
            workers=1, batch_bytes=1000, out=out_of(grid),
        ),
    )  # fmt: skip


@functools.cache
def out_of(grid: pt.PatchGrid) -> Array:
    return np.zeros(grid.counts, np.float32)


ALLOCATING: dict[str, Callable[[int], Callable[[], Any]]] = {
    "Merger.add": added,
    "Merger.add, weights": lambda side: added(side, weights="hann"),
    "Merger.add, max": lambda side: added(side, merge="max"),
    "Merger.add, median": lambda side: added(side, merge="median"),
    "X[rows] of a masked matrix": masked_rows,
    "grid.locate, grid[i], flat_indices": located,
    "compat": windows,
    "reversed axes": reversed_axes,
}


@pytest.mark.parametrize("name", ALLOCATING)
def test_few_patches_allocate_as_much_at_any_size(name: str) -> None:
    small, large = (peak(ALLOCATING[name](side)) for side in (200, 1600))
    assert large <= 2 * small + 20_000, (small, large)


def test_few_patches_of_a_reversed_image_are_those_of_its_copy() -> None:
    """Only what the patches reach over is copied, in blocks of their own; scattered, repeated, in any order."""
    image = np.random.default_rng(0).random((700, 900, 2))[::-1, :, ::-1]
    rows = np.random.default_rng(1).integers(-10_000, 10_000, 300)
    for options in ({}, {"tail": "respace"}, {"pad": 5, "pad_mode": "reflect"}, {"dilation": 3}):
        grid = pt.PatchGrid((700, 900), (7, 9), 5, **options)  # type: ignore[arg-type]
        for layout in ("patch", "feature"):
            found, expected = (
                pt.extract(x, grid, channel_axis=2, indices=rows, layout=layout)  # type: ignore[arg-type]
                for x in (image, image.copy())
            )
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".zarr"])
def test_a_corner_of_a_file_is_read_alone(suffix: str, tmp_path: Path) -> None:
    found = []
    for side in (400, 1600):
        path = tmp_path / f"{side}{suffix}"
        pt.map_patches(
            lambda b: b, np.zeros((side, side), np.float32), 64, 64, out=sink_at(path), workers=1
        )
        where = np.zeros(pt.PatchGrid((side, side), 16, 16).counts, bool)
        where[0, 0] = True
        grid = pt.PatchGrid((side, side), 16, 16)
        image = pt.files.open_image(path)
        found.append(peak(lambda i=image: pt.extract(i[:32, :32], 16, 8)))  # type: ignore[misc]
        tops = lambda b: b[:, 0, 0]  # noqa: E731
        assert pt.map_patches(tops, image, grid, merge=None, where=where, fill=1)[0, 0] == 0
    assert found[1] <= 2 * found[0] + 20_000, found


def sink_at(path: Path) -> Any:
    if path.suffix == ".zarr":
        pytest.importorskip("zarr")
        return pt.files.ZarrSink(str(path), chunks=(64, 64))
    return pt.files.TiffSink(str(path), tile=(64, 64)) if path.suffix == ".tif" else str(path)


def test_a_corner_of_a_lazy_result_reads_the_chunks_of_the_corner() -> None:
    da = pytest.importorskip("dask.array")
    found = []
    for side in (128, 512):
        seen: list[Any] = []

        def block(chunk: Array, seen: list[Any] = seen) -> Array:
            seen.append(chunk.shape)
            return chunk

        lazy = da.ones((side, side), chunks=(32, 32), dtype=np.float32)
        lazy = lazy.map_blocks(block, dtype=np.float32, meta=np.empty((0, 0), np.float32))
        seen.clear()
        result = pt.map_patches(lambda b: b, lazy, 8, 4)[:20, :20]
        X = pt.PatchMatrix(lazy, 8, 4)[:3]
        assert not seen, "something was computed when only a graph was asked for"
        result.compute(scheduler="synchronous")
        X[np.arange(3)].compute(scheduler="synchronous")
        found.append(len(seen))
    assert found[0] == found[1] <= 8, found

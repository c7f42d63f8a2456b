"""Nothing grows, and cost is local: what calls leave behind, and what they take on images of two sizes."""

from __future__ import annotations

import gc
import os
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt
from tests import _law_calls as below

Array = NDArray[Any]
Call = Callable[[Array], Any]
FEW = int(os.environ.get("PANTILE_CALLS", "8"))
CALLS = int(os.environ.get("PANTILE_CALLS", "30"))  # 500 for the whole law


def same(batch: Array) -> Array:
    return batch


def padded(x: Array) -> pt.PatchGrid:
    return pt.PatchGrid(x.shape, 8, 4, pad=3, pad_mode="reflect")


def merged(x: Array) -> Array:
    grid = pt.PatchGrid(x.shape, 8, 4)
    merger = pt.Merger(grid)
    merger.add(pt.extract(x, grid), np.arange(len(grid)))
    return merger.result()


def add_squares(state: Any, values: Array, _: Array | None) -> None:
    state[0][...] += values**2
    state[1][...] += 1


def custom(x: Array) -> Array:
    rms = pt.Merge(
        init=lambda shape, _: (np.zeros(shape), np.zeros(shape)),
        accumulate=add_squares,
        combine=lambda _, other: other,
        finalize=lambda s: np.sqrt(s[0] / s[1]),
    )
    return pt.unpatchify(pt.extract(x, 8, 4), pt.PatchGrid(x.shape, 8, 4), merge=rms)


def matrix(x: Array) -> Any:
    return pt.PatchMatrix(x, 8, 4)


# every public operation, by the name it has in `pantile`
CALLED: dict[str, Call] = {
    "PatchGrid": lambda x: (g := pt.PatchGrid(x.shape, 8, 4), g[3], g.coverage(), g.locate((9, 9))),
    "patchify": lambda x: pt.patchify(x, 8, 4).sum(),
    "extract": lambda x: pt.extract(x, 8, 4),
    "extract, some": lambda x: pt.extract(x, 8, 4, indices=[1, 5]),
    "extract, padded": lambda x: pt.extract(x, padded(x)),
    "unpatchify": lambda x: pt.unpatchify(pt.extract(x, 8, 4), pt.PatchGrid(x.shape, 8, 4)),
    "similar": lambda x: pt.similar(x, 8, 2, step=4, normalize=True),
    "Matches": lambda x: pt.similar(x[0], 8).distances,
    "Merger": merged,
    "Merge": custom,
    "map_patches": lambda x: pt.map_patches(same, x, 8, 4),
    "map_patches, threads": lambda x: pt.map_patches(same, x, 8, 2, workers=3, batch_bytes="20kB"),
    "map_patches, caller": lambda x: pt.map_patches(same, x, 8, 4, workers=1),
    "map_patches, where": lambda x: pt.map_patches(same, x, 8, 4, where=x > 0.999, fill=0),
    "map_patches, grid": lambda x: pt.map_patches(lambda b: b.sum((1, 2)), x, 8, 4, merge=None),
    "map_patches, tuple": lambda x: pt.map_patches(lambda b: (b, b[:, 0, 0]), x, 8, 4, merge=None),
    "map_patches, finalize": lambda x: pt.map_patches(same, x, 8, 4, finalize=np.abs),
    "map_patches, file": lambda x: pt.map_patches(same, x, 8, 4, out="a.npy"),
    "Indexed": lambda x: pt.map_patches(pt.Indexed(lambda b, at: b + at[:, None, None]), x, 8, 4),
    "Weighted": lambda x: pt.map_patches(lambda b: pt.Weighted(b, b.mean((1, 2))), x, 8, 4),
    "join_labels": lambda x: pt.join_labels(
        pt.patchify(x > 0.5, 8, 4).astype(int), pt.PatchGrid(x.shape, 8, 4)
    ),
    "plan": lambda x: str(pt.plan(same, x, 8, 4)),
    "Plan": lambda x: (repr(p := pt.plan(same, x, 8, 4)), p.run(), p.run()),
    "PatchMatrix": lambda x: (X := matrix(x), X[0], X[[1, 2]], X.sample(3), X.mean(0), X.cov()),
    "X.gram()": lambda x: matrix(x).gram(),
    "X @ v": lambda x: matrix(x) @ np.ones((64, 2)),
    "X.T @ u": lambda x: (X := matrix(x)).T @ np.ones(len(X)),
    "X.blocks()": lambda x: [block.sum() for _, block in matrix(x).blocks()],
    "masked_patchify": lambda x: pt.masked_patchify(x, 8).sum(),
}
FAILING: dict[str, Call] = {
    "func raises": lambda x: pt.map_patches(lambda _: 1 / 0, x, 8, 4),
    "func raises, threads": lambda x: pt.map_patches(lambda _: 1 / 0, x, 8, 2, workers=3, batch_bytes="20kB"),
    "func gives other shapes": lambda x: pt.map_patches(lambda b: b[:, 1:], x, 8, 8),
    "wrong grid": lambda x: pt.unpatchify(x, pt.PatchGrid((9, 9), 3)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def our_threads() -> int:
    """How many there are, without those that zarr keeps for later calls, up to a number of its own."""
    return sum(not thread.name.startswith("asyncio") for thread in threading.enumerate())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def test_every_public_name_is_under_these_laws() -> None:
    """A new one does not get around them."""
    named = {name.partition(",")[0] for name in CALLED}
    assert set(pt.__all__) - {"__version__"} <= named


def test_every_name_of_the_public_packages_is_under_these_laws() -> None:
    assert below.public_names() <= below.named()


def needed(name: str) -> None:
    library = below.NEEDS.get(name.partition(" & ")[0].rpartition(".")[0])
    if library is not None:
        pytest.importorskip(library)


@pytest.mark.parametrize("name", [*CALLED, *below.CALLS])
def test_no_call_keeps_the_image(name: str) -> None:
    """Not even until garbage is collected: images are large, and collections are rare."""
    needed(name)
    call = (CALLED | below.CALLS)[name]
    call(np.random.default_rng(1).random((40, 44)))
    with no_collection():
        image = np.random.default_rng(0).random((40, 44))
        kept = weakref.ref(image)
        call(image)
        del image
        assert kept() is None


@pytest.mark.parametrize("name", [*CALLED, *FAILING, *below.CALLS])
def test_repeated_calls_leave_nothing_behind(name: str) -> None:
    needed(name)
    call = (CALLED | FAILING | below.CALLS)[name]
    calls, warm, spare = (FEW, 2, 80_000) if name in below.CALLS else (CALLS, 5, 150_000)
    each = (
        500 if name.startswith("dask") else 100
    )  # dask keeps the names of its last 100,000 graphs
    image = np.random.default_rng(0).random((40, 44))

    def again(n: int) -> None:
        for _ in range(n):
            if name in FAILING:
                with pytest.raises((ZeroDivisionError, ValueError)):
                    call(image)
            else:
                call(image)

    again(warm)
    gc.collect()
    threads, files = our_threads(), open_files()
    tracemalloc.start()
    try:
        again(warm)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        again(calls)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # an image has 14,080 bytes; Python keeps some small tuples that were freed, for later
    assert grown < spare + each * calls, f"{grown} bytes after {calls} calls"
    assert our_threads() <= threads
    assert open_files() <= files


# what touches few patches costs as much on a large image


def corner(side: int) -> Array:
    where = np.zeros(pt.PatchGrid((side, side), 8, 4).counts, bool)
    where[:2, :2] = True
    return where


LOCAL: dict[str, Callable[[int, Array], Callable[[], Any]]] = {
    "extract(indices=)": lambda _, x: lambda: pt.extract(x, 8, 4, indices=[0, 5, -1]),
    "extract(indices=), padded": lambda _, x: lambda: pt.extract(x, padded(x), indices=[0, 5, -1]),
    "grid[i]": lambda side, _: (g := pt.PatchGrid((side, side), 8, 4)) and (lambda: g[len(g) - 1]),
    "grid.locate": lambda side, _: (
        (g := pt.PatchGrid((side, side), 8, 4)) and (lambda: g.locate((side // 2, 9)))
    ),
    "X[rows]": lambda _, x: (X := pt.PatchMatrix(x, 8, 4)) is not None and (lambda: X[[0, 7, 99]]),
    "X.sample": lambda _, x: (
        (X := pt.PatchMatrix(x, 8, 4)) is not None and (lambda: X.sample(5, rng=0))
    ),
    "patchify": lambda _, x: lambda: pt.patchify(x, 8, 4),
    "PatchMatrix": lambda _, x: lambda: pt.PatchMatrix(x, 8, 4),
}


@pytest.mark.parametrize("name", LOCAL)
def test_few_patches_take_as_much_memory_of_a_large_image(name: str) -> None:
    peaks = []
    for side in (200, 3200):
        call = LOCAL[name](side, np.zeros((side, side), np.float32))
        call()
        tracemalloc.start()
        try:
            call()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] <= 2 * peaks[0] + 20_000, peaks

"""What `benchmarks.versus` times: the kinds of work `benchmarks` measures, at 5 to 300 ms a call, and small calls."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import pantile as pt
from benchmarks import growth
from benchmarks.cases import Array, Case, parse_case
from benchmarks.jobs import inputs_of
from benchmarks.peers import PEERS, Peer, refusal
from benchmarks.timing import Task

__all__ = ["tasks"]

CASES = (
    "160x160:39:1:float32", "160x160:39:1:uint8", "400x400:7:1:float32", "400x400:7:1:uint8",
    "1024x1024:64:16:float32", "41x41x41:9:2:float32", "512x512:16:4:float32", "110x110:39:1:float64",
    "1500x1500:32:32:float32", "64x64x64:32:16:uint16",
)  # fmt: skip
QUICK = (CASES[0], CASES[3], CASES[5], CASES[6])
MOST_FEATURES = 1600  # of a Gram matrix that is made in a moment
SERIES = ("patch", "step", "dtype", "axes", "workers", "merge", "matrix", "merger")
QUICK_SERIES = ("merge", "workers")


def tasks(quick: bool = False) -> Iterator[tuple[str, Task]]:
    """Names and what is timed, made one after the other."""
    yield from _small()
    for code in QUICK if quick else CASES:
        yield from _peers(parse_case(code))
    for series in QUICK_SERIES if quick else SERIES:
        for point in growth.SERIES[series](0.05):
            yield f"growth, {series}: {point.label}", point.task
    yield from _stored()
    yield from _estimators()
    yield from _imports()


def _peers(case: Case) -> Iterator[tuple[str, Task]]:
    for peer in PEERS:
        if peer.library == "pantile" and not refusal(peer, case):
            if peer.job == "gram" and case.features > MOST_FEATURES:
                continue
            yield f"{case.code} {peer.job}, {peer.call}", _peer(peer, case)


def _peer(peer: Peer, case: Case) -> Task:
    given = inputs_of(case, peer.job, {peer.layout})[peer.layout]
    return partial(peer.make(case), given)


def _small() -> Iterator[tuple[str, Task]]:
    """Calls of microseconds, where what is around the work is the work."""
    image = np.random.default_rng(0).random((64, 64))
    grid, ten = pt.PatchGrid(image.shape, 8, 4), pt.PatchGrid((45, 45), 9, 4)
    patches, rows = pt.extract(image, grid), np.arange(8)
    hundred = np.random.default_rng(1).random((100, 9, 9))
    merger, X = pt.Merger(grid), pt.PatchMatrix(image, grid)
    calls: dict[str, Callable[[], Any]] = {
        "PatchGrid": lambda: pt.PatchGrid(image.shape, 8, 4),
        "PatchGrid, padded": lambda: pt.PatchGrid(
            image.shape, 8, 4, pad="same", pad_mode="reflect"
        ),
        "grid[7]": lambda: grid[7],
        "grid.locate": lambda: grid.locate((20, 30)),
        "grid.coverage": grid.coverage,
        "patchify": lambda: pt.patchify(image, 8, 4),
        "patchify, a grid": lambda: pt.patchify(image, grid),
        "extract, one patch": lambda: pt.extract(image, grid, indices=[7]),
        "extract, 64x64": lambda: pt.extract(image, grid),
        "unpatchify, 100 patches": lambda: pt.unpatchify(hundred, ten),
        "unpatchify, hann": lambda: pt.unpatchify(hundred, ten, weights="hann"),
        "Merger": lambda: pt.Merger(grid),
        "Merger.add, 8 patches": lambda: merger.add(patches[:8], rows),
        "Merger.result": merger.result,
        "map_patches, 64x64": lambda: pt.map_patches(_same, image, grid),
        "map_patches, 64x64, one worker": lambda: pt.map_patches(_same, image, grid, workers=1),
        "map_patches, 64x64, merge=None": lambda: pt.map_patches(_first, image, grid, merge=None),
        "plan, 64x64": lambda: pt.plan(_same, image, grid),
        "PatchMatrix": lambda: pt.PatchMatrix(image, grid),
        "X[rows]": lambda: X[rows],
        "X @ v, 64x64": lambda: X @ np.ones(64),
        "X.gram(), 64x64": X.gram,
        "masked_patchify, 64x64": lambda: pt.masked_patchify(image, 3),
    }
    merger.add(patches, range(len(grid)))
    for name, call in calls.items():
        yield f"small: {name}", call


def _same(batch: Array) -> Array:
    return batch


def _first(batch: Array) -> Array:
    return batch[:, 0, 0]


_folder = tempfile.TemporaryDirectory(prefix="versus-")


def _stored() -> Iterator[tuple[str, Task]]:
    """Runs from file to file, and as a dask graph."""
    folder = Path(_folder.name)
    image = np.random.default_rng(0).random((600, 600), np.float32)
    grid = pt.PatchGrid(image.shape, 16, 8)
    np.save(folder / "image.npy", image)
    run = partial(pt.map_patches, _same)
    yield "files: .npy to .npy", lambda: run(folder / "image.npy", grid, out=folder / "out.npy")
    try:
        import dask.array as da
        import zarr
    except ImportError:
        return
    store = zarr.create_array(
        folder / "image.zarr", shape=image.shape, dtype="f4", chunks=(128, 128)
    )
    store[...] = image
    sink = pt.files.ZarrSink(str(folder / "out.zarr"), chunks=(128, 128))
    yield "files: .zarr to .zarr", lambda: run(folder / "image.zarr", grid, out=sink)
    lazy = da.from_array(image, chunks=200)
    yield "dask: graph made", lambda: run(lazy, grid)
    yield "dask: computed", lambda: run(lazy, grid).compute(scheduler="threads")


def _estimators() -> Iterator[tuple[str, Task]]:
    try:
        from pantile import learn

        _ = learn.PatchPCA  # fmt: skip
    except ImportError:
        return
    image = np.random.default_rng(0).random((120, 120))
    labels = (image > 0.5).astype(int)
    yield "learn: PatchPCA.fit", lambda: learn.PatchPCA(9, n_components=8).fit(image)
    yield "learn: PatchRidge.fit", lambda: learn.PatchRidge(9).fit(image, image)
    yield "learn: PatchLDA.fit", lambda: learn.PatchLDA(7).fit(image, labels)
    model = learn.PatchRidge(9).fit(image, image)
    yield "learn: PatchRidge.predict", lambda: model.predict(image)


def _imports() -> Iterator[tuple[str, Task]]:
    for line in ("import pantile", "from pantile import map_patches"):
        command: Mapping[str, Any] = {"args": [sys.executable, "-c", line], "check": True}
        yield f"a process: {line}", partial(subprocess.run, **command)

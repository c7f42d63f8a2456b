"""Cases of runs that leave memory: files in and out, runs cut short and resumed, executors, dask graphs."""

from __future__ import annotations

import functools
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import pantile as pt

from .digest import Record
from .draw import Array, Draw, Placed, array, grid, merge_options, placed, where
from .functions import Calls, Stopped, finalizer, names_for
from .verbs import running

__all__ = ["distributed", "files", "lazy", "pools", "processes", "resume", "tileset"]


def _given(
    draw: Draw, *, masks: bool = True, kinds: str = "biufc"
) -> tuple[Placed, list[str], dict[str, Any]]:
    """A place, names of functions and options of a run."""
    nd = draw.pick((1, 2, 2, 2, 3))
    place = placed(draw, grid(draw, nd), kinds=kinds, nonfinite=0.02, strided=False)
    options: dict[str, Any] = merge_options(draw, place.grid, place.image.dtype)
    if draw.often(0.1):
        options = {"merge": None, "fill": draw.maybe(0.5, 0)}
    if masks and draw.often(0.25):
        options |= {"where": where(draw, place.grid), "fill": 1}
    if options["merge"] is not None:
        options["finalize"] = finalizer(draw, place)
    names = [n for n in names_for(place, options["merge"]) if n != "doubled"]
    return (
        place,
        [draw.pick(names) for _ in range(draw.pick((1, 1, 1, 2)))],
        {**place.roles, **options},
    )


def files(draw: Draw, record: Record) -> None:
    """From a file or memory to a file or array, any chunks."""
    place, names, options = _given(draw)
    source = _stored(draw, place.image, record.folder / "image")
    out = _outs(draw, place, names, record.folder)
    given = {**options, **running(draw), "out": out}
    func = Calls(names)
    if record("run", lambda: _is(pt.map_patches(func, source, place.grid, **given), out)) is None:
        record.files("left behind")
        return
    for k, each in enumerate(out if isinstance(out, tuple) else (out,)):
        record(f"result {k}", lambda each=each: _held(each))
    record("calls", lambda: func.calls)
    record.files("files")


def _is(found: Any, out: Any) -> Any:
    return found if out is None else found is out


def _stored(draw: Draw, image: Array, path: Path) -> Any:
    """The image in memory, or the path of a file that holds it."""
    kind = draw.pick(("", "", ".npy", ".npy", ".zarr", ".zarr", ".tif", ".h5", "zarr array"))
    native = image.astype(image.dtype.newbyteorder("="))
    chunks = tuple(draw.whole(1, max(1, n)) for n in image.shape)
    if kind == ".npy":
        np.save(path.with_suffix(kind), np.asfortranarray(image) if draw.often(0.2) else image)
    elif kind in (".zarr", "zarr array"):
        import zarr

        made = zarr.create_array(
            path.with_suffix(".zarr"), shape=image.shape, dtype=native.dtype, chunks=chunks
        )
        made[...] = native
        if kind == "zarr array":
            return made
    elif kind == ".tif":
        import tifffile

        tiled = {"tile": (16, 16)} if image.ndim > 1 and draw.often(0.5) else {}
        with suppress(Exception):
            tifffile.imwrite(path.with_suffix(kind), native, photometric="minisblack", **tiled)
    elif kind == ".h5":
        import h5py

        with h5py.File(path.with_suffix(kind), "w") as file:
            file.create_dataset("image", data=native, chunks=chunks)
    return path.with_suffix(kind) if kind else image


def _outs(draw: Draw, place: Placed, names: list[str], folder: Path) -> Any:
    """A path or sink for each result, or nothing."""
    kind = draw.pick(("", ".npy", ".npy", ".zarr", ".zarr", "chunks", "shards", ".tif", ".png"))
    if not kind:
        return None
    places: list[Any] = []
    for k in range(len(names)):
        path = folder / f"result{k}"
        if kind in ("chunks", "shards"):
            ndim = place.image.ndim + (names[k] == "new axis") if draw.often(0.9) else 2
            chunks = tuple(draw.whole(1, 12) for _ in range(ndim))
            more = {"shards": tuple(2 * c for c in chunks)} if kind == "shards" else {}
            places.append(pt.files.ZarrSink(str(path.with_suffix(".zarr")), chunks=chunks, **more))
        else:
            places.append(path.with_suffix(kind))
    return tuple(places) if len(places) > 1 else places[0]


def _held(place: Any) -> Any:
    """What a file holds, by its own library, with how it is cut."""
    if place is None or isinstance(place, np.ndarray):
        return place
    path = Path(getattr(place, "path", place))
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".zarr":
        import zarr

        found = zarr.open_array(path, mode="r")
        return np.asarray(found[...]), tuple(found.chunks), found.shards
    if path.suffix == ".tif":
        import tifffile

        return np.asarray(tifffile.imread(path))
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def resume(draw: Draw, record: Record) -> None:
    """A run that fails in the middle, what it leaves, and the run that goes on from there."""
    place, names, options = _given(draw)
    source = _stored(draw, place.image, record.folder / "image")
    kind = draw.pick((".npy", ".npy", ".zarr", ".tif"))
    outs = tuple(record.folder / f"result{k}{kind}" for k in range(len(names)))
    given = {**options, **running(draw), "out": outs if len(outs) > 1 else outs[0]}
    given["workers"] = 1 if draw.often(0.8) else 2
    first = Calls(names, draw.pick((0, 1, 2, 3, 5, 9, 17, 40)))
    with suppress(Stopped):
        record("first run", lambda: pt.map_patches(first, source, place.grid, **given) is not None)
    if given["workers"] == 1:
        record.files("after the first run")
    again = Calls(names)
    record(
        "second run",
        lambda: pt.map_patches(again, source, place.grid, resume=True, **given) is not None,
    )
    if given["workers"] == 1:
        record("calls", lambda: (first.calls, again.calls))
    for k, each in enumerate(outs):
        record(f"result {k}", lambda each=each: _held(each))
    record.files("files")


def pools(draw: Draw, record: Record) -> None:
    """A pool of threads of the caller's."""
    place, names, options = _given(draw)
    out = _outs(draw, place, names, record.folder)
    given = {**options, **running(draw), "out": out, "executor": _threads()}
    record("run", lambda: _is(pt.map_patches(Calls(names), place.image, place.grid, **given), out))
    for k, each in enumerate(out if isinstance(out, tuple) else (out,)):
        record(f"result {k}", lambda each=each: _held(each))


def processes(draw: Draw, record: Record) -> None:
    """A pool of processes, ours or the caller's."""
    place, names, options = _given(draw)
    if options.get("finalize") is not None and draw.often(0.5):
        options["finalize"] = None
    given = {
        **options,
        **running(draw),
        "executor": "processes" if draw.often(0.15) else _processes(),
    }
    source = _stored(draw, place.image, record.folder / "image")
    out = _outs(draw, place, names, record.folder)
    record(
        "run", lambda: _is(pt.map_patches(Calls(names), source, place.grid, out=out, **given), out)
    )
    for k, each in enumerate(out if isinstance(out, tuple) else (out,)):
        record(f"result {k}", lambda each=each: _held(each))


def distributed(draw: Draw, record: Record) -> None:
    """A `dask.distributed` client."""
    place, names, options = _given(draw)
    given = {**options, **running(draw), "executor": _client()}
    source = _stored(draw, place.image, record.folder / "image")
    out = _outs(draw, place, names, record.folder)
    record(
        "run", lambda: _is(pt.map_patches(Calls(names), source, place.grid, out=out, **given), out)
    )
    for k, each in enumerate(out if isinstance(out, tuple) else (out,)):
        record(f"result {k}", lambda each=each: _held(each))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


@functools.cache
def _processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


@functools.cache
def _client() -> Any:
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, silence_logs=50
    )
    return distributed.Client(cluster)


def lazy(draw: Draw, record: Record) -> None:
    """A dask array in: the array out, its chunks, and what it holds."""
    import dask.array as da

    place, names, options = _given(draw, masks=draw.often(0.15))
    chunks = tuple(draw.whole(max(1, n // 5), n) for n in place.image.shape)
    image = da.from_array(place.image, chunks=chunks)
    given = {
        **options,
        "batch_bytes": draw.pick((None, 300, 5000)),
        "layout": draw.pick((None, "patch")),
    }
    record("lazy", lambda: pt.map_patches(Calls(names), image, place.grid, **given))
    if draw.often(0.2):
        record(
            "refused", lambda: pt.map_patches(Calls(names), image, place.grid, workers=2, **given)
        )


def tileset(draw: Draw, record: Record) -> None:
    """Tiles written to a folder or an array, and merged again."""
    suffix = draw.pick((".npy", ".tif", ".png"))
    dtype = draw.pick(("u1", "u2")) if suffix == ".png" else draw.pick(("u1", "f4", "f8", "i2"))
    nd = 2 if suffix == ".png" or draw.often(0.7) else draw.pick((1, 3))
    shape = [draw.whole(6, 26) for _ in range(nd)]
    chosen = pt.PatchGrid(
        shape, draw.whole(3, 6), draw.whole(2, 6), tail=draw.pick(("shift", "respace", "drop"))
    )
    image = array(draw, shape, dtype)
    target = draw.pick(("tiles", "tiles", "tiles.npy", "tiles.zarr"))
    place = record.folder / target
    written = record(
        "write", lambda: pt.tileset.write_tiles(image, place, chosen, suffix=suffix).to_json()
    )
    if written is None:
        return
    record(
        "files", lambda: sorted(each.name for each in place.iterdir()) if target == "tiles" else 0
    )
    record("manifest", lambda: pt.tileset.read_manifest(place).to_json())
    options = {"merge": draw.pick(("mean", "max", "first")), "fill": draw.maybe(0.7, 0)}
    record("merge", lambda: pt.tileset.merge_tiles(place, **options))
    record(
        "to a file",
        lambda: _held(pt.tileset.merge_tiles(place, record.folder / "a.npy", **options)),
    )

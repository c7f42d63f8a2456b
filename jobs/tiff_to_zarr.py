"""(f) A compressed TIFF of 12,000x12,000 to Zarr, without its uneven light; killed, and resumed.

``python -m jobs.tiff_to_zarr IN OUT`` is the program that is killed.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import scipy.ndimage
import tifffile
import zarr

import pantile as pt

SIZES = {"small": {"side": 700}, "full": {"side": 12_000}}
DATA = "deflated uint16 TIFF of {side}x{side}, tiles of 512 with 32 around them, to Zarr"
TILE, HALO = 512, 32
MEMORY = "30 MB"  # with "250 MB" it takes half the time


def flattened(tiles):
    """Tiles ``(n, y, x)`` without what varies slowly, and without the 32 pixels around them."""
    light = scipy.ndimage.gaussian_filter(tiles.astype(np.float32), (0, 8, 8))
    even = (tiles - light + 1000).clip(0, 65535)
    return even.astype(np.uint16)[:, HALO:-HALO, HALO:-HALO]


def with_pantile(source, target):
    with tifffile.TiffFile(source) as file:
        shape = file.pages[0].shape
    grid = pt.PatchGrid(shape, TILE + 2 * HALO, TILE, pad=HALO, pad_mode="reflect")
    out = pt.files.ZarrSink(target, chunks=(TILE, TILE))
    job = pt.plan(
        flattened, source, grid, dtype=np.uint16, out=out, memory=MEMORY, resume=True, trial=True
    )
    job.run()
    return target


def plainly(source, target):
    with tifffile.TiffFile(source) as file:
        image = zarr.open_array(file.aszarr(), mode="r")
        out = zarr.create_array(target, shape=image.shape, chunks=(TILE, TILE), dtype=image.dtype)
        height, width = image.shape
        for y in range(0, height, TILE):
            for x in range(0, width, TILE):
                (top, bottom, above, below) = _around(y, height)
                (left, right, before, after) = _around(x, width)
                tile = np.pad(
                    image[top:bottom, left:right], ((above, below), (before, after)), mode="reflect"
                )
                out[y : y + TILE, x : x + TILE] = flattened(tile[None])[0]
    return target


def _around(at, size):
    """Where a tile and what is around it begin and end, and what is to be added on both sides."""
    begin, end = at - HALO, min(at + TILE, size) + HALO
    return max(0, begin), min(size, end), max(0, -begin), max(0, end - size)


WAYS = {"pantile": with_pantile, "tifffile, zarr": plainly}


def make(folder: Path, side: int):
    source = folder / "slide.tif"
    if not source.exists():
        _written(source, side)
    return {"source": str(source), "target": str(folder / f"{time.time_ns()}.zarr")}


def _written(path: Path, side: int) -> None:
    """Grains on a background that gets darker towards the corners."""
    rng = np.random.default_rng(0)
    line = np.linspace(-1, 1, side, dtype=np.float32)
    grains = rng.integers(0, 900, (1024, 1024)).astype(np.float32)
    grains = scipy.ndimage.uniform_filter(grains, 3, mode="wrap")

    def tiles():
        for y in range(0, side, TILE):
            for x in range(0, side, TILE):
                light = 3000 - 1200 * (line[y : y + TILE, None] ** 2 + line[x : x + TILE] ** 2)
                where = (
                    (np.arange(y, y + light.shape[0]) % 1024)[:, None],
                    np.arange(x, x + light.shape[1]) % 1024,
                )
                tile = np.zeros((TILE, TILE), np.uint16)
                tile[: light.shape[0], : light.shape[1]] = light + grains[where]
                yield tile

    options = {"shape": (side, side), "dtype": np.uint16, "tile": (TILE, TILE)}
    tifffile.imwrite(path, tiles(), compression="zlib", photometric="minisblack", **options)


def agree(mine, its) -> str:
    a, b = zarr.open_array(mine, mode="r"), zarr.open_array(its, mode="r")
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    for y in range(0, a.shape[0], 4 * TILE):
        np.testing.assert_array_equal(a[y : y + 4 * TILE], b[y : y + 4 * TILE])
    return "every bit"


def also(folder: Path, side: int) -> str:
    """Killed with ``kill -9`` in the middle, twice, and resumed: the bits of a run that was left alone."""
    data = make(folder, side)
    start = time.perf_counter()
    with_pantile(**data)
    alone = time.perf_counter() - start
    target, done = str(folder / "killed.zarr"), []
    command = [sys.executable, "-m", "jobs.tiff_to_zarr", data["source"], target]
    begun = time.perf_counter()
    for _ in range(2):
        process = subprocess.Popen(command, start_new_session=True)
        while process.poll() is None and not Path(target + ".partial").exists():
            time.sleep(0.01)
        time.sleep(alone / 3)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            done.append(_blocks_done(target))
        process.wait()
    subprocess.run(command, check=True)
    whole = time.perf_counter() - begun
    agree(target, data["target"])
    left = sorted(p.name for p in folder.iterdir() if p.name.startswith("killed.zarr"))
    assert left == ["killed.zarr"]
    return (
        f"killed {len(done)} times with {done} blocks done, resumed: the same bits, nothing left behind;"
        f" {whole:.1f} s with three starts, {alone:.1f} s without a kill"
    )


def _blocks_done(target):
    from pantile.stream.resume.journal import read_journal

    record = read_journal(target + ".journal")
    return 0 if record is None else sum(map(len, record.done))


if __name__ == "__main__":
    with_pantile(*sys.argv[1:])

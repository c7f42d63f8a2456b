"""An image on disk through every 39x39 patch into Zarr, within a budget: ``python -m benchmarks.large``.

The image is made of a photograph, a strip at a time. The run on disk is a process of its own, so that
its peak memory is its own; the rate in memory is measured on a part of the same image. With
``--volume`` a 512 x 512 x 512 volume, 32x32x32 patches 16 apart, Gaussian weights, instead.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pantile as pt
from benchmarks.probes import _memory

__all__ = ["main"]

Array = NDArray[Any]

PATCH = 39
_ramp = np.hanning(PATCH + 2)[1:-1].astype(np.float32)
TAPER = np.outer(_ramp, _ramp)


def tapered(batch: Array) -> Array:
    """Every patch times a window, in float32: one pass over the batch."""
    return np.multiply(batch, TAPER, dtype=np.float32)


def halved(batch: Array) -> Array:
    return np.multiply(batch, np.float32(0.5), dtype=np.float32)


def make_image(path: Path, size: int) -> None:
    """A uint16 image ``(size, size)`` in Zarr, a photograph repeated with changing brightness."""
    import zarr
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg").mean(axis=2)
    store = zarr.create_array(path, shape=(size, size), chunks=(512, 512), dtype="uint16")
    wide = np.tile(photo, (1, -(-size // photo.shape[1])))[:, :size]
    light = np.linspace(50, 250, size)
    for row in range(0, size, 512):
        rows = np.arange(row, min(row + 512, size))
        store[row : row + len(rows)] = (wide[rows % len(wide)] * light).astype(np.uint16)


def make_volume(path: Path, size: int) -> None:
    import zarr

    store = zarr.create_array(path, shape=(size,) * 3, chunks=(64,) * 3, dtype="uint16")
    y, x = np.mgrid[:size, :size]
    for z in range(0, size, 64):
        depth = np.arange(z, min(z + 64, size))[:, None, None]
        store[z : z + 64] = (20000 + 9000 * np.sin((x + 2 * y + 3 * depth) / 40)).astype(np.uint16)


def on_disk(kind: str, folder: Path, memory: str, workers: int) -> None:
    """One run from Zarr to Zarr; prints seconds and peak memory as JSON."""
    func, patch, options = _work(kind)
    plan = pt.plan(
        func,
        folder / "image.zarr",
        patch,
        **options,
        out=folder / "out.zarr",
        memory=memory,
        workers=workers,
    )
    start = time.perf_counter()
    plan.run()
    seconds = time.perf_counter() - start
    facts = {
        "seconds": seconds, "patches": plan.n_patches, "projected": plan.projected_bytes,
        "peak": _memory("VmHWM"), "plan": str(plan),
    }  # fmt: skip
    print(json.dumps(facts))


def _work(kind: str) -> tuple[Any, int, dict[str, Any]]:
    if kind == "volume":
        return halved, 32, {"step": 16, "weights": ("gaussian", 6)}
    return tapered, PATCH, {}


def in_memory(kind: str, folder: Path, part: int, workers: int) -> float:
    """Patches a second on a part of the same image, held in memory."""
    import zarr

    store: Any = zarr.open_array(folder / "image.zarr", mode="r")
    image = store[(slice(0, part),) * store.ndim]
    func, patch, options = _work(kind)
    rates = []
    for _ in range(3):
        plan = pt.plan(func, image, patch, **options, workers=workers)
        start = time.perf_counter()
        plan.run()
        rates.append(plan.n_patches / (time.perf_counter() - start))
    return float(np.median(rates))


def check(kind: str, folder: Path) -> float:
    """The largest difference of a corner of the result from the same corner done in memory."""
    import zarr

    image: Any = zarr.open_array(folder / "image.zarr", mode="r")
    result: Any = zarr.open_array(folder / "out.zarr", mode="r")
    func, patch, options = _work(kind)
    n = 64 if kind == "volume" else 300
    part = image[(slice(0, n + 2 * patch),) * image.ndim]
    expected = pt.map_patches(func, part, patch, **options)
    corner = (slice(0, n),) * image.ndim
    return float(np.abs(expected[corner] - result[corner]).max())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, help="20000, or 512 with --volume")
    parser.add_argument("--volume", action="store_true")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        on_disk(chosen.child, chosen.folder, chosen.memory, chosen.workers)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        _measure(chosen, Path(folder))


def _measure(chosen: argparse.Namespace, folder: Path) -> None:
    kind = "volume" if chosen.volume else "image"
    size = chosen.size or (512 if chosen.volume else 20000)
    (make_volume if chosen.volume else make_image)(folder / "image.zarr", size)
    part = min(size, 512 if chosen.volume else 4000)
    rates = [in_memory(kind, folder, part, chosen.workers)]
    command = [sys.executable, "-m", "benchmarks.large", "--child", kind, "--folder", str(folder)]
    more = ["--memory", chosen.memory, "--workers", str(chosen.workers)]
    done = subprocess.run([*command, *more], check=True, capture_output=True, text=True)
    facts = json.loads(done.stdout)
    rates.append(in_memory(kind, folder, part, chosen.workers))
    rate, memory_rate = facts["patches"] / facts["seconds"], float(np.mean(rates))
    print(facts["plan"])
    print(f"on disk    {facts['seconds']:.1f} s, {rate:,.0f} patches a second")
    print(f"in memory  {memory_rate:,.0f} patches a second: {memory_rate / rate:.2f} times faster")
    print(
        f"peak       {facts['peak'] / 1e6:.0f} MB in all, {facts['projected'] / 1e6:.0f} MB projected"
    )
    print(f"difference {check(kind, folder):.3g} from a corner done in memory")


if __name__ == "__main__":
    main()

"""Objects of a large label image joined across tiles, in a process of its own: time, peak memory, and what is wrong.

``python -m benchmarks.join [--side 20000] [--memory 1GB]``. Discs and rods, none larger than the
overlap, are labelled tile by tile and joined into a Zarr array. How many there are, and the numbers
in some windows, are compared with what was drawn.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import pantile as pt

__all__ = ["main"]

CELL, LARGEST = 40, 36  # one object in each cell, of less than that


def drawn(rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    """Objects in a rectangle of the image: a disc or a rod in the middle of every cell, by its place."""
    y, x = np.arange(*rows)[:, None], np.arange(*columns)
    v, u = y % CELL - CELL // 2, x % CELL - CELL // 2
    kind = (y // CELL * 7 + x // CELL * 13) % 5
    discs = v * v + u * u < (6 + 3 * kind) ** 2
    rods = (abs(v) < 2) & (abs(u) < LARGEST // 2 - 1)
    return np.where(kind == 4, rods, discs & (kind < 4))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.join", description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--memory", default="1GB")
    options = parser.parse_args()
    import zarr

    side = options.side
    grid = pt.PatchGrid((side, side), 1024, 1024 - 2 * CELL)

    def label(number: int) -> Any:
        patch: Any = grid[number]
        return ndimage.label(drawn(*((s.start, s.stop) for s in patch)))[0]

    with tempfile.TemporaryDirectory() as folder:
        out, begin = Path(folder) / "labels.zarr", time.perf_counter()
        pt.join_labels(label, grid, out=out, memory=options.memory)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        found = zarr.open(str(out), mode="r")
        wrong = _wrong(found, side)
    print(
        f"{side} x {side}, {grid.n_patches} tiles: {seconds:.1f} s, peak {peak:.0f} MB in all, {wrong} wrong"
    )


def _wrong(found: Any, side: int) -> int:
    """How many cells of a sample, tile borders among them, are not as they were drawn."""
    many = side // CELL
    wrong, seen = 0, []
    for row in (0, many // 3, many - 1):
        band: Any = found[row * CELL : (row + 1) * CELL, : many * CELL]
        truth = drawn((row * CELL, (row + 1) * CELL), (0, many * CELL))
        wrong += int(((band > 0) != truth).any())
        for k in range(many):
            names = np.unique(band[:, k * CELL : (k + 1) * CELL])
            names = names[names > 0]
            wrong += len(names) != 1
            seen.extend(names.tolist())
    return wrong + len(seen) - len(set(seen))


if __name__ == "__main__":
    main()

"""Label images of tiles by their numbers, with labels from 1 on without gaps."""

from __future__ import annotations

import math
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.arrays import to_array

__all__ = ["Tiles", "renumbered"]

Labels = NDArray[np.int32]

KEPT_BYTES = 128 << 20  # of tiles that neighbours will be compared with, before they are read again
_SPARSE = 4  # times as many numbers as elements are looked up in a table; beyond, they are sorted


class Tiles:
    """The tiles of a grid, from an array of them or a function of their number.

    What a function gives is put into a file without a name, so that it is called once for each.
    """

    def __init__(self, tiles: Any, grid: PatchGrid) -> None:
        self.grid = grid
        self._file: Any = None
        if callable(tiles):
            self._file = tempfile.TemporaryFile(prefix="pantile-")  # noqa: SIM115
        self._read = tiles if callable(tiles) else _reader(tiles, grid)
        self._known: OrderedDict[int, Labels] = OrderedDict()
        self.most = max(2, KEPT_BYTES // (4 * math.prod(grid.patch)))

    def __enter__(self) -> Tiles:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def first(self, number: int) -> tuple[Labels, int]:
        """A tile that is looked at for the first time, in order of the numbers; and how many labels it has."""
        found, n = renumbered(self._tile(number))
        if self._file is not None:
            os.pwrite(self._file.fileno(), found.data, number * found.nbytes)
        self._keep(number, found)
        return found, n

    def __call__(self, number: int) -> Labels:
        """A tile that was looked at before; from any thread."""
        if self._file is None:
            return renumbered(self._tile(number))[0]
        nbytes = 4 * math.prod(self.grid.patch)
        data = os.pread(self._file.fileno(), nbytes, number * nbytes)
        return np.frombuffer(data, np.int32).reshape(self.grid.patch)

    def again(self, number: int) -> Labels:
        """A tile that was looked at not long ago."""
        found = self._known.get(number)
        if found is None:
            found = self(number)
        self._keep(number, found)
        return found

    def forget(self, number: int) -> None:
        self._known.pop(number, None)

    def _keep(self, number: int, tile: Labels) -> None:
        self._known[number] = tile
        self._known.move_to_end(number)
        while len(self._known) > self.most:
            self._known.popitem(last=False)

    def _tile(self, number: int) -> NDArray[Any]:
        tile = to_array(self._read(number), f"tile {number}")
        if tile.shape != self.grid.patch or tile.dtype.kind not in "biu":
            raise ValueError(
                f"tile {number} must be whole numbers in the shape of a patch, {self.grid.patch},"
                f" got {tile.dtype} {tile.shape}"
            )
        return tile


def _reader(tiles: Any, grid: PatchGrid) -> Callable[[int], Any]:
    """How a tile is read from an array of them, ``(*counts, *patch)`` or ``(n, *patch)``."""
    if not hasattr(tiles, "shape"):
        tiles = to_array(tiles, "tiles")
    shape, counts = tuple(tiles.shape), tuple(grid.counts)
    if shape == (grid.n_patches, *grid.patch):
        return lambda number: tiles[number]
    if shape == (*counts, *grid.patch):
        return lambda number: tiles[tuple(int(i) for i in np.unravel_index(number, counts))]
    raise ValueError(
        f"tiles must be of shape {(*counts, *grid.patch)} or {(grid.n_patches, *grid.patch)}, got {shape}"
    )


def renumbered(tile: NDArray[Any]) -> tuple[Labels, int]:
    """A tile whose labels are 1 to n in the order they had, and n; 0 is the background."""
    if tile.dtype.kind == "i" and tile.size and tile.min() < 0:
        raise ValueError(
            f"labels must be 0, for the background, and from 1 on, got {tile.min()}: give 0 to what is no object"
        )
    largest = int(tile.max(initial=0))
    if largest > _SPARSE * tile.size:
        values, at = np.unique(tile, return_inverse=True)
        shift = 0 if len(values) and values[0] == 0 else 1
        return (at.reshape(tile.shape) + shift).astype(np.int32), len(values) - 1 + shift
    present = np.zeros(largest + 1, dtype=np.int32)
    present[tile.ravel()] = 1
    present[0] = 0
    numbers = np.cumsum(present, dtype=np.int32)
    numbers[0] = 0
    return numbers[tile.astype(np.intp, copy=False)], int(numbers[-1])

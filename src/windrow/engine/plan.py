"""The plan: what will be done and held, as data; then the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.tiles import Tile, Tiling, span_size
from .executors import SupportsSubmit
from .progress import reporting
from .sources import Sink, read_tile
from .tile import Job

__all__ = ["Plan", "readable"]


@dataclass(frozen=True)
class Plan:
    """What `map_patches` will do: print it, ask it, `run` it (once or again).

    ``projected_bytes`` counts what is held at once beside the image: the result, accumulators of
    tiles that wait for their neighbours, batches; not what ``func`` itself allocates.
    ``expanded_bytes`` is what the matrix of all patches would have taken.
    """

    job: Job
    source: Any
    tiling: Tiling
    workers: int
    executor: SupportsSubmit | None
    state_bytes: float
    out: Sink | tuple[Sink, ...] | None
    finalize: Callable[[NDArray[Any]], Any] | None
    mask: NDArray[np.bool_] | None
    fill: Any
    dtype: np.dtype[Any] | None
    progress: Any
    memory: int | None

    @property
    def grid(self) -> PatchGrid:
        return self.job.frame.grid

    @property
    def tasks(self) -> int:
        """How many tiles."""
        return len(self.tiling)

    @property
    def n_patches(self) -> int:
        """How many patches go through ``func``."""
        return self.job.frame.n_patches if self.mask is None else int(self.mask.sum())

    @property
    def expanded_bytes(self) -> int:
        """Bytes of the matrix of all patches."""
        return self.job.frame.n_patches * self.job.frame.features * self.job.dtype.itemsize

    @property
    def batch_bytes(self) -> int:
        return self.job.batch * self.job.frame.features * self.job.dtype.itemsize

    @property
    def window(self) -> int:
        """How many tiles may be started before the oldest one is done."""
        slab = math.prod(self.tiling.shape[1:])
        return slab + 2 * self.workers

    @property
    def waiting(self) -> int:
        """How many pieces may be held at once: those that a block still waits for, and those at work."""
        contributors = self.tiling.contributors(self.job.frame.axes)
        back = max((b - a for a, b in contributors[0]), default=1)
        slab = math.prod(self.tiling.shape[1:])
        return min(len(self.tiling), (back - 1) * slab + self.window)

    @property
    def projected_bytes(self) -> int:
        """Bytes held at once beside the image, what ``func`` allocates aside."""
        frame = self.job.frame
        elements = span_size(frame.axes, self.tiling.lengths)
        piece = elements * self.state_bytes
        # a block on its way out is a sum, a divisor, a quotient and the result in its dtype
        block = piece + elements * (16 + self.job.dtype.itemsize)
        padded = 0 if frame.inside else 2 * elements * self.job.dtype.itemsize
        held = self.waiting * piece + self.workers * (block + padded + 2 * self.batch_bytes)
        return int(held + self.result_bytes)

    @property
    def result_bytes(self) -> int:
        """Bytes of the result, as if it had the image's shape and dtype; 0 where the caller gives ``out``."""
        if self.out is not None:
            return 0
        frame = self.job.frame
        if self.job.rule is None:
            return math.prod(frame.counts) * 8
        dtype = self.job.rule.result_dtype(self.job.dtype)
        scales = math.prod(self.job.scale)
        return math.prod(frame.shape) * scales * dtype.itemsize

    def _shown(self, per_axis: tuple[int, ...]) -> list[int]:
        return [n for k, n in enumerate(per_axis) if k != self.job.frame.channel]

    def __str__(self) -> str:
        counts = " x ".join(f"{n:,}" for n in self.grid.counts)
        lines = {
            "patches": f"{counts} = {self.n_patches:,} of {'x'.join(map(str, self.job.frame.patch_shape))}",
            "expanded": f"{readable(self.expanded_bytes)} that are never held",
            "held": f"{readable(self.projected_bytes)} beside the image"
            + (f", of {readable(self.memory)} allowed" if self.memory else ""),
            "tiles": f"{len(self.tiling):,} of {'x'.join(map(str, self._shown(self.tiling.lengths)))} patches",
            "batches": f"{self.job.batch:,} patches, {readable(self.batch_bytes)}, {self.job.layout} layout",
            "workers": str(self.workers) if self.executor is None else type(self.executor).__name__,
        }
        return "\n".join(f"{name:<9} {value}" for name, value in lines.items())

    def selection(self, tile: Tile) -> NDArray[np.bool_] | None:
        """Which patches of a tile take part; None for all."""
        return None if self.mask is None else self.mask[tuple(slice(*r) for r in tile.ranges)]

    def block(self, tile: Tile) -> NDArray[Any]:
        """The elements a tile's patches reach over, padding included."""
        return read_tile(self.source, self.job.frame, tile.span(self.job.frame.axes))

    def run(self) -> Any:
        """Do it; returns what `map_patches` returns."""
        from .run import Run

        with reporting(self.progress) as report:
            return Run(self, report).result()


def readable(size: float) -> str:
    """A number of bytes in decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError

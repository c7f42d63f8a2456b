"""Where results go: images that pieces merge into, or arrays that stand on the grid."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Bounds, Tile, Tiling
from ..verbs.assembly import Assembly
from ..verbs.frame import exchanged
from ..verbs.merges import cast, check_fill
from ..verbs.reductions import State
from ..verbs.selection import touched
from .outputs import Kind
from .plan import Plan
from .sources import Sink

__all__ = ["Target", "make_target"]


def make_target(plan: Plan, kind: Kind, out: Sink | None, cancelled: threading.Event) -> Target:
    """The target of results of one kind; raises what is wrong with them."""
    return Listed(plan, kind, out) if plan.job.rule is None else Merged(plan, kind, out, cancelled)


class Target(ABC):
    """One result, made when its shape is known."""

    def __init__(self, plan: Plan, kind: Kind, out: Sink | None) -> None:
        self.plan, self.kind, self.out = plan, kind, out
        self._fits = False
        self._making = threading.Lock()
        self._writing = threading.Lock()

    @abstractmethod
    def deliver(self, tile: Tile, state: State | None) -> None:
        """Take what a tile has made; None for a tile of which no patch was selected."""

    def put(self, shape: tuple[int, ...], place: tuple[slice, ...], values: NDArray[Any]) -> None:
        """Write ``values`` to a result of ``shape``; to anything but an array, one at a time.

        Blocks need not follow the chunks of a store, and a chunk must not have two writers.
        """
        target = self._array(shape, values.dtype)
        if isinstance(target, np.ndarray):
            target[place] = values
        else:
            with self._writing:
                target[place] = values

    def _array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        with self._making:
            if self.out is None:
                self.out = np.empty(shape, dtype=dtype)
            elif not self._fits and tuple(self.out.shape) != shape:
                raise ValueError(
                    f"out must have the result's shape {shape}, got {tuple(self.out.shape)}"
                )
            self._fits = True
            return self.out


class Listed(Target):
    """Results on the grid: ``(*batch, *counts, ...)``, written a tile at a time."""

    def __init__(self, plan: Plan, kind: Kind, out: Sink | None) -> None:
        super().__init__(plan, kind, out)
        dtype = plan.dtype or kind.dtype
        if kind.dtype.kind == "c" and dtype.kind != "c":
            raise TypeError(
                f"dtype={dtype} cannot hold complex results: use complex64 or complex128"
            )
        if plan.mask is not None and plan.fill is not None:
            check_fill(plan.fill, dtype)

    def deliver(self, tile: Tile, state: State | None) -> None:
        frame = self.plan.job.frame
        kept = [k for k in range(len(frame.axes)) if k != frame.channel]
        inner = self.kind.shape
        counts = tuple(tile.counts[k] for k in kept)
        mask = self.plan.selection(tile)
        dtype = self.plan.dtype or self.kind.dtype
        if mask is None:
            assert state is not None
            values = cast(state[0], dtype).reshape(*counts, *inner)
        else:
            values = np.full((*counts, *inner), self.plan.fill, dtype=dtype)
            if state is not None:
                values[mask.reshape(counts)] = cast(state[0], dtype)
        place = tuple(slice(*tile.ranges[k]) for k in kept)
        self.put((*(frame.counts[k] for k in kept), *inner), place, values)


class Merged(Target):
    """An image that pieces merge into, written a block at a time."""

    def __init__(
        self, plan: Plan, kind: Kind, out: Sink | None, cancelled: threading.Event
    ) -> None:
        super().__init__(plan, kind, out)
        self.cancelled = cancelled
        output, rule = plan.job.output(kind), plan.job.rule
        assert rule is not None
        self.frame = output.frame
        lengths = exchanged(plan.tiling.lengths, plan.job.frame, self.frame, 1)
        mask = None
        if plan.mask is not None:
            mask = touched(self._without_channel(plan.mask), self.frame.axes)
        dtype = output.dtype if plan.finalize is None else rule.natural_dtype(kind.dtype)
        tiling = Tiling(self.frame.axes, lengths)
        self.assembly = Assembly(
            tiling, self.frame, rule, output.reduction, dtype, self.write, mask
        )

    def _without_channel(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        old, new = self.plan.job.frame.channel, self.frame.channel
        mask = mask if old is None else mask.squeeze(old)
        return mask if new is None else np.expand_dims(mask, new)

    def deliver(self, tile: Tile, state: State | None) -> None:
        frame = self.plan.job.frame
        mine = Tile(
            exchanged(tile.index, frame, self.frame, 0),
            exchanged(tile.ranges, frame, self.frame, (0, 1)),
        )
        for block in self.assembly.deliver(mine, state):
            if not self.cancelled.is_set():
                self.assembly.flush(block)

    def write(self, bounds: Bounds, values: NDArray[Any]) -> None:
        """Put a finished block, given in canonical axes, where the image has it."""
        frame = self.frame
        back = [int(k) for k in np.argsort(frame.order)]
        slab = frame.restored(values)
        place = [slice(*bounds[k]) for k in back]
        shape = [frame.shape[k] for k in back]
        if self.plan.finalize is not None:
            channel = None if frame.channel is None else frame.order[frame.channel]
            slab = _finalized(self.plan.finalize, slab, place, shape, channel)
            slab = slab if self.plan.dtype is None else cast(slab, self.plan.dtype)
        self.put(tuple(shape), tuple(place), slab)


def _finalized(
    finalize: Callable[[NDArray[Any]], Any],
    slab: NDArray[Any],
    place: list[slice],
    shape: list[int],
    channel: int | None,
) -> NDArray[Any]:
    """``finalize(slab)``, with ``place`` and ``shape`` changed where it drops or resizes the channel axis."""
    result = np.asarray(finalize(slab))
    expected = list(slab.shape)
    if channel is not None and result.ndim == slab.ndim:
        expected[channel] = shape[channel] = result.shape[channel]
        place[channel] = slice(0, shape[channel])
    elif channel is not None and result.ndim == slab.ndim - 1:
        del expected[channel], shape[channel], place[channel]
    if list(result.shape) != expected:
        raise ValueError(
            f"finalize may drop or resize the channel axis only: it made {result.shape} of a slab {slab.shape}"
        )
    return result

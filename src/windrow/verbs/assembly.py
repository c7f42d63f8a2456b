"""From pieces to blocks: tiles deliver their accumulators, finished blocks are written once.

A block of the output is the sum of the pieces of the few tiles that reach into it, in C order of
the tiles, whoever delivered them first; so the bits do not depend on the number of workers.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Bounds, Tile, Tiling
from .frame import Frame
from .merges import Rule, apply_fill, cast, holes_of
from .reductions import Reduction, State

__all__ = ["Assembly"]

Index = tuple[int, ...]
Write = Callable[[Bounds, NDArray[Any]], None]


class Assembly:
    """Collects pieces of one output and hands finished blocks to ``write(bounds, values)``, each once.

    ``touched`` is a boolean image (canonical axes) where only some patches take part. Bounds and
    values are in canonical axes.
    """

    def __init__(
        self,
        tiling: Tiling,
        frame: Frame,
        rule: Rule,
        reduction: Reduction,
        dtype: np.dtype[Any],
        write: Write,
        touched: NDArray[np.bool_] | None = None,
    ) -> None:
        self.frame, self.rule, self.reduction, self.dtype = frame, rule, reduction, dtype
        self.write, self.touched = write, touched
        self.cuts = tiling.cuts(frame.axes)
        self.needs = tiling.contributors(frame.axes)
        self.serves = [
            [[b for b, (low, high) in enumerate(axis) if low <= t < high] for t in range(len(axis))]
            for axis in self.needs
        ]
        self.pieces: dict[Index, tuple[Bounds, State | None]] = {}
        self.missing: dict[Index, int] = {}
        self.owed: dict[Index, int] = {}
        self.lock = threading.Lock()

    def deliver(self, tile: Tile, state: State | None) -> list[Index]:
        """Take a tile's piece (None from a tile without patches); return the blocks that can now be flushed."""
        served = list(
            itertools.product(*(s[t] for s, t in zip(self.serves, tile.index, strict=True)))
        )
        with self.lock:
            self.pieces[tile.index] = tile.span(self.frame.axes), state
            self.owed[tile.index] = len(served)
            for block in served:
                left = self.missing.get(block) or math.prod(h - lo for lo, h in self._ranges(block))
                self.missing[block] = left - 1
            ready = [block for block in served if self.missing[block] == 0]
            for block in ready:
                del self.missing[block]
        return ready

    def _ranges(self, block: Index) -> list[tuple[int, int]]:
        return [axis[b] for axis, b in zip(self.needs, block, strict=True)]

    def bounds(self, block: Index) -> Bounds:
        return tuple((cuts[b], cuts[b + 1]) for cuts, b in zip(self.cuts, block, strict=True))

    def flush(self, block: Index) -> None:
        """Combine, finalize and write a block, then let go of the pieces nobody waits for."""
        bounds = self.bounds(block)
        owners = list(itertools.product(*(range(*r) for r in self._ranges(block))))
        if all(end > begin for begin, end in bounds):
            self.write(bounds, self._values(self._state(block, owners, bounds), bounds))
        with self.lock:
            for owner in owners:
                self.owed[owner] -= 1
                if not self.owed[owner]:
                    del self.owed[owner], self.pieces[owner]

    def _values(self, state: State, bounds: Bounds) -> NDArray[Any]:
        values = np.broadcast_to(
            self.reduction.finalize(state, bounds, self.dtype), tuple(e - b for b, e in bounds)
        )
        holes = self._holes(state, bounds)
        if holes is None or not holes.any():
            return cast(values, self.dtype)
        if self.rule.fill is not None:  # what stands in a hole (NaN of 0 / 0) is not cast
            values = np.where(holes, np.zeros((), values.dtype), values)
        return apply_fill(cast(values, self.dtype), holes, self.rule.fill, bounds)

    def _state(self, own: Index, owners: list[Index], bounds: Bounds) -> State:
        """The block's state: its own tile's piece, then in C order what other tiles have in it."""
        with self.lock:
            found = {owner: self.pieces[owner] for owner in owners}
        pieces = {
            owner: (span, state) for owner, (span, state) in found.items() if state is not None
        }
        if own in pieces and _contains(pieces[own][0], bounds):
            mine = _part(*pieces.pop(own), bounds)
            if not pieces:
                return mine
            whole = self.reduction.combine([mine])
        else:
            whole = self.reduction.init(tuple(e - b for b, e in bounds))
        for span, state in pieces.values():
            shared = _overlap(span, bounds)
            if shared is not None:
                whole = self.reduction.join(
                    whole, _places(bounds, shared), _part(span, state, shared)
                )
        return whole

    def _holes(self, state: State, bounds: Bounds) -> NDArray[np.bool_] | None:
        if self.touched is not None:
            holes: NDArray[np.bool_] | None = ~self.touched[tuple(slice(*b) for b in bounds)]
        else:
            holes = holes_of(self.frame, bounds)
        empty = self.reduction.empty(state)
        if holes is None or empty is None:
            return empty if holes is None else holes
        return holes | empty


def _places(outer: Bounds, inner: Bounds) -> tuple[slice, ...]:
    return tuple(slice(b - o, e - o) for (b, e), (o, _) in zip(inner, outer, strict=True))


def _part(span: Bounds, state: State, bounds: Bounds) -> State:
    return tuple(a[_places(span, bounds)] for a in state)


def _contains(span: Bounds, bounds: Bounds) -> bool:
    return all(s[0] <= b[0] and b[1] <= s[1] for s, b in zip(span, bounds, strict=True))


def _overlap(span: Bounds, bounds: Bounds) -> Bounds | None:
    shared = tuple((max(s[0], b[0]), min(s[1], b[1])) for s, b in zip(span, bounds, strict=True))
    return shared if all(b < e for b, e in shared) else None

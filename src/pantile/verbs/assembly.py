"""From pieces to blocks: tiles deliver their accumulators, finished blocks are written once.

A block of the output is the sum of the pieces of the few tiles that reach into it. Every element
takes them from the last tile to the first (C order), whoever delivered them first and wherever
blocks are cut; so the bits depend neither on the number of workers nor on the chunks written to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Blocks, Bounds, Index, Tile, Tiling
from .frame import Frame
from .merges import Rule, apply_fill, cast, holes_of
from .reductions import Reduction, State

__all__ = ["Assembly", "Joiner", "Piece"]

Piece = tuple[
    Bounds, State | None
]  # what it spans, what is in it (None: no patch of it takes part)
Finish = Callable[[Index, Bounds, Sequence[Piece]], None]


@dataclass(frozen=True)
class Joiner:
    """Makes the values of a block from the pieces that reach into it; knows nothing of who works when.

    ``touched`` is a boolean image (canonical axes) where only some patches take part.
    """

    frame: Frame
    rule: Rule
    reduction: Reduction
    dtype: np.dtype[Any]
    touched: NDArray[np.bool_] | None = None

    def values(self, bounds: Bounds, pieces: Sequence[Piece]) -> NDArray[Any]:
        """The merged values within ``bounds``, in the dtype wanted; pieces come in C order of their tiles."""
        state = self._state(bounds, pieces)
        shape = tuple(e - b for b, e in bounds)
        values = np.broadcast_to(self.reduction.finalize(state, bounds, self.dtype), shape)
        holes = self._holes(state, bounds)
        if holes is None or not holes.any():
            return cast(values, self.dtype)
        if self.rule.fill is not None:  # what stands in a hole (NaN of 0 / 0) is not cast
            values = np.where(holes, np.zeros((), values.dtype), values)
        return apply_fill(cast(values, self.dtype), holes, self.rule.fill, bounds)

    def _state(self, bounds: Bounds, pieces: Sequence[Piece]) -> State:
        """The block's state. The last tile often holds all of it, and then is where the sum begins."""
        held = [(span, state) for span, state in reversed(pieces) if state is not None]
        if held and _contains(held[0][0], bounds):
            first = _part(*held.pop(0), bounds)
            if not held:
                return first
            whole = self.reduction.combine([first])
        else:
            whole = self.reduction.init(tuple(e - b for b, e in bounds))
        for span, state in held:
            shared = _overlap(span, bounds)
            if shared is not None:
                place = _places(bounds, shared)
                whole = self.reduction.join(whole, place, _part(span, state, shared))
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


class Assembly:
    """Collects the pieces of one output and hands those of a block to ``finish``, each block once.

    Bounds are in canonical axes. Blocks that are ``done`` already are left out.
    """

    def __init__(
        self, frame: Frame, blocks: Blocks, finish: Finish, done: Collection[Index] = ()
    ) -> None:
        self.frame, self.blocks, self.finish, self.done = frame, blocks, finish, frozenset(done)
        self.pieces: dict[Index, Piece] = {}
        self.missing: dict[Index, int] = {}
        self.owed: dict[Index, int] = {}
        self.lock = threading.Lock()

    @classmethod
    def of(
        cls, tiling: Tiling, joiner: Joiner, write: Callable[[Bounds, NDArray[Any]], None]
    ) -> Assembly:
        """One whose blocks begin where tiles do, and are written as they are merged."""

        def finish(_: Index, bounds: Bounds, pieces: Sequence[Piece]) -> None:
            write(bounds, joiner.values(bounds, pieces))

        return cls(joiner.frame, tiling.blocks(joiner.frame.axes), finish)

    def awaits(self, tile: Index) -> list[Index]:
        """The blocks that are not done and need a tile, in C order."""
        return [block for block in self.blocks.served(tile) if block not in self.done]

    def deliver(self, tile: Tile, state: State | None) -> list[Index]:
        """Take a tile's piece (None from a tile without patches); return the blocks that can now be flushed."""
        served = self.awaits(tile.index)
        if not served:
            return []
        with self.lock:
            self.pieces[tile.index] = tile.span(self.frame.axes), state
            self.owed[tile.index] = len(served)
            for block in served:
                left = self.missing.get(block) or len(self.blocks.owners(block))
                self.missing[block] = left - 1
            ready = [block for block in served if self.missing[block] == 0]
            for block in ready:
                del self.missing[block]
        return ready

    def flush(self, block: Index) -> None:
        """Have a block made and written, then let go of the pieces nobody waits for."""
        bounds, owners = self.blocks.bounds(block), self.blocks.owners(block)
        with self.lock:
            pieces = [self.pieces[owner] for owner in owners]
        if all(end > begin for begin, end in bounds):
            self.finish(block, bounds, pieces)
        with self.lock:
            for owner in owners:
                self.owed[owner] -= 1
                if not self.owed[owner]:
                    del self.owed[owner], self.pieces[owner]


def _places(outer: Bounds, inner: Bounds) -> tuple[slice, ...]:
    return tuple(slice(b - o, e - o) for (b, e), (o, _) in zip(inner, outer, strict=True))


def _part(span: Bounds, state: State, bounds: Bounds) -> State:
    return tuple(a[_places(span, bounds)] for a in state)


def _contains(span: Bounds, bounds: Bounds) -> bool:
    return all(s[0] <= b[0] and b[1] <= s[1] for s, b in zip(span, bounds, strict=True))


def _overlap(span: Bounds, bounds: Bounds) -> Bounds | None:
    shared = tuple((max(s[0], b[0]), min(s[1], b[1])) for s, b in zip(span, bounds, strict=True))
    return shared if all(b < e for b, e in shared) else None

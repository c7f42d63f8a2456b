"""Pieces that wait for their neighbours: tiles deliver them, blocks are made as soon as all are there."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence

from ..geometry.rect import Index, intersect, is_empty, shape_of, slices
from ..geometry.schedule import Ledger, Schedule
from .pieces import Piece
from .reduction import State

__all__ = ["KEPT", "Assembly"]

KEPT = 0.75  # of a piece that is still waited for: with less it is worth the copy to let go of the rest

Make = Callable[[int, Index, Sequence[Piece]], None]


class Assembly:
    """Takes what tiles give, for one or several results, and hands each block to ``make`` once.

    ``make(k, block, pieces)`` makes block ``block`` of result ``k`` from the pieces that reach into
    it, in C order of their tiles. Blocks that are ``done`` already are left out. For any number of
    threads.
    """

    def __init__(
        self,
        schedules: Sequence[Schedule],
        make: Make,
        done: Sequence[Collection[Index]] | None = None,
    ) -> None:
        self.ledger, self.make = Ledger(schedules, done), make
        self.pieces: dict[tuple[int, Index], State | _Parts | None] = {}
        self._ready: set[tuple[int, Index]] = set()  # blocks that can be made, not begun yet
        self._lock = threading.Lock()

    def deliver(self, tile: Index, states: Sequence[State | None]) -> list[tuple[int, Index]]:
        """Take a tile's piece of each result (None where no patch takes part); returns what can be made now."""
        with self._lock:
            ready = self.ledger.deliver(tile)
            for k, state in enumerate(states):
                if self.ledger.keeps(k, tile):
                    self.pieces[k, tile] = state
            self._ready.update(ready)
        return ready

    def flush(self, k: int, block: Index) -> None:
        """Have a block made, then let go of the pieces nobody waits for."""
        schedule = self.ledger.schedules[k]
        owners = schedule.owners(block)
        with self._lock:
            states = [self.pieces[k, tile] for tile in owners]
            self._ready.discard((k, block))
        if not is_empty(schedule.bounds(block)):
            spans = [schedule.span(tile) for tile in owners]
            pieces = [
                state[block] if isinstance(state, _Parts) else (span, state)
                for span, state in zip(spans, states, strict=True)
            ]
            self.make(k, block, pieces)
            del pieces
        for state in states:
            if isinstance(state, _Parts):
                state.pop(block, None)
        del states
        with self._lock:
            for tile in self.ledger.finish(k, block):
                del self.pieces[k, tile]

    def trim(self, tiles: Sequence[Index], made: Sequence[tuple[int, Index]]) -> None:
        """Let go of what no block waits for: of tiles that were delivered, and of those in blocks that were made."""
        schedules = self.ledger.schedules
        for tile in {*tiles, *(t for k, b in made for t in schedules[k].owners(b))}:
            self._trim(tile)

    def _trim(self, tile: Index) -> None:
        """Keep of a tile's pieces only what blocks still wait for, where that is less than `KEPT` of them."""
        for k, schedule in enumerate(self.ledger.schedules):
            with self._lock:
                state = self.pieces.get((k, tile))
                waiting = self.ledger.waiting(k, tile)
                waiting += [b for b in schedule.served(tile) if (k, b) in self._ready]
            if state is None or isinstance(state, _Parts):
                continue
            span = schedule.span(tile)
            shared = {b: intersect(span, schedule.bounds(b)) for b in waiting}
            sizes = [math.prod(shape_of(rect)) for rect in shared.values() if rect is not None]
            if sum(sizes) > KEPT * math.prod(shape_of(span)):
                continue
            parts = _Parts(
                {
                    b: (span, None)  # it is waited for, and has nothing to give
                    if rect is None
                    else (rect, tuple([array[slices(rect, span)].copy() for array in state]))
                    for b, rect in shared.items()
                }
            )
            with self._lock:
                if (k, tile) in self.pieces:
                    self.pieces[k, tile] = parts


class _Parts(dict[Index, Piece]):
    """Of a piece, what each block that is still to be made takes of it."""

    def __missing__(self, block: Index) -> Piece:
        raise AssertionError(f"block {block} was made before")

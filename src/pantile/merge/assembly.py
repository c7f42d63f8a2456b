"""Pieces that wait for their neighbours: tiles deliver them, blocks are made as soon as all are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from ..geometry.rect import Index, is_empty
from ..geometry.schedule import Ledger, Schedule
from .pieces import Piece
from .reduction import State

__all__ = ["Assembly"]

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
        self.pieces: dict[tuple[int, Index], State | None] = {}
        self._lock = threading.Lock()

    def deliver(self, tile: Index, states: Sequence[State | None]) -> list[tuple[int, Index]]:
        """Take a tile's piece of each result (None where no patch takes part); returns what can be made now."""
        with self._lock:
            ready = self.ledger.deliver(tile)
            for k, state in enumerate(states):
                if self.ledger.keeps(k, tile):
                    self.pieces[k, tile] = state
        return ready

    def flush(self, k: int, block: Index) -> None:
        """Have a block made, then let go of the pieces nobody waits for."""
        schedule = self.ledger.schedules[k]
        owners = schedule.owners(block)
        with self._lock:
            states = [self.pieces[k, tile] for tile in owners]
        if not is_empty(schedule.bounds(block)):
            spans = [schedule.span(tile) for tile in owners]
            self.make(k, block, list(zip(spans, states, strict=True)))
        del states
        with self._lock:
            for tile in self.ledger.finish(k, block):
                del self.pieces[k, tile]

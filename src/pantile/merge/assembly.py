"""Pieces that come together: tiles deliver them, blocks are made as soon as all are there.

What has come for a block is joined in the order of its tiles, as far as none is missing, so that
every element is held once however many tiles have reached it. A piece whose turn has not come
waits by itself: nobody keeps the rest of its tile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..geometry.rect import Index, intersect, is_empty
from ..geometry.schedule import Ledger, Schedule
from .pieces import Piece, fold_piece, kept, part_of
from .reduction import Reduction, State

__all__ = ["Assembly"]

Make = Callable[[int, Index, Sequence[Piece]], None]


class Assembly:
    """Takes what tiles give, for one or several results, and hands each block to ``make`` once.

    ``make(k, block, pieces)`` makes block ``block`` of result ``k`` from pieces that are to be
    joined in the order given. Blocks that are ``done`` already are left out. For any number of
    threads. A tile is delivered, what can be made of it then is flushed, and the rest of it settles.
    """

    def __init__(
        self,
        schedules: Sequence[Schedule],
        reductions: Sequence[Reduction],
        make: Make,
        done: Sequence[Collection[Index]] | None = None,
    ) -> None:
        self.ledger, self.reductions, self.make = Ledger(schedules, done), reductions, make
        self.blocks: dict[tuple[int, Index], _Gathered] = {}
        self._lock = threading.Lock()

    def deliver(self, tile: Index, states: Sequence[State | None]) -> list[tuple[int, Index]]:
        """Take a tile's piece of each result (None where no patch takes part); returns what can be made now."""
        with self._lock:
            ready = self.ledger.deliver(tile)
            for k, (schedule, state) in enumerate(zip(self.ledger.schedules, states, strict=True)):
                span = schedule.span(tile)
                for block in self.ledger.awaiting(k, tile):
                    shared = intersect(span, schedule.bounds(block))
                    part = None if state is None or shared is None else part_of(state, span, shared)
                    lent = shared is not None and shared != span
                    self._gathered(k, block).waiting[tile] = _Part((shared or span, part), lent)
        return ready

    def flush(self, k: int, block: Index) -> None:
        """Have a block made of what has come for it."""
        with self._lock:
            gathered = self.blocks.pop((k, block))
            self.ledger.finish(k, block)
        with gathered.lock:
            pieces = [*gathered.joined, *(gathered.waiting[t].piece for t in gathered.missing)]
            gathered.joined, gathered.waiting = [], {}
        if not is_empty(self.ledger.schedules[k].bounds(block)):
            self.make(k, block, pieces)

    def settle(self, tile: Index) -> None:
        """Join what a tile gave to blocks that lack others still, as far as it is its turn."""
        for k, schedule in enumerate(self.ledger.schedules):
            for block in schedule.served(tile):
                with self._lock:
                    gathered = self.blocks.get((k, block))
                if gathered is not None:
                    gathered.settle(tile, self.reductions[k])

    def _gathered(self, k: int, block: Index) -> _Gathered:
        if (k, block) not in self.blocks:
            self.blocks[k, block] = _Gathered(self.ledger.schedules[k].owners(block))
        return self.blocks[k, block]

    @property
    def held(self) -> list[State]:
        """What is held of pieces, for any block."""
        with self._lock:
            pieces = [piece for gathered in self.blocks.values() for piece in gathered.pieces]
        return [state for _, state in pieces if state is not None]


class _Part(NamedTuple):
    """What a tile gives to a block; ``lent`` where it is a part of what the tile made."""

    piece: Piece
    lent: bool


@dataclass
class _Gathered:
    """What has come for a block: pieces that are joined, disjoint, and those that wait for ``missing`` ones."""

    missing: list[Index]  # tiles whose pieces are not joined yet, in their order
    joined: list[Piece] = field(default_factory=list)
    waiting: dict[Index, _Part] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, tile: Index, reduction: Reduction) -> None:
        """Join the pieces whose turn it is, and cut out the one of ``tile`` if it still waits."""
        with self.lock:
            while self.missing and self.missing[0] in self.waiting:
                part = self.waiting.pop(self.missing.pop(0))
                fold_piece(reduction, self.joined, part.piece, part.lent)
            if tile in self.waiting:
                (span, state), lent = self.waiting[tile]
                if lent and state is not None:
                    self.waiting[tile] = _Part((span, kept(state)), False)

    @property
    def pieces(self) -> list[Piece]:
        with self.lock:
            return [*self.joined, *(part.piece for part in self.waiting.values())]

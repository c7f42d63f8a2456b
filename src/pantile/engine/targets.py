"""One result on its way: pieces come in, blocks are made and put where they belong."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ..geometry.tiles import Blocks, Bounds, Index, Tile
from ..verbs.assembly import Assembly, Piece
from ..verbs.reductions import State
from .plan import Plan
from .results import Result
from .sources import units_of
from .staging import Staging

__all__ = ["Target", "blocks_of"]


def blocks_of(plan: Plan, result: Result, place: Any) -> Blocks:
    """Where a result is cut, for the place it goes to."""
    return result.blocks(plan.tiling, units_of(place))


class Target:
    """Collects what tiles give for the ``k``-th result, and has finished blocks written."""

    def __init__(self, plan: Plan, k: int, staging: Staging, cancelled: threading.Event) -> None:
        self.plan, self.k, self.staging, self.cancelled = plan, k, staging, cancelled
        self.result = staging.results[k]
        result, blocks = self.result, blocks_of(plan, self.result, staging.places[k])

        def finish(block: Index, bounds: Bounds, pieces: Sequence[Piece]) -> None:
            place, values = result.slab(bounds, pieces)
            staging.put(k, block, place, values)

        # not a method: a cycle would keep the image until the next collection of garbage
        self.assembly = Assembly(self.result.frame, blocks, finish, staging.done[k])

    def awaits(self, tile: Tile) -> bool:
        """Whether a block that is not done yet needs a tile, or none could: its patches lie in padding."""
        index = self.result.tile(tile).index
        return not self.assembly.blocks.served(index) or bool(self.assembly.awaits(index))

    def deliver(self, tile: Tile, state: State | None) -> None:
        """Take what a tile has made; None for a tile of which no patch was selected."""
        mine = self.result.tile(tile)
        piece = self.result.state(tile, state, self.plan.selection(tile))
        for block in self.assembly.deliver(mine, piece):
            if not self.cancelled.is_set():
                self.assembly.flush(block)

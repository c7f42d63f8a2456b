"""From pieces to blocks: what tiles have added up becomes the state of a block.

A block of the output is the sum of the pieces of the few tiles that reach into it. Every element
takes them from the last tile to the first (C order), whoever delivered them first and wherever
blocks are cut; so the bits depend neither on the number of workers nor on the chunks written to.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..geometry.rect import Rect, contains, intersect, shape_of, slices
from .reduction import Reduction, State

__all__ = ["Piece", "join_pieces"]

Piece = tuple[Rect, State | None]  # what it spans, what is in it (None: no patch of it takes part)


def join_pieces(reduction: Reduction, bounds: Rect, pieces: Sequence[Piece]) -> State:
    """The state of the block ``bounds``. The last tile often holds all of it, and then is where the sum begins."""
    held = [(span, state) for span, state in reversed(pieces) if state is not None]
    if held and contains(held[0][0], bounds):
        first = _part(*held.pop(0), bounds)
        if not held:
            return first
        joined = reduction.combine([first])
    else:
        joined = reduction.init(shape_of(bounds))
    for span, state in held:
        shared = intersect(span, bounds)
        if shared is not None:
            joined = reduction.join(joined, slices(shared, bounds), _part(span, state, shared))
    return joined


def _part(span: Rect, state: State, bounds: Rect) -> State:
    place = slices(bounds, span)
    return tuple([array[place] for array in state])

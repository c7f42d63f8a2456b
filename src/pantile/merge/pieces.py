"""From pieces to blocks: what tiles have added up becomes the state of a block.

A block of the output is the sum of the pieces of the few tiles that reach into it. Every element
takes them from the first tile to the last (in the order of `Tiling`), whoever delivered them first,
wherever blocks are cut, and whether they are joined one by one (`fold_piece`) or together
(`join_pieces`); so the bits depend neither on the number of workers nor on the chunks written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect, contains, intersect, shape_of, slices, subtract
from .reduction import Reduction, State

__all__ = ["Piece", "fold_piece", "join_pieces", "kept", "part_of"]

_MANY = 8 << 20  # bytes; fewer are not worth a look at each of them

Piece = tuple[Rect, State | None]  # what it spans, what is in it (None: no patch of it takes part)


def join_pieces(
    reduction: Reduction, bounds: Rect, pieces: Sequence[Piece], ours: bool = False
) -> State:
    """The state of the block ``bounds``; joined in place where pieces are ``ours``, and nobody reads them after."""
    held = [(rect, span, state) for span, state in pieces if (rect := intersect(span, bounds))]
    parts = [
        (rect, _widened(reduction, part_of(state, span, rect)))
        for rect, span, state in held
        if state is not None
    ]
    if parts and contains(parts[0][0], bounds):
        _, first = parts.pop(0)
        if not parts:
            return first
        joined = first if ours else reduction.combine([first])
    else:
        joined = reduction.init(shape_of(bounds))
    for rect, part in parts:
        joined = reduction.join(joined, slices(rect, bounds), part)
    return joined


def fold_piece(reduction: Reduction, joined: list[Piece], piece: Piece, lent: bool) -> None:
    """Join a piece, in place, into those before it, which are disjoint: what none of them holds is added to the list.

    That is a copy where it is a part of a state, or all of one that is ``lent``.
    """
    span, state = piece
    if state is None:
        return
    rest = [span]
    for i, (rect, held) in enumerate(joined):
        shared = intersect(rect, span)
        if shared is not None and held is not None:
            part = _widened(reduction, part_of(state, span, shared))
            whole = _widened(reduction, held)
            joined[i] = rect, reduction.join(whole, slices(shared, rect), part)
            rest = [left for box in rest for left in subtract(box, shared)]
    for box in rest:
        part = part_of(state, span, box)
        joined.append((box, kept(part) if lent or box != span else part))


def part_of(state: State, span: Rect, bounds: Rect) -> State:
    """A part of the state of ``span``, not a copy."""
    place = slices(bounds, span)
    return tuple([array[place] for array in state])


def kept(state: State) -> State:
    """A copy in which much float64 is float32 where no bit is lost: where one patch of float32 was added."""
    return tuple([_narrowed(array) for array in state])


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.float64 and array.nbytes >= _MANY:
        with np.errstate(all="ignore"):
            # one in the middle first: of most arrays it tells
            one = array[tuple([n // 2 for n in array.shape])]
            if one.astype(np.float32) == one:
                narrow = array.astype(np.float32)
                if np.array_equal(array, narrow):  # NaN has bits that could be lost
                    return narrow
    return array.copy()


def _widened(reduction: Reduction, state: State) -> State:
    """A state in the dtypes of its merge."""
    rows = zip(state, reduction.dtypes, strict=True)
    return tuple([array.astype(dtype, copy=False) for array, dtype in rows])

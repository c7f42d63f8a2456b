"""A merge made ready for patches of one kind: what tiles add into, and how blocks become values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.frame import Frame
from ..geometry.rect import Rect, shape_of
from .casts import filled, holes_of
from .pieces import Piece, join_pieces
from .reduction import Reduction, State

__all__ = ["CompiledMerge"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CompiledMerge:
    """A merge of patches on ``frame`` into images of ``dtypes``, with ``fills`` in what no patch touches."""

    frame: Frame
    reduction: Reduction
    dtypes: tuple[np.dtype[Any], ...]
    fills: tuple[Any, ...] = (None,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the first image, the only one of most merges."""
        return self.dtypes[0]

    def block(
        self,
        bounds: Rect,
        pieces: Sequence[Piece],
        touched: NDArray[np.bool_] | None = None,
        ours: bool = False,
    ) -> State:
        """The merged values within ``bounds``, an array for each image; pieces come in the order of their tiles.

        ``touched`` says which elements of the block a patch touches, where not all patches take part;
        ``ours`` that nobody reads the pieces after.
        """
        state = join_pieces(self.reduction, bounds, pieces, ours)
        untouched = holes_of(self.frame, bounds) if touched is None else ~touched
        return self.finish(state, bounds, untouched)

    def finish(self, state: State, bounds: Rect, untouched: Mask | None) -> State:
        """What a state becomes; ``untouched`` are elements that no patch touches, None for none."""
        if len(self.dtypes) == 1:
            none = untouched is None or not untouched.any()
            made = self.reduction.finished(state, bounds, self.dtype, self.fills[0], not none)
            if made is not None:
                return (made,)
        return self.values(state, bounds, self.holes(state, untouched))

    @property
    def fillable(self) -> bool:
        """Whether the caller said what stands where there is no value."""
        return all(fill is not None for fill in self.fills)

    def holes(self, state: State, untouched: Mask | None) -> Mask | None:
        """Where there is no value: where no patch was added, or weights add up to 0."""
        empty = self.reduction.empty(state)
        if empty is None or untouched is None:
            return untouched if empty is None else empty
        return untouched | empty

    def values(self, state: State, bounds: Rect, holes: Mask | None) -> State:
        """What a state becomes; ``holes`` are where there is no value."""
        shape = shape_of(bounds)
        images = self.reduction.images(state, bounds, self.dtypes)
        return tuple(
            [
                filled(np.broadcast_to(image, shape), dtype, holes, fill, bounds)
                for image, dtype, fill in zip(images, self.dtypes, self.fills, strict=True)
            ]
        )

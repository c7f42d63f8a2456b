"""Functions that are told which patches they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Tile
from ..kernels.walk import Runs
from ..verbs.frame import Frame

__all__ = ["Numbered", "called"]


class Numbered:
    """As ``func`` of `map_patches`, ``func(batch, numbers)`` with the flat index of each patch.

    Numbers count in C order over ``(*batch, *counts)``.
    """

    def __init__(self, func: Callable[[NDArray[Any], NDArray[np.int64]], Any]) -> None:
        self.func = func

    def __call__(self, batch: NDArray[Any]) -> Any:
        raise AssertionError("numbers are missing: the engine calls func by `called`")


def called(func: Any, batch: NDArray[Any], frame: Frame, tile: Tile, part: Runs) -> Any:
    """``func(batch)``, with the numbers of the patches where it wants them."""
    if not isinstance(func, Numbered):
        return func(batch)
    at = [a + begin for a, (begin, _) in zip(part.each().at, tile.ranges, strict=True)]
    return func.func(batch, np.ravel_multi_index(tuple(at), frame.counts))

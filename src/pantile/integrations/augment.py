"""Turned and mirrored copies of a batch of tensors, and how what a model makes of each is turned back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Pair", "pairs_of"]

Turn = Callable[[Any], Any]
Pair = tuple[Turn, Turn]

_NAMES = ("flips", "d4")


def pairs_of(tta: Any) -> Callable[[int], list[Pair]]:
    """Of a number of spatial axes, what is done to a batch ``(n, channels, *spatial)`` and what undoes it.

    Raises what is wrong with ``tta`` now.
    """
    if tta is None:
        return lambda _: [(_same, _same)]
    if isinstance(tta, str):
        if tta not in _NAMES:
            raise ValueError(
                f"tta must be one of {', '.join(_NAMES)}, or pairs of callables, got {tta!r}"
            )
        return _flips if tta == "flips" else _square
    pairs = [tuple(pair) for pair in tta]
    if not pairs or not all(len(p) == 2 and all(map(callable, p)) for p in pairs):
        raise ValueError(
            f"tta must be pairs (do, undo) of callables on tensors, got {tta!r}:"
            " the batch as it is is the pair (lambda x: x, lambda y: y)"
        )
    return lambda _: pairs


def _same(x: Any) -> Any:
    return x


def _flip(axes: Sequence[int]) -> Turn:
    return (lambda x: x.flip(tuple(axes))) if axes else _same


def _flips(ndim: int) -> list[Pair]:
    """Every mirror image: 4 of a picture, 8 of a volume. Each undoes itself."""
    chosen = itertools.product((False, True), repeat=ndim)
    flips = [_flip([k - ndim for k in range(ndim) if taken[k]]) for taken in chosen]
    return [(flip, flip) for flip in flips]


def _square(ndim: int) -> list[Pair]:
    """The 8 symmetries of a square, of the last two axes: turned by quarters, and mirrored."""
    if ndim < 2:
        raise ValueError("tta='d4' turns two axes, and patches have one: say tta='flips'")
    flips = [flip for flip, _ in _flips(2)]
    return [(f, f) for f in flips] + [_turned(f) for f in flips]


def _turned(flip: Turn) -> Pair:
    def do(x: Any) -> Any:
        if x.shape[-1] != x.shape[-2]:
            raise ValueError(
                f"tta='d4' turns patches by quarters, and these are {tuple(x.shape[-2:])}: give square ones,"
                " or tta='flips'"
            )
        return flip(x.transpose(-1, -2))

    return do, lambda y: flip(y).transpose(-1, -2)

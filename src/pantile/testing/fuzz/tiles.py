"""Small arrays cut into many tiles, and products computed in a chosen way: what only large ones meet."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

from ...geometry.limits import Limits, current_limits, using_limits

__all__ = ["WAYS", "computed_by", "small_limits", "tiles_of"]

# estimates of cost that leave one way of computing a product; "direct" cuts nothing and needs no FFT
NEVER = {"_phases": lambda box: math.inf}  # noqa: ARG005
WAYS: Mapping[str, Mapping[str, Any]] = {
    "chosen": {},
    "blocks": {"FFT": 1e9, "PASS": 1e9, "DOT": 1e9, **NEVER},
    "boxes": {"CUT": 1e9, "DOT": 1e9, "CALL": 0.0, **NEVER},
    "direct": {"CUT": 1e9, "FFT": 1e9, "PASS": 1e9, "CALL": 0.0},
}


@contextlib.contextmanager
def tiles_of(elements: int | None) -> Iterator[None]:
    """Cut even small arrays into tiles of about as many elements (None: as pantile chooses)."""
    with contextlib.ExitStack() as stack:
        if elements:
            stack.enter_context(using_limits(small_limits(elements)))
        yield


def small_limits(elements: int) -> Limits:
    """Limits that keep an array in one tile, one block, one thread only up to so many elements."""
    return replace(
        current_limits(),
        cut_leaf_elements=elements,
        padded_block_bytes=8 * elements,
        merge_leaf_elements=elements,
        merge_state_bytes=8 * elements,
        tile_state_bytes=8 * elements,
        tile_batches=0,
        block_elements=elements,
        strip_elements=elements,
    )


@contextlib.contextmanager
def computed_by(way: str, points: int | None = None) -> Iterator[None]:
    """Let `PatchMatrix` compute in one of `WAYS`, with FFTs of at most about so many ``points``, in small pieces."""
    with contextlib.ExitStack() as stack:
        if WAYS[way]:
            _change(stack, "pantile.matrix.cost", WAYS[way])
        if points:
            _change(stack, "pantile.matrix.spectra", {"MOST_POINTS": points})
            _change(stack, "pantile.matrix.lags", {"_FACE_BYTES": 200})
            _change(stack, "pantile.matrix.direct", {"_ROWS": 5, "_LEAF": 1})
        yield


def _change(stack: contextlib.ExitStack, name: str, values: Mapping[str, Any]) -> None:
    module = importlib.import_module(name)
    stack.enter_context(mock.patch.multiple(module, **values))

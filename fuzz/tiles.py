"""Small arrays cut into many tiles, and products computed in a chosen way: what only large ones meet."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

__all__ = ["WAYS", "computed_by", "tiles_of"]

# what keeps small arrays in one tile, one block, one thread: elements, bytes, batches
_SIZES = {
    "pantile.engine.sizing": {"_STATE": 8, "_LEAST": 0},
    "pantile.engine.plan": {"BLOCK": 1},
    "pantile.engine.results": {"BLOCK": 1, "STRIP": 1},
    "pantile.verbs.extract": {"_LEAF": 1, "_BLOCK": 8},
    "pantile.verbs.unpatchify": {"_LEAF": 1, "_STATE": 8},
}

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
        for name, sizes in _SIZES.items() if elements else ():
            _change(stack, name, {key: (elements or 1) * each for key, each in sizes.items()})
        yield


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

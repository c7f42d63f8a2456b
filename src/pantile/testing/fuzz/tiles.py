"""Small arrays cut into many tiles, and products computed in a chosen way: what only large ones meet."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

from pantile.geometry.limits import LIMITS, Costs, Limits

__all__ = ["WAYS", "limits_for", "tiles_of"]

# what keeps small arrays in one tile, one block, one thread: elements, bytes, batches
_SIZES = {
    "pantile.engine.sizing": {"_STATE": 8, "_LEAST": 0},
    "pantile.engine.plan": {"BLOCK": 1},
    "pantile.engine.results": {"BLOCK": 1, "STRIP": 1},
    "pantile.verbs.extract": {"_LEAF": 1, "_BLOCK": 8},
    "pantile.verbs.unpatchify": {"_LEAF": 1, "_STATE": 8},
}

# estimates of cost that leave one way of computing a product; "direct" cuts nothing and needs no FFT
WAYS: Mapping[str, Costs] = {
    "chosen": Costs(),
    "blocks": Costs(fft=1e9, spectrum=1e9, dot=1e9, multiply_phases=math.inf),
    "boxes": Costs(cut=1e9, dot=1e9, call=0.0, multiply_phases=math.inf),
    "direct": Costs(cut=1e9, fft=1e9, spectrum=1e9, call=0.0),
}


@contextlib.contextmanager
def tiles_of(elements: int | None) -> Iterator[None]:
    """Cut even small arrays into tiles of about as many elements (None: as pantile chooses)."""
    with contextlib.ExitStack() as stack:
        for name, sizes in _SIZES.items() if elements else ():
            _change(stack, name, {key: (elements or 1) * each for key, each in sizes.items()})
        yield


def limits_for(way: str, points: int | None = None) -> Limits:
    """Limits with which `PatchMatrix` computes in one of `WAYS`.

    With ``points`` it works in small pieces, and FFTs have at most about so many points.
    """
    found = replace(LIMITS, costs=WAYS[way])
    if not points:
        return found
    return replace(
        found, fft_points=points, face_bytes=200, numbered_rows=5, product_leaf_elements=1
    )


def _change(stack: contextlib.ExitStack, name: str, values: Mapping[str, Any]) -> None:
    module = importlib.import_module(name)
    stack.enter_context(mock.patch.multiple(module, **values))

"""Small arrays cut into many tiles, and products computed in a chosen way: what only large ones meet."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pantile.geometry.limits import LIMITS, Costs, Limits, current_limits, using_limits

__all__ = ["WAYS", "limits_for", "small_limits", "tiles_of"]

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

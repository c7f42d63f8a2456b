"""``finalize="argmax"``: the number of the largest channel, wherever the channel axis is."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..kernels.classes import argmax_along

__all__ = ["finalize_slab"]


def finalize_slab(finalize: Any, slab: NDArray[Any], channel: int | None) -> Any:
    """What ``finalize``, a function or ``"argmax"``, makes of a slab whose channels are along ``channel``."""
    if finalize != "argmax":
        return finalize(slab)
    if channel is None:
        raise ValueError(
            "finalize='argmax' picks a channel, and what func returns has none: have it return (n, *patch, classes),"
            " or name the channel axis of the image with channel_axis="
        )
    if slab.dtype.kind == "c":
        raise TypeError("finalize='argmax' needs an order, which complex numbers have not")
    return argmax_along(slab, channel)

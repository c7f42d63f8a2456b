"""Which windows take part, and what goes with each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas

__all__ = ["choose_windows", "number_targets", "pair_labelled", "take_weights", "take_windows"]

Array = NDArray[Any]


def choose_windows(
    canvas: Canvas, known: Sequence[Array], weights: Sequence[Array] | None
) -> tuple[list[Array | None], Array]:
    """Masks of the windows that take part (None: all of an image), and where these start."""
    masks: list[Array | None] = []
    for k, each in enumerate(known):
        mask = each if weights is None else each & (weights[k] > 0)
        masks.append(None if mask.all() else mask)
    base = canvas.base(masks)
    if not len(base):
        raise ValueError("no pixel is left to learn from: all are unlabelled or of weight 0")
    return masks, base


def take_windows(values: Sequence[Array], masks: Sequence[Array | None]) -> Array:
    """The values of the windows that take part, of all images in one line."""
    flat = [
        value.reshape(-1) if mask is None else value[mask]
        for value, mask in zip(values, masks, strict=True)
    ]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


def take_weights(weights: Sequence[Array] | None, masks: Sequence[Array | None]) -> Array | None:
    """The same of weights, where there are any."""
    return None if weights is None else take_windows(weights, masks).astype(np.float64)


def number_targets(targets: Sequence[Array], unlabelled: Any) -> list[Array]:
    """Targets as float64, NaN where there is none."""
    found = []
    for each in targets:
        if each.dtype.kind not in "biuf":
            raise TypeError(f"targets must be real numbers, got dtype {each.dtype}")
        values = each.astype(np.float64)
        if unlabelled is not None:
            values[values == unlabelled] = np.nan
        if np.isinf(values).any():
            raise ValueError("targets hold infinity: NaN means that there is no target")
        found.append(values)
    return found


def pair_labelled(
    found: Any, truth: Sequence[Array], masks: Sequence[Array]
) -> tuple[Array, Array]:
    """What was predicted, and what is true, where masks (one per image) are True; of all images in one line."""
    listed = found if isinstance(found, list) else [found]
    rows = list(zip(listed, truth, masks, strict=True))
    return np.concatenate([f[m] for f, _, m in rows]), np.concatenate([t[m] for _, t, m in rows])

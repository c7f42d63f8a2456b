"""Mean and deviation of every patch of a block, without cancellation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["norms_of"]

Floats = NDArray[np.float64]


class _Moments(NamedTuple):
    """How many samples, their mean, and the sum of their squared distances from it, at every place."""

    n: int
    mean: Floats
    spread: Floats


def norms_of(
    block: Floats,
    patch: Sequence[int],
    dilation: Sequence[int],
    starts: Sequence[NDArray[np.int64]],
) -> Floats:
    """What `pantile.kernels.similar` wants to know of each patch: ``(4, *counts)``.

    With m samples: root(m) * mean, root(m) * deviation, 1 over that (0 where the patch is constant),
    and 1.0 where it is constant.
    """
    with np.errstate(all="ignore"):
        found = _Moments(1, block[0], np.zeros_like(block[0]))
        for plane in block[1:]:
            found = _join(found, _Moments(1, plane, np.zeros_like(plane)))
        for axis, (p, d) in enumerate(zip(patch, dilation, strict=True)):
            found = _along(found, axis, p, d)
        at = np.ix_(*starts)
        norm = np.sqrt(found.spread[at])
        flat = norm == 0
        over = np.where(flat, 0, 1 / norm)
        return np.stack([math.sqrt(found.n) * found.mean[at], norm, over, flat])


def _along(part: _Moments, axis: int, samples: int, apart: int) -> _Moments:
    """The moments of ``samples`` places, ``apart`` from each other: by doubling, as sums of boxes are."""
    held, done, width = None, 0, 1
    while True:
        if samples & width:
            held = part if held is None else _join(held, _behind(part, axis, done * apart))
            done += width
        if 2 * width > samples:
            assert held is not None
            return held
        part = _join(part, _behind(part, axis, width * apart))
        width *= 2


def _behind(part: _Moments, axis: int, by: int) -> _Moments:
    cut = (slice(None),) * axis + (slice(by, None),)
    return _Moments(part.n, part.mean[cut], part.spread[cut])


def _join(a: _Moments, b: _Moments) -> _Moments:
    """The moments of two sets of samples together (Chan, Golub and LeVeque 1979), where both are known."""
    common = tuple(slice(min(x, y)) for x, y in zip(a.mean.shape, b.mean.shape, strict=True))
    n = a.n + b.n
    apart = b.mean[common] - a.mean[common]
    mean = a.mean[common] + apart * (b.n / n)
    spread = a.spread[common] + b.spread[common] + apart * apart * (a.n * b.n / n)
    return _Moments(n, mean, spread)

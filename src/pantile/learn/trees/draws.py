"""Random numbers by counting: the ``i``-th number of a key, whoever asks for it and when.

Sources: the mixing function is that of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom
number generators", OOPSLA 2014); counts of a bootstrap as Poisson numbers: Oza and Russell, "Online
bagging and boosting", AISTATS 2001.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from ...kernels.compile import compiled

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"

__all__ = [
    "below",
    "child_key",
    "child_key_of",
    "draw",
    "fill_counts",
    "poisson_bounds",
    "weigh_drawn",
]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)
_32 = np.uint64(32)


@register_jitable
def draw(key, i):
    """The ``i``-th number of ``key``, 64 random bits."""
    x = np.uint64(key) + (np.uint64(i) + np.uint64(1)) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _A
    x = (x ^ (x >> np.uint64(27))) * _B
    return x ^ (x >> np.uint64(31))


@register_jitable
def below(bits, n):
    """A whole number from 0 to ``n - 1``, of 64 random bits."""
    return np.int64(((bits >> _32) * np.uint64(n)) >> _32)


@register_jitable
def child_key(key, side):
    """The key of a child, 0 left or 1 right, from that of its node."""
    return draw(draw(key, 1 << 40), side)


def poisson_bounds(rate: float) -> NDArray[np.uint64]:
    """Bounds of 32 random bits: as many as lie below the bits, that many times a window is drawn."""
    shares = [math.exp(-rate) * rate**k / math.factorial(k) for k in range(16)]
    return np.minimum(np.cumsum(shares) * 2.0**32, 2.0**32 - 1).astype(np.uint64)


@compiled
def fill_counts(counts, first, key, bounds):
    """How often each window is drawn; ``counts[0]`` is that of window ``first``."""
    for i in range(counts.size):
        bits = draw(key, first + i) >> _32
        n = 0
        while n < bounds.size and bits >= bounds[n]:
            n += 1
        counts[i] = n


@compiled
def child_key_of(key, side):
    """`child_key`, to be called from Python."""
    return child_key(key, side)


@compiled
def weigh_drawn(weights, counts, given, ids):
    """Weights of drawn windows and their numbers, in ``ids``; returns how many. ``given`` may be empty."""
    n = 0
    for i in range(counts.size):
        weight = np.int64(counts[i]) * (np.int64(given[i]) if given.size else 1)
        weights[i] = weight
        if weight > 0:
            ids[n] = i
            n += 1
    return n

"""Random orders over any number of rows, computed as they go and never listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..geometry.limits import LIMITS, Limits

__all__ = ["draw_distinct", "permute", "shuffle_blocks"]

Numbers = NDArray[np.int64]

_ROUNDS = 8


def permute(
    size: int, rng: np.random.Generator, limits: Limits = LIMITS
) -> Callable[[Numbers], Numbers]:
    """A random order of ``range(size)`` as a function of positions, in memory that does not grow with it.

    Up to ``limits.shuffled_rows`` numbers are shuffled as a list. Beyond, a Feistel network with random keys
    permutes the next power of 4, and what falls outside ``range(size)`` is sent through it again
    (cycle walking; Black and Rogaway, *Ciphers with arbitrary finite domains*, 2002).

    >>> order = permute(10**12, np.random.default_rng(0))
    >>> bool(np.all(order(np.arange(5)) < 10**12))
    True
    """
    if size <= limits.shuffled_rows:
        return rng.permutation(size).astype(np.int64, copy=False).__getitem__
    half = (int(size - 1).bit_length() + 1) // 2
    keys = rng.integers(1 << 63, size=_ROUNDS, dtype=np.uint64)

    def order(positions: Numbers) -> Numbers:
        found = _feistel(np.asarray(positions).astype(np.uint64), half, keys)
        outside = found >= size
        while outside.any():
            found[outside] = _feistel(found[outside], half, keys)
            outside = found >= size
        return found.astype(np.int64)

    return order


def _feistel(values: NDArray[np.uint64], half: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of ``range(4**half)``."""
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> bits, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << bits) | right


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit depends on every bit (the finalizer of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def shuffle_blocks(
    size: int, block: int, pool: int, rng: np.random.Generator, limits: Limits = LIMITS
) -> Iterator[Numbers]:
    """All of ``range(size)``, each number once: blocks of ``block`` neighbours in random order.

    About ``pool`` numbers come at a time. Their blocks are from all over, but the numbers inside a
    block are still in order: the caller shuffles them.

    >>> pools = list(shuffle_blocks(7, 2, 4, np.random.default_rng(1)))
    >>> np.sort(np.concatenate(pools)).tolist()
    [0, 1, 2, 3, 4, 5, 6]
    """
    blocks = -(-size // block)
    order = permute(blocks, rng, limits)
    many = max(1, pool // block)
    for begin in range(0, blocks, many):
        first = order(np.arange(begin, min(begin + many, blocks))) * block
        numbers = (first[:, None] + np.arange(block)).ravel()
        yield numbers[numbers < size]


def draw_distinct(size: int, n: int, rng: np.random.Generator) -> Numbers:
    """``n`` different numbers below ``size``, ascending, all choices equally likely, in memory of order ``n``."""
    if 2 * n > size:
        left_out = draw_distinct(size, size - n, rng)
        return np.delete(np.arange(size), left_out)
    found = np.zeros(0, dtype=np.int64)
    while len(found) < n:  # the set is uniform by symmetry, as no draw depends on the values before
        found = np.union1d(found, rng.integers(size, size=n - len(found)))
    return found

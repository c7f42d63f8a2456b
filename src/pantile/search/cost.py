"""How long a search will take, before it begins."""

from __future__ import annotations

import math

import numpy as np

from ..kernels.parallel import cores
from .best import Search
from .runs import pairs_within

__all__ = ["check_cost", "seconds_of"]

PAIR = 1.5e-9
"""Seconds that a pair takes one core in a plain search for a few matches; the others take 1 to 4 times as long."""
OFFER = 40e-9
"""Seconds that it takes to put a match among the best."""


def seconds_of(search: Search) -> float:
    """About how long the search takes on this machine, within a factor of three."""
    axes = list(zip(search.queries.axes, search.candidates.axes, search.radius, strict=True))
    pairs = math.prod(float(pairs_within(q, c, r)) for q, c, r in axes)
    # elements between patches are summed as well, up to a patch's own
    dense = math.prod(min(q.gap, q.extent) for q, _, _ in axes)
    queries = math.prod(q.count for q, _, _ in axes)
    images = math.prod(search.queries.frame.batch_shape)
    each = pairs / max(queries, 1)
    offers = queries * min(each, search.k * (1 + math.log(max(1.0, each / search.k))))
    work = pairs * dense * PAIR * max(1, search.queries.channels / 2) + offers * OFFER
    return images * work / cores()


def check_cost(search: Search, hours: float) -> None:
    """Refuse a search that is estimated to take more than ``hours``."""
    if not isinstance(hours, int | float | np.number) or isinstance(hours, bool):
        raise TypeError(f"hours must be a number, got {hours!r}")
    if not hours > 0:
        raise ValueError(f"hours must be a positive number, got {hours!r}")
    seconds = seconds_of(search)
    if seconds > 3600 * float(hours):
        raise ValueError(
            f"the search would take about {_in_words(seconds)} on {cores()} cores, more than hours={hours:g}:"
            f" look within a radius= of the patch, on fewer patches with a larger step=, or say"
            f" hours={math.ceil(seconds / 3600 * 1.5)} if that is meant"
        )


def _in_words(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:,.0f} days" if days >= 2 else f"{seconds / 3600:.3g} hours"

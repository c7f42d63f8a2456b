"""The plainest lines of NumPy that cut and merge patches, as one would write them on the spot.

A merge goes through pairs of a place in the image and values for it, either patch by patch or, where
there are more patches than samples, sample by sample: all patches' first samples, then their second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case

__all__ = [
    "MERGES",
    "Pairs",
    "by_patch",
    "by_sample",
    "crops",
    "laid_out",
    "loops",
    "places",
    "weighted",
]

MOST_STEPS = 20_000
"""Steps of a Python loop that is still a plain way: a longer one takes seconds."""

Place = tuple[slice, ...]
Pairs = Callable[[Case, Array, bool], Iterator[tuple[Place, Any, int]]]


def places(case: Case) -> Iterator[Place]:
    """Where each patch lies, in C order."""
    axes = zip(case.shape, case.patch, case.step, strict=True)
    return product(
        *[
            [slice(k, k + patch) for k in range(0, size - patch + 1, step)]
            for size, patch, step in axes
        ]
    )


def by_patch(case: Case, patches: Array, last_wins: bool) -> Iterator[tuple[Place, Any, int]]:
    """Place, values and number of each patch; the last comes last, or first."""
    rows = patches.reshape(-1, *case.patch)
    found = list(enumerate(places(case)))
    for k, place in found if last_wins else reversed(found):
        yield place, rows[k], k


def by_sample(case: Case, patches: Array, last_wins: bool) -> Iterator[tuple[Place, Any, int]]:
    """Place, values and number of each sample of all patches; the last patch comes last, or first."""
    grid = patches.reshape(*case.counts, *case.patch)
    found = list(enumerate(np.ndindex(case.patch)))
    for k, sample in reversed(found) if last_wins else found:
        axes = zip(sample, case.counts, case.step, strict=True)
        place = tuple(slice(a, a + (count - 1) * step + 1, step) for a, count, step in axes)
        yield place, grid[(..., *sample)], k


def loops(case: Case) -> dict[str, Pairs]:
    """The plain loops that suit a case, by name."""
    found: dict[str, Pairs] = {}
    if case.n_patches <= MOST_STEPS:
        found["patch by patch"] = by_patch
    if case.features <= min(case.n_patches, MOST_STEPS) or not found:
        found["sample by sample"] = by_sample
    return found


def _mean(case: Case, patches: Array, pairs: Pairs) -> Array:
    total = np.zeros(case.shape, _wide(patches.dtype))
    count = np.zeros(case.shape, np.float32)
    for place, values, _ in pairs(case, patches, True):
        total[place] += values
        count[place] += 1
    return total / count


def _sum(case: Case, patches: Array, pairs: Pairs) -> Array:
    total = np.zeros(case.shape, patches.dtype if patches.dtype.kind == "f" else np.int64)
    for place, values, _ in pairs(case, patches, True):
        total[place] += values
    return total


def _extreme(choose: Any) -> Any:
    def merge(case: Case, patches: Array, pairs: Pairs) -> Array:
        found = np.full(case.shape, _worst(patches.dtype, choose is np.maximum), patches.dtype)
        for place, values, _ in pairs(case, patches, True):
            choose(found[place], values, out=found[place])
        return found

    return merge


def _worst(dtype: np.dtype[Any], smallest: bool) -> Any:
    if dtype.kind == "f":
        return -np.inf if smallest else np.inf
    return np.iinfo(dtype).min if smallest else np.iinfo(dtype).max


def _picked(last_wins: bool) -> Any:
    def merge(case: Case, patches: Array, pairs: Pairs) -> Array:
        found = np.empty(case.shape, patches.dtype)
        for place, values, _ in pairs(case, patches, last_wins):
            found[place] = values
        return found

    return merge


def _center(case: Case, patches: Array, pairs: Pairs) -> Array:
    middles = [(2 * np.arange(p) - (p - 1)) ** 2 for p in case.patch]
    away = sum(np.meshgrid(*middles, indexing="ij"))  # in half elements, squared
    steps: Any = [away] * case.n_patches if pairs is by_patch else away.ravel()
    found, best = np.empty(case.shape, patches.dtype), np.full(case.shape, np.iinfo(np.int64).max)
    for place, values, k in pairs(case, patches, True):
        near = steps[k] < best[place]  # of two that are as near the first patch counts
        found[place] = np.where(near, values, found[place])
        best[place] = np.where(near, steps[k], best[place])
    return found


def _var(case: Case, patches: Array, pairs: Pairs) -> Array:
    total, squares, count = np.zeros((3, *case.shape))
    for place, values, _ in pairs(case, patches, True):
        wide = values.astype(np.float64)
        total[place] += wide
        squares[place] += wide * wide
        count[place] += 1
    return squares / count - (total / count) ** 2


def _median(case: Case, patches: Array, pairs: Pairs) -> Array:
    """Patches that do not overlap share a layer; layers are sorted."""
    deep = [-(-p // s) for p, s in zip(case.patch, case.step, strict=True)]
    layers = np.full((prod(deep), *case.shape), np.nan, _wide(patches.dtype))
    steps = case.step if pairs is by_sample else (1,) * case.ndim
    numbered = case.patch if pairs is by_sample else case.counts
    for place, values, k in pairs(case, patches, True):
        each = zip(np.unravel_index(k, numbered), steps, deep, strict=True)
        layer = np.ravel_multi_index([(i // s) % d for i, s, d in each], deep)
        layers[(layer, *place)] = values
    count = (~np.isnan(layers)).sum(0)
    layers.sort(axis=0)
    low, high = (np.take_along_axis(layers, k[None] // 2, 0)[0] for k in (count - 1, count))
    return (low + high) / 2


LABELS = 4


def _vote(case: Case, patches: Array, pairs: Pairs) -> Array:
    votes = np.zeros((LABELS, *case.shape), np.int32)
    for place, values, _ in pairs(case, patches, True):
        for label in range(LABELS):
            votes[(label, *place)] += values == label
    return votes.argmax(0).astype(patches.dtype)


MERGES: dict[str, Callable[[Case, Array, Pairs], Array]] = {
    "mean": _mean,
    "sum": _sum,
    "max": _extreme(np.maximum),
    "min": _extreme(np.minimum),
    "first": _picked(False),
    "last": _picked(True),
    "center": _center,
    "median": _median,
    "var": _var,
    "vote": _vote,
}


def weighted(
    case: Case, patches: Array, pairs: Pairs, taper: Array | None, each: Array | None = None
) -> Array:
    """The mean of patches whose samples have weights, or which have one each."""
    total, weight = np.zeros((2, *case.shape), _wide(patches.dtype))
    for place, values, k in pairs(case, patches, True):
        if taper is not None:
            w = taper if pairs is by_patch else taper.flat[k]
        else:
            assert each is not None
            w = each[k] if pairs is by_patch else each.reshape(case.counts)
        total[place] += values * w
        weight[place] += w
    return total / weight


def crops(case: Case, patches: Array) -> Array:
    """The middle of each patch put in its place: up to half way to the next one."""
    found = np.empty(case.shape, patches.dtype)
    rows = patches.reshape(-1, *case.patch)
    for k, owned in enumerate(product(*map(_owned, case.shape, case.patch, case.step))):
        place, inside = zip(*owned, strict=True)
        found[place] = rows[k][inside]
    return found


def _owned(size: int, patch: int, step: int) -> list[tuple[slice, slice]]:
    starts = range(0, size - patch + 1, step)
    ends = [(2 * k + patch - 1 + step) // 2 + 1 for k in starts[:-1]] + [size]
    return [
        (slice(a, b), slice(a - k, b - k))
        for k, a, b in zip(starts, [0, *ends], ends, strict=False)
    ]


def laid_out(case: Case, patches: Array) -> Array:
    """Patches that lie side by side, as one reshape."""
    axes = [axis for k in range(case.ndim) for axis in (k, case.ndim + k)]
    return patches.reshape(*case.counts, *case.patch).transpose(axes).reshape(case.shape)


def _wide(dtype: np.dtype[Any]) -> Any:
    return dtype if dtype.kind == "f" else np.float64

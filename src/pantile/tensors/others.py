"""Merges beside means and sums for any library of arrays: extrema, one patch of several, variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from . import leaves
from .linear import Linear
from .namespaces import constant, convert, dtype_name, float_name, is_float, working_name

__all__ = ["MERGES"]

Tensor = Any
Images = list[Tensor]


def _extremum(xp: Any, patches: Tensor, linear: Linear, largest: bool) -> Images:
    name = dtype_name(patches.dtype)
    if name == "bool":
        found = _extremum(xp, convert(xp, patches, "uint8"), linear, largest)
        return [convert(xp, each, "bool") for each in found]
    if is_float(name):
        empty: float = -math.inf if largest else math.inf
    else:
        info = xp.iinfo(patches.dtype)
        empty = int(info.min if largest else info.max)
    combine: Callable[[Any, Any], Any] = xp.maximum if largest else xp.minimum
    return [_filled(xp, leaves.add(xp, patches, linear, None, combine, empty), linear)]


def _filled(xp: Any, image: Tensor, linear: Linear) -> Tensor:
    if linear.frame(()).covers:
        return image
    holes = replace(linear, weights=None).divisor() == 0
    return leaves.fill_holes(xp, image, holes, linear.fill or 0)


def _largest(xp: Any, patches: Tensor, linear: Linear) -> Images:
    return _extremum(xp, patches, linear, True)


def _smallest(xp: Any, patches: Tensor, linear: Linear) -> Images:
    return _extremum(xp, patches, linear, False)


def _owners(axis: AxisGrid, by: str) -> NDArray[np.int64]:
    """Which patch each element of an axis takes its value from, -1 for none."""
    if by == "center":
        return axis.nearest()
    owner = np.full(axis.size, -1)
    order = range(axis.count - 1, -1, -1) if by == "first" else range(axis.count)
    for i in order:
        region = axis.region(i)
        owner[region] = i
    return owner


def _pick(xp: Any, patches: Tensor, linear: Linear, by: str) -> Images:
    """Along each axis, one patch for each element; their product is one patch, and no more is moved than the image."""
    n_batch, n = patches.ndim - linear.n_axes - linear.grid.ndim, linear.grid.ndim
    for k, axis in enumerate(linear.grid.axis_grids):
        at = n_batch + n - k + linear.axis(k)
        owner = _owners(axis, by)
        sample = (np.arange(axis.size) - axis.starts_at(np.maximum(owner, 0))) // axis.dilation
        table = np.where(owner < 0, 0, owner * axis.patch + sample)
        beside = leaves.move(xp, patches, at, n_batch + 1)
        shape = (*beside.shape[:n_batch], axis.count * axis.patch, *beside.shape[n_batch + 2 :])
        taken = xp.take(xp.reshape(beside, shape), constant(xp, table, patches), axis=n_batch)
        patches = leaves.move(xp, taken, n_batch, at - 1)
    return [_filled(xp, patches, linear)]


def _first(xp: Any, patches: Tensor, linear: Linear) -> Images:
    return _pick(xp, patches, linear, "first")


def _last(xp: Any, patches: Tensor, linear: Linear) -> Images:
    return _pick(xp, patches, linear, "last")


def _center(xp: Any, patches: Tensor, linear: Linear) -> Images:
    return _pick(xp, patches, linear, "center")


def _mean_and_variance(xp: Any, patches: Tensor, linear: Linear) -> tuple[Tensor, Tensor]:
    """In two passes, so that a large mean costs no digits: squares of what is left without the mean."""
    name = dtype_name(patches.dtype)
    work = convert(xp, patches, working_name(name) if is_float(name) else float_name(xp))
    whole = replace(linear, mean=True, fill=0)
    mean = leaves.merged(xp, work, whole)
    rest = work - leaves.cut(xp, mean, whole)
    variance = leaves.merged(xp, rest * rest, replace(whole, fill=linear.fill))
    return leaves.merged(xp, work, replace(whole, fill=linear.fill)), variance


def _variance(xp: Any, patches: Tensor, linear: Linear) -> Images:
    return [_mean_and_variance(xp, patches, linear)[1]]


def _moments(xp: Any, patches: Tensor, linear: Linear) -> Images:
    mean, variance = _mean_and_variance(xp, patches, linear)
    counts = replace(linear, weights=None, mean=True).divisor().astype(np.int64)
    many = np.broadcast_to(counts, np.broadcast_shapes(counts.shape, mean.shape))
    effective = np.broadcast_to(_effective(replace(linear, mean=False), counts), many.shape)
    return [mean, variance, constant(xp, many, mean), constant(xp, effective, mean)]


def _effective(linear: Linear, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The effective number of patches: the square of the sum of weights, over the sum of their squares."""
    if linear.taper is None:
        return counts.astype(np.float64)
    sums = linear.divisor()
    squares = replace(linear, weights=linear.taper.reshape(linear.grid.patch) ** 2).divisor()
    return np.divide(sums**2, squares, out=np.zeros_like(sums), where=squares != 0)


# each ``(xp, patches, linear) -> images``, in the dtype that work runs in
MERGES: dict[str, Callable[[Any, Tensor, Linear], Images]] = {
    "max": _largest,
    "min": _smallest,
    "first": _first,
    "last": _last,
    "center": _center,
    "var": _variance,
    "moments": _moments,
}

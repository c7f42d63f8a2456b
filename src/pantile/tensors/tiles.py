"""`map_patches` of arrays that are not in main memory, or that want gradients: tile by tile, with the leaves."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.frame import Frame, frame_of
from ..geometry.rect import Rect
from ..geometry.tails import Spacing
from ..geometry.tensors import library_of
from ..geometry.tiling import Tiling, choose_lengths
from ..merge.casts import refuse_holes
from ..merge.spec import MergeRule
from ..merge.weights import normalise, resolve_weights
from ..ops.selection import selected
from ..stream.job import Kind, result_frame
from ..stream.options import Options, as_bytes, as_rule, as_scales
from . import leaves
from .namespaces import (
    as_dtype_name,
    constant,
    convert,
    dtype_name,
    float_name,
    is_float,
    namespace_of,
    put,
    working_name,
    zeros,
)
from .verbs import numpy_dtype, permuted, reshaped, to_host

__all__ = ["TileRun", "part"]

Tensor = Any
_BATCH_BYTES = 1 << 26  # of a batch on a device: calls should be few, and memory is not the cache's


@dataclass(frozen=True, slots=True)
class _Part:
    """Some consecutive places of a spacing, as a spacing."""

    inner: Spacing
    begin: int
    count: int

    @property
    def step(self) -> int:
        return self.inner.step

    def at(self, i: int) -> int:
        return self.inner.at(self.begin + i)

    def at_each(self, i: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.inner.at_each(self.begin + i)

    @property
    def uniform(self) -> bool:
        return self.inner.uniform or not self.breaks(0, self.count)

    def breaks(self, begin: int, end: int) -> list[int]:
        first = self.begin
        return [i - first for i in self.inner.breaks(first + begin, first + end)]


def part(axis: AxisGrid, begin: int, end: int) -> AxisGrid:
    """Patches ``begin`` to ``end`` of an axis, where they are."""
    spacing: Any = _Part(axis.spacing, begin, end - begin)
    return replace(axis, spacing=spacing)


def _cropped(axis: AxisGrid) -> tuple[AxisGrid, slice]:
    """An axis of the elements that its patches reach over, and which those are."""
    low, high = max(0, axis.start(0)), min(axis.size, axis.end)
    if high <= low:  # all in the padding; a slice that begins behind the end is no standard one
        low = high = 0
    return replace(axis, size=high - low, offset=axis.offset - low), slice(low, high)


class TileRun:
    """One run: what it cuts, and what has been merged so far."""

    def __init__(self, func: Any, image: Tensor, patch: Any, step: Any, options: Options) -> None:
        self.options, self.image = options, image
        self.frame = frame_of(
            tuple(image.shape), patch, step, axes=options.axes, channel_axis=options.channel_axis
        )
        self.xp = namespace_of(image)
        self.func = func
        self.scale = as_scales(options.scale, self.frame)
        self.dtype = as_dtype_name(options.dtype)
        known = None if self.dtype in (None, "bfloat16") else np.dtype(self.dtype)
        self.rule = as_rule(
            options.merge, to_host(options.weights), options.fill, options.finalize, known
        )
        if self.rule is not None and (self.rule.trims or self.rule.merge not in ("mean", "sum")):
            raise ValueError(
                f"merge={options.merge!r} of arrays of {library_of(image)} goes by extract and unpatchify; map_patches"
                " has mean, sum and None for them (all for tensors on the CPU, without gradients)"
            )
        where = to_host(options.where)
        self.mask = None if where is None else selected(where, self.frame)
        self.goals: list[_Goal] = []

    def run(self) -> Any:
        canonical = permuted(self.image, self.frame.order)
        for ranges in self._tiles():
            chosen = None if self.mask is None else self._mask(ranges)
            if chosen is not None and not chosen.any():
                continue
            results = self._call(canonical, ranges, chosen)
            if not self.goals:
                make = _Listed if self.rule is None else _Summed
                self.goals = [make(self, result) for result in results]
            for goal, result in zip(self.goals, results, strict=True):
                goal.take(result, ranges, chosen)
        found = tuple(goal.result() for goal in self.goals)
        if self.options.finalize is not None:
            found = tuple(self.options.finalize(image) for image in found)
        return found if len(found) > 1 else found[0]

    def _tiles(self) -> Iterator[Rect]:
        nbytes = self.options.batch_bytes
        size = _BATCH_BYTES if nbytes is None else as_bytes(nbytes, "batch_bytes")
        most = size / (self.frame.features * numpy_dtype(self.image).itemsize)

        def cost(lengths: Sequence[int]) -> float:
            return math.prod(lengths) / most

        for tile in Tiling(self.frame.axes, choose_lengths(self.frame.axes, cost, cost)):
            yield tile.ranges

    def _mask(self, ranges: Rect) -> NDArray[np.bool_]:
        assert self.mask is not None
        return np.asarray(self.mask[tuple(slice(b, e) for b, e in ranges)])

    def _call(
        self, canonical: Tensor, ranges: Rect, chosen: NDArray[np.bool_] | None
    ) -> list[Tensor]:
        """What ``func`` makes of the patches of a tile, ``(n, ...)`` each."""
        frame, xp = self.frame, self.xp
        cut = [part(frame.axes[k], *ranges[k]) for k, p in enumerate(frame.patched) if p]
        block = canonical[(*(slice(*r) for r in ranges[: frame.n_batch]), ...)]
        patches = leaves.cut_axes(xp, block, cut, self.channel(frame), frame.grid)
        batch = reshaped(patches, (-1, *frame.patch_shape))
        if chosen is not None:
            rows = np.flatnonzero(chosen)
            batch = xp.take(batch, constant(xp, rows, batch), axis=0)
        value = self.func(batch)
        results = list(value) if isinstance(value, tuple) else [value]
        for result in results:
            if library_of(result) != library_of(self.image):
                raise TypeError(
                    f"func was given arrays of {library_of(self.image)}, as the image is one, and returned"
                    f" {type(result).__name__}: return arrays of one library"
                )
            if result.ndim < 1 or result.shape[0] != batch.shape[0]:
                raise ValueError(
                    f"what func returned must have {batch.shape[0]} entries on its first axis, one per patch, got shape"
                    f" {tuple(result.shape)}"
                )
        return results

    @staticmethod
    def channel(frame: Frame) -> int | None:
        return None if frame.channel is None else frame.channel - frame.n_batch

    def spread(self, result: Tensor, ranges: Rect, chosen: NDArray[np.bool_] | None) -> Tensor:
        """Results of a tile at the places of their patches, ``(*batch, *counts, ...)``, 0 where none was chosen."""
        counts = [e - b for k, (b, e) in enumerate(ranges) if k != self.frame.channel]
        if chosen is not None:
            table = np.full(chosen.size, result.shape[0])
            table[np.flatnonzero(chosen)] = np.arange(result.shape[0])
            nothing = zeros(self.xp, (1, *result.shape[1:]), result)
            result = self.xp.concat([result, nothing], axis=0)
            result = self.xp.take(result, constant(self.xp, table, result), axis=0)
        return reshaped(result, (*counts, *result.shape[1:]))


class _Goal:
    """Where results of one kind go."""

    def __init__(self, mapping: TileRun, first: Tensor) -> None:
        self.mapping = mapping
        self.own = dtype_name(first.dtype)
        self.made(first)

    def made(self, first: Tensor) -> None:
        raise NotImplementedError

    def take(self, result: Tensor, ranges: Rect, chosen: Any) -> None:
        raise NotImplementedError

    def result(self) -> Tensor:
        raise NotImplementedError


class _Listed(_Goal):
    """Results that stand on the grid."""

    def made(self, first: Tensor) -> None:
        frame, xp = self.mapping.frame, self.mapping.xp
        shape = (*frame.batch_shape, *frame.grid.counts, *first.shape[1:])
        self.found = zeros(xp, shape, first)
        self.known = np.zeros(shape[: frame.n_batch + frame.grid.ndim], bool)

    def take(self, result: Tensor, ranges: Rect, chosen: NDArray[np.bool_] | None) -> None:
        mapping = self.mapping
        values = mapping.spread(result, ranges, chosen)
        place = tuple(slice(b, e) for k, (b, e) in enumerate(ranges) if k != mapping.frame.channel)
        self.found = put(self.found, (*place, ...), values, _second)
        self.known[place] = True if chosen is None else chosen.reshape(self.known[place].shape)

    def result(self) -> Tensor:
        mapping = self.mapping
        found = self.found
        if not self.known.all():
            fill = mapping.options.fill
            if fill is None:
                refuse_holes(int((~self.known).sum()), ())
            shape = (*self.known.shape, *[1] * (found.ndim - self.known.ndim))
            mask = constant(mapping.xp, self.known.reshape(shape), found)
            found = mapping.xp.where(mask, found, zeros(mapping.xp, found.shape, found, fill))
        return leaves.cast(mapping.xp, found, mapping.dtype or self.own)


def _second(_: Any, values: Any) -> Any:
    return values


class _Summed(_Goal):
    """Results that are summed where they meet, with the sum of their weights on the host."""

    rule: MergeRule

    def made(self, first: Tensor) -> None:
        mapping = self.mapping
        assert mapping.rule is not None
        self.rule = mapping.rule
        kind = Kind(numpy_dtype(first), tuple(first.shape[1:]))
        self.frame = result_frame(kind, mapping.frame, mapping.scale)
        self.rule.compile(self.frame, kind.dtype, whole=mapping.mask is None)
        self.channel = mapping.channel(self.frame)
        self.axes = [a for a, cut in zip(self.frame.axes, self.frame.patched, strict=True) if cut]
        taper = resolve_weights(self.rule.weights, tuple(a.patch for a in self.axes))
        self.taper = _outer(normalise(taper) if self.rule.merge == "mean" else taper)
        xp, plain = mapping.xp, self.rule.weights is None
        work = working_name(self.own) if plain or is_float(self.own) else float_name(xp)
        self.work = work
        self.total = zeros(xp, self.frame.shape, convert(xp, first[:1, ...], work))
        if getattr(first, "requires_grad", False):  # of patches that reach no element, too
            self.total = self.total + first[:0, ...].sum().to(self.total.dtype)
        self.weight = np.zeros(
            [n for k, n in enumerate(self.frame.shape) if k != self.frame.channel]
        )

    def take(self, result: Tensor, ranges: Rect, chosen: NDArray[np.bool_] | None) -> None:
        mapping, xp, n_batch = self.mapping, self.mapping.xp, self.frame.n_batch
        patched = [r for k, r in enumerate(ranges) if mapping.frame.patched[k]]
        parts = [part(a, *r) for a, r in zip(self.axes, patched, strict=True)]
        inner, places = zip(*map(_cropped, parts), strict=True)
        batch = tuple(slice(*r) for r in ranges[:n_batch])
        values = convert(xp, mapping.spread(result, ranges, chosen), self.work)
        weights = np.ones([e - b for b, e in (*ranges[:n_batch], *patched)])
        if chosen is not None:
            weights = chosen.reshape(weights.shape).astype(float)
        each = weights.reshape(*weights.shape, *[1] * len(parts))
        each = each * (np.ones([a.patch for a in parts]) if self.taper is None else self.taper)
        self.weight[(*batch, *places)] += leaves.add_axes(np, each, inner, None)
        if self.taper is not None:
            taper = self.taper if self.channel is None else np.expand_dims(self.taper, self.channel)
            real = self.work.replace("complex64", "float32").replace("complex128", "float64")
            values = values * convert(xp, constant(xp, taper, values), real)
        summed = leaves.add_axes(xp, values, inner, self.channel)
        where = list(places)
        if self.channel is not None:
            where.insert(self.channel, slice(None))
        self.total = put(self.total, (*batch, *where), summed, operator.add)

    def result(self) -> Tensor:
        xp, fill, total = self.mapping.xp, self.rule.fill, self.total
        holes = self.weight == 0
        if fill is None and holes.any():
            refuse_holes(int(holes.sum()), tuple((0, n) for n in holes.shape))
        divisor = self.weight
        if self.frame.channel is not None:
            divisor = np.expand_dims(divisor, self.frame.channel)
        if self.rule.merge == "sum":
            total = leaves.fill_holes(xp, total, divisor == 0, fill or 0)
        else:
            if not is_float(self.work):
                total = convert(xp, total, float_name(xp))
            total = leaves.divide(xp, total, divisor, fill or 0)
        half = self.own == "bfloat16" and self.mapping.dtype is None
        kind = np.dtype("float32" if self.own == "bfloat16" else self.own)
        name = "bfloat16" if half else self.mapping.dtype or self.rule.natural_dtype(kind).name
        return permuted(leaves.cast(xp, total, name), self.frame.back)


def _outer(taper: Any) -> NDArray[np.float64] | None:
    if not isinstance(taper, tuple):
        return None if taper is None else np.asarray(taper)
    whole = np.ones(())
    for vector in taper:
        whole = whole[..., None] * vector
    return whole

"""Reading a block that may reach outside the image, without padding the image."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import unmasked
from ..geometry.boundary import Segment, segments

__all__ = ["Source", "read_block"]


class Source(Protocol):
    """Anything with a shape, a dtype and slice access."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any, /) -> Any: ...


def read_block(
    source: Source,
    bounds: tuple[tuple[int, int], ...],
    margins: tuple[tuple[int, int], ...],
    mode: str,
    value: Any,
) -> NDArray[Any]:
    """Elements ``begin`` to ``end`` of each axis, padded by ``mode`` where they lie outside.

    Inside the image this is ``source[...]``, a view where the source gives one. Outside, axes
    are padded one after the other as `numpy.pad` does, each reading only what it needs of the axes
    before it. ``margins`` are the widths of the whole padding, which a ramp needs to know.
    """
    shape = source.shape
    if all(b >= 0 and e <= n for (b, e), n in zip(bounds, shape, strict=True)):
        return unmasked(source[tuple(slice(b, e) for b, e in bounds)])
    axis = max(k for k, ((b, e), n) in enumerate(zip(bounds, shape, strict=True)) if b < 0 or e > n)
    begin, end = bounds[axis]
    parts = []
    for segment in segments(begin, end, shape[axis], mode):
        evidence = (
            *bounds[:axis],
            (segment.source.start, segment.source.stop),
            *bounds[axis + 1 :],
        )
        part = read_block(source, evidence, margins, mode, value)
        if segment.outside and mode == "linear_ramp":
            parts.append(_ramp(part, segment, axis, shape[axis], margins[axis], value))
        else:
            parts.append(_filled(part, segment, axis, mode, value))
    # alone, concatenate would give native byte order, and blocks are read as the bits they are
    return np.concatenate(parts, axis=axis, dtype=np.dtype(source.dtype))


def _filled(part: NDArray[Any], segment: Segment, axis: int, mode: str, value: Any) -> NDArray[Any]:
    """What stands in ``segment``, given the elements of the image it depends on."""
    shape = (*part.shape[:axis], segment.end - segment.begin, *part.shape[axis + 1 :])
    if not segment.outside:
        return np.broadcast_to(np.flip(part, axis) if segment.reverse else part, shape)
    if mode == "constant":
        return np.full(shape, value, dtype=part.dtype)
    return np.broadcast_to(_statistic(part, axis, mode), shape)


def _ramp(
    edge: NDArray[Any], segment: Segment, axis: int, size: int, margin: tuple[int, int], value: Any
) -> NDArray[Any]:
    """The part of the ramp from ``value``, at the far end of the padding, to the image's edge."""
    behind = segment.outside > 0
    # by np.linspace's formula, but for each element apart: it chooses another for all where one step is 0, and then
    # the bits would depend on what else a block holds
    start, stop = np.asarray(value) * 1.0, edge.squeeze(axis) * 1.0
    step = (stop - start) / max(margin[behind], 1)
    steps = np.arange(margin[behind]).reshape(-1, *[1] * step.ndim) * step + start
    steps = np.floor(steps) if edge.dtype.kind in "iu" else steps
    whole: NDArray[Any] = np.moveaxis(steps.astype(edge.dtype), 0, axis)
    whole = np.flip(whole, axis) if behind else whole
    origin = size if behind else -margin[0]
    return whole.take(range(segment.begin - origin, segment.end - origin), axis=axis)


def _statistic(part: NDArray[Any], axis: int, mode: str) -> NDArray[Any]:
    """The statistic that ``np.pad`` takes over the whole axis, in the image's dtype."""
    functions: dict[str, Any] = {
        "maximum": np.max,
        "minimum": np.min,
        "median": np.median,
    }
    if mode == "mean":
        # line after line of memory, so that the bits do not depend on what else a block holds
        lines = np.ascontiguousarray(np.moveaxis(part, axis, -1))
        found = np.moveaxis(np.mean(lines, axis=-1, keepdims=True), -1, axis)
    else:
        found = functions[mode](part, axis=axis, keepdims=True)
    if part.dtype.kind in "iu":
        found = np.round(found)
    return np.asarray(found).astype(part.dtype, copy=False)

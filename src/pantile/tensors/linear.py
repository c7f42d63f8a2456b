"""A cut, and the merge that is its adjoint, as a value: what both sides of a gradient need to know."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.boundary import MAPPED_MODES
from ..geometry.frame import Frame, frame_of
from ..merge.weights import Taper, normalise, resolve_weights
from ..ops.unpatchify import unpatchify

__all__ = ["Linear", "read_linear"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """Patches of a grid with a weight per sample, and with ``mean`` divided by the sum of the weights.

    As a cut, ``patches = weights * extract(image / divisor)``; as a merge, its adjoint, ``image =
    sum(weights * patches) / divisor``, with ``fill`` where there is no weight. Images are canonical,
    ``(*batch, *axes of a patch)``; patches ``(*batch, *counts, *patch)``, or of chosen rows
    ``(*batch, n, *patch)``. ``channel`` is the place of the channel axis among those of a patch.
    """

    grid: PatchGrid
    channel: int | None = None
    mean: bool = False
    weights: Any = None  # a name, or arrays as `as_weights` has them
    fill: Any = None
    dtype: str | None = None  # of what a merge gives
    layout: str = "patch"
    listed: bool = True  # patches come as a list, whose gradient can be no view

    @property
    def n_axes(self) -> int:
        """Axes of a patch."""
        return self.grid.ndim + (self.channel is not None)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Shape of an image beside its batch axes, with -1 for channels."""
        return self._with_channel(self.grid.shape)

    @cached_property
    def patch(self) -> tuple[int, ...]:
        return self._with_channel(self.grid.patch)

    def _with_channel(self, sizes: tuple[int, ...], channels: int = -1) -> tuple[int, ...]:
        k = self.channel
        return sizes if k is None else (*sizes[:k], channels, *sizes[k:])

    def axis(self, k: int) -> int:
        """Where the grid's axis ``k`` stands among the axes of a patch."""
        return k + (self.channel is not None and k >= self.channel)

    def frame(self, batch: tuple[int, ...], channels: int | None = None) -> Frame:
        """The frame of canonical images."""
        shape = (*batch, *self._with_channel(self.grid.shape, channels or 1))
        channel = None if self.channel is None else len(batch) + self.channel
        return frame_of(shape, self.grid, channel_axis=channel)

    @cached_property
    def resolved(self) -> Taper | None:
        """Weights as one vector per axis, or as an array of the patch's shape."""
        found = resolve_weights(self.weights, self.grid.patch)
        return normalise(found) if self.mean else found

    @cached_property
    def taper(self) -> Floats | None:
        """Weights of all samples of a patch, 1 along the channel axis; None where all are 1."""
        found = self.resolved
        if found is None:
            return None
        if isinstance(found, tuple):
            whole = np.ones(())
            for vector in found:
                whole = whole[..., None] * vector
            found = whole
        return found if self.channel is None else np.expand_dims(found, self.channel)

    def divisor(self, patch_weights: Floats | None = None) -> Floats:
        """What a merge divides by, which broadcasts against images; 0 where there is no weight."""
        if patch_weights is not None or not isinstance(self.resolved, tuple | None):
            return self._summed(patch_weights)
        total = np.ones((1,) * self.n_axes)
        for k, axis in enumerate(self.grid.axis_grids):
            profile = axis.profile(None if self.resolved is None else self.resolved[k])
            shape = [1] * self.n_axes
            shape[self.axis(k)] = -1
            total = total * profile.reshape(shape)
        return total

    def _summed(self, patch_weights: Floats | None) -> Floats:
        """The sum of weights, merged as patches are."""
        taper = np.ones(self.grid.patch) if self.taper is None else self.taper
        taper = taper.reshape(self.grid.patch)
        counts = self.grid.counts
        batch = () if patch_weights is None else patch_weights.shape[: -len(counts)]
        stack = np.broadcast_to(taper, (*batch, *counts, *self.grid.patch))
        each = None if patch_weights is None else patch_weights.ravel()
        found = unpatchify(stack, self.grid, merge="sum", patch_weights=each, fill=0)
        k = self.channel
        return found if k is None else np.expand_dims(found, len(batch) + k)

    def samples(
        self, rows: NDArray[np.int64], merging: bool = False
    ) -> tuple[NDArray[np.int64], int]:
        """Flat positions of the samples of chosen patches in an image without channels, ``(n, features)``, and the
        position that stands for padding that is no element: one past the last. For ``merging`` no padding is."""
        grid, nowhere = self.grid, math.prod(self.grid.shape)
        if grid.pad_mode in MAPPED_MODES and not merging:
            return grid.flat_indices(rows), nowhere
        at = np.unravel_index(rows, grid.counts)
        flat = np.zeros((len(rows), 1), np.int64)
        outside = np.zeros((len(rows), 1), bool)
        for axis, i in zip(grid.axis_grids, at, strict=True):
            along = axis.starts_at(i)[:, None] + np.arange(axis.patch) * axis.dilation
            out = (along < 0) | (along >= axis.size)
            flat = (flat[:, :, None] * axis.size + along[:, None, :]).reshape(len(rows), -1)
            outside = (outside[:, :, None] | out[:, None, :]).reshape(len(rows), -1)
        return np.where(outside, nowhere, flat), nowhere

    @cached_property
    def adjoint(self) -> Linear:
        """The same for the other way: without what padding and fill add, which no gradient goes through."""
        plain = {"pad_mode": "constant", "pad_value": 0}  # a merge drops what lies in the padding
        grid = PatchGrid.from_dict(self.grid.to_dict() | plain)
        return replace(self, grid=grid, fill=0, dtype=None, layout="patch")

    @cached_property
    def tangent(self) -> Linear:
        """The linear part of the same."""
        grid = self.grid
        if grid.pad_mode == "constant" and grid.pad_value != 0:
            grid = PatchGrid.from_dict(grid.to_dict() | {"pad_value": 0})
        return replace(self, grid=grid, fill=0)

    @cached_property
    def plain(self) -> Linear:
        """The adjoint of cutting alone."""
        return replace(self.adjoint, mean=False, weights=None)

    @cached_property
    def text(self) -> str:
        """The same as text, which is what an operator of torch can be given."""
        fill = None if self.fill is None else repr(complex(self.fill))
        fields = [
            self.grid.to_dict(), self.channel, self.mean, _written(self.weights), fill, self.dtype,
            self.layout, self.listed,
        ]  # fmt: skip
        return json.dumps(fields)


def _written(weights: Any) -> Any:
    if weights is None or isinstance(weights, str):
        return weights
    if isinstance(weights, tuple) and isinstance(weights[0], str):
        return ["name", *weights]
    if isinstance(weights, tuple):
        return ["axes", *map(_written, weights)]
    array = np.ascontiguousarray(weights, np.float64)
    return ["array", array.shape, base64.b64encode(array.tobytes()).decode()]


def _read(text: Any) -> Any:
    if not isinstance(text, list):
        return text
    kind, *parts = text
    if kind == "name":
        return tuple(parts)
    if kind == "axes":
        return tuple(map(_read, parts))
    shape, held = parts
    return np.frombuffer(base64.b64decode(held)).reshape(shape)


@lru_cache(maxsize=256)
def read_linear(text: str) -> Linear:
    """What `Linear.text` was made of."""
    grid, channel, mean, weights, fill, *rest = json.loads(text)
    value = None if fill is None else complex(fill)
    if value is not None and not value.imag:
        value = value.real
    return Linear(PatchGrid.from_dict(grid), channel, mean, _read(weights), value, *rest)

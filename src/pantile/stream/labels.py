"""Names and coordinates of an image's axes, and what becomes of them in a result."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.about import About
from ..files.georeference import Georeference
from ..geometry.arguments import is_many
from ..geometry.frame import Frame

__all__ = ["Labels", "is_labelled"]

_NEW = "channel"  # the axis that func adds behind those of the image


def is_labelled(image: Any) -> bool:
    """Whether ``image`` is an `xarray.DataArray`; xarray is not imported to find out."""
    module = sys.modules.get("xarray")
    return module is not None and isinstance(image, module.DataArray)


@dataclass(frozen=True)
class Labels:
    """What is known of an image's axes.

    ``reader`` is asked for names where ``dims`` is None. With ``array`` (an `xarray.DataArray`
    without its elements) results in memory are DataArrays too.
    """

    frame: Frame | None = None
    scale: tuple[int, ...] = ()
    listed: bool = False  # results stand on the grid
    dims: tuple[Hashable, ...] | None = None
    coords: Any = None  # an xarray.Dataset of coordinates
    name: Hashable | None = None
    attrs: Any = None
    reader: Any = None

    @classmethod
    def of(cls, image: Any, source: Any) -> Labels:
        if not is_labelled(image):
            return cls(reader=source)
        coords = image.coords.to_dataset()
        return cls(dims=tuple(image.dims), coords=coords, name=image.name, attrs=dict(image.attrs))

    def framed(self, frame: Frame, scale: tuple[int, ...], listed: bool) -> Labels:
        return replace(self, frame=frame, scale=scale, listed=listed)

    @cached_property
    def names(self) -> tuple[Hashable, ...] | None:
        """One name per axis of the image, None where it has none."""
        told = getattr(self.reader, "dims", None) if self.dims is None else self.dims
        return None if told is None else tuple(told)

    def number(self, axis: Any, argument: str) -> Any:
        """An axis that is given by its name as a number; anything else as it is."""
        if not isinstance(axis, str):
            return axis
        if self.names is None or axis not in self.names:
            held = "have no names: give a number" if self.names is None else f"are {self.names}"
            raise ValueError(f"{argument}={axis!r} is no axis of the image, whose axes {held}")
        return self.names.index(axis)

    def numbers(self, axes: Any, argument: str) -> Any:
        """`number` for one axis or several."""
        many = is_many(axes) and not isinstance(axes, str)
        return (
            tuple(self.number(a, argument) for a in axes) if many else self.number(axes, argument)
        )

    def aligned(self, where: Any) -> Any:
        """A labelled mask with its axes in the order of the image's; anything else as it is."""
        if not is_labelled(where):
            return where
        names = self.names or ()
        order = [d for d in names if d in where.dims]
        if len(order) == where.ndim:
            return where.transpose(*order).data
        if names and not all(str(d).startswith("dim_") for d in where.dims):
            raise ValueError(
                f"where has the axes {where.dims}, which the image has not: its are {names}"
            )
        return where.data

    # results

    def result_dims(self, ndim: int) -> tuple[Hashable, ...]:
        """The names of a result's axes, by how many it has."""
        assert self.frame is not None
        frame = self.frame
        if self.names is None:
            return tuple(f"dim_{k}" for k in range(ndim))
        if self.listed:
            kept = [self.names[a] for k, a in enumerate(frame.order) if k != frame.channel]
            return (*kept, *(_unused(f"dim_{k}", kept) for k in range(len(kept), ndim)))
        names = list(self.names)
        if ndim < len(names) and frame.channel is not None:
            del names[frame.order[frame.channel]]
        while len(names) < ndim:
            names.append(_unused(_NEW, names))
        return tuple(names)

    def channel(self, ndim: int) -> int | None:
        """Which axis of a result holds channels."""
        assert self.frame is not None
        n = len(self.frame.order)
        if self.listed or ndim < n:
            return None
        if ndim > n:
            return n
        return None if self.frame.channel is None else self.frame.order[self.frame.channel]

    def about(self, shape: tuple[int, ...]) -> About:
        """What the place of a result is told."""
        dims = self.result_dims(len(shape))
        here = self.georeference if self.stays else None
        return About(
            tuple(map(str, dims)), self._coords(dims, shape), self.channel(len(shape)), here
        )

    @cached_property
    def georeference(self) -> Georeference | None:
        """Where the pixels of the image lie, None where that is not known."""
        found: Georeference | None = getattr(self.reader, "georeference", None)
        return found

    @property
    def stays(self) -> bool:
        """Whether rows and columns of the result are those of the image."""
        if self.listed or self.frame is None or not {"y", "x"} <= set(self.names or ()):
            return False
        channel = self.frame.channel
        return channel is None or (self.names or ())[self.frame.order[channel]] not in ("y", "x")

    def lost(self, outs: tuple[Any, ...] | None) -> list[str]:
        """The paths of results that have no room for the place on Earth of the image's pixels."""
        places = [out for out in outs or () if hasattr(out, "reopen") and hasattr(out, "path")]
        if not places or self.georeference is None or not self.georeference.located:
            return []
        return [p.path for p in places if not (self.stays and hasattr(p, "tags"))]

    def put_on(self, result: Any) -> Any:
        """An array, or a tuple of them, as DataArrays where the image was one."""
        if self.coords is None:
            return result
        if isinstance(result, tuple):
            return tuple(map(self.put_on, result))
        import xarray

        dims = self.result_dims(result.ndim)
        coords = self._coords(dims, tuple(result.shape)).coords
        return xarray.DataArray(result, coords, dims, self.name, self.attrs)

    def _coords(self, dims: tuple[Hashable, ...], shape: tuple[int, ...]) -> Any:
        """The coordinates of a result: of its elements, or of the centres of patches."""
        if self.coords is None:
            return None
        assert self.names is not None
        found, frame = self.coords, self.frame
        assert frame is not None
        sizes = dict(zip(dims, shape, strict=True))
        scales = iter(self.scale)
        for k, (a, axis) in enumerate(zip(frame.order, frame.axes, strict=True)):
            name = self.names[a]
            if k == frame.channel:
                if self.listed or sizes.get(name) != axis.size:
                    found = found.drop_dims(name, errors="ignore")
            elif k >= frame.n_batch:
                scale = next(scales)
                if self.listed:
                    found = _sampled(found, name, axis.starts() + (axis.extent - 1) / 2)
                elif scale > 1:
                    found = _sampled(
                        found, name, (np.arange(axis.size * scale) + 0.5) / scale - 0.5
                    )
        return found


def _unused(name: str, taken: Any) -> str:
    while name in taken:
        name += "_"
    return name


def _sampled(coords: Any, dim: Hashable, positions: NDArray[Any]) -> Any:
    """Coordinates at positions along ``dim``, in elements: as they are there, or between neighbours, and on
    beyond the ends, linearly; those that are no numbers or times go where a position is no element."""
    if dim not in coords.dims:
        return coords
    size = coords.sizes[dim]
    whole = positions.round().astype(np.int64)
    if (whole == positions).all() and whole.min() >= 0 and whole.max() < size:
        return coords.isel({dim: whole})
    low = np.clip(np.floor(positions), 0, max(size - 2, 0)).astype(np.int64)
    share = positions - low if size > 1 else np.zeros(len(positions))
    kept = {}
    for name, coord in coords.variables.items():
        if dim in coord.dims and coord.dtype.kind in "iufcmM":
            kept[name] = _between(coord, dim, low, np.minimum(low + 1, size - 1), share)
    return coords.drop_dims(dim).assign_coords(kept)


def _between(
    coord: Any, dim: Hashable, low: NDArray[np.int64], high: NDArray[np.int64], share: NDArray[Any]
) -> Any:
    import xarray

    plain = coord.to_base_variable()
    if plain.dtype.kind in "iu":
        plain = plain.astype(np.float64)
    first, second = plain.isel({dim: low}), plain.isel({dim: high})
    found = first + (second - first) * xarray.Variable(dim, share)
    return found.transpose(*coord.dims).astype(plain.dtype)

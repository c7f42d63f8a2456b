"""An image's axes sorted out once: batch axes first, then the axes of a patch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid, PatchGrid
from ..geometry.arguments import as_axis, as_shape, is_many, unmasked
from ..geometry.tiles import Bounds

__all__ = [
    "Frame",
    "as_array",
    "check_apart",
    "exchanged",
    "fewer_axes",
    "frame_of",
    "patch_ndim",
    "patched_axes",
    "refuse_both",
    "refuse_path",
    "single_axis",
    "to_array",
    "whole_axis",
]


@dataclass(frozen=True)
class Frame:
    """How a grid lies in an image.

    In canonical order the batch axes come first, then the patched axes as ``axes`` named them, with
    the channel axis among them where it stands in the image. Every canonical axis has an
    `AxisGrid`: a batch axis is cut into patches of one element, a channel axis into one patch that
    holds all channels, so nothing below needs to know of either.
    """

    grid: PatchGrid
    order: tuple[int, ...]  # canonical position -> image axis
    axes: tuple[AxisGrid, ...]
    n_batch: int
    channel: int | None  # canonical position

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The image's shape in canonical order."""
        return tuple(axis.size for axis in self.axes)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.shape[: self.n_batch]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        return tuple(axis.count for axis in self.axes)

    @cached_property
    def patch(self) -> tuple[int, ...]:
        """Samples along every canonical axis (1 for batch axes)."""
        return tuple(axis.patch for axis in self.axes)

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """The shape of a patch as users see it, its channel axis included."""
        return self.patch[self.n_batch :]

    @property
    def features(self) -> int:
        return math.prod(self.patch)

    @property
    def n_patches(self) -> int:
        return math.prod(self.counts)

    @cached_property
    def along(self) -> int:
        """The last patched axis, along which runs of patches go."""
        last = len(self.axes) - 1
        return last - 1 if self.channel == last else last

    @cached_property
    def inside(self) -> bool:
        """Whether no patch leaves the image."""
        return all(axis.inside for axis in self.axes)

    @cached_property
    def margins(self) -> Bounds:
        widths = iter(self.grid.margins)
        return tuple((0, 0) if self._plain(k) else next(widths) for k in range(len(self.axes)))

    def _plain(self, k: int) -> bool:
        return k < self.n_batch or k == self.channel

    def breaks(self, begin: int, end: int) -> list[int]:
        """Positions in ``begin`` to ``end`` of the run axis where the step is not the usual one."""
        axis = self.axes[self.along]
        if end - begin < 2 or axis.uniform:
            return []
        if not axis.even:
            return [end - 1 - begin] if end == axis.count else []
        gaps = np.diff(axis.starts(begin, end))
        return [int(i) + 1 for i in np.flatnonzero(gaps != self.gap)]

    @cached_property
    def all_breaks(self) -> list[int]:
        return self.breaks(0, self.counts[self.along])

    @cached_property
    def gap(self) -> int:
        """Distance between neighbouring patches of a run, in elements of the run axis."""
        return self.axes[self.along].gap

    def canonical(self, image: Any) -> Any:
        """The image with its axes in canonical order, a view."""
        return image.transpose(self.order) if self.order != tuple(range(len(self.order))) else image

    def restored(self, array: NDArray[Any]) -> NDArray[Any]:
        """A canonical array with its axes where the image has them, a view."""
        return array.transpose(np.argsort(self.order))

    def resized(self, patch: Sequence[int], scale: Sequence[int], channels: int | None) -> Frame:
        """The frame of an output with other patch sizes, scale, or channels (0: no channel axis)."""
        axes, order, channel = list(self.axes), list(self.order), self.channel
        patched = [k for k in range(len(axes)) if not self._plain(k)]
        for k, p, s in zip(patched, patch, scale, strict=True):
            axes[k] = axes[k].resized(p, s)
        if channel is not None:
            if channels:
                axes[channel] = whole_axis(channels)
            else:
                gone = order.pop(channel)
                axes.pop(channel)
                order = [a - (a > gone) for a in order]
                channel = None
        elif channels:
            channel = len(axes)
            axes.append(whole_axis(channels))
            order.append(len(order))
        return Frame(self.grid, tuple(order), tuple(axes), self.n_batch, channel)


def whole_axis(size: int) -> AxisGrid:
    """An axis that is one patch."""
    return AxisGrid(size, size, 1, 1, 1, 0, 0)


def single_axis(size: int) -> AxisGrid:
    """An axis of patches of one element."""
    return AxisGrid(size, 1, 1, 1, size, 0, size - 1)


def frame_of(
    shape: tuple[int, ...],
    patch: Any,
    step: Any = 1,
    *,
    axes: Any = None,
    channel_axis: Any = None,
    **options: Any,
) -> Frame:
    """The frame of an image, from a grid or from the shorthand ``patch, step``."""
    ndim = len(shape)
    channel = None if channel_axis is None else as_axis(channel_axis, ndim, "channel_axis")
    if isinstance(patch, PatchGrid):
        refuse_both(step, options)
        places = patched_axes(ndim, patch.ndim, axes, channel)
        grid = patch
    else:
        places = patched_axes(ndim, patch_ndim(patch, ndim, axes, channel), axes, channel)
        try:
            grid = PatchGrid([shape[a] for a in places], patch, step, **options)
        except ValueError as error:
            hint = fewer_axes(shape, patch, places) if axes is None else None
            if hint is None:
                raise
            raise ValueError(hint) from error
    sizes = tuple(shape[a] for a in places)
    if sizes != grid.shape:
        raise ValueError(
            f"the grid was made for shape {grid.shape}, but axes {tuple(places)} of the image have {sizes}:"
            " make the grid from this image, or name its patched axes with axes="
        )
    return _arranged(shape, grid, places, channel)


def _arranged(
    shape: tuple[int, ...], grid: PatchGrid, places: Sequence[int], channel: int | None
) -> Frame:
    batch = [a for a in range(len(shape)) if a not in places and a != channel]
    order, axes, position = list(places), list(grid.axis_grids), None
    if channel is not None:
        position = sum(a < channel for a in places)
        order.insert(position, channel)
        axes.insert(position, whole_axis(shape[channel]))
        position += len(batch)
    axes = [single_axis(shape[a]) for a in batch] + axes
    return Frame(grid, (*batch, *order), tuple(axes), len(batch), position)


def fewer_axes(
    shape: Sequence[int], patch: Any, places: Sequence[int], channels: bool = True
) -> str | None:
    """Advice where one number for all axes is too large for some of them; None where that is not what is wrong."""
    if is_many(patch) or isinstance(patch, PatchGrid) or not isinstance(patch, int | np.integer):
        return None
    wide = tuple(a for a in places if shape[a] >= patch)
    thin = [a for a in places if shape[a] < patch]
    if not wide or not thin:
        return None
    short = f"patch=({', '.join([str(patch)] * len(wide))}{',' * (len(wide) == 1)})"
    last = wide == tuple(range(len(shape)))[-len(wide) :]
    cut = short if last else f"{short} with axes={wide}"
    sizes = " and ".join(f"axis {a} has {shape[a]}" for a in thin)
    inside = (
        f", or {short} with channel_axis={thin[-1]} for patches that hold all of axis {thin[-1]}"
    )
    return (
        f"patch={patch} asks for {patch} elements on every axis of an image of shape {tuple(shape)}, but {sizes}:"
        f" say {cut} to cut each entry of axis {thin[0]} by itself{inside if channels else ''};"
        " or use a smaller patch, or pad="
    )


def refuse_both(step: Any, options: dict[str, Any]) -> None:
    """A grid says everything, so a step beside it is a mistake."""
    given = ["step"] * (not (isinstance(step, int) and step == 1)) + [
        k for k, v in options.items() if not (isinstance(v, int) and v == 1)
    ]
    if given:
        raise TypeError(
            f"give a PatchGrid or patch with {' and '.join(given)}, not both: the grid already says it"
        )


def patch_ndim(patch: Any, ndim: int, axes: Any, channel: int | None) -> int:
    if type(patch) is tuple:
        return len(patch)
    if is_many(patch):
        return len(as_shape(patch, "patch"))
    if axes is not None:
        return len(tuple(axes)) if is_many(axes) else 1
    return ndim - (channel is not None)


def patched_axes(ndim: int, n: int, axes: Any, channel: int | None) -> tuple[int, ...]:
    """The image axes that are patched, by default the last ``n`` that are not the channel axis."""
    if axes is None:
        free = [a for a in range(ndim) if a != channel]
        if n > len(free) or n < 1:
            raise ValueError(
                f"the patch has {n} axes, but the image has {len(free)}"
                f"{' beside its channel axis' if channel is not None else ''}: give a patch of fewer axes"
            )
        return tuple(free[len(free) - n :])
    named = tuple(axes) if is_many(axes) else (axes,)
    places = tuple(as_axis(a, ndim, "axes") for a in named)
    if len(places) != n:
        raise ValueError(f"axes={axes!r} names {len(places)} axes for a patch of {n}")
    if len(set(places)) != n or channel in places:
        raise ValueError(f"axes={axes!r} and channel_axis must name different axes, each once")
    return places


def as_array(image: Any, name: str = "image") -> NDArray[Any]:
    """``image`` as an array with at least one element, refusing what would lose something."""
    if isinstance(image, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and patches would lose its mask: fill it first ({name}.filled(...)),"
            " or select patches with where="
        )
    refuse_path(image, name)
    if type(image).__module__.partition(".")[0] == "dask":
        raise TypeError(
            f"{name} is a dask array, and all of it would be computed here: map_patches and PatchMatrix"
            f" take it lazily; for this, say {name}.compute()"
        )
    array = to_array(image, name)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"{name} must have at least one axis and one element, got shape {array.shape}"
        )
    return array


def to_array(item: Any, name: str) -> NDArray[Any]:
    """``item`` as an array: of a torch tensor its own memory, or a TypeError that says what keeps it from that."""
    if not (hasattr(item, "detach") and hasattr(item, "requires_grad")):
        return unmasked(item, name)
    if item.device.type != "cpu":
        raise TypeError(f"{name} is a torch tensor on {item.device}: give its .detach().cpu()")
    if item.requires_grad:
        raise TypeError(
            f"{name} is a torch tensor that requires grad, and gradients would end here: give its .detach(),"
            " or call the network in torch.inference_mode() inside func, as that holds per thread"
        )
    try:
        return np.asarray(item.numpy())
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} is a torch tensor of {item.dtype} that NumPy has no array for ({error}):"
            " give its .float(), or another dense tensor"
        ) from None


def check_apart(out: NDArray[Any]) -> None:
    """Refuse an array of which several elements lie in one place: they cannot all be written."""
    reach = out.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True)):
        if n > 1 and stride < reach:
            raise ValueError(
                f"elements of out lie in the same memory (shape {out.shape}, strides {out.strides}): give an array"
                " of its own, such as out.copy()"
            )
        reach += (n - 1) * stride


def refuse_path(image: Any, name: str = "image") -> None:
    if isinstance(image, str | os.PathLike):
        raise TypeError(
            f"{name} is a path, {os.fspath(image)!r}, where an array is needed: open it first, as in"
            " numpy.asarray(pantile.files.open_image(path)); map_patches takes paths"
        )


def exchanged(items: Sequence[Any], frame: Frame, result: Frame, channel: Any) -> tuple[Any, ...]:
    """Things per axis of ``frame`` as things per axis of ``result``, whose channel axis may have come or gone."""
    kept = list(items)
    if frame.channel is not None:
        kept.pop(frame.channel)
    if result.channel is not None:
        kept.insert(result.channel, channel)
    return tuple(kept)

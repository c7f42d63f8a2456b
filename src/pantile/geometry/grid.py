"""The patch grid: where patches lie, as a frozen value that never enumerates them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .arguments import as_pad, as_per_axis, as_shape, is_many
from .arrays import as_dtype, to_array
from .axis import AxisGrid, resolve_axis
from .boundary import MAPPED_MODES, PAD_MODES, PadMode, mapped
from .sketch import sketch_html
from .tails import TAIL_NAMES, Tail

__all__ = ["PatchGrid"]

Region = tuple[slice, ...]


@dataclass(frozen=True, repr=False)
class PatchGrid:
    """Where the patches of an image lie: immutable, hashable, a few hundred bytes for any image.

    Parameters
    ----------
    shape : int or sequence of int
        Sizes of the patched axes, in elements (not of channel or batch axes).
    patch : int or sequence of int
        Shape of a patch, in samples.
    step : int or sequence of int
        Elements between neighbouring patches.
    dilation : int or sequence of int
        Elements between neighbouring samples of a patch.
    tail : {"shift", "respace", "pad", "drop", "center", "error"}
        What happens where the step does not divide: the last patch moves back to end at the edge
        (``shift``), all starts are spread evenly (``respace``), the image is extended past its end
        (``pad``), the rest stays uncovered at the end (``drop``) or at both ends alike (``center``),
        or a `ValueError` is raised (``error``).
    pad : int, one int or ``(before, after)`` per axis, or "same"
        Elements added around the image. ``"same"`` centres a patch on every ``step``-th element.
    pad_mode : str
        What lies outside the image, a mode of `numpy.pad` (all but ``empty``).
    pad_value : number
        The value of ``constant`` padding, and where ``linear_ramp`` ends.

    Raises
    ------
    ValueError, TypeError
        When an argument is out of its bounds; the message says what to do.

    Examples
    --------
    >>> grid = PatchGrid((100, 100), 39)
    >>> grid.counts, grid.n_patches, grid.features
    ((62, 62), 3844, 1521)
    >>> grid[63]
    (slice(1, 40, None), slice(1, 40, None))
    >>> bool(grid.coverage().sum() == grid.n_patches * grid.features)
    True
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    step: tuple[int, ...]
    dilation: tuple[int, ...]
    tail: Tail
    pad: tuple[tuple[int, int], ...] | str
    pad_mode: PadMode
    pad_value: complex

    def __init__(
        self,
        shape: int | Sequence[int],
        patch: int | Sequence[int],
        step: int | Sequence[int] = 1,
        *,
        dilation: int | Sequence[int] = 1,
        tail: Tail = "shift",
        pad: Any = 0,
        pad_mode: PadMode = "constant",
        pad_value: complex = 0,
    ) -> None:
        sizes = as_shape(shape)
        n = len(sizes)
        _check_choice(tail, TAIL_NAMES, "tail")
        _check_choice(pad_mode, PAD_MODES, "pad_mode")
        self.__dict__.update(  # the attributes of a frozen dataclass cannot be set one by one
            shape=sizes,
            patch=as_per_axis(patch, n, "patch"),
            step=as_per_axis(step, n, "step"),
            dilation=as_per_axis(dilation, n, "dilation"),
            tail=tail,
            pad=as_pad(pad, n),
            pad_mode=pad_mode,
            pad_value=_as_scalar(pad_value),
        )
        _ = self.axis_grids  # raises now what cannot be laid out

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.to_dict(),)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__qualname__, *(getattr(self, f.name) for f in fields(self))

    @cached_property
    def axis_grids(self) -> tuple[AxisGrid, ...]:
        """One `AxisGrid` per axis: the closed forms everything else is a product of."""
        pads: Sequence[Any] = (self.pad,) * self.ndim if isinstance(self.pad, str) else self.pad
        rows = zip(self.shape, self.patch, self.step, self.dilation, pads, strict=True)
        return tuple(
            resolve_axis(size, patch, step, dilation, self.tail, pad, axis)
            for axis, (size, patch, step, dilation, pad) in enumerate(rows)
        )

    @classmethod
    def from_overlap(
        cls,
        shape: int | Sequence[int],
        patch: int | Sequence[int],
        *,
        overlap: int | Sequence[int] | None = None,
        fraction: float | Sequence[float] | None = None,
        **options: Any,
    ) -> PatchGrid:
        """The grid whose neighbours share ``overlap`` samples, or a ``fraction`` of the patch.

        A fraction is turned into a whole step, rounded to the nearest and at least 1.

        >>> PatchGrid.from_overlap((100, 100), 16, overlap=4).step
        (12, 12)
        >>> PatchGrid.from_overlap((100, 100), 16, fraction=0.5).step
        (8, 8)
        """
        if (overlap is None) == (fraction is None):
            raise TypeError("from_overlap needs overlap= or fraction=, and not both")
        if "step" in options:
            raise TypeError(
                "from_overlap computes the step: leave step= out, or use PatchGrid itself"
            )
        n = len(as_shape(shape))
        sizes = as_per_axis(patch, n, "patch")
        dilations = as_per_axis(options.get("dilation", 1), n, "dilation")
        if overlap is not None:
            shared = as_per_axis(overlap, n, "overlap", least=0)
        else:
            shared = tuple(
                p - max(1, round(p * (1 - f)))
                for p, f in zip(sizes, _fractions(fraction, n), strict=True)
            )
        for p, o in zip(sizes, shared, strict=True):
            if o >= p:
                raise ValueError(
                    f"overlap must be smaller than the patch, got overlap={o} for patch={p}"
                )
        steps = [(p - o) * d for p, o, d in zip(sizes, shared, dilations, strict=True)]
        return cls(shape, patch, steps, **options)

    @property
    def ndim(self) -> int:
        """How many axes are patched."""
        return len(self.shape)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many patches along each axis."""
        return tuple(axis.count for axis in self.axis_grids)

    @property
    def n_patches(self) -> int:
        """How many patches in all."""
        return math.prod(self.counts)

    def __len__(self) -> int:
        return self.n_patches

    @property
    def features(self) -> int:
        """How many samples in a patch."""
        return math.prod(self.patch)

    @property
    def extent(self) -> tuple[int, ...]:
        """What a patch spans along each axis, ``(patch - 1) * dilation + 1`` elements."""
        return tuple(axis.extent for axis in self.axis_grids)

    @property
    def overlap(self) -> tuple[int, ...]:
        """Elements that the spans of neighbouring patches share (0 where they do not meet)."""
        return tuple(max(0, e - s) for e, s in zip(self.extent, self.step, strict=True))

    @property
    def margins(self) -> tuple[tuple[int, int], ...]:
        """Width of the padding ``(before, after)`` each axis, what ``tail="pad"`` adds included."""
        asked = ((0, 0),) * self.ndim if isinstance(self.pad, str) else self.pad
        return tuple(
            (max(before, -axis.start(0), 0), max(after, axis.end - axis.size, 0))
            for (before, after), axis in zip(asked, self.axis_grids, strict=True)
        )

    @property
    def starts(self) -> tuple[NDArray[np.int64], ...]:
        """Where patches start along each axis, one 1-D int64 array per axis (negative in padding)."""
        return tuple(axis.starts() for axis in self.axis_grids)

    @property
    def regular(self) -> bool:
        """Whether a strided view can express the grid: even steps, no padding touched."""
        return all(axis.regular for axis in self.axis_grids)

    @cached_property
    def rows(self) -> tuple[tuple[int, int, int, int], ...]:
        """Count, gap, patch and dilation per axis: what strides are made of; empty if not `regular`."""
        if not self.regular:
            return ()
        return tuple((a.count, a.gap, a.patch, a.dilation) for a in self.axis_grids)

    @property
    def covers(self) -> bool:
        """Whether every element of the image is touched by a patch."""
        return all(axis.covers for axis in self.axis_grids)

    def nbytes(self, dtype: DTypeLike = np.float64) -> int:
        """Bytes that the expanded matrix, ``n_patches x features``, would take."""
        return self.n_patches * self.features * as_dtype(dtype).itemsize

    def __getitem__(self, index: int | tuple[int, ...]) -> Region:
        """The region of a patch, by flat index or by one index per axis, clipped to the image."""
        at = self._position(index)
        return tuple(axis.region(i) for axis, i in zip(self.axis_grids, at, strict=True))

    def __iter__(self) -> Iterator[Region]:
        return (self[i] for i in range(self.n_patches))

    def _position(self, index: Any) -> tuple[int, ...]:
        if isinstance(index, tuple):
            return self._position_of_tuple(index)
        try:
            flat = operator.index(index)
        except TypeError:
            raise TypeError(
                f"a grid is indexed by a whole number or one per axis, got {index!r}"
            ) from None
        if not -self.n_patches <= flat < self.n_patches:
            raise IndexError(f"patch {flat} is out of range for a grid of {self.n_patches} patches")
        flat %= self.n_patches
        at = []
        for count in reversed(self.counts):
            flat, i = divmod(flat, count)
            at.append(i)
        return tuple(reversed(at))

    def _position_of_tuple(self, index: tuple[Any, ...]) -> tuple[int, ...]:
        if len(index) != self.ndim:
            raise IndexError(f"a grid of {self.ndim} axes needs {self.ndim} indices, got {index!r}")
        at = _as_indices(index, "a patch")
        if any(not -n <= i < n for i, n in zip(at, self.counts, strict=True)):
            raise IndexError(f"patch {index!r} is out of range for counts {self.counts}")
        return tuple(i % n for i, n in zip(at, self.counts, strict=True))

    def locate(self, element: int | Sequence[int]) -> NDArray[np.int64]:
        """Flat indices of the patches that touch an element of the image, ascending.

        >>> PatchGrid((4, 4), 2).locate((1, 1))
        array([0, 1, 3, 4])
        """
        at: tuple[Any, ...] = tuple(element) if is_many(element) else (element,)  # type: ignore[arg-type]
        if len(at) != self.ndim:
            raise IndexError(f"an element of this image has {self.ndim} indices, got {element!r}")
        position = _as_indices(at, "an element")
        if any(not -n <= i < n for i, n in zip(position, self.shape, strict=True)):
            raise IndexError(f"element {element!r} is outside an image of shape {self.shape}")
        touching = [
            axis.touching(i % axis.size) for axis, i in zip(self.axis_grids, position, strict=True)
        ]
        flat = np.zeros(1, dtype=np.int64)
        for hits, count in zip(touching, self.counts, strict=True):
            flat = (flat[:, None] * count + hits).ravel()
        return flat

    def coverage(self) -> NDArray[np.int64]:
        """How many patches touch each element: an int64 array of the image's shape."""
        total = np.ones((1,) * self.ndim, dtype=np.int64)
        for k, axis in enumerate(self.axis_grids):
            total = total * axis.coverage().reshape([-1 if j == k else 1 for j in range(self.ndim)])
        return total

    def centers(self, array: ArrayLike) -> NDArray[Any]:
        """The values of an image-shaped array at the patch centres, of shape ``(..., *counts)``.

        This is how a label image becomes the targets of the patch matrix. The centre is sample
        ``patch // 2``.

        Raises `ValueError` when a centre lies in the padding, where there is no label.

        >>> PatchGrid((3, 4), 3, pad="same").centers(np.arange(12).reshape(3, 4)).shape
        (3, 4)
        """
        values = to_array(
            array, "array", "fill it first, labels.filled(-1) for pixels without a label"
        )
        if values.ndim < self.ndim or values.shape[values.ndim - self.ndim :] != self.shape:
            raise ValueError(
                f"the last axes of array must have the grid's shape {self.shape}, got {values.shape}"
            )
        places = [axis.centers() for axis in self.axis_grids]
        for k, (at, axis) in enumerate(zip(places, self.axis_grids, strict=True)):
            if at[0] < 0 or at[-1] >= axis.size:
                raise ValueError(
                    f"patch centres on axis {k} run from {at[0]} to {at[-1]}, outside the {axis.size} elements"
                    " of the array: use less padding, or pad='same'"
                )
        where: tuple[Any, ...] = (..., *np.ix_(*places))
        result: NDArray[Any] = values[where]
        return result

    def flat_indices(self, rows: ArrayLike | None = None) -> NDArray[np.int64]:
        """Indices into ``image.ravel()`` of each patch's samples: an int64 array ``(rows, features)``.

        ``rows`` are flat patch indices, all by default: then the result has the size of the
        expanded matrix in int64. Padding that repeats the image is followed; other padding has no
        index and is a `ValueError`.

        >>> PatchGrid((3, 3), 2).flat_indices()
        array([[0, 1, 3, 4],
               [1, 2, 4, 5],
               [3, 4, 6, 7],
               [4, 5, 7, 8]])
        """
        wanted = self.as_rows(np.arange(self.n_patches) if rows is None else rows)
        if math.prod(self.shape) >= 1 << 63:
            raise ValueError(f"an image of shape {self.shape} has more elements than int64 numbers")
        at = np.unravel_index(wanted, self.counts)
        flat = np.zeros((len(wanted), 1), dtype=np.int64)
        for k, (axis, i) in enumerate(zip(self.axis_grids, at, strict=True)):
            samples = axis.starts_at(i)[:, None] + np.arange(axis.patch) * axis.dilation
            sums = flat[:, :, None] * axis.size + self._in_image(samples, k)[:, None, :]
            flat = sums.reshape(len(wanted), flat.shape[1] * axis.patch)
        return flat

    def _in_image(self, position: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        size = self.shape[k]
        outside = bool(((position < 0) | (position >= size)).any())
        if outside and self.pad_mode not in MAPPED_MODES:
            raise ValueError(
                f"patches reach into the padding on axis {k}, and pad_mode={self.pad_mode!r} has no index there:"
                f" use one of {', '.join(sorted(MAPPED_MODES))}, or extract()"
            )
        return mapped(position, size, self.pad_mode) if outside else position

    def as_rows(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Flat patch indices as a checked 1-D int64 array; negative ones count from the end."""
        rows = to_array(indices, "indices", "leave out what is masked, .compressed()")
        if rows.size == 0:
            return np.zeros(0, dtype=np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise TypeError(
                f"indices must be a 1-D array of whole numbers, got {_said(indices, rows)}"
            )
        if int(rows.min()) < -self.n_patches or int(rows.max()) >= self.n_patches:
            raise IndexError(
                f"indices run from {rows.min()} to {rows.max()}, but the grid has {self.n_patches} patches"
            )
        if self.n_patches >= 1 << 63:
            raise ValueError(
                f"the grid has {self.n_patches} patches, more than int64 numbers: take a part of the image"
            )
        rows = rows.astype(np.int64)
        return np.where(rows < 0, rows + self.n_patches, rows)

    def to_dict(self) -> dict[str, Any]:
        """The grid's arguments as plain values that JSON can hold; `from_dict` is the inverse."""
        value: Any = self.pad_value
        if isinstance(value, complex):
            value = {"real": value.real, "imag": value.imag}
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
        if not isinstance(self.pad, str):
            lists["pad"] = [list(pair) for pair in self.pad]
        return lists | {"pad_value": value}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PatchGrid:
        """The grid that `to_dict` described.

        >>> grid = PatchGrid((9, 9), 3, 2, pad=1)
        >>> PatchGrid.from_dict(grid.to_dict()) == grid
        True
        """
        names = [f.name for f in fields(cls)]
        if not isinstance(data, dict):
            raise TypeError(f"a grid is described by a dict of the keys {names}, got {data!r}")
        if set(data) != set(names):
            raise ValueError(f"a grid is described by the keys {names}, got {sorted(data)}")
        value = data["pad_value"]
        if isinstance(value, dict):
            if set(value) != {"real", "imag"}:
                raise ValueError(f"pad_value must be a number, or real and imag, got {value!r}")
            value = complex(value["real"], value["imag"])
        options = {k: data[k] for k in ("dilation", "tail", "pad", "pad_mode")}
        return cls(data["shape"], data["patch"], data["step"], **options, pad_value=value)

    def __repr__(self) -> str:
        defaults: dict[str, Any] = {
            "dilation": (1,) * self.ndim,
            "tail": "shift",
            "pad": ((0, 0),) * self.ndim,
        }
        defaults |= {"pad_mode": "constant", "pad_value": 0}
        extra = [
            f"{k}={_short(getattr(self, k))!r}"
            for k, v in defaults.items()
            if getattr(self, k) != v
        ]
        head = f"{self.shape}, {_short(self.patch)}, step={_short(self.step)}"
        return f"PatchGrid({', '.join([head, *extra])})"

    def _repr_html_(self) -> str:
        return sketch_html(self.axis_grids, repr(self))


def _rebuild(data: dict[str, Any]) -> PatchGrid:
    return PatchGrid.from_dict(data)


def _short(value: Any) -> Any:
    """One value instead of a tuple of equal ones."""
    return (
        value[0]
        if isinstance(value, tuple) and len(set(value)) == 1 and not isinstance(value[0], tuple)
        else value
    )


def _said(indices: Any, rows: NDArray[Any]) -> str:
    if isinstance(indices, slice):
        return f"{indices}: give numpy.arange(start, stop, step)"
    one = f": give [{indices}]" if rows.ndim == 0 and rows.dtype.kind in "iu" else ""
    return f"shape {rows.shape} and dtype {rows.dtype}{one}"


def _check_choice(value: Any, choices: Sequence[str], name: str) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _as_indices(index: tuple[Any, ...], name: str) -> tuple[int, ...]:
    try:
        return tuple(operator.index(i) for i in index)
    except TypeError:
        raise TypeError(f"{name} is named by whole numbers, one per axis, got {index!r}") from None


def _as_scalar(value: Any) -> Any:
    number = value.item() if isinstance(value, np.generic) else value
    if not isinstance(number, bool | int | float | complex):
        raise TypeError(f"pad_value must be a number, got {value!r}")
    return math.nan if number != number else number  # one NaN object, so that grids compare equal


def _fractions(fraction: Any, ndim: int) -> tuple[float, ...]:
    values = tuple(fraction) if isinstance(fraction, Sequence | np.ndarray) else (fraction,) * ndim
    if len(values) != ndim or any(not 0 <= float(f) < 1 for f in values):
        raise ValueError(
            f"fraction must be at least 0 and below 1, one or one per axis, got {fraction!r}"
        )
    return tuple(float(f) for f in values)

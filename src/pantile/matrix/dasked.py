"""`PatchMatrix` of a dask array: every product and sum as a lazy dask array, one task per region of the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..verbs.chunked import Bits, Tasks, check_chunks, chunked, is_dask, new_array
from ..verbs.extract import check_pad_value
from ..verbs.frame import Frame, frame_of, unlabelled
from ..verbs.selection import selected
from .guard import check_fits
from .indexing import INSTEAD, as_index
from .matrix import PatchMatrix
from .operands import operand
from .parts import Array, Part, Rows, Stack
from .region_tasks import (
    Shared,
    added,
    chosen_features,
    column_sums,
    covariance,
    gathered,
    gram_of,
    product,
    row_norms,
    row_sums,
    row_vars,
    rows_task,
    scatter,
    squares,
    sum_task,
    taken,
    transposed_product,
    variance,
)
from .regions import Spread, joined, spread_of
from .statistics import as_ddof, as_statistic_axis
from .table import BLOCK, Table
from .transposed import Transposed

__all__ = ["DaskPatchMatrix", "DaskTransposed"]

_BYTES = 128 << 20  # of a region of the image in float64; larger chunks are cut
_TOGETHER = 8  # partial sums that one task adds

Index = tuple[int, ...]


class DaskPatchMatrix(PatchMatrix):
    """What `PatchMatrix` makes of a dask array: the same matrix, its results dask arrays.

    The image is cut into regions that follow its chunks. Each is read with its halo by one task,
    which works on it as a `PatchMatrix` in memory; sums of the regions are added up in a tree, rows
    are put in order by dask. ``X[rows]`` is a dask array too, `blocks` computes what it yields. What
    would compute everything at once (``np.asarray``, `to_memmap`, `aslinearoperator`) is refused.

    Examples
    --------
    >>> import dask.array as da
    >>> import pantile as pt
    >>> image = da.arange(20, chunks=7).astype(float)
    >>> X = pt.PatchMatrix(image, 2)
    >>> X.gram()
    dask.array<patch-gram, shape=(2, 2), dtype=float64, chunksize=(2, 2), chunktype=numpy.ndarray>
    >>> (X @ [1, -1]).compute().tolist() == [-1.0] * 19
    True
    """

    def __init__(
        self,
        image: Any,
        patch: int | Sequence[int] | PatchGrid,
        step: int | Sequence[int] = 1,
        *,
        axes: int | Sequence[int] | None = None,
        channel_axis: int | None = None,
        where: Any = None,
        center: bool = False,
        scale: bool = False,
    ) -> None:
        image, where = unlabelled(image), unlabelled(where)
        if not is_dask(image):
            raise TypeError(
                "a list with dask arrays is not one matrix: make a PatchMatrix of each, and add what they give"
            )
        check_chunks(image)
        if image.dtype.kind not in "biufc":
            raise TypeError(f"image must hold numbers, got dtype {image.dtype}")
        if is_dask(where):
            raise TypeError(
                "where must be in memory, as it decides how many rows there are: where=where.compute()"
            )
        frame = frame_of(tuple(image.shape), patch, step, axes=axes, channel_axis=channel_axis)
        check_pad_value(frame, np.dtype(image.dtype))
        mask = None if where is None else selected(where, frame)
        self._prepare(image, frame, mask, bool(center), bool(scale))

    def _prepare(
        self, image: Any, frame: Frame, mask: NDArray[np.bool_] | None, center: bool, scale: bool
    ) -> None:
        mask = None if mask is None or mask.all() else mask
        self._image, self._frame, self._mask = image, frame, mask
        self._layout = chunked(image, frame, partial(_fits, frame))
        rows: Rows = range(frame.n_patches) if mask is None else np.flatnonzero(mask)
        unread: Any = _Unread(frame.shape, np.dtype(image.dtype))
        self._table = Table(Stack((Part(unread, frame),)), rows, center, scale)

    @classmethod
    def _made(cls, *parts: Any) -> DaskPatchMatrix:
        matrix: DaskPatchMatrix = object.__new__(cls)
        matrix._prepare(*parts)
        return matrix

    def __reduce__(self) -> tuple[Any, ...]:
        table = self._table
        return DaskPatchMatrix._made, (
            self._image,
            self._frame,
            self._mask,
            table.center,
            table.scale,
        )

    def __repr__(self) -> str:
        tasks = math.prod(self._layout.shape)
        return f"{super().__repr__()[:-1]}; dask, {tasks} region{'s' * (tasks != 1)}>"

    @property
    def T(self) -> Transposed:
        return DaskTransposed(self)

    def __getitem__(self, key: Any) -> Any:
        """Slices of rows give a smaller lazy matrix; rows, and features of all rows, give dask arrays."""
        rows, features = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(features, slice) and features == slice(None):
            return self._slice(rows) if isinstance(rows, slice) else self._chosen(rows)
        if not (isinstance(rows, slice) and rows == slice(None)):
            return (
                self[rows][..., features]
                if not isinstance(rows, slice)
                else self[rows][:, features]
            )
        features = np.arange(self.shape[1])[features]
        if np.ndim(features) > 1:
            raise IndexError(f"features must be a number or one-dimensional, got {features!r}")
        return self._by_rows(
            "patch-features", chosen_features, np.shape(features), self.dtype, features
        )

    def _slice(self, rows: slice) -> DaskPatchMatrix:
        if rows.indices(len(self))[2] < 0:
            raise IndexError(
                "rows of a dask array's matrix are sliced forwards: use X[rows] with numbers"
            )
        mask = np.zeros(self._frame.n_patches, bool)
        mask[np.asarray(self._table.rows[rows], dtype=np.int64)] = True
        if not mask.any():
            raise IndexError(f"{rows} leaves no row of {len(self)}")
        table = self._table
        shaped = mask.reshape(self._frame.counts)
        return DaskPatchMatrix._made(self._image, self._frame, shaped, table.center, table.scale)

    def _chosen(self, rows: Any) -> Any:
        """Rows as one block of a dask array, from the regions that have any of them."""
        at = as_index(rows, len(self), "row")
        nbytes = at.size * self.shape[1] * self.dtype.itemsize
        check_fits(nbytes, f"{at.size} rows", INSTEAD)
        numbers = np.asarray(self._table.rows, dtype=np.int64)[at.ravel()]
        tasks, name, reads = self._begin("patch-rows", at)
        parts, places = [], []
        for index, place, local in spread_of(self._layout, numbers):
            tasks.put(
                (f"{name}-part", *index),
                taken,
                tasks.ref(f"{name}-shared"),
                index,
                Spread(local),
                *reads(index),
            )
            parts.append(tasks.ref((f"{name}-part", *index)))
            places.append(place)
        shape = (*at.shape, self.shape[1])
        tasks.put((name, *(0,) * len(shape)), gathered, Spread(*places), shape, self.dtype, *parts)
        return new_array(tasks, name, [(n,) for n in shape], self.dtype, {}, self._image)

    def __matmul__(self, right: Any) -> Any:
        found = self._operand(right, self.shape[1], "X @ V", "feature")
        dtype = self._dtype(found)
        return self._by_rows("patch-product", product, tuple(found.shape[1:]), dtype, found)

    def __rmatmul__(self, left: Any) -> Any:
        turned = left.T if is_dask(left) else np.asarray(left).T
        return self._transposed_times(turned, "V @ X").T

    def _transposed_times(self, right: Any, said: str) -> Any:
        found = self._operand(right, len(self), said, "row")
        shape = self.shape[1], *found.shape[1:]
        spread = self._on_grid(found, said)
        return self._summed(
            "patch-sums", transposed_product, shape, self._dtype(found), blocks=spread
        )

    def _operand(self, value: Any, size: int, said: str, name: str) -> Any:
        if not is_dask(value):
            return operand(value, size, said, name)
        check_chunks(value)
        if value.dtype.kind not in "biufc" or value.ndim not in (1, 2) or value.shape[0] != size:
            raise ValueError(
                f"{said}: numbers with one row per {name} are needed, {size} of them,"
                f" got shape {value.shape} of {value.dtype}"
            )
        return value

    def _dtype(self, other: Any) -> np.dtype[Any]:
        found = np.result_type(self._table.work, np.complex128 if other.dtype.kind == "c" else "f8")
        return np.dtype(found)

    def gram(self) -> Any:
        """``conj(X).T @ X``, the sum of the Gram matrices of the regions, each as in memory."""
        return self._summed("patch-gram", gram_of, (self.shape[1],) * 2, self._table.work)

    def cov(self, ddof: int = 1) -> Any:
        """Covariance of the features, from the moments of the regions (Chan, Golub, LeVeque, 1979)."""
        shape, dtype = (self.shape[1],) * 2, self._table.work
        divided = partial(covariance, as_ddof(ddof))
        return self._summed("patch-cov", scatter, shape, dtype, joined, divided)

    def sum(self, axis: int | None = None) -> Any:
        """Sum over rows (0), features (1), or everything (None)."""
        which = as_statistic_axis(axis)
        if which == 1:
            return self._by_rows("patch-sum", row_sums, (), self._table.work)
        shape = () if which is None else (self.shape[1],)
        return self._summed("patch-sum", partial(column_sums, which), shape, self._table.work)

    def mean(self, axis: int | None = None) -> Any:
        """Mean over rows (0), features (1), or everything (None)."""
        which = as_statistic_axis(axis)
        return self.sum(axis) / {None: self.size, 0: len(self), 1: self.shape[1]}[which]

    def var(self, axis: int | None = None, ddof: int = 0) -> Any:
        """Variance over rows (0), features (1), or everything (None)."""
        which, taken = as_statistic_axis(axis), as_ddof(ddof)
        if which == 1:
            return self._by_rows("patch-var", partial(row_vars, taken), (), np.dtype(float))
        shape = () if which is None else (self.shape[1],)
        found = partial(squares, which)
        divided = partial(variance, taken)
        return self._summed("patch-var", found, shape, np.dtype(float), joined, divided)

    def std(self, axis: int | None = None, ddof: int = 0) -> Any:
        """Standard deviation over rows (0), features (1), or everything (None)."""
        import dask.array

        return dask.array.sqrt(self.var(axis, ddof))

    def row_norms(self) -> Any:
        """Euclidean norm of each row."""
        return self._by_rows("patch-norms", row_norms, (), np.dtype(float))

    def blocks(self, nbytes: int = BLOCK) -> Iterator[tuple[slice, Array]]:
        """Consecutive rows as ``(rows, block)``, each computed when it is its turn.

        Every block reads the chunks it lies in anew: let ``nbytes`` be some rows of chunks, or persist
        the image.
        """
        size = max(1, int(nbytes) // (self.dtype.itemsize * self.shape[1]))
        for begin in range(0, len(self), size):
            rows = slice(begin, min(begin + size, len(self)))
            yield rows, np.asfortranarray(self[np.arange(rows.start, rows.stop)].compute())

    def aslinearoperator(self) -> Any:
        raise _computes("aslinearoperator() computes the whole image for every product")

    def to_memmap(self, path: Any) -> Array:
        raise _computes("to_memmap() writes from an image in memory")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise _computes("numpy.asarray of this PatchMatrix would compute the image and expand it")

    # How results come about

    def _begin(self, what: str, *asked: Any) -> tuple[Tasks, str, Callable[[Index], list[Any]]]:
        """Tasks that know the layout, under the name that is the result's, and what reads the image."""
        from dask.base import tokenize

        table = self._table
        shared = Shared(self._layout, table.center, table.scale)
        token = tokenize(self._image, shared, self._mask, *asked)
        tasks, name = Tasks(), f"{what}-{token}"
        tasks.keep(f"{name}-shared", shared)
        return tasks, name, self._layout.read_tasks(tasks, self._image, f"patch-read-{token}")

    def _regions(self) -> Iterator[tuple[Index, Bits | None]]:
        """Regions with selected rows, and which."""
        for index in self._layout.indices():
            ranges = self._layout.tile(index).ranges
            mask = None if self._mask is None else self._mask[tuple(slice(*r) for r in ranges)]
            if mask is None or mask.any():
                yield index, None if mask is None else Bits.of(mask)

    def _by_rows(
        self, what: str, function: Any, width: Index, dtype: Any, value: Any = None
    ) -> Any:
        """``function(matrix, value)`` of every region, ``(rows, *width)``, in the order of rows."""
        tasks, name, reads = self._begin(what, function, value)
        given, sources = _whole(tasks, name, value)
        kept, tail = self._kept, (0,) * len(width)
        regions = dict(self._regions())
        for index in self._layout.indices():
            counts = self._layout.tile(index).counts
            shape = (*(counts[k] for k in kept), *width)
            key = (name, *(index[k] for k in kept), *tail)
            if index in regions:
                args = function, index, regions[index], shape, dtype, given
                tasks.put(key, rows_task, tasks.ref(f"{name}-shared"), *args, *reads(index))
            else:
                tasks.put(key, np.zeros, shape, dtype)
        chunks = [*self._counts_along, *([n] for n in width)]
        whole = new_array(tasks, name, chunks, dtype, {}, self._image, *sources)
        flat = whole.reshape(-1, *width)
        return flat if self._mask is None else flat[np.asarray(self._table.rows)]

    def _summed(
        self,
        what: str,
        function: Any,
        shape: Index,
        dtype: Any,
        combine: Callable[..., Any] | None = None,
        finish: Callable[[Any], Array] = np.asarray,
        blocks: Any = None,
    ) -> Any:
        """The sum of ``function(matrix, block)`` over all regions, in a tree; ``combine`` adds partial ones."""
        tasks, name, reads = self._begin(what, function, finish, blocks)
        level = []
        for index, mask in self._regions():
            key = (f"{name}-part", *index)
            given = (
                None if blocks is None else tasks.ref((blocks.name, *self._place(index, blocks)))
            )
            tasks.put(
                key,
                sum_task,
                tasks.ref(f"{name}-shared"),
                function,
                index,
                mask,
                given,
                *reads(index),
            )
            level.append(key)
        depth = 0
        while len(level) > 1:
            groups = [level[k : k + _TOGETHER] for k in range(0, len(level), _TOGETHER)]
            level = [(f"{name}-tree", depth, k) for k in range(len(groups))]
            for key, group in zip(level, groups, strict=True):
                tasks.put(key, combine or added, *map(tasks.ref, group))
            depth += 1
        tasks.put((name, *(0,) * len(shape)), finish, tasks.ref(level[0]))
        sources = [self._image] if blocks is None else [self._image, blocks]
        return new_array(tasks, name, [(n,) for n in shape], dtype, {}, *sources)

    @property
    def _kept(self) -> list[int]:
        return [k for k in range(len(self._frame.axes)) if k != self._frame.channel]

    @property
    def _counts_along(self) -> list[list[int]]:
        return [[end - begin for begin, end in self._layout.tiles[k]] for k in self._kept]

    def _place(self, index: Index, blocks: Any) -> Index:
        at = tuple(index[k] for k in self._kept)
        return (*at, *(0,) * (blocks.ndim - len(at)))

    def _on_grid(self, right: Any, said: str) -> Any:
        """``(n_rows, ...)`` as a dask array ``(*counts, ...)`` in the chunks of the regions."""
        import dask.array

        counts = tuple(self._frame.counts[k] for k in self._kept)
        tail = tuple(right.shape[1:])
        if is_dask(right):
            if self._mask is not None:
                raise TypeError(
                    f"{said} with where= or a slice takes an array in memory: U.compute()"
                )
            shaped = right.reshape(*counts, *tail)
        else:
            values = right
            if self._mask is not None:
                values = np.zeros((self._frame.n_patches, *tail), right.dtype)
                values[np.asarray(self._table.rows)] = right
            shaped = dask.array.from_array(values.reshape(*counts, *tail), chunks=-1)
        chunks = (*map(tuple, self._counts_along), *tail)
        return shaped.rechunk(chunks)


class DaskTransposed(Transposed):
    """``X.T`` of a dask array's matrix."""

    _matrix: DaskPatchMatrix

    def __matmul__(self, right: Any) -> Any:
        if right is self._matrix and self.dtype.kind != "c":
            return self._matrix.gram()
        return self._matrix._transposed_times(right, "X.T @ U")

    def __rmatmul__(self, left: Any) -> Any:
        return (self._matrix @ (left.T if is_dask(left) else np.asarray(left).T)).T


class _Unread:
    """Stands where an image in memory would; only dask tasks read a dask array."""

    def __init__(self, shape: Index, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)

    def __getitem__(self, key: Any) -> Any:
        raise _computes("this needs the image in memory")

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise _computes("this needs the image in memory")


def _computes(what: str) -> TypeError:
    return TypeError(
        f"{what}, and the image is a dask array: use X @ V, X.T @ U, X.gram(), X.cov(), X.mean(0), X.blocks(),"
        " X.sample(n) or X[rows], or PatchMatrix(image.compute(), ...) where it fits in memory"
    )


def _fits(frame: Frame, lengths: Sequence[int]) -> bool:
    rows = zip(lengths, frame.axes, strict=True)
    return 8 * math.prod(n + axis.extent - 1 for n, axis in rows) <= _BYTES


def _whole(tasks: Tasks, name: str, value: Any) -> tuple[Any, list[Any]]:
    """How tasks get at a small array: kept in the graph once, or a dask array in one chunk."""
    if value is None:
        return None, []
    if is_dask(value):
        one = value.rechunk(-1)
        return tasks.ref((one.name, *(0,) * one.ndim)), [one]
    tasks.keep(f"{name}-given", value)
    return tasks.ref(f"{name}-given"), []

"""`PatchMatrix` of a dask array: every product and sum as a lazy dask array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import PatchGrid
from ...geometry.arrays import to_array
from ...geometry.frame import Frame, frame_of
from ...geometry.limits import LIMITS, Limits
from ...ops.arrays import unlabelled
from ...ops.chunked import check_chunks, is_dask
from ...ops.extract import check_pad_value
from ...ops.selection import selected
from ..guard import check_fits
from ..matrix import PatchMatrix
from ..product.operands import check_operand
from ..selection.indexing import INSTEAD, as_index
from ..selection.selection import Selection
from ..selection.stack import Array, GriddedImage, Stack
from ..statistics.statistics import as_ddof, as_statistic_axis
from ..transposed import Transposed
from . import tasks
from .graph import RegionGraph
from .scatter import compute_cov, compute_var, join

__all__ = ["DaskPatchMatrix", "DaskTransposed"]

Index = tuple[int, ...]


class DaskPatchMatrix(PatchMatrix):
    """What `PatchMatrix` makes of a dask array: the same matrix, its results dask arrays.

    The image is cut into regions that follow its chunks. Each is read with its halo by one task,
    which works on it as a `PatchMatrix` in memory. Sums of the regions are added up in a tree; rows
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
        self._set(image, frame, mask, bool(center), bool(scale))

    def _set(
        self,
        image: Any,
        frame: Frame,
        mask: NDArray[np.bool_] | None,
        center: bool,
        scale: bool,
        limits: Limits = LIMITS,
    ) -> None:
        mask = None if mask is None or mask.all() else mask
        self._graph = RegionGraph(image, frame, mask, center, scale, limits)
        unread: Any = _Unread(frame.shape, np.dtype(image.dtype))
        stack = Stack((GriddedImage(unread, frame),))
        self.selection = Selection(stack, self._graph.rows, center, scale, limits)

    def __reduce__(self) -> tuple[Any, ...]:
        graph, shown = self._graph, self.selection
        return _rebuild, (graph.image, graph.frame, graph.mask, shown.center, shown.scale)

    def _replace_limits(self, limits: Limits) -> DaskPatchMatrix:
        rebuild, state = self.__reduce__()
        return rebuild(*state, limits)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        n = self._graph.n_regions
        return f"{super().__repr__()[:-1]}; dask, {n} region{'s' * (n != 1)}>"

    @property
    def T(self) -> Transposed:
        return DaskTransposed(self)

    def __getitem__(self, key: Any) -> Any:
        """Slices of rows give a smaller lazy matrix; rows, and features of all rows, give dask arrays."""
        rows, features = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(features, slice) and features == slice(None):
            return self._slice(rows) if isinstance(rows, slice) else self._take(rows)
        if not (isinstance(rows, slice) and rows == slice(None)):
            return (
                self[rows][..., features]
                if not isinstance(rows, slice)
                else self[rows][:, features]
            )
        features = np.arange(self.shape[1])[features]
        if np.ndim(features) > 1:
            raise IndexError(f"features must be a number or one-dimensional, got {features!r}")
        return self._map(
            "patch-features", tasks.take_features, np.shape(features), self.dtype, features
        )

    def _slice(self, rows: slice) -> DaskPatchMatrix:
        if rows.indices(len(self))[2] < 0:
            raise IndexError(
                "rows of a dask array's matrix are sliced forwards: use X[rows] with numbers"
            )
        graph, shown = self._graph, self.selection
        mask = np.zeros(graph.frame.n_patches, bool)
        mask[np.asarray(shown.rows[rows], dtype=np.int64)] = True
        if not mask.any():
            raise IndexError(f"{rows} leaves no row of {len(self)}")
        shaped = mask.reshape(graph.frame.counts)
        return _rebuild(graph.image, graph.frame, shaped, shown.center, shown.scale, shown.limits)

    def _take(self, rows: Any) -> Any:
        """Rows as one block of a dask array, from the regions that have any of them."""
        at = as_index(rows, len(self), "row")
        nbytes = at.size * self.shape[1] * self.dtype.itemsize
        check_fits(nbytes, f"{at.size} rows", INSTEAD)
        numbers = np.asarray(self.selection.rows, dtype=np.int64)[at.ravel()]
        return self._graph.take(at, numbers, self.shape[1], self.dtype)

    def __matmul__(self, right: Any) -> Any:
        found = _check_operand(right, self.shape[1], "X @ V", "feature")
        dtype = self._result_dtype(found)
        return self._map("patch-product", tasks.multiply, tuple(found.shape[1:]), dtype, found)

    def __rmatmul__(self, left: Any) -> Any:
        turned = left.T if is_dask(left) else to_array(left, "the operand of V @ X").T
        return self.transposed_times(turned, "V @ X").T

    def transposed_times(self, right: Any, expression: str) -> Any:
        """``X.T @ right``; ``expression`` is what messages call it."""
        found = _check_operand(right, len(self), expression, "row")
        shape = self.shape[1], *found.shape[1:]
        blocks = self._graph.place_on_grid(found, expression)
        dtype, function = self._result_dtype(found), tasks.multiply_transposed
        return self._graph.sum_regions("patch-sums", function, shape, dtype, blocks=blocks)

    def _result_dtype(self, other: Any) -> np.dtype[Any]:
        factor = np.complex128 if other.dtype.kind == "c" else "f8"
        return np.dtype(np.result_type(self.selection.work, factor))

    def _map(self, what: str, function: Any, width: Index, dtype: Any, value: Any = None) -> Any:
        return self._graph.map_regions(what, function, width, dtype, value)

    def gram(self) -> Any:
        """``conj(X).T @ X``, the sum of the Gram matrices of the regions, each as in memory."""
        shape = (self.shape[1],) * 2
        return self._graph.sum_regions("patch-gram", tasks.gram, shape, self.selection.work)

    def cov(self, ddof: int = 1) -> Any:
        """Covariance of the features, from the moments of the regions (Chan, Golub, LeVeque, 1979)."""
        shape, dtype = (self.shape[1],) * 2, self.selection.work
        finish = partial(compute_cov, as_ddof(ddof, len(self)))
        return self._graph.sum_regions("patch-cov", tasks.cov_scatter, shape, dtype, join, finish)

    def sum(self, axis: int | None = None) -> Any:
        """Sum over rows (0), features (1), or everything (None)."""
        which, dtype = as_statistic_axis(axis), self.selection.work
        if which == 1:
            return self._map("patch-sum", tasks.sum_features, (), dtype)
        shape = () if which is None else (self.shape[1],)
        function = partial(tasks.sum_elements, which)
        return self._graph.sum_regions("patch-sum", function, shape, dtype)

    def mean(self, axis: int | None = None) -> Any:
        """Mean over rows (0), features (1), or everything (None)."""
        which = as_statistic_axis(axis)
        return self.sum(axis) / {None: self.size, 0: len(self), 1: self.shape[1]}[which]

    def var(self, axis: int | None = None, ddof: float = 0) -> Any:
        """Variance over rows (0), features (1), or everything (None)."""
        which = as_statistic_axis(axis)
        ddof_ = as_ddof(ddof, {None: self.size, 0: len(self), 1: self.shape[1]}[which])
        if which == 1:
            return self._map("patch-var", partial(tasks.row_var, ddof_), (), np.dtype(float))
        shape, dtype = () if which is None else (self.shape[1],), np.dtype(float)
        function, finish = partial(tasks.var_scatter, which), partial(compute_var, ddof_)
        return self._graph.sum_regions("patch-var", function, shape, dtype, join, finish)

    def std(self, axis: int | None = None, ddof: float = 0) -> Any:
        """Standard deviation over rows (0), features (1), or everything (None)."""
        import dask.array

        return dask.array.sqrt(self.var(axis, ddof))

    def row_norms(self) -> Any:
        """Euclidean norm of each row."""
        return self._map("patch-norms", tasks.row_norms, (), np.dtype(float))

    def blocks(self, nbytes: int = LIMITS.row_block_bytes) -> Iterator[tuple[slice, Array]]:
        """Consecutive rows as ``(rows, block)``, each computed when it is its turn.

        Every block reads the chunks it lies in anew: let ``nbytes`` be some rows of chunks, or persist
        the image.
        """
        size = max(1, int(nbytes) // (self.dtype.itemsize * self.shape[1]))
        for begin in range(0, len(self), size):
            rows = slice(begin, min(begin + size, len(self)))
            yield rows, np.asfortranarray(self[np.arange(rows.start, rows.stop)].compute())

    def aslinearoperator(self) -> Any:
        raise _refuse("aslinearoperator() computes the whole image for every product")

    def to_memmap(self, path: Any) -> Array:
        raise _refuse("to_memmap() writes from an image in memory")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise _refuse("numpy.asarray of this PatchMatrix would compute the image and expand it")


class DaskTransposed(Transposed):
    """``X.T`` of a dask array's matrix."""

    _matrix: DaskPatchMatrix

    def __matmul__(self, right: Any) -> Any:
        if right is self._matrix and self.dtype.kind != "c":
            return self._matrix.gram()
        return self._matrix.transposed_times(right, "X.T @ U")

    def __rmatmul__(self, left: Any) -> Any:
        return (
            self._matrix @ (left.T if is_dask(left) else to_array(left, "the operand of V @ X").T)
        ).T


class _Unread:
    """Stands where an image in memory would be; only dask tasks read a dask array."""

    def __init__(self, shape: Index, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)

    def __getitem__(self, key: Any) -> Any:
        raise _refuse("this needs the image in memory")

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise _refuse("this needs the image in memory")


def _rebuild(*state: Any) -> DaskPatchMatrix:
    """The matrix of what `DaskPatchMatrix._set` takes."""
    matrix: DaskPatchMatrix = object.__new__(DaskPatchMatrix)
    matrix._set(*state)
    return matrix


def _check_operand(value: Any, size: int, expression: str, name: str) -> Any:
    """A dense vector or matrix, or a dask array of one, with ``size`` rows, one per ``name``."""
    if not is_dask(value):
        return check_operand(value, size, expression, name)
    check_chunks(value)
    if value.dtype.kind not in "biufc" or value.ndim not in (1, 2) or value.shape[0] != size:
        raise ValueError(
            f"{expression}: numbers with one row per {name} are needed, {size} of them,"
            f" got shape {value.shape} of {value.dtype}"
        )
    return value


def _refuse(what: str) -> TypeError:
    return TypeError(
        f"{what}, and the image is a dask array: use X @ V, X.T @ U, X.gram(), X.cov(), X.mean(0), X.blocks(),"
        " X.sample(n) or X[rows], or PatchMatrix(image.compute(), ...) where it fits in memory"
    )

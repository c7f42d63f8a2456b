"""The lazy matrix whose rows are all patches."""

from __future__ import annotations

import html
import inspect
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_count
from ..geometry.arrays import to_array
from ..geometry.limits import LIMITS, Limits
from .estimate import estimate_gram, estimate_product
from .export import make_operator, write_memmap
from .gram.moments import compute_moments
from .guard import check_fits, format_bytes
from .numpy_functions import LAZY, advise
from .product.operands import LazyMatrix, times, transposed_times
from .selection.indexing import INSTEAD, take
from .selection.selection import Rows, Selection, rows_where
from .selection.stack import Array, GriddedImage, Stack, grid_images
from .statistics.statistics import (
    as_ddof,
    compute_mean,
    compute_row_norms,
    compute_sum,
    compute_var,
)
from .transposed import Transposed

__all__ = ["PatchMatrix", "add_kind", "matrix_of", "with_limits"]


class PatchMatrix(LazyMatrix):
    """A lazy matrix: one row per patch, one column per feature, nothing copied.

    Row ``r`` is the ``r``-th patch of `extract`, flattened: ``PatchMatrix(image, grid)`` is
    ``extract(image, grid).reshape(-1, features)`` without its memory. Sums and products run in
    float64 (complex128 for complex images), whatever the image's dtype.

    Parameters
    ----------
    image : array_like, or list of arrays
        Any N-D array of numbers, however strided; it is not copied (only reversed axes are). The
        rows of several images, of any sizes, follow each other. Of a dask array every result is a
        dask array, see `pantile.matrix.dask`; of a tensor of another library products are tensors.
    patch, step
        The shape of a patch and the elements between patches, or a `PatchGrid`; for a list of images
        one grid each.
    axes, channel_axis
        As in `extract`. Batch axes become more rows, a channel axis more features.
    where : array of bool, optional
        Which rows: a mask of the image's shape (patches that touch a True) or of the grid's counts
        (exactly those); for a list of images a list of them.
    center, scale : bool
        Take the mean out of each row; divide each row by its norm (after centring). Rows of norm 0
        stay 0. Integers become float64.

    Raises
    ------
    MemoryError
        By whatever would give an array larger than half of the free memory. The message says how
        much it is and what to use instead.

    Notes
    -----
    ``X @ V`` is a valid correlation of the image with the columns of ``V``, and ``X.T @ U`` its
    adjoint: both go by FFT in blocks (overlap-save, Stockham 1966) where vectors are few and patches
    large, by BLAS on blocks of rows otherwise; `explain` says which and why. An FFT's rounding is
    relative to the largest elements of a block; NaN and infinity make it use blocks of rows.
    `gram`, `cov` and `mean` take time and memory that grow with the image.

    Examples
    --------
    >>> import pantile as pt
    >>> image = np.arange(20.0).reshape(4, 5)
    >>> X = pt.PatchMatrix(image, (2, 2))
    >>> X.shape
    (12, 4)
    >>> X[0]
    array([0., 1., 5., 6.])
    >>> X.mean(axis=0)
    array([ 6.5,  7.5, 11.5, 12.5])
    >>> bool(np.allclose(X.T @ (X @ np.ones(4)), X.gram() @ np.ones(4)))
    True
    """

    selection: Selection
    """The rows it shows, as data: what the rest of pantile works on."""

    def __new__(cls, image: Any = None, *_: Any, **__: Any) -> PatchMatrix:
        if cls is PatchMatrix:
            for takes, load in _KINDS:
                if takes(image):
                    cls = load()
                    break
        return object.__new__(cls)

    def __init__(
        self,
        image: ArrayLike | Sequence[ArrayLike],
        patch: int | Sequence[int] | PatchGrid | Sequence[PatchGrid],
        step: int | Sequence[int] = 1,
        *,
        axes: int | Sequence[int] | None = None,
        channel_axis: int | None = None,
        where: ArrayLike | Sequence[ArrayLike] | None = None,
        center: bool = False,
        scale: bool = False,
    ) -> None:
        images, is_list = grid_images(image, patch, step, axes, channel_axis)
        stack = Stack(images)
        rows: Rows = range(stack.n_rows)
        if where is not None:
            rows = rows_where(stack, where if is_list else [where])
        self.selection = Selection(stack, rows, bool(center), bool(scale))

    def __reduce__(self) -> tuple[Any, ...]:
        selection = self.selection
        return _rebuild, (selection.stack.images, selection.rows, selection.center, selection.scale)

    def _replace_limits(self, limits: Limits) -> PatchMatrix:
        return matrix_of(replace(self.selection, limits=limits))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return self.selection.n_rows, self.selection.features

    @property
    def dtype(self) -> np.dtype[Any]:
        """The image's dtype; float64 for integers whose rows are centred or scaled."""
        return self.selection.dtype

    @property
    def ndim(self) -> int:
        return 2

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that the expanded matrix would take."""
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Transposed:
        """The transpose, for ``X.T @ U``."""
        return Transposed(self)

    @property
    def grids(self) -> tuple[PatchGrid, ...]:
        """The grid of each image."""
        return tuple(image.frame.grid for image in self.selection.stack.images)

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """The shape of a patch, its channel axis included: ``X[i].reshape(X.patch_shape)``."""
        return self.selection.stack.images[0].frame.patch_shape

    def __len__(self) -> int:
        return self.selection.n_rows

    def __repr__(self) -> str:
        images, selection = self.selection.stack.images, self.selection
        grids = f"{len(images)} images" if len(images) > 1 else repr(images[0].frame.grid)
        options = [name for name in ("center", "scale") if getattr(selection, name)]
        if selection.n_rows != selection.stack.n_rows:
            options.append(f"of {selection.stack.n_rows} rows")
        head = f"{selection.n_rows} x {selection.features} {self.dtype}, {format_bytes(self.nbytes)} if expanded"
        return f"<PatchMatrix {'; '.join([head, grids, *options])}>"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    def __iter__(self) -> Iterator[Array]:
        # numpy.vstack(X), tuple(X) and the like would gather every row
        raise TypeError(
            "a PatchMatrix is not iterated row by row: use X.blocks(), or X[i] for one row"
        )

    @overload
    def __getitem__(self, key: slice) -> PatchMatrix: ...
    @overload
    def __getitem__(
        self, key: SupportsIndex | Sequence[int] | Sequence[bool] | NDArray[Any]
    ) -> Array: ...
    @overload
    def __getitem__(self, key: Any) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """Slices of rows give a smaller lazy matrix; rows, features and elements give arrays.

        ``X[rows]`` (whole numbers or a mask), ``X[i]``, ``X[:, features]`` and ``X[rows,
        features]`` mean what they mean in NumPy; none makes more than what it gives.
        """
        found = take(self.selection, key)
        return matrix_of(found) if isinstance(found, Selection) else found

    def __matmul__(self, right: Any) -> Array:
        return times(self.selection, right)

    def __rmatmul__(self, left: Any) -> Array:
        return transposed_times(self.selection, to_array(left, "the operand of V @ X").T, "V @ X").T

    def gram(self) -> Array:
        """``conj(X).T @ X``, ``(features, features)``, exact in float64 (complex128).

        It is computed by lags: one correlation of the image with itself by FFT, and the patches at
        its faces (see `pantile.matrix.gram.lags`). A constant is taken out before and added back
        after, so large means cost no digits. Of a ``where``, the rectangles in it go by lags and the
        rest in blocks of rows, as everything does with ``center`` or ``scale``.

        >>> X = PatchMatrix(np.arange(4), 2)
        >>> X.gram()
        array([[ 5.,  8.],
               [ 8., 14.]])
        """
        return compute_moments(self.selection).gram()

    def cov(self, ddof: int = 1) -> Array:
        """Covariance of the features, as ``numpy.cov(X, rowvar=False, ddof=ddof)``."""
        return compute_moments(self.selection).cov(as_ddof(ddof, len(self)))

    @overload
    def sum(self, axis: None = None) -> Any: ...
    @overload
    def sum(self, axis: int) -> Array: ...
    def sum(self, axis: int | None = None) -> Any:
        """Sum over rows (0), features (1), or everything (None)."""
        return compute_sum(self.selection, axis)

    @overload
    def mean(self, axis: None = None) -> Any: ...
    @overload
    def mean(self, axis: int) -> Array: ...
    def mean(self, axis: int | None = None) -> Any:
        """Mean over rows (0), features (1), or everything (None)."""
        return compute_mean(self.selection, axis)

    @overload
    def var(self, axis: None = None, ddof: float = 0) -> Any: ...
    @overload
    def var(self, axis: int, ddof: float = 0) -> Array: ...
    def var(self, axis: int | None = None, ddof: float = 0) -> Any:
        """Variance over rows (0), features (1), or everything (None)."""
        return compute_var(self.selection, axis, ddof)

    @overload
    def std(self, axis: None = None, ddof: float = 0) -> Any: ...
    @overload
    def std(self, axis: int, ddof: float = 0) -> Array: ...
    def std(self, axis: int | None = None, ddof: float = 0) -> Any:
        """Standard deviation over rows (0), features (1), or everything (None)."""
        return np.sqrt(compute_var(self.selection, axis, ddof))

    def row_norms(self) -> NDArray[np.float64]:
        """Euclidean norm of each row."""
        return compute_row_norms(self.selection)

    def blocks(self, nbytes: int = LIMITS.row_block_bytes) -> Iterator[tuple[slice, Array]]:
        """Consecutive rows as ``(rows, block)``, in a buffer that is used again: copy what you keep.

        ``block`` is ``(n, features)`` in feature layout, the transpose of a contiguous array, which
        is what BLAS takes as well; it has at most about ``nbytes`` bytes.

        >>> X = PatchMatrix(np.arange(6), 2)
        >>> [(rows, block.shape) for rows, block in X.blocks(nbytes=48)]
        [(slice(0, 3, None), (3, 2)), (slice(3, 5, None), (2, 2))]
        """
        for rows, columns in self.selection.blocks(as_count(nbytes, "nbytes"), by_feature=True):
            yield rows, columns.T

    def sample(self, n: int, rng: Any = None) -> tuple[Array, NDArray[np.int64]]:
        """``n`` different rows at random, and their indices: ``(X[indices], indices)``.

        ``rng`` is a `numpy.random.Generator` or a seed.
        """
        n = as_count(n, "n", least=0)
        if n > len(self):
            raise ValueError(f"n must be between 0 and the {len(self)} rows, got {n}")
        indices = np.random.default_rng(rng).choice(len(self), n, replace=False)
        return self[indices], indices

    def explain(self, columns: int | ArrayLike = 1) -> str:
        """How products with so many columns (or with that array) and `gram` would go, with estimates.

        >>> print(PatchMatrix(np.zeros((2000, 2000)), 39).explain())
        X @ V, 1 column: boxes
        ...
        """
        array = np.asarray(columns)
        k = as_count(array[()], "columns") if array.ndim == 0 else math.prod(array.shape[1:])
        selection = self.selection
        ways = estimate_product(selection, k), estimate_product(selection, k, adjoint=True)
        return "\n".join(map(str, (*ways, estimate_gram(selection))))

    def aslinearoperator(self) -> Any:
        """A `scipy.sparse.linalg.LinearOperator`, for ``svds``, ``lsqr``, ``lobpcg`` and the like."""
        return make_operator(self.selection)

    def to_memmap(self, path: str | os.PathLike[str]) -> Array:
        """Write the expanded matrix to a ``.npy`` file and return it as a read-only memory map.

        It is streamed in blocks under a temporary name and renamed when it is complete.
        """
        return write_memmap(self.selection, path)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a PatchMatrix cannot become an array without a copy")
        held = self.selection.dtype
        itemsize = max(held.itemsize, np.dtype(dtype or held).itemsize)
        check_fits(self.size * itemsize, f"the expanded matrix, {self.shape}", INSTEAD)
        found = np.empty(self.shape, dtype or self.dtype)
        selection = self.selection
        if not selection.plain:
            for rows, columns in selection.blocks():
                found[rows] = columns.T
            return found
        n, features = self.shape
        size, same = selection.limits.numbered_rows, found.dtype == held
        if not same:  # converted while it is in cache
            size = min(size, max(1, selection.limits.row_block_bytes // (8 * features * itemsize)))
        spare = np.empty((0 if same else min(size, n), features), held)
        for begin in range(0, n, size):
            part = found[begin : begin + size]
            cut = part if same else spare[: len(part)]
            selection.stack.cut(selection.row_numbers(begin, begin + len(part)), cut.T)
            if not same:
                part[...] = cut
        return found

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul and method == "__call__" and not options:
            left, right = inputs
            return self.__matmul__(right) if left is self else self.__rmatmul__(left)
        raise advise(ufunc.__name__)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function not in LAZY:
            raise advise(function.__name__)
        return LAZY[function](*args, **options)


# what `help` shows: `__new__` takes anything, and only looks at the image
_signature = inspect.signature(PatchMatrix.__init__)
PatchMatrix.__signature__ = _signature.replace(  # type: ignore[attr-defined]
    parameters=list(_signature.parameters.values())[1:]
)


_KINDS: list[tuple[Callable[[Any], bool], Callable[[], type[PatchMatrix]]]] = []


def add_kind(takes: Callable[[Any], bool], load: Callable[[], type[PatchMatrix]]) -> None:
    """Let `PatchMatrix` of an image that ``takes(image)`` be of the class that ``load()`` gives."""
    _KINDS.append((takes, load))


def matrix_of(selection: Selection) -> PatchMatrix:
    """The matrix in memory that shows a selection."""
    matrix: PatchMatrix = object.__new__(PatchMatrix)
    matrix.selection = selection
    return matrix


def with_limits(matrix: PatchMatrix, limits: Limits) -> PatchMatrix:
    """The same matrix, whose work keeps to other limits."""
    return matrix._replace_limits(limits)


def _rebuild(
    images: tuple[GriddedImage, ...], rows: Rows, center: bool, scale: bool
) -> PatchMatrix:
    """A matrix from its pickle. Limits are not in there: they are those of the process that reads it."""
    return matrix_of(Selection(Stack(images), rows, center, scale))

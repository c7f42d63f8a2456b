"""The transpose of a lazy matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry.arrays import to_array
from .numpy_functions import advise
from .product.operands import LazyMatrix, times, transposed_times
from .selection.stack import Array

if TYPE_CHECKING:
    from .matrix import PatchMatrix

__all__ = ["Transposed"]


class Transposed(LazyMatrix):
    """``X.T``: for products, and to be turned back. Everything else is asked of ``X``."""

    def __init__(self, matrix: PatchMatrix) -> None:
        self._matrix = matrix

    @property
    def T(self) -> PatchMatrix:
        return self._matrix

    @property
    def shape(self) -> tuple[int, int]:
        return self._matrix.shape[::-1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._matrix.dtype

    @property
    def ndim(self) -> int:
        return 2

    @property
    def size(self) -> int:
        return self._matrix.size

    @property
    def nbytes(self) -> int:
        return self._matrix.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{self._matrix!r}.T"

    def __matmul__(self, right: Any) -> Array:
        if right is self._matrix and self.dtype.kind != "c":
            return np.asarray(self._matrix.gram())
        return transposed_times(self._matrix.selection, right)

    def __rmatmul__(self, left: Any) -> Array:
        found = times(self._matrix.selection, to_array(left, "the operand of V @ X.T").T, "V @ X.T")
        return found.T

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self._matrix.__array__(dtype, copy).T

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul and method == "__call__" and not options:
            left, right = inputs
            return left.__matmul__(right) if left is self else self.__rmatmul__(left)
        raise advise(ufunc.__name__)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is np.dot and not options:
            return args[0] @ args[1]
        if function in (np.shape, np.ndim, np.transpose) and len(args) == 1:
            return {np.shape: self.shape, np.ndim: 2, np.transpose: self.T}[function]
        raise advise(function.__name__)

"""What differs between libraries of arrays: their namespace, names of dtypes, constants, assignment."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tensors import library_of

__all__ = [
    "as_dtype_name",
    "constant",
    "convert",
    "dtype_name",
    "float_name",
    "is_float",
    "namespace_of",
    "put",
    "working_name",
    "zeros",
]

Tensor = Any  # an array of any library
_HALF = ("float16", "bfloat16")
_FLOATS = (*_HALF, "float32", "float64", "complex64", "complex128")


def namespace_of(array: Tensor) -> Any:
    """The module with the functions of the array API standard for ``array``."""
    try:
        from array_api_compat import array_namespace
    except ImportError:
        if hasattr(array, "__array_namespace__"):
            return array.__array_namespace__()
        raise ImportError(
            f"arrays of {library_of(array)} that are not in main memory, and gradients of merges other than mean and"
            ' sum, need array-api-compat: pip install "pantile[tensors]"'
        ) from None
    return array_namespace(array)


def dtype_name(dtype: Any) -> str:
    """``"float32"`` of any library's float32."""
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]


def as_dtype_name(dtype: Any) -> str | None:
    """What a caller gives as ``dtype=``, by its name: a library's own dtype, NumPy's, or a name."""
    if dtype is None:
        return None
    if isinstance(dtype, str | type | np.dtype):
        return "bfloat16" if str(dtype) == "bfloat16" else np.dtype(dtype).name
    return dtype_name(dtype)


def is_float(name: str) -> bool:
    """Whether a dtype holds floats or complex numbers, so that its sums need no other."""
    return name in _FLOATS


def working_name(name: str) -> str:
    """The dtype that values of a dtype are summed in: float32 for halves, int64 for integers."""
    if name in _HALF:
        return "float32"
    if is_float(name):
        return name
    return "uint64" if name.startswith("uint") else "int64"


def float_name(xp: Any) -> str:
    """float64, or float32 where the library has no other (JAX unless it is told to)."""
    try:
        known = xp.__array_namespace_info__().dtypes(kind="real floating")
    except AttributeError:
        return "float64"
    return "float64" if "float64" in known else "float32"


def convert(xp: Any, array: Tensor, name: str) -> Tensor:
    """``array`` in the dtype of that name."""
    if dtype_name(array.dtype) == name:
        return array
    return xp.astype(array, getattr(xp, name))


def constant(xp: Any, table: NDArray[Any], like: Tensor) -> Tensor:
    """A table of the host as an array beside ``like``."""
    if library_of(like) == "jax":  # under jit there is no device to name
        return xp.asarray(table)
    table = np.require(table, requirements=["C", "W"])
    return xp.asarray(table, device=like.device)


def zeros(xp: Any, shape: tuple[int, ...], like: Tensor, value: complex | None = None) -> Tensor:
    """A new array of ``value`` (0 by default), of the dtype and on the device of ``like``."""
    if library_of(like) == "torch":  # by the tensor itself: within vmap it makes one per entry
        made = like.new_zeros(shape)
        return made if value is None else made.fill_(value)
    beside = {} if library_of(like) == "jax" else {"device": like.device}
    if value is None:
        return xp.zeros(shape, dtype=like.dtype, **beside)
    return xp.full(shape, value, dtype=like.dtype, **beside)


def put(
    target: Tensor, place: tuple[Any, ...], values: Tensor, combine: Callable[[Any, Any], Any]
) -> Tensor:
    """``target`` with ``combine(target[place], values)`` in its place; in the array itself where that can be."""
    found = combine(target[place], values)
    if hasattr(target, "at"):  # JAX, whose arrays do not change
        return target.at[place].set(found)
    if combine is not operator.add and getattr(found, "requires_grad", False):
        target = target.clone()  # its gradient will ask for what was there
    target[place] = found
    return target

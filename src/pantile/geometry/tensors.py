"""Arrays of other libraries: which library an array is of, found without importing any."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["holds_tensor", "library_of", "refuse_mixed", "tensor_verbs", "tensors_package"]

# where a library keeps the class of its arrays; asked only if the library is imported already
_CLASSES = {"torch": "Tensor", "jax": "Array", "cupy": "ndarray"}
_PLAIN = (np.ndarray, np.generic, list, tuple, int, float, complex, str, bytes, type(None))
_PACKAGE = __name__.partition(".")[0]


def library_of(array: Any) -> str | None:
    """``"torch"``, ``"jax"``, ``"cupy"``, another library that follows the array API standard, by its name, or
    None for NumPy's arrays and whatever is no array of such a library.

    >>> library_of(np.zeros(3)) is None
    True
    """
    if isinstance(array, _PLAIN):
        return None
    for library, name in _CLASSES.items():
        module = sys.modules.get(library)
        if module is not None and isinstance(array, getattr(module, name, ())):
            return library
    kind = type(array)
    root: str = kind.__module__.partition(".")[0]
    standard = hasattr(kind, "__array_namespace__") and root not in ("numpy", "dask", "xarray")
    return root if standard else None


def holds_tensor(image: Any) -> bool:
    """Whether ``image`` is an array of another library, or a list that has one."""
    images = image if isinstance(image, list | tuple) else [image]
    return any(library_of(each) is not None for each in images)


def tensor_verbs(array: Any) -> Any:
    """The verbs for ``array`` of another library; None for what NumPy's verbs take.

    They build on NumPy's, so they are not imported here but found where users find them, which loads them.
    """
    if type(array) is np.ndarray or library_of(array) is None:
        return None
    return tensors_package()


def tensors_package() -> Any:
    """Where the verbs for other libraries are; loaded when something is asked of it."""
    return sys.modules[_PACKAGE].tensors


def refuse_mixed(array: Any, name: str, others: Mapping[str, Any]) -> None:
    """Raise `TypeError` where one of ``others`` is an array, but not of the library of the array ``name``."""
    library = library_of(array) or "numpy"
    for other, value in others.items():
        found = "numpy" if isinstance(value, np.ndarray) else library_of(value)
        if found is not None and found != library:
            raise TypeError(
                f"{name} is an array of {library} and {other} one of {found}: give both of one library"
            )

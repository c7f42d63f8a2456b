"""Plain loops that numba compiles when they are first called."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any

__all__ = ["compiled"]


_CACHE_TROUBLE = (
    OSError,
    EOFError,
    ValueError,
    ImportError,
    AttributeError,
    pickle.PickleError,
)


class compiled:
    """A function compiled by numba at its first call: serial, without the GIL, cached on disk.

    Importing a module of kernels thus costs nothing. Where no cache folder can be written, or what
    lies there cannot be read, the function is compiled without a cache. ``options`` are numba's.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.options = {"nogil": True, "error_model": "numpy", **options}
        self._dispatcher: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        dispatcher = self._dispatcher or self._compile(cache=True)
        try:
            return dispatcher(*args)
        except _CACHE_TROUBLE:
            # the loops raise none of these: they come from reading or writing the cache, before any
            # loop has run
            return self._compile(cache=False)(*args)

    def _compile(self, cache: bool) -> Callable[..., Any]:
        import numba

        try:
            self._dispatcher = numba.njit(self.function, cache=cache, **self.options)
        except RuntimeError:  # numba finds no folder for its cache
            self._dispatcher = numba.njit(self.function, **self.options)
        return self._dispatcher

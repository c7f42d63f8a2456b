"""Plain loops that numba compiles when they are first called."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from functools import cache, update_wrapper
from types import ModuleType
from typing import Any

from .cache import keep_on_disk

__all__ = ["compiled", "compiled_with", "known_to_numba"]


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
        update_wrapper(self, function)
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

    def plain(self) -> Callable[..., Any]:
        """The function that numba is given."""
        return self.function

    def _compile(self, cache: bool) -> Callable[..., Any]:
        numba, function = _load_numba(), self.plain()
        dispatcher: Callable[..., Any] = numba.njit(function, **self.options)
        if cache:
            try:
                keep_on_disk(dispatcher)
            except (RuntimeError, AttributeError):  # no folder, or kept in a way that is not known
                dispatcher = numba.njit(function, **self.options)
        self._dispatcher = dispatcher
        return dispatcher


class compiled_with(compiled):
    """A loop nest that several operations share, compiled with the ``bodies`` of one of them.

    ``nest(*bodies)`` returns the loop. A body that is called at every element takes and returns
    numbers: each array that is passed to it would be counted as a reference there (measured: 2 to
    30 times as slow).

    Bodies and nest must stand in the same file: numba compiles anew when the file of the nest has
    changed, and does not see the file of a body.
    """

    def __init__(
        self, nest: Callable[..., Any], *bodies: Callable[..., Any], **options: Any
    ) -> None:
        super().__init__(nest, **options)
        self.bodies = bodies

    def plain(self) -> Callable[..., Any]:
        """The nest around the bodies, under a name of its own: numba's cache has one index for each name."""
        loop: Callable[..., Any] = self.function(*map(known_to_numba, self.bodies))
        named = [body.__name__ for body in self.bodies]
        loop.__qualname__ = ".".join([self.function.__name__, *named])
        return loop


_BLAS = "scipy.linalg.cython_blas"


class _Later(ModuleType):
    """Stands for a module that is imported when somebody wants something of it."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@cache
def _load_numba() -> Any:
    """numba, ready to load what it has compiled before.

    It imports SciPy's linear algebra on the way, only to see that it is there (a third of the time
    of a first call). Our loops use none of it, and SciPy is there, since pantile needs it.
    """
    here = sys.modules.setdefault(_BLAS, _Later(_BLAS))
    try:
        numba = importlib.import_module("numba")
        importlib.import_module("numba.np.arraymath")
    finally:
        if isinstance(here, _Later) and sys.modules.get(_BLAS) is here:
            del sys.modules[_BLAS]
    return numba


@cache
def known_to_numba(body: Callable[..., Any]) -> Callable[..., Any]:
    """A function that loops may call; compiled with each of them."""
    from numba.extending import register_jitable

    known: Callable[..., Any] = register_jitable(body)
    return known

"""Names of a package that are loaded when they are first used, and listed before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str,
    homes: Mapping[str, str] | None = None,
    modules: Sequence[str] = (),
    *,
    hidden: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package (PEP 562), which is imported in next to no time.

    ``homes`` tells in which of its modules each name lives, ``modules`` are those that are offered
    themselves, ``hidden`` those that are there and not listed. ``check`` is called before a name is
    loaded, and raises where a library is missing.
    """
    places = dict(homes or {})

    def get(name: str) -> Any:
        if name in modules or name in hidden:
            return import_module(f".{name}", package)
        here = sys.modules[package]
        if name not in places:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=here
            )
        check()
        value = getattr(import_module(f".{places[name]}", package), name)
        setattr(here, name, value)
        return value

    def offered() -> list[str]:
        inner = (name for name in vars(sys.modules[package]) if name.startswith("__"))
        return sorted({*places, *modules, *inner})

    return get, offered

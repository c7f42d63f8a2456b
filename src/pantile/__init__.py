"""Overlapping patches of N-D arrays: cut without copying, work on them, merge them back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.map import map_patches, plan
    from .engine.plan import Plan
    from .geometry import PatchGrid
    from .matrix import PatchMatrix, masked_patchify
    from .verbs.custom import Merge
    from .verbs.extract import extract
    from .verbs.merger import Merger
    from .verbs.patchify import patchify
    from .verbs.unpatchify import unpatchify

__version__ = "0.1.0"
__all__ = [
    "Merge",
    "Merger",
    "PatchGrid",
    "PatchMatrix",
    "Plan",
    "extract",
    "map_patches",
    "masked_patchify",
    "patchify",
    "plan",
    "unpatchify",
]

# Where each name lives; it is loaded when it is first used, so that importing pantile costs next to nothing.
_HOMES = {
    "Merge": "verbs.custom",
    "Merger": "verbs.merger",
    "PatchGrid": "geometry",
    "PatchMatrix": "matrix",
    "Plan": "engine.plan",
    "extract": "verbs.extract",
    "map_patches": "engine.map",
    "masked_patchify": "matrix",
    "patchify": "verbs.patchify",
    "plan": "engine.map",
    "unpatchify": "verbs.unpatchify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pantile' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

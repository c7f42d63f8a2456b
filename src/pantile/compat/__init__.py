"""The names people already use, with their signatures, on pantile's verbs: change one import.

One module per library: `numpy`, `skimage`, `sklearn`, `patchify`, `torch` and `matlab`. Results are
the originals' (values, dtypes, view or copy, types of errors); where an original loses or distorts
data without a word, ours refuses or has a named option. ``docs/compat.md`` lists every such place.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["matlab", "numpy", "patchify", "skimage", "sklearn", "torch"]


def __getattr__(name: str) -> ModuleType:
    # scikit-learn and torch are imported by nobody who does not ask for them
    if name not in __all__:
        raise AttributeError(f"module 'pantile.compat' has no attribute {name!r}")
    return import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Optional packages, imported where they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_optional"]


def import_optional(module: str, purpose: str) -> Any:
    """The module, or an ImportError that says what needs it and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        named = "Pillow" if package == "PIL" else package
        raise ImportError(f'{purpose} needs {named}: pip install "pantile[io]"') from error

"""Pictures of grids and patches (extra: `pantile[plot]`).

Every function takes ``ax=None`` (then the current axes), draws on it, and returns it; none shows a
figure or changes a setting of matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from .layout import grid
    from .maps import coverage, weight_sum
    from .panels import components, montage

__all__ = ["components", "coverage", "grid", "montage", "weight_sum"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "components": "panels",
            "coverage": "maps",
            "grid": "layout",
            "montage": "panels",
            "weight_sum": "maps",
        },
    )

"""Pictures of grids and patches (extra: `pantile[plot]`).

Every function takes ``ax=None`` (then the current axes), draws on it, and returns it; none shows a
figure or changes a setting of matplotlib.
"""

from .layout import grid
from .maps import coverage, weight_sum
from .mosaic import components, montage

__all__ = ["components", "coverage", "grid", "montage", "weight_sum"]

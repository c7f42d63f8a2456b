"""Where patches lie: whole numbers only, no array of image size unless one is asked for."""

from .axis import AxisGrid
from .grid import PatchGrid

__all__ = ["AxisGrid", "PatchGrid"]

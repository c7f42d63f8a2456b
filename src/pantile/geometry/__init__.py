"""Where patches lie: whole numbers only, no array of image size unless one is asked for."""

from .axis import AxisGrid, single_axis, whole_axis
from .grid import PatchGrid

__all__ = ["AxisGrid", "PatchGrid", "single_axis", "whole_axis"]

"""Overlapping patches of N-D arrays: cut without copying, work on them, merge them back."""

from .geometry import PatchGrid

__version__ = "0.1.0"
__all__ = ["PatchGrid"]

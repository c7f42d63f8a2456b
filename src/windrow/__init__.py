"""Overlapping patches of N-D arrays: cut without copying, work on them, merge them back."""

from .geometry import PatchGrid
from .verbs.extract import extract
from .verbs.patchify import patchify

__version__ = "0.1.0"
__all__ = ["PatchGrid", "extract", "patchify"]

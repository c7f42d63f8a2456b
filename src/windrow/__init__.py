"""Overlapping patches of N-D arrays: cut without copying, work on them, merge them back."""

from .engine import Plan, map_patches, plan
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

"""Overlapping patches of N-D arrays: cut without copying, work on them, merge them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import lazy_names

if TYPE_CHECKING:
    from . import (
        compat as compat,
    )
    from . import (
        denoise as denoise,
    )
    from . import (
        files as files,
    )
    from . import (
        integrations as integrations,
    )
    from . import (
        learn as learn,
    )
    from . import (
        plot as plot,
    )
    from . import (
        tensors as tensors,
    )
    from . import (
        testing as testing,
    )
    from . import (
        tileset as tileset,
    )
    from .geometry import PatchGrid
    from .matrix import PatchMatrix, masked_patchify
    from .merge.custom import Merge
    from .ops.extract import extract
    from .ops.merger import Merger
    from .ops.patchify import patchify
    from .ops.unpatchify import unpatchify
    from .stream.map import map_patches, plan
    from .stream.plan import Plan

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

_PACKAGES = ["compat", "denoise", "files", "integrations", "learn", "plot", "testing", "tileset"]
_HOMES = {
    "Merge": "merge.custom",
    "Merger": "ops.merger",
    "PatchGrid": "geometry",
    "PatchMatrix": "matrix",
    "Plan": "stream.plan",
    "extract": "ops.extract",
    "map_patches": "stream.map",
    "masked_patchify": "matrix",
    "patchify": "ops.patchify",
    "plan": "stream.map",
    "unpatchify": "ops.unpatchify",
}

if not TYPE_CHECKING:  # a type checker reads the imports above, and sees a name that is misspelt
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, _PACKAGES, hidden=["tensors"])

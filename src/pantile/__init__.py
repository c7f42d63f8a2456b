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
    from .instances import join_labels
    from .matrix import PatchMatrix, masked_patchify
    from .merge.custom import Merge
    from .merge.weighted import Weighted
    from .ops.extract import extract
    from .ops.merger import Merger
    from .ops.patchify import patchify
    from .ops.unpatchify import unpatchify
    from .search.similar import Matches, similar
    from .stream.job import Indexed
    from .stream.map import map_patches, plan
    from .stream.plan import Plan

__version__ = "0.1.0"
__all__ = [
    "Indexed",
    "Matches",
    "Merge",
    "Merger",
    "PatchGrid",
    "PatchMatrix",
    "Plan",
    "Weighted",
    "extract",
    "join_labels",
    "map_patches",
    "masked_patchify",
    "patchify",
    "plan",
    "similar",
    "unpatchify",
]

_PACKAGES = ["compat", "denoise", "files", "integrations", "learn", "plot", "testing", "tileset"]
_HOMES = {
    "Matches": "search.similar",
    "Indexed": "stream.job",
    "Merge": "merge.custom",
    "Merger": "ops.merger",
    "PatchGrid": "geometry",
    "PatchMatrix": "matrix",
    "Plan": "stream.plan",
    "Weighted": "merge.weighted",
    "extract": "ops.extract",
    "join_labels": "instances",
    "map_patches": "stream.map",
    "masked_patchify": "matrix",
    "patchify": "ops.patchify",
    "plan": "stream.map",
    "similar": "search.similar",
    "unpatchify": "ops.unpatchify",
}

if not TYPE_CHECKING:  # a type checker reads the imports above, and sees a name that is misspelt
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, _PACKAGES, hidden=["tensors"])

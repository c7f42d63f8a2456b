"""Overlapping patches of N-D arrays: cut without copying, work on them, merge them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import lazy_names

if TYPE_CHECKING:
    from . import (
        compat as compat,
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
        testing as testing,
    )
    from . import (
        tileset as tileset,
    )
    from .engine.map import map_patches, plan
    from .engine.plan import Plan
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

_PACKAGES = ["compat", "files", "integrations", "learn", "plot", "testing", "tileset"]
_HOMES = {
    "Merge": "verbs.custom",
    "Merger": "verbs.merger",
    "PatchGrid": "geometry",
    "PatchMatrix": "matrix",
    "Plan": "engine.plan",
    "extract": "verbs.extract",
    "map_patches": "engine.map",
    "masked_patchify": "matrix",
    "patchify": "verbs.patchify",
    "plan": "engine.map",
    "unpatchify": "verbs.unpatchify",
}

if not TYPE_CHECKING:  # a type checker reads the imports above, and sees a name that is misspelt
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, _PACKAGES)

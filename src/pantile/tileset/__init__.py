"""Patches as files: a folder of tiles (or one array) with a manifest that holds the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from .manifest import Manifest, read_manifest
    from .merge import merge_tiles
    from .write import write_tiles

__all__ = ["Manifest", "merge_tiles", "read_manifest", "write_tiles"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Manifest": "manifest",
            "merge_tiles": "merge",
            "read_manifest": "manifest",
            "write_tiles": "write",
        },
    )

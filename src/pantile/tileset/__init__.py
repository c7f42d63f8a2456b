"""Patches as files: a folder of tiles (or one array) with a manifest that holds the grid."""

from .manifest import Manifest, read_manifest
from .merge import merge_tiles
from .write import write_tiles

__all__ = ["Manifest", "merge_tiles", "read_manifest", "write_tiles"]

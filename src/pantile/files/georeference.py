"""Where on Earth the pixels of a TIFF lie, carried from an image to its result."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Georeference"]


@dataclass(frozen=True)
class Georeference:
    """The tags of a GeoTIFF."""

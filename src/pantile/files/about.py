"""What a result is beside its elements: the names of its axes, their coordinates, which one holds channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .georeference import Georeference

__all__ = ["About"]


@dataclass(frozen=True)
class About:
    """What may be stored with a result; each format keeps what it has a place for.

    ``dims`` is one name per axis. ``coords`` is an `xarray.Dataset` of coordinates, None where the
    image had none. ``channel`` is the axis of samples of a pixel, None where there is none.
    """

    dims: tuple[str, ...]
    coords: Any = None
    channel: int | None = None
    georeference: Georeference | None = None

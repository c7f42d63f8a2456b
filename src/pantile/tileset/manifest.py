"""What a set of tiles is: the image it was cut from, the grid, and how tiles are named; plain JSON."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..geometry import PatchGrid
from ..geometry.arguments import as_axis, as_shape
from ..geometry.frame import Frame, frame_of

__all__ = ["MANIFEST", "Manifest", "is_array", "manifest_path", "read_manifest"]

MANIFEST = "pantile-tiles.json"
_FORMAT = 1
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Manifest:
    """The image a set of tiles was cut from, how, and how the tiles are named.

    Tile ``i`` (flat, C order, batch axes first) is the file ``prefix`` + ``i`` with ``digits`` digits,
    of any suffix that can be read; in one array it is the patch at that place of the grid.
    """

    shape: tuple[int, ...]
    dtype: str
    grid: PatchGrid
    axes: tuple[int, ...]
    channel_axis: int | None
    prefix: str = "tile-"
    digits: int = 6

    @property
    def frame(self) -> Frame:
        return frame_of(self.shape, self.grid, 1, axes=self.axes, channel_axis=self.channel_axis)

    @property
    def n_tiles(self) -> int:
        return self.frame.n_patches

    def stem(self, index: int) -> str:
        """The name of a tile's file, without its suffix."""
        return f"{self.prefix}{index:0{self.digits}d}"

    def to_json(self) -> str:
        data = {"pantile-tiles": _FORMAT, **asdict(self), "grid": self.grid.to_dict()}
        return json.dumps(data, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest that `to_json` wrote. Raises `ValueError` with what is wrong with it."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"no JSON: {error}") from None
        if not isinstance(data, dict) or data.pop("pantile-tiles", None) != _FORMAT:
            raise ValueError(f'no manifest of tiles: "pantile-tiles": {_FORMAT} is missing')
        names = list(cls.__dataclass_fields__)
        if sorted(data) != sorted(names):
            raise ValueError(f"a manifest has the keys {names}, got {sorted(data)}")
        return cls(**_parse_entries(data))


def _parse_entries(data: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(data["prefix"], str) or not _PREFIX.fullmatch(data["prefix"]):
        raise ValueError(
            f"prefix must be a plain file name of letters, digits, '-', '_' and '.', got {data['prefix']!r}"
        )
    if not isinstance(data["digits"], int) or not 1 <= data["digits"] <= 18:
        raise ValueError(f"digits must be between 1 and 18, got {data['digits']!r}")
    if not isinstance(data["dtype"], str) or not isinstance(data["grid"], dict):
        raise ValueError("dtype must be a name and grid an object, as PatchGrid.to_dict gives it")
    try:
        np.dtype(data["dtype"])
    except TypeError:
        raise ValueError(f"dtype={data['dtype']!r} is no dtype") from None
    shape = as_shape(data["shape"])
    axes = tuple(as_axis(a, len(shape), "axes") for a in data["axes"])
    channel = data["channel_axis"]
    channel = None if channel is None else as_axis(channel, len(shape), "channel_axis")
    grid = PatchGrid.from_dict(data["grid"])
    return {**data, "shape": shape, "axes": axes, "channel_axis": channel, "grid": grid}


def manifest_path(place: str | os.PathLike[str]) -> Path:
    """Where the manifest of a folder of tiles, or of one array, is."""
    path = Path(place)
    return path.with_name(path.name + ".json") if is_array(path) else path / MANIFEST


def is_array(place: Path) -> bool:
    """Whether tiles at ``place`` are one array, and not a folder of files."""
    return place.suffix in (".npy", ".zarr")


def read_manifest(place: str | os.PathLike[str]) -> Manifest:
    """The manifest of a folder of tiles, or of an array ``.npy`` or ``.zarr`` of them.

    Raises `ValueError` where it is damaged, or says something that cannot be.
    """
    path = manifest_path(place)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `pantile extract` writes it beside the tiles")
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None

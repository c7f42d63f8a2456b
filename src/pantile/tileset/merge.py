"""Merge tiles on disk back into an image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import open_image
from ..stream import map_patches
from ..stream.job import Indexed
from .formats import FORMATS, Header, format_of, read_header, read_tile
from .manifest import MANIFEST, Manifest, read_manifest

__all__ = ["merge_tiles"]

Array = NDArray[Any]
_LISTED = 5  # files that an error lists


def merge_tiles(place: str | os.PathLike[str], out: Any = None, **options: Any) -> Any:
    """The image that a folder (or array) of tiles merges into, by the manifest beside them.

    Parameters
    ----------
    place : path
        What `write_tiles` made. Tiles may have been worked on: they may have another kind of file,
        dtype, channels, or be smaller (they stand in the middle of their patch).
    out : optional
        As in `map_patches`: an array or a path.
    **options
        ``merge``, ``weights``, ``dtype``, ``fill``, ``finalize``, ``scale``, ``memory``, ``workers``,
        ``progress``, ``resume`` of `map_patches`.

    Raises
    ------
    ValueError
        Before anything is merged: a tile is missing, there twice, of another shape or dtype than the
        first, a link that leads out of the folder, or no tile at all. Nothing is ever unpickled.
    """
    manifest = read_manifest(place)
    path = Path(place)
    _check_out(path, out)
    tiles = (
        _ArrayTiles(manifest, path)
        if path.is_file() or path.suffix == ".zarr"
        else _FolderTiles(manifest, path)
    )
    blank = _Blank(manifest, tiles.fingerprint())
    axes, channel_axis = manifest.axes, manifest.channel_axis
    return map_patches(
        Indexed(tiles), blank, manifest.grid, axes=axes, channel_axis=channel_axis, out=out,
        **options,
    )  # fmt: skip


def _check_out(place: Path, out: Any) -> None:
    """Refuse to write where the tiles are."""
    if isinstance(out, str | os.PathLike):
        target, tiles = Path(os.path.realpath(out)), Path(os.path.realpath(place))
        if target == tiles or tiles in target.parents:
            raise ValueError(
                f"out={os.fspath(out)!r} lies where the tiles are: choose another place"
            )


class _Blank:
    """An image of zeros that stands for the one the tiles were cut from: only its shape is used."""

    def __init__(self, manifest: Manifest, tiles: dict[str, Any]) -> None:
        self.shape, self.dtype, self.chunks = manifest.shape, np.dtype(manifest.dtype), None
        self.tiles = tiles

    def __getitem__(self, key: tuple[slice, ...]) -> Array:
        shape = tuple(len(range(*part.indices(n))) for part, n in zip(key, self.shape, strict=True))
        return np.broadcast_to(np.zeros((), self.dtype), shape)

    def fingerprint(self) -> dict[str, Any]:
        return self.tiles


class _FolderTiles:
    """Tiles in files of a folder, by their numbers; all headers are read when this is made."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.folder = folder.resolve()
        self.names = _find_tiles(manifest, self.folder)
        headers = (read_header(self._path(k)) for k in range(manifest.n_tiles))
        self.header = next(headers)
        for number, header in enumerate(headers, 1):
            if header != self.header:
                raise ValueError(
                    f"{self._path(number)} holds {_describe(header)}, but tile 0 {_describe(self.header)}:"
                    " all tiles must have one shape and dtype"
                )

    def _path(self, number: int) -> Path:
        path = self.folder / self.names[number]
        if path.resolve().parent != self.folder:
            raise ValueError(
                f"{path} is a link that leads out of the folder: put the tile itself there"
            )
        if not path.is_file():  # a pipe would be waited for, forever
            raise ValueError(f"{path} is no file: put the tile itself there")
        return path

    def fingerprint(self) -> dict[str, Any]:
        """A digest of names, sizes and times of the files, which changes when a tile does."""
        found = hashlib.blake2b(digest_size=12)
        for name in self.names:
            status = (self.folder / name).stat()
            found.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return {"folder": str(self.folder), "tiles": found.hexdigest()}

    def __call__(self, batch: Array, numbers: NDArray[np.int64]) -> Array:
        stack = np.empty((len(numbers), *self.header.shape), self.header.dtype)
        for place, number in enumerate(numbers.tolist()):
            tile = read_tile(self._path(number))
            if Header(tile.shape, tile.dtype) != self.header:
                raise ValueError(f"{self._path(number)} has changed while tiles were merged")
            stack[place] = tile
        return stack


def _find_tiles(manifest: Manifest, folder: Path) -> list[str]:
    """The file name of each tile, by number; a ValueError where one is missing or there twice."""
    stems: dict[str, list[str]] = {}
    for entry in os.scandir(folder):
        path = Path(entry.name)
        if format_of(path) in FORMATS and entry.name != MANIFEST:
            stems.setdefault(path.stem, []).append(entry.name)
    _check_complete(manifest, folder, stems)
    wanted = [manifest.stem(k) for k in range(manifest.n_tiles)]
    twice = [" and ".join(sorted(stems[s])) for s in wanted if len(stems[s]) > 1]
    if twice:
        raise ValueError(f"{folder} has tiles twice: {_list_some(twice)}: keep one file of each")
    return [stems[stem][0] for stem in wanted]


def _check_complete(manifest: Manifest, folder: Path, stems: Collection[str]) -> None:
    """Raise where tiles are missing; work and memory grow with the files, whatever number a manifest claims."""
    n = manifest.n_tiles
    there = sum(k < n and manifest.stem(k) in stems for k in _numbers_in(manifest, stems))
    if there < n:
        missing = (stem for k in count() if (stem := manifest.stem(k)) not in stems)
        some = _list_some(list(islice(missing, min(n - there, _LISTED))), n - there)
        raise ValueError(f"{folder} lacks {n - there} of {n} tiles: {some}")


def _numbers_in(manifest: Manifest, stems: Collection[str]) -> set[int]:
    """The numbers at the end of names of files."""
    ends = (stem[len(manifest.prefix) :] for stem in stems if stem.startswith(manifest.prefix))
    return {int(end) for end in ends if end.isascii() and end.isdigit() and len(end) < 40}


def _list_some(names: list[str], total: int | None = None) -> str:
    total = len(names) if total is None else total
    more = f" and {total - _LISTED} more" if total > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _describe(header: Header) -> str:
    return f"{header.dtype} of shape {header.shape}"


class _ArrayTiles:
    """Tiles in one array, by their numbers: ``(*batch, *counts, *patch)``."""

    def __init__(self, manifest: Manifest, path: Path) -> None:
        self.reader = open_image(path)
        frame = manifest.frame
        self.counts = tuple(n for k, n in enumerate(frame.counts) if k != frame.channel)
        if self.reader.shape[: len(self.counts)] != self.counts:
            raise ValueError(
                f"{path} has shape {self.reader.shape}, but by its manifest it begins with the counts {self.counts}"
            )

    def fingerprint(self) -> dict[str, Any]:
        return self.reader.fingerprint()

    def __call__(self, batch: Array, numbers: NDArray[np.int64]) -> Array:
        places = np.stack(np.unravel_index(numbers, self.counts), axis=1).tolist()
        inner = (slice(None),) * (len(self.reader.shape) - len(self.counts))
        rows = [self.reader[(*(slice(i, i + 1) for i in at), *inner)] for at in places]
        return np.stack([row.reshape(self.reader.shape[len(self.counts) :]) for row in rows])

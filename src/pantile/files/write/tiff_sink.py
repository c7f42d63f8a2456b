"""Results in tiled BigTIFF files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..about import About
from ..extras import import_optional
from ..mapping import Mapping
from ..read.npy import npy_mapping
from .npy_sink import (
    EncodedWriter,
    check_file,
    check_same_array,
    check_shape,
    encoded_path,
    make_npy,
)
from .staging import check_dtype, check_space, final_path, partial_path, remove
from .tiff import write_tiff

__all__ = ["TiffSink", "TiffWriter"]

_MORE_NAMES = {"zlib", "deflate"}  # of what tifffile's table calls by TIFF's own names


@dataclass(frozen=True)
class TiffSink:
    """A result in a tiled BigTIFF file, written in raster order when all of it is there.

    Until then it is staged as plain elements beside the file, which takes its size once more.
    ``tile`` is rows and columns, multiples of 16. ``compression`` is a name that tifffile knows
    (None, "zlib", ...). ``photometric``: "rgb", where the last axis is 3 or 4 channels, or
    "minisblack", where the last two axes are rows and columns; None takes the one that fits the
    shape. Axes before those are pages.

    What is known to be a last axis of channels is written as samples of a pixel, however many they are. The
    tags of a GeoTIFF, its resolution, and GDAL's metadata and missing value are carried over from the
    image where rows and columns stay, scaled where they are; statistics of the old values are not.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = TiffSink(folder + "/a.tif", tile=(64, 64)).create((90, 70, 3), np.dtype("uint8"))
    ...     writer[0:90, 0:70, 0:3] = np.full((90, 70, 3), 5, np.uint8)
    ...     writer.commit()
    ...     os.listdir(folder)
    ['a.tif']
    """

    path: str
    tile: tuple[int, int] = (256, 256)
    compression: str | None = None
    photometric: str | None = None
    _about: ClassVar[About | None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", final_path(self.path))
        tile = (self.tile, self.tile) if isinstance(self.tile, int) else tuple(self.tile)
        if len(tile) != 2 or any(n < 16 or n % 16 for n in tile):
            raise ValueError(f"tile={self.tile} must be two positive multiples of 16")
        object.__setattr__(self, "tile", tile)
        if self.photometric not in (None, "rgb", "minisblack"):
            raise ValueError(
                f"photometric={self.photometric!r} must be 'rgb', 'minisblack' or None"
            )

    def about(self, about: About) -> TiffSink:
        """The same sink, which knows which axis holds channels and where the pixels lie."""
        sink = replace(self)
        object.__setattr__(sink, "_about", about)
        return sink

    def check(self) -> None:
        """Raise what can be known to be wrong before shape and dtype are."""
        tifffile = import_optional("tifffile", f"writing {self.path}")
        check_file(self.path)
        names = {name.lower() for name in tifffile.COMPRESSION.__members__} | _MORE_NAMES
        if self.compression is not None and self.compression.lower() not in names:
            raise ValueError(f"compression={self.compression!r} is unknown to tifffile: try 'zlib'")

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> TiffWriter:
        """The empty staging file; an OSError where it and the final file do not fit."""
        self.check()
        shape, dtype = check_shape(self.path, shape), np.dtype(dtype).newbyteorder("=")
        check_dtype(self.path, dtype, "biufc", 8, "use numbers of at most 8 bytes (complex: 16)")
        if self.page_axes(shape) == 3 and dtype.kind == "b":
            raise TypeError(f"out={self.path!r}: TIFF has no channels of dtype bool: use uint8")
        remove(encoded_path(self.path))
        remove(partial_path(self.path))
        nbytes = prod(shape) * dtype.itemsize
        copies = 2 if self.compression is None else 1
        check_space(self.path, copies * nbytes, f"staging and writing a result of {shape} {dtype}")
        return TiffWriter(self, make_npy(self.path, partial_path(self.path), shape, dtype))

    def reopen(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> TiffWriter:
        """The staging file that is there; a ValueError where it is of another shape or dtype."""
        mapping = npy_mapping(partial_path(self.path))
        check_same_array(partial_path(self.path), mapping, shape, dtype)
        return TiffWriter(self, mapping)

    def page_axes(self, shape: tuple[int, ...]) -> int:
        """How many last axes make a page: rows and columns, and channels where there are any."""
        if len(shape) < 2:
            raise ValueError(f"out={self.path!r}: TIFF has rows and columns, the result is {shape}")
        colours = len(shape) >= 3 and shape[-1] in (3, 4)
        if self.photometric == "rgb" and not colours:
            raise ValueError(
                f"photometric='rgb' needs a last axis of 3 or 4 channels, the result is {shape}"
            )
        colours = colours and self.photometric != "minisblack"
        samples = self._about is not None and self._about.channel == len(shape) - 1 >= 2
        return 3 if colours or samples or (len(shape) >= 3 and shape[-1] == 1) else 2

    def planes(self, shape: tuple[int, ...]) -> bool:
        """Whether samples of a pixel lie in planes, one after the other: bands of a GeoTIFF, channels first."""
        about = self._about
        return (
            about is not None
            and about.channel is not None
            and about.channel == len(shape) - 3
            and about.georeference is not None
            and about.georeference.located
            and self.page_axes(shape) == 2
        )

    def tags(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
        """What is written of the place of the pixels: nothing where rows and columns are others."""
        about, core = self._about, self.page_axes(shape)
        if about is None or about.georeference is None:
            return {}
        at = len(shape) - core
        if about.dims[at : at + 2] != ("y", "x"):
            return {}
        samples = shape[-1] if core == 3 else shape[-3] if self.planes(shape) else 1
        return about.georeference.scale_to(*shape[at : at + 2]).options(dtype, samples)


class TiffWriter(EncodedWriter):
    """A result being staged for a TIFF file: elements in any order, the file at the end."""

    def __init__(self, sink: TiffSink, mapping: Mapping) -> None:
        super().__init__(sink.path, mapping)
        self._sink = sink

    def encode(self, path: str) -> None:
        """Write all elements as TIFF, a row of tiles at a time."""
        sink, core = self._sink, self._sink.page_axes(self.shape)
        colours = core == 3 and self.shape[-1] in (3, 4) and sink.photometric != "minisblack"
        several = core == 3 and self.shape[-1] > 1
        planes = sink.planes(self.shape)
        write_tiff(
            path,
            _tiles(self._mapping, sink.tile, core),
            bigtiff=True,
            shape=self.shape,
            dtype=self.dtype,
            tile=sink.tile,
            photometric="rgb" if colours else "minisblack",
            planarconfig="separate" if planes else "contig" if several else None,
            extrasamples=["unassalpha"] if colours and self.shape[-1] == 4 else None,
            compression=sink.compression,
            **sink.tags(self.shape, self.dtype),
        )


def _tiles(mapping: Mapping, tile: tuple[int, int], core: int) -> Iterator[NDArray[Any]]:
    """The tiles of all pages in raster order; a row of tiles is read at once.

    ``core`` is how many last axes make a page.
    """
    rows, columns = mapping.shape[-core : len(mapping.shape) - core + 2]
    for page in np.ndindex(mapping.shape[:-core]):
        place = tuple(slice(i, i + 1) for i in page)
        for top in range(0, rows, tile[0]):
            inner = (slice(top, top + tile[0]), *(slice(None),) * (core - 1))
            strip = mapping[place + inner].reshape(-1, *mapping.shape[-core + 1 :])
            for left in range(0, columns, tile[1]):
                yield np.ascontiguousarray(strip[:, left : left + tile[1]])

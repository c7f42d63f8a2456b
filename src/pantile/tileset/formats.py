"""One tile in one file: PNG, TIFF or .npy; never anything pickled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..files.extras import needed
from ..files.write.picture_sink import check_picture, save_picture

__all__ = [
    "FORMATS",
    "Header",
    "check_format",
    "format_of",
    "read_header",
    "read_tile",
    "write_tile",
]

Array = NDArray[Any]


class Header(NamedTuple):
    """What a file holds, known before it is decoded."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class _Format(NamedTuple):
    header: Callable[[Path], Header]
    read: Callable[[Path], Array]
    write: Callable[[Path, Array], None]


def check_format(suffix: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise where files of this kind cannot hold such tiles."""
    if suffix not in FORMATS:
        raise ValueError(f"tiles are written as {', '.join(sorted(FORMATS))}, got {suffix!r}")
    if suffix != ".png":
        return
    try:
        check_picture("PNG", shape, dtype)
    except ValueError as error:
        raise ValueError(f"{error}: use .tif or .npy") from None


def format_of(path: Path) -> str:
    return path.suffix.lower()


def read_header(path: Path) -> Header:
    header: Header = _said(path, FORMATS[format_of(path)].header)
    return header


def read_tile(path: Path) -> Array:
    """The tile in a file."""
    array: Array = _said(path, FORMATS[format_of(path)].read)
    return array


def write_tile(path: Path, tile: Array) -> None:
    FORMATS[format_of(path)].write(path, np.ascontiguousarray(tile))


def _said(path: Path, work: Callable[[Path], Any]) -> Any:
    """``work(path)``; whatever a damaged file makes a library raise names the file."""
    try:
        return work(path)
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error


def _png_header(path: Path) -> Header:
    pillow = needed("PIL.Image", f"reading {path}")

    with pillow.open(path, formats=("PNG",)) as image:
        modes = {
            "1": ((), "bool"),
            "L": ((), "uint8"),
            "LA": ((2,), "uint8"),
            "RGB": ((3,), "uint8"),
            "RGBA": ((4,), "uint8"),
        }
        modes["I;16"] = modes["I"] = ((), "uint16")
        if image.mode not in modes:
            raise ValueError(f"a PNG of mode {image.mode} is no tile")
        channels, dtype = modes[image.mode]
        return Header((image.height, image.width, *channels), np.dtype(dtype))


def _png_read(path: Path) -> Array:
    pillow = needed("PIL.Image", f"reading {path}")

    header = _png_header(path)
    with pillow.open(path, formats=("PNG",)) as image:
        return np.asarray(image).astype(header.dtype, copy=False)


def _png_write(path: Path, tile: Array) -> None:
    save_picture(path, tile, "PNG")


def _tiff_header(path: Path) -> Header:
    tifffile = needed("tifffile", f"reading {path}")
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        return Header(tuple(series.shape), np.dtype(series.dtype))


def _tiff_read(path: Path) -> Array:
    tifffile = needed("tifffile", f"reading {path}")
    return np.asarray(tifffile.imread(path, series=0))


def _tiff_write(path: Path, tile: Array) -> None:
    tifffile = needed("tifffile", f"writing {path}")
    colour = tile.ndim == 3 and tile.shape[-1] in (3, 4) and tile.dtype.kind == "u"
    tifffile.imwrite(path, tile, photometric="rgb" if colour else "minisblack")


def _npy_header(path: Path) -> Header:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return Header(array.shape, array.dtype)


def _npy_read(path: Path) -> Array:
    array: Array = np.load(path, allow_pickle=False)
    return array


def _npy_write(path: Path, tile: Array) -> None:
    with open(path, "wb") as file:
        np.save(file, tile, allow_pickle=False)


_TIFF = _Format(_tiff_header, _tiff_read, _tiff_write)
FORMATS = {
    ".npy": _Format(_npy_header, _npy_read, _npy_write),
    ".png": _Format(_png_header, _png_read, _png_write),
    ".tif": _TIFF,
    ".tiff": _TIFF,
}

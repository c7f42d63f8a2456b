"""One tile in one file: PNG, TIFF or .npy; never anything pickled."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..files.read.pillow import FORMS, MAX_PIXELS, decode, open_pillow
from ..files.read.tiff import open_tiff
from ..files.write.pillow import check_picture, save_picture
from ..files.write.tiff import write_tiff

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
_PNG_MODES = ("1", "L", "LA", "RGB", "RGBA", "I;16")


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
    header: Header = _explain_faults(path, FORMATS[format_of(path)].header)
    return header


def read_tile(path: Path) -> Array:
    """The tile in a file."""
    array: Array = _explain_faults(path, FORMATS[format_of(path)].read)
    return array


def write_tile(path: Path, tile: Array) -> None:
    FORMATS[format_of(path)].write(path, np.ascontiguousarray(tile))


def _explain_faults(path: Path, work: Callable[[Path], Any]) -> Any:
    """``work(path)``; an error of a library becomes a ValueError that names the file."""
    try:
        return work(path)
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error


def _png_header(path: Path) -> Header:
    with open_pillow(path, ("PNG",)) as image:
        return _header_of(image)


def _png_read(path: Path) -> Array:
    with open_pillow(path, ("PNG",)) as image:
        _header_of(image)
        return decode(image, _mode(image))


def _header_of(image: Any) -> Header:
    """Shape and dtype of an open PNG; a ValueError where tiles are never written so."""
    if prod(image.size) > MAX_PIXELS:
        raise ValueError(f"it unpacks to more than {MAX_PIXELS:,} pixels")
    if _mode(image) not in _PNG_MODES:
        raise ValueError(f"a PNG of mode {image.mode} is no tile")
    form = FORMS[_mode(image)]
    channels = (form.samples,) if form.samples > 1 else ()
    return Header((image.height, image.width, *channels), np.dtype(form.dtype))


def _mode(image: Any) -> str:
    return "I;16" if image.mode == "I" else str(image.mode)  # as older releases of Pillow call it


def _png_write(path: Path, tile: Array) -> None:
    save_picture(path, tile, "PNG")


def _tiff_header(path: Path) -> Header:
    with open_tiff(path) as file:
        series = file.series[0]
        return Header(tuple(series.shape), np.dtype(series.dtype))


def _tiff_read(path: Path) -> Array:
    with open_tiff(path) as file:
        return np.asarray(file.asarray(series=0))


def _tiff_write(path: Path, tile: Array) -> None:
    colour = tile.ndim == 3 and tile.shape[-1] in (3, 4) and tile.dtype.kind == "u"
    write_tiff(path, tile, photometric="rgb" if colour else "minisblack")


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

"""Pictures through Pillow, which is opened nowhere else: headers, modes, decoded pixels."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..extras import import_optional

__all__ = [
    "FORMS",
    "MAX_PIXELS",
    "Colour",
    "Form",
    "UnknownPictureError",
    "decode",
    "exif_of",
    "open_pillow",
    "would_lose_depth",
]

Colour: TypeAlias = Literal["gray", "rgb", "cmyk", "other"]

MAX_PIXELS = 178_956_970  # where Pillow itself refuses: half a gigabyte of RGB
_LIMIT = threading.Lock()  # Pillow's limit is one for the whole process


class Form(NamedTuple):
    """What pixels of one of Pillow's modes are; ``channels`` without alpha."""

    colour: Colour
    channels: int
    alpha: bool
    dtype: Any

    @property
    def samples(self) -> int:
        """Numbers of one pixel."""
        return self.channels + self.alpha


FORMS: dict[str, Form] = {
    "1": Form("gray", 1, False, np.bool_),
    "L": Form("gray", 1, False, np.uint8),
    "LA": Form("gray", 1, True, np.uint8),
    "RGB": Form("rgb", 3, False, np.uint8),
    "RGBA": Form("rgb", 3, True, np.uint8),
    "CMYK": Form("cmyk", 4, False, np.uint8),
    "I;16": Form("gray", 1, False, np.uint16),
    "I;16B": Form("gray", 1, False, np.uint16),
    "I": Form("gray", 1, False, np.int32),
    "F": Form("gray", 1, False, np.float32),
}


class UnknownPictureError(ValueError):
    """A file that is no picture of the formats that were asked for."""


def open_pillow(path: str | os.PathLike[str], formats: Sequence[str] | None = None) -> Any:
    """The picture in a file, of which only the header is read; to be closed by the caller.

    Pillow's own limit of pixels, which would judge before the caller's is asked, does not hold.
    ``formats`` are Pillow's names, None for all it knows. Raises `UnknownPictureError`.
    """
    pillow = import_optional("PIL.Image", f"reading {os.fspath(path)}")
    with _LIMIT:
        limit, pillow.MAX_IMAGE_PIXELS = pillow.MAX_IMAGE_PIXELS, None
        try:
            return pillow.open(path, formats=formats)
        except pillow.UnidentifiedImageError:
            known = "that Pillow knows" if formats is None else f"in {' or '.join(formats)}"
            raise UnknownPictureError(f"no picture {known}") from None
        finally:
            pillow.MAX_IMAGE_PIXELS = limit


def decode(image: Any, mode: str) -> NDArray[Any]:
    """All pixels of an open picture, ``(rows, columns[, samples])``, as ``mode`` holds them: a new array."""
    # 16-bit grays, "I" in older releases of Pillow, are the numbers they are
    plain = image if mode in (image.mode, "I;16") else image.convert(mode)
    return np.array(plain, dtype=FORMS[mode].dtype)


def would_lose_depth(path: str | os.PathLike[str], image: Any) -> bool:
    """Whether the picture is a PNG of 16-bit colour, of which Pillow gives 8 bits."""
    if image.format != "PNG":
        return False
    with open(path, "rb") as file:
        depth, colours = file.read(26)[24:26]  # in IHDR, which always comes first
    return depth == 16 and colours != 0 and image.mode in ("LA", "RGB", "RGBA")


def exif_of(image: Any) -> Any:
    """The EXIF data before the pixels; Pillow's ``getexif`` would decode a PNG to look behind them."""
    exif = import_optional("PIL.Image", "reading EXIF").Exif()
    exif.load(image.info.get("exif", b""))
    return exif

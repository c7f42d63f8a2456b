"""The door for whole pictures: which file is read and written by what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from ..read.tiff import TIFF_MAGIC
from .picture import Header, Picture

__all__ = [
    "can_hold",
    "is_picture",
    "is_tiff",
    "kind_to_write",
    "read_header",
    "read_picture",
    "write_picture",
]

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
PICTURE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def read_header(path: Path) -> Header:
    """What the picture in ``path`` is, without decoding it. Raises `PictureError`."""
    header: Header = _library_for(_kind_of(path)).read_header(path)
    return header


def read_picture(path: Path) -> Picture:
    """The picture in ``path``. Raises `PictureError` where there is none, or one of several pages."""
    picture: Picture = _library_for(_kind_of(path)).read(path)
    return picture


def write_picture(path: Path, picture: Picture, kind: str) -> None:
    """``picture`` in the file ``path``, in the format ``kind``: "PNG", "JPEG" or "TIFF".

    What one library has kept of the file it read means nothing to another.
    """
    if kind != picture.header.kind and "TIFF" in (kind, picture.header.kind):
        picture = replace(picture, kept={})
    _library_for(kind).write(path, picture, kind)


def kind_to_write(path: Path) -> str:
    """The format that the extension of ``path`` names."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: unknown extension {path.suffix!r}: use one of {', '.join(KINDS)}"
        )
    return kind


def can_hold(kind: str, header: Header) -> bool:
    """Whether a file of a kind has a place for all that a picture is."""
    if kind == "TIFF":
        return True
    if kind == "JPEG":
        colours = {"gray", "rgb", "cmyk"}
        return header.dtype == "uint8" and header.colour in colours and not header.alpha
    if header.dtype == "uint8":
        return header.colour in {"gray", "rgb"}
    return header.dtype in ("bool", "uint16") and header.colour == "gray" and not header.alpha


def is_tiff(path: Path) -> bool:
    """Whether a file starts as a TIFF does; an extension may lie."""
    return _starts_with(path, TIFF_MAGIC)


def is_picture(path: Path) -> bool:
    """Whether a file starts as those do that `read_picture` takes."""
    return path.is_file() and _starts_with(path, (*TIFF_MAGIC, *PICTURE_MAGIC))


def _starts_with(path: Path, magic: tuple[bytes, ...]) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(magic)


def _kind_of(path: Path) -> str:
    return "TIFF" if is_tiff(path) else "PNG or JPEG"


def _library_for(kind: str) -> ModuleType:
    if kind == "TIFF":
        from . import tiff

        return tiff
    from . import pillow

    return pillow

"""Whole PNG and JPEG pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..read.pillow import (
    FORMS,
    MAX_PIXELS,
    UnknownPictureError,
    decode,
    exif_of,
    open_pillow,
    would_lose_depth,
)
from ..write.pillow import save_picture
from .picture import Header, Picture, PictureError, as_planes, explain_faults, upright

__all__ = ["read", "read_header", "write"]

# Pillow's mode -> what it becomes; "I" is what older releases of Pillow call 16-bit PNGs.
_OPAQUE = {mode: mode for mode in ("1", "L", "LA", "I;16", "RGB", "RGBA", "CMYK")}
_OPAQUE |= {"P": "RGB", "I": "I;16"}
_TRANSPARENT = {"P": "RGBA", "L": "LA", "RGB": "RGBA"}
_ORIENTATION = 0x0112


def read_header(path: Path) -> Header:
    """What ``path`` holds, from its first bytes only, however large the picture."""
    with _open(path) as image:
        return _header(path, image)


def read(path: Path) -> Picture:
    """The picture in ``path``, upright; palettes become colours, transparency an alpha channel."""
    with _open(path) as image:
        _check_pixels(path, image)
        header = _header(path, image)
        samples = upright(decode(image, _mode(path, image)), _orientation(image))
        pixels, alpha = as_planes(samples, header.alpha)
        kept = {"exif": _upright_exif(image)}
        if "dpi" in image.info:
            kept["dpi"] = image.info["dpi"]
        return Picture(header, pixels, alpha, image.info.get("icc_profile"), kept)


def write(path: Path, picture: Picture, kind: str) -> None:
    """``picture`` in the file ``path``; JPEGs at quality 95 with full colour resolution."""
    options: dict[str, Any] = picture.kept | {"icc_profile": picture.profile}
    save_picture(path, picture.samples, kind, _pillow_mode(picture), **options)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """The open picture; whatever is wrong with the file is a `PictureError` that names it."""
    with explain_faults(path):
        try:
            image = open_pillow(path, ("PNG", "JPEG"))
        except UnknownPictureError:
            message = f"{path} is no PNG, JPEG or TIFF picture, whatever its name says"
            raise PictureError(message) from None
        with image:
            yield image


def _check_pixels(path: Path, image: Any) -> None:
    if prod(image.size) > MAX_PIXELS:
        raise PictureError(
            f"{path} unpacks to more than {MAX_PIXELS // 10**6} megapixels: use a TIFF"
        )


def _header(path: Path, image: Any) -> Header:
    colour, channels, alpha, dtype = FORMS[_mode(path, image)]
    columns, rows = image.size
    shape = (columns, rows) if _orientation(image) >= 5 else (rows, columns)
    kind = "PNG" if image.format == "PNG" else "JPEG"  # phones' "MPO" is a JPEG with an appendix
    return Header(kind, shape, channels, np.dtype(dtype), colour, alpha)


def _mode(path: Path, image: Any) -> str:
    """The mode the picture is to have, or a `ValueError` where it would lose depth or frames."""
    _refuse_lossy(path, image)
    table = _TRANSPARENT if "transparency" in image.info else _OPAQUE
    mode = table.get(image.mode)
    if mode is None:
        raise PictureError(f"{path}: {image.format} of mode {image.mode} is not supported")
    return mode


def _refuse_lossy(path: Path, image: Any) -> None:
    if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
        raise PictureError(f"{path} is an animation of {image.n_frames} pictures, not one picture")
    if would_lose_depth(path, image):
        raise PictureError(
            f"{path}: Pillow reads 16-bit colour PNGs as 8-bit: save it as a TIFF first"
        )


def _orientation(image: Any) -> int:
    return int(exif_of(image).get(_ORIENTATION, 1))


def _upright_exif(image: Any) -> bytes:
    """EXIF data that no longer asks for a turn, since the pixels have been turned."""
    exif = exif_of(image)
    exif.pop(_ORIENTATION, None)
    return exif.tobytes() if len(exif) else b""


def _pillow_mode(picture: Picture) -> str:
    """The first of Pillow's modes that holds such pixels."""
    header = picture.header
    form = (header.colour, header.channels, header.alpha, header.dtype.type)
    return next(mode for mode, described in FORMS.items() if described == form)

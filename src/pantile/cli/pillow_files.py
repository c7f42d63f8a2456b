"""PNG and JPEG files through Pillow."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pantile.cli.picture import Colour, Header, Picture, PictureError, as_planes, faults_of, upright
from pantile.files.write.picture_sink import save_picture

__all__ = ["read", "read_header", "write"]

# Pillow's mode -> (colour, channels without alpha, alpha, dtype).
MODES: dict[str, tuple[Colour, int, bool, type]] = {
    "1": ("gray", 1, False, np.bool_),
    "L": ("gray", 1, False, np.uint8),
    "LA": ("gray", 1, True, np.uint8),
    "I;16": ("gray", 1, False, np.uint16),
    "RGB": ("rgb", 3, False, np.uint8),
    "RGBA": ("rgb", 3, True, np.uint8),
    "CMYK": ("cmyk", 4, False, np.uint8),
}
# Pillow's mode -> what it becomes; "I" is what older releases of Pillow call 16-bit PNGs.
OPAQUE = {mode: mode for mode in MODES} | {"P": "RGB", "I": "I;16"}
TRANSPARENT = {"P": "RGBA", "L": "LA", "RGB": "RGBA"}
ORIENTATION = 0x0112


def read_header(path: Path) -> Header:
    """What `path` holds, from its first bytes only, however large the picture."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # a header cannot fill the memory
    try:
        with _opened(path) as image:
            return _header(path, image)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read(path: Path) -> Picture:
    """The picture in `path`, upright; palettes become colours, transparency an alpha channel."""
    with _opened(path) as image:
        header = _header(path, image)
        plain = image if image.mode == _mode(path, image) else _converted(path, image)
        samples = upright(np.asarray(plain).astype(header.dtype), _orientation(image))
        pixels, alpha = as_planes(samples, header.alpha)
        kept = {"exif": _upright_exif(image)}
        if "dpi" in image.info:
            kept["dpi"] = image.info["dpi"]
        return Picture(header, pixels, alpha, image.info.get("icc_profile"), kept)


def write(path: Path, picture: Picture, kind: str) -> None:
    """`picture` in the file `path`; JPEGs at quality 95 with full colour resolution."""
    options: dict[str, Any] = picture.kept | {"icc_profile": picture.profile}
    save_picture(path, picture.samples, kind, _pillow_mode(picture), **options)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The open image; whatever is wrong with the file is a `ValueError` that names it."""
    with faults_of(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                yield image
        except UnidentifiedImageError:
            message = f"{path} is no PNG, JPEG or TIFF picture, whatever its name says"
            raise PictureError(message) from None
        except Image.DecompressionBombError:
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
            message = f"{path} unpacks to more than {limit} megapixels: use a TIFF"
            raise PictureError(message) from None


def _header(path: Path, image: Image.Image) -> Header:
    colour, channels, alpha, dtype = MODES[_mode(path, image)]
    columns, rows = image.size
    shape = (columns, rows) if _orientation(image) >= 5 else (rows, columns)
    kind = "PNG" if image.format == "PNG" else "JPEG"  # phones' "MPO" is a JPEG with an appendix
    return Header(kind, shape, channels, np.dtype(dtype), colour, alpha)


def _mode(path: Path, image: Image.Image) -> str:
    """The mode the picture is to have, or a `ValueError` where it would lose depth or frames."""
    _refuse_lossy(path, image)
    table = TRANSPARENT if "transparency" in image.info else OPAQUE
    mode = table.get(image.mode)
    if mode is None:
        raise PictureError(f"{path}: {image.format} of mode {image.mode} is not supported")
    return mode


def _refuse_lossy(path: Path, image: Image.Image) -> None:
    if image.format != "PNG":
        return
    if getattr(image, "n_frames", 1) > 1:
        raise PictureError(f"{path} is an animation of {image.n_frames} pictures, not one picture")
    with path.open("rb") as file:
        depth, colour_type = file.read(26)[24:26]  # in IHDR, which always comes first
    if depth == 16 and colour_type != 0:
        raise PictureError(
            f"{path}: Pillow reads 16-bit colour PNGs as 8-bit: save it as a TIFF first"
        )


def _converted(path: Path, image: Image.Image) -> Image.Image:
    mode = _mode(path, image)
    return image if mode == "I;16" else image.convert(mode)


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF data before the pixels; `getexif` would decode a PNG to look behind them."""
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return exif


def _orientation(image: Image.Image) -> int:
    return int(_exif(image).get(ORIENTATION, 1))


def _upright_exif(image: Image.Image) -> bytes:
    """EXIF data that no longer asks for a turn, since the pixels have been turned."""
    exif = _exif(image)
    exif.pop(ORIENTATION, None)
    return exif.tobytes() if len(exif) else b""


def _pillow_mode(picture: Picture) -> str:
    header = picture.header
    form = (header.colour, header.channels, header.alpha, header.dtype.type)
    return next(mode for mode, described in MODES.items() if described == form)

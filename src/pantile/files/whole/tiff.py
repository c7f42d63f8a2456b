"""Whole TIFF pictures of one page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..read.pillow import Colour, open_pillow
from ..read.tiff import open_tiff
from ..write.tiff import write_tiff
from .picture import Header, Picture, PictureError, Pixels, as_planes, explain_faults, upright

__all__ = ["read", "read_header", "write"]

_MINISBLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR = 1, 2, 3, 5, 6  # TIFF's kinds of colour
_UNCOMPRESSED = 1
COLOURS: dict[int, Colour] = {
    _MINISBLACK: "gray",
    _RGB: "rgb",
    _YCBCR: "rgb",  # decoded to RGB when read
    _PALETTE: "rgb",
    _SEPARATED: "cmyk",
}
CHANNELS: dict[Colour, int] = {"gray": 1, "rgb": 3, "cmyk": 4}
PHOTOMETRIC = {"gray": "minisblack", "rgb": "rgb", "cmyk": "separated", "other": "minisblack"}
ALPHA = {1, 2}  # an extra sample that colours are multiplied with, or not
COLOUR_PROFILE = 34675
UNDEFINED = 7  # TIFF's type of a tag that is bytes
PLACE = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)  # on Earth: GeoTIFF and GDAL


def read_header(path: Path) -> Header:
    """What ``path`` holds, from its tags only, however large the picture."""
    with _page(path) as page:
        return _header(path, page)


def read(path: Path) -> Picture:
    """The picture in ``path``, upright; palettes become colours."""
    with _page(path) as page:
        header = _header(path, page)
        samples = upright(_samples(path, page, header), _orientation(page))
        pixels, alpha = as_planes(samples, header.alpha)
        profile = page.tags.valueof(COLOUR_PROFILE)
        return Picture(header, pixels, alpha, profile, _options_to_keep(page))


def write(path: Path, picture: Picture, kind: str) -> None:
    """``picture`` in the file ``path``, packed with zlib where the source was packed at all."""
    assert kind == "TIFF"
    samples = np.ascontiguousarray(picture.samples)
    options = {
        "photometric": PHOTOMETRIC[picture.header.colour],
        "extrasamples": ["unassalpha"] if picture.header.alpha else [],
        "planarconfig": "contig" if samples.ndim == 3 else None,
        "metadata": None,
        "extratags": _profile_tags(picture.profile),
    }
    options |= picture.kept
    write_tiff(path, samples, **options)


def _profile_tags(profile: bytes | None) -> list[tuple[Any, ...]]:
    return [(COLOUR_PROFILE, UNDEFINED, len(profile), profile, True)] if profile else []


@contextmanager
def _page(path: Path) -> Iterator[Any]:
    """The only page of ``path``, or a `PictureError` that says why there is no such thing."""
    with explain_faults(path), open_tiff(path) as file:
        if len(file.pages) != 1:
            raise PictureError(f"{path} holds {len(file.pages)} pages, not one picture")
        yield file.pages.first


def _header(path: Path, page: Any) -> Header:
    if page.axes not in {"YX", "YXS", "SYX"}:
        sizes = " x ".join(map(str, page.shape))
        raise PictureError(f"{path} is a volume of {sizes}, not one picture")
    _check_dtype(path, page.dtype)
    colour = COLOURS.get(page.photometric, "other")
    alpha = bool(page.extrasamples) and page.extrasamples[-1] in ALPHA
    palette = page.photometric == _PALETTE
    channels = 3 if palette else page.samplesperpixel - alpha
    if CHANNELS.get(colour) != channels:
        colour = "other"
    shape = (page.imagelength, page.imagewidth)
    shape = shape[::-1] if _orientation(page) >= 5 else shape
    return Header(
        "TIFF", shape, channels, np.dtype(np.uint8 if palette else page.dtype), colour, alpha
    )


def _check_dtype(path: Path, dtype: np.dtype[Any] | None) -> None:
    if dtype is None or dtype.kind not in "buif" or (dtype.kind in "ui" and dtype.itemsize > 4):
        raise PictureError(
            f"{path} holds {dtype} values: bool, float and up to 32-bit integers work"
        )


def _samples(path: Path, page: Any, header: Header) -> Pixels:
    """The decoded values, channels last."""
    samples = _decode(path, page)
    if page.photometric == _PALETTE:
        palette: Pixels = page.colormap >> 8  # from 16 to 8 bits
        return np.moveaxis(palette[:, samples], 0, -1).astype(header.dtype)
    return np.moveaxis(samples, 0, -1) if page.axes == "SYX" else samples


def _decode(path: Path, page: Any) -> Pixels:
    """The values of ``page``, from Pillow where tifffile lacks the decoder (LZW, JPEG)."""
    try:
        if page.photometric == _YCBCR:
            raise ValueError("the conversion to RGB needs imagecodecs")
        samples: Pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        samples = _decode_with_pillow(path, page)
        if samples.shape != page.shape or samples.dtype != page.dtype:
            raise PictureError(f"{path}: {error}: pip install imagecodecs") from None
    return samples


def _decode_with_pillow(path: Path, page: Any) -> Pixels:
    with open_pillow(path, ("TIFF",)) as image:
        ycbcr = page.photometric == _YCBCR
        return np.asarray(image.convert("RGB") if ycbcr else image)


def _orientation(page: Any) -> int:
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


def _options_to_keep(page: Any) -> dict[str, Any]:
    """Options for a file like this one: what samples mean, packing, resolution, place on Earth."""
    tags = [page.tags[code] for code in (COLOUR_PROFILE, *PLACE) if code in page.tags]
    kept: dict[str, Any] = {
        "extratags": [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in tags],
        "compression": "zlib" if page.compression != _UNCOMPRESSED else None,
        "resolution": page.get_resolution(),
        "resolutionunit": page.resolutionunit,
    }
    if page.photometric not in {_PALETTE, _YCBCR}:
        kept |= {"photometric": page.photometric, "extrasamples": page.extrasamples}
    return kept

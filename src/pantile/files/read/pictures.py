"""PNG, JPEG and what else Pillow opens: decoded whole when first read, under a limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..extras import needed
from ..faults import check_index, reading
from .reader import FileReader

__all__ = ["MAX_PIXELS", "PicturePlace", "PictureReader"]

MAX_PIXELS = 178_956_970  # where Pillow itself refuses: half a gigabyte of RGB
_LIMIT = threading.Lock()  # Pillow's limit is one for the whole process
# Pillow's mode -> channels, dtype
_FORMS: dict[str, tuple[int, Any]] = {
    "1": (1, np.bool_),
    "L": (1, np.uint8),
    "LA": (2, np.uint8),
    "RGB": (3, np.uint8),
    "RGBA": (4, np.uint8),
    "CMYK": (4, np.uint8),
    "I;16": (1, np.uint16),
    "I;16B": (1, np.uint16),
    "I": (1, np.int32),
    "F": (1, np.float32),
}
_BECOMES = {"PA": "RGBA", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB", "RGBX": "RGB"}


@dataclass(frozen=True)
class PicturePlace:
    """One frame of a picture file, and how many pixels it may unpack to."""

    path: str
    frame: int | None
    max_pixels: int

    def open(self) -> _Picture:
        with _opened(self) as image:
            mode = _mode(image)
            channels, dtype = _FORMS[mode]
            columns, rows = image.size
        shape = (rows, columns) if channels == 1 else (rows, columns, channels)
        return _Picture(self, mode, shape, np.dtype(dtype))

    def channel_axis(self) -> int | None:
        """The last axis, where there are several channels."""
        with _opened(self) as image:
            return 2 if _FORMS[_mode(image)][0] > 1 else None

    def dims(self) -> list[str]:
        """Rows, columns, and channels where there are several."""
        return ["y", "x"] if self.channel_axis() is None else ["y", "x", "c"]

    @property
    def kind(self) -> str:
        """Pillow's name of the format."""
        with _opened(self) as image:
            return str(image.format)

    def inside(self) -> dict[str, Any]:
        return {} if self.frame is None else {"frame": self.frame}


class _Picture:
    """A picture that is decoded when it is first read, once, and kept: all of it is one chunk."""

    def __init__(
        self, place: PicturePlace, mode: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.place, self.mode = place, mode
        self.shape, self.dtype, self.chunks = shape, dtype, shape
        self._decoding = threading.Lock()
        self._pixels: NDArray[Any] | None = None

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        with self._decoding:
            if self._pixels is None:
                self._pixels = self._decoded()
        return self._pixels[key]

    def _decoded(self) -> NDArray[Any]:
        with _opened(self.place) as image:
            plain = image if image.mode == self.mode else image.convert(self.mode)
            pixels = np.array(plain, dtype=self.dtype)
        assert pixels.shape == self.shape
        pixels.flags.writeable = False
        return pixels


class PictureReader(FileReader):
    """A picture; once read, ``held`` bytes stay in memory, since it cannot be decoded by blocks."""

    @property
    def held(self) -> int:
        """Bytes that the decoded picture takes."""
        return prod(self.shape) * self.dtype.itemsize


@contextmanager
def _opened(place: PicturePlace) -> Iterator[Any]:
    with reading(place.path), _unlimited_open(place.path) as image:
        _check_pixels(place, image)
        _choose_frame(place, image)
        _refuse_lossy(place.path, image)
        yield image


def _unlimited_open(path: str) -> Any:
    """The header of the picture; Pillow's own limit would judge before ours is asked."""
    pillow = needed("PIL.Image", f"reading {path}")
    with _LIMIT:
        limit, pillow.MAX_IMAGE_PIXELS = pillow.MAX_IMAGE_PIXELS, None
        try:
            return pillow.open(path)
        except pillow.UnidentifiedImageError:
            raise ValueError(
                f"{path} is no image that is known: .npy, Zarr, TIFF, HDF5, or what Pillow opens"
            ) from None
        finally:
            pillow.MAX_IMAGE_PIXELS = limit


def _check_pixels(place: PicturePlace, image: Any) -> None:
    pixels = prod(image.size)
    if pixels > place.max_pixels:
        raise ValueError(
            f"{place.path} unpacks to {pixels:,} pixels, more than max_pixels={place.max_pixels:,}: "
            f"if it is trusted, give max_pixels={pixels}; a tiled TIFF needs no limit"
        )


def _choose_frame(place: PicturePlace, image: Any) -> None:
    # the second frame of an MPO, what many phones save as JPEG, is a preview
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if place.frame is None and frames > 1:
        raise ValueError(f"series= must choose one of the {frames} frames of {place.path}")
    check_index(place.path, "series", place.frame or 0, frames)
    if place.frame:
        image.seek(place.frame)


def _refuse_lossy(path: str, image: Any) -> None:
    """Raise for 16-bit colour PNGs, of which Pillow gives 8 bits."""
    if image.format != "PNG":
        return
    with open(path, "rb") as file:
        depth, colours = file.read(26)[24:26]  # in IHDR, which always comes first
    if depth == 16 and colours != 0 and image.mode in ("LA", "RGB", "RGBA"):
        raise ValueError(f"{path}: Pillow reads 16-bit colour as 8-bit: save it as TIFF")


def _mode(image: Any) -> str:
    """The mode that is read: palettes become colours."""
    if image.mode == "P":
        return "RGBA" if "transparency" in image.info else "RGB"
    mode = _BECOMES.get(str(image.mode), str(image.mode))
    if mode not in _FORMS:
        raise ValueError(f"Pillow's mode {image.mode} is not supported: save it as RGB or as TIFF")
    return mode

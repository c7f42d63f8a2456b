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

from ..faults import check_index, explain_read_errors
from .pillow import FORMS, UnknownPictureError, decode, open_pillow, would_lose_depth
from .reader import FileReader

__all__ = ["PicturePlace", "PictureReader"]

_BECOMES = {"PA": "RGBA", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB", "RGBX": "RGB"}


@dataclass(frozen=True)
class PicturePlace:
    """One frame of a picture file, and how many pixels it may unpack to."""

    path: str
    frame: int | None
    max_pixels: int

    def open(self) -> _Picture:
        with _open_frame(self) as image:
            mode = _mode(image)
            columns, rows = image.size
        samples = FORMS[mode].samples
        shape = (rows, columns) if samples == 1 else (rows, columns, samples)
        return _Picture(self, mode, shape, np.dtype(FORMS[mode].dtype))

    def channel_axis(self) -> int | None:
        """The last axis, where there are several channels."""
        with _open_frame(self) as image:
            return 2 if FORMS[_mode(image)].samples > 1 else None

    def dims(self) -> list[str]:
        """Rows, columns, and channels where there are several."""
        return ["y", "x"] if self.channel_axis() is None else ["y", "x", "c"]

    @property
    def kind(self) -> str:
        """Pillow's name of the format."""
        with _open_frame(self) as image:
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
                self._pixels = self._decode_all()
        return self._pixels[key]

    def _decode_all(self) -> NDArray[Any]:
        with _open_frame(self.place) as image:
            pixels = decode(image, self.mode)
        assert pixels.shape == self.shape
        pixels.flags.writeable = False
        return pixels


class PictureReader(FileReader):
    """A picture, which is decoded whole: once read, ``held`` bytes stay in memory."""

    @property
    def held(self) -> int:
        """Bytes that the decoded picture takes."""
        return prod(self.shape) * self.dtype.itemsize


@contextmanager
def _open_frame(place: PicturePlace) -> Iterator[Any]:
    with explain_read_errors(place.path), _open_known(place.path) as image:
        _check_pixels(place, image)
        _choose_frame(place, image)
        _refuse_lossy(place.path, image)
        yield image


def _open_known(path: str) -> Any:
    try:
        return open_pillow(path)
    except UnknownPictureError:
        raise ValueError(
            f"{path} is no image that is known: .npy, Zarr, TIFF, HDF5, or what Pillow opens"
        ) from None


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
    if would_lose_depth(path, image):
        raise ValueError(f"{path}: Pillow reads 16-bit colour as 8-bit: save it as TIFF")


def _mode(image: Any) -> str:
    """The mode that is read: palettes become colours."""
    if image.mode == "P":
        return "RGBA" if "transparency" in image.info else "RGB"
    mode = _BECOMES.get(str(image.mode), str(image.mode))
    if mode not in FORMS:
        raise ValueError(f"Pillow's mode {image.mode} is not supported: save it as RGB or as TIFF")
    return mode

"""Results in PNG, JPEG and WebP files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..extras import needed
from ..mapping import Mapping
from ..read.npy import npy_mapping
from .npy_sink import EncodedWriter, check_file, check_shape, encoded_path, make_npy, same_array
from .staging import check_space, final_path, partial_path, removed

__all__ = ["PICTURES", "PictureSink", "PictureWriter", "check_picture", "save_picture"]

Array = NDArray[Any]


class _Kind(NamedTuple):
    """What one kind of picture file holds: (channels, dtype) pairs, and how long a side may be."""

    holds: tuple[tuple[int, str], ...]
    longest: int
    options: dict[str, Any]


_PLAIN = ((1, "uint8"), (3, "uint8"))
_ALPHA = ((3, "uint8"), (4, "uint8"))
_KINDS = {  # by Pillow's name
    "PNG": _Kind(((1, "bool"), (1, "uint16"), (2, "uint8"), *_PLAIN, (4, "uint8")), 2**31 - 1, {}),
    "JPEG": _Kind(_PLAIN, 65_500, {"quality": 95, "subsampling": 0}),
    "WEBP": _Kind(_ALPHA, 16_383, {"lossless": True}),
}
_SAID = {
    "PNG": "bool, uint8 or uint16 in one channel, uint8 in 2, 3 or 4",
    "JPEG": "uint8 in one channel or 3",
    "WEBP": "uint8 in 3 or 4 channels",
}
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True)
class PictureSink:
    """A result in a PNG, JPEG or WebP file, encoded when all of it is there.

    Until then it is staged as plain elements beside the file; all of it is in memory while it is
    encoded. Channels are the last axis. ``kind`` is told by the suffix: "PNG" holds bool, uint8 and
    uint16 in one channel and uint8 in 2, 3 or 4; "JPEG" (quality 95) uint8 in one channel or 3;
    "WEBP" (lossless) uint8 in 3 or 4.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = PictureSink(folder + "/a.png").create((90, 70, 3), np.dtype("uint8"))
    ...     writer[0:90, 0:70, 0:3] = np.full((90, 70, 3), 5, np.uint8)
    ...     writer.commit()
    ...     os.listdir(folder)
    ['a.png']
    """

    path: str
    kind: str | None = None

    def __post_init__(self) -> None:
        suffix = os.path.splitext(self.path)[1].lower()  # before a link is followed
        kind = PICTURES.get(suffix) if self.kind is None else self.kind
        if kind not in _KINDS:
            raise ValueError(
                f"kind={kind!r} must be one of {', '.join(_KINDS)}, or told by the suffix"
            )
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "path", final_path(self.path))

    def check(self) -> None:
        """Raise what can be known to be wrong before shape and dtype are."""
        needed("PIL.Image", f"writing {self.path}")
        check_file(self.path)

    @property
    def _named(self) -> str:
        assert self.kind is not None
        return self.kind

    @staticmethod
    def held(shape: tuple[int, ...]) -> int:
        """Bytes of a picture in memory while it is encoded: Pillow takes 4 for a pixel of colours."""
        return 4 * prod(shape[:2])

    def check_dtype(self, dtype: np.dtype[Any]) -> None:
        """Raise where no picture of this kind holds ``dtype``, whatever its channels."""
        if dtype.name not in {name for _, name in _KINDS[self._named].holds}:
            raise TypeError(
                f"out={self.path!r}: a {self.kind} holds {_SAID[self._named]}, the result is {dtype}:"
                " give dtype='uint8' (values are rounded, and cut off at 0 and 255),"
                " or write .tif, .npy or .zarr"
            )

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> PictureWriter:
        """The empty staging file; a TypeError or ValueError where a picture cannot hold this."""
        self.check()
        shape, dtype = check_shape(self.path, shape), np.dtype(dtype).newbyteorder("=")
        self.check_dtype(dtype)
        try:
            check_picture(self._named, _seen(shape), dtype)
        except ValueError as error:
            raise ValueError(f"out={self.path!r}: {error}: write .tif, .npy or .zarr") from None
        removed(encoded_path(self.path))
        removed(partial_path(self.path))
        needs = 2 * prod(shape) * dtype.itemsize
        check_space(self.path, needs, f"staging and writing a result of {shape} {dtype}")
        return PictureWriter(self, make_npy(self.path, partial_path(self.path), shape, dtype))

    def reopen(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> PictureWriter:
        """The staging file that is there; a ValueError where it is of another shape or dtype."""
        mapping = npy_mapping(partial_path(self.path))
        same_array(partial_path(self.path), mapping, shape, dtype)
        return PictureWriter(self, mapping)


class PictureWriter(EncodedWriter):
    """A result being staged for a picture: elements in any order, the file at the end."""

    def __init__(self, sink: PictureSink, mapping: Mapping) -> None:
        super().__init__(sink.path, mapping)
        self._kind = sink._named

    def encode(self, path: str) -> None:
        """Write all elements as a picture."""
        pixels = self._mapping.whole()
        save_picture(path, pixels.reshape(_seen(self.shape)), self._kind)


def check_picture(kind: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise a ValueError where a file of a kind cannot hold ``(rows, columns[, channels])``."""
    channels = shape[2] if len(shape) == 3 else 1
    fits = len(shape) in (2, 3) and shape != (*shape[:2], 1)
    if not fits or (channels, dtype.name) not in _KINDS[kind].holds:
        raise ValueError(f"a {kind} holds {_SAID[kind]}, not {dtype} of shape {shape}")
    if max(shape) > _KINDS[kind].longest:
        raise ValueError(
            f"a {kind} has at most {_KINDS[kind].longest:,} rows and columns, not {shape[:2]}"
        )


def save_picture(
    path: str | os.PathLike[str], pixels: Array, kind: str, mode: str | None = None, **options: Any
) -> None:
    """Write ``pixels``, ``(rows, columns[, channels])``, as a picture of a kind.

    ``mode`` is Pillow's, where the shape does not tell it; ``options`` are those of Pillow.
    """
    pillow = needed("PIL.Image", f"writing {os.fspath(path)}")
    plain = np.ascontiguousarray(pixels)
    if mode is None or plain.dtype == np.bool_:
        image = pillow.fromarray(plain)
    else:
        image = pillow.frombytes(mode, plain.shape[1::-1], plain.tobytes())
    image.save(path, format=kind, **_KINDS[kind].options | options)


def _seen(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without a last axis of one channel."""
    return shape[:2] if len(shape) == 3 and shape[2] == 1 else shape

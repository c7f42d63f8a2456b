"""Results in PNG, JPEG and WebP files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..extras import import_optional
from ..mapping import Mapping
from ..read.npy import npy_mapping
from .npy_sink import (
    EncodedWriter,
    check_file,
    check_same_array,
    check_shape,
    encoded_path,
    make_npy,
)
from .pillow import KINDS, PICTURES, check_picture, save_picture
from .staging import check_space, final_path, partial_path, remove

__all__ = ["PictureSink", "PictureWriter"]


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
        if kind not in KINDS:
            raise ValueError(
                f"kind={kind!r} must be one of {', '.join(KINDS)}, or told by the suffix"
            )
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "path", final_path(self.path))

    def check(self) -> None:
        """Raise what can be known to be wrong before shape and dtype are."""
        import_optional("PIL.Image", f"writing {self.path}")
        check_file(self.path)

    @property
    def _kind_name(self) -> str:
        assert self.kind is not None
        return self.kind

    @staticmethod
    def held(shape: tuple[int, ...]) -> int:
        """Bytes of a picture in memory while it is encoded: Pillow takes 4 for a pixel of colours."""
        return 4 * prod(shape[:2])

    def check_dtype(self, dtype: np.dtype[Any]) -> None:
        """Raise where no picture of this kind holds ``dtype``, whatever its channels."""
        if dtype.name not in {name for _, name in KINDS[self._kind_name].holds}:
            raise TypeError(
                f"out={self.path!r}: a {self.kind} holds {KINDS[self._kind_name].words}, the result is {dtype}:"
                " give dtype='uint8' (values are rounded, and cut off at 0 and 255),"
                " or write .tif, .npy or .zarr"
            )

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> PictureWriter:
        """The empty staging file; a TypeError or ValueError where a picture cannot hold this."""
        self.check()
        shape, dtype = check_shape(self.path, shape), np.dtype(dtype).newbyteorder("=")
        self.check_dtype(dtype)
        try:
            check_picture(self._kind_name, _without_single_channel(shape), dtype)
        except ValueError as error:
            raise ValueError(f"out={self.path!r}: {error}: write .tif, .npy or .zarr") from None
        remove(encoded_path(self.path))
        remove(partial_path(self.path))
        needs = 2 * prod(shape) * dtype.itemsize
        check_space(self.path, needs, f"staging and writing a result of {shape} {dtype}")
        return PictureWriter(self, make_npy(self.path, partial_path(self.path), shape, dtype))

    def reopen(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> PictureWriter:
        """The staging file that is there; a ValueError where it is of another shape or dtype."""
        mapping = npy_mapping(partial_path(self.path))
        check_same_array(partial_path(self.path), mapping, shape, dtype)
        return PictureWriter(self, mapping)


class PictureWriter(EncodedWriter):
    """A result being staged for a picture: elements in any order, the file at the end."""

    def __init__(self, sink: PictureSink, mapping: Mapping) -> None:
        super().__init__(sink.path, mapping)
        self._kind = sink._kind_name

    def encode(self, path: str) -> None:
        """Write all elements as a picture."""
        pixels = self._mapping.whole()
        save_picture(path, pixels.reshape(_without_single_channel(self.shape)), self._kind)


def _without_single_channel(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without a last axis of one channel."""
    return shape[:2] if len(shape) == 3 and shape[2] == 1 else shape

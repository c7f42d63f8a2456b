"""Pictures written by Pillow, whoever has them: what each kind of file holds, and the one call that writes."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..extras import import_optional

__all__ = ["KINDS", "PICTURES", "check_picture", "save_picture"]

Array = NDArray[Any]


class Kind(NamedTuple):
    """What one kind of picture file holds, as (channels, dtype) and in words, and how long a side may be."""

    holds: tuple[tuple[int, str], ...]
    words: str
    longest: int
    options: dict[str, Any]


_PLAIN = ((1, "uint8"), (3, "uint8"))
KINDS = {  # by Pillow's name
    "PNG": Kind(
        ((1, "bool"), (1, "uint16"), (2, "uint8"), *_PLAIN, (4, "uint8")),
        "bool, uint8 or uint16 in one channel, uint8 in 2, 3 or 4",
        2**31 - 1,
        {},
    ),
    "JPEG": Kind(_PLAIN, "uint8 in one channel or 3", 65_500, {"quality": 95, "subsampling": 0}),
    "WEBP": Kind(
        ((3, "uint8"), (4, "uint8")), "uint8 in 3 or 4 channels", 16_383, {"lossless": True}
    ),
}
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def check_picture(kind: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise a ValueError where a file of a kind cannot hold ``(rows, columns[, channels])``."""
    channels = shape[2] if len(shape) == 3 else 1
    fits = len(shape) in (2, 3) and shape != (*shape[:2], 1)
    if not fits or (channels, dtype.name) not in KINDS[kind].holds:
        raise ValueError(f"a {kind} holds {KINDS[kind].words}, not {dtype} of shape {shape}")
    if max(shape) > KINDS[kind].longest:
        raise ValueError(
            f"a {kind} has at most {KINDS[kind].longest:,} rows and columns, not {shape[:2]}"
        )


def save_picture(
    path: str | os.PathLike[str], pixels: Array, kind: str, mode: str | None = None, **options: Any
) -> None:
    """Write ``pixels``, ``(rows, columns[, channels])``, as a picture of a kind.

    ``mode`` is Pillow's, where the shape does not tell it; ``options`` are those of Pillow.
    """
    pillow = import_optional("PIL.Image", f"writing {os.fspath(path)}")
    plain = np.ascontiguousarray(pixels)
    if mode is None or plain.dtype == np.bool_:
        image = pillow.fromarray(plain)
    else:
        image = pillow.frombytes(mode, plain.shape[1::-1], plain.tobytes())
    image.save(path, format=kind, **KINDS[kind].options | options)

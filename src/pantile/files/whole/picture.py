"""A picture as arrays, whatever file it came from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..read.pillow import Colour

__all__ = [
    "Header",
    "Picture",
    "PictureError",
    "Pixels",
    "as_planes",
    "explain_faults",
    "upright",
]

Pixels: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# EXIF orientation -> (swap the axes, then flip the rows, then flip the columns).
ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class PictureError(ValueError):
    """A file that is not a picture that could be read; the message names the file."""


@contextmanager
def explain_faults(path: Path) -> Iterator[None]:
    """Whatever a reader trips over becomes a `PictureError`; a broken file makes it raise anything.

    What the operating system says (no permission, no memory) stays as it is.
    """
    try:
        yield
    except (PictureError, ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise
        raise PictureError(f"{path} is damaged: {error or type(error).__name__}") from error


@dataclass(frozen=True)
class Header:
    """What is known of a picture before decoding it; ``shape`` is (rows, columns), seen upright."""

    kind: str
    shape: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    colour: Colour
    alpha: bool = False

    def __str__(self) -> str:
        rows, columns = self.shape
        plain = f"{self.channels} channel{'s' * (self.channels > 1)}"
        colours = plain if self.colour == "other" else self.colour
        alpha = " + alpha" if self.alpha else ""
        return f"{self.kind}, {rows} x {columns}, {self.dtype}, {colours}{alpha}"


@dataclass(frozen=True)
class Picture:
    """``pixels`` (rows, columns, channels) and ``alpha`` (rows, columns), in the file's own values.

    Both are upright. ``profile`` is the ICC colour profile; ``kept`` is what else a writer of the same
    library takes along.
    """

    header: Header
    pixels: Pixels
    alpha: Pixels | None = None
    profile: bytes | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    def with_pixels(self, pixels: Pixels) -> "Picture":
        """The same picture with other colours: ``pixels`` rounded and clipped to its dtype."""
        return replace(self, pixels=_as_dtype(pixels, self.header.dtype))

    @property
    def samples(self) -> Pixels:
        """All channels in one array, alpha last; (rows, columns) when there is one channel only."""
        if self.alpha is not None:
            return np.dstack([self.pixels, self.alpha])
        return self.pixels[..., 0] if self.header.channels == 1 else self.pixels


def as_planes(samples: Pixels, alpha: bool) -> tuple[Pixels, Pixels | None]:
    """The pixels (rows, columns, channels) and the alpha channel of ``samples``."""
    planes = samples if samples.ndim == 3 else samples[..., None]
    return (planes[..., :-1], planes[..., -1]) if alpha else (planes, None)


def upright(samples: Pixels, orientation: int) -> Pixels:
    """``samples`` turned the way the EXIF ``orientation`` says they are to be seen."""
    swap, rows, columns = ORIENTATIONS.get(orientation, (False, False, False))
    turned = np.swapaxes(samples, 0, 1) if swap else samples
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]


def _as_dtype(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """``values`` in ``dtype``; rounded half to even and clipped to its range unless that is a float."""
    if dtype.kind == "f":
        return values.astype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.clip(np.rint(values), low, high).astype(dtype)

"""A picture as arrays, whatever file it came from."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

__all__ = ["Colour", "Header", "Picture", "Pixels", "as_dtype", "as_planes", "upright"]

Pixels: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Colour: TypeAlias = Literal["gray", "rgb", "cmyk", "other"]

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


@dataclass(frozen=True)
class Header:
    """What can be known of a picture without decoding it; `shape` is (rows, columns), seen upright."""

    kind: str
    shape: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    colour: Colour
    alpha: bool = False

    def __str__(self) -> str:
        rows, columns = self.shape
        colours = self.colour if self.colour != "other" else f"{self.channels} channels"
        alpha = " + alpha" if self.alpha else ""
        return f"{self.kind}, {rows} x {columns}, {self.dtype}, {colours}{alpha}"


@dataclass(frozen=True)
class Picture:
    """`pixels` (rows, columns, channels) and `alpha` (rows, columns), upright, in the file's own values.

    `kept` is what a writer of the same library takes along: colour profile, resolution and the like.
    """

    header: Header
    pixels: Pixels
    alpha: Pixels | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> Pixels:
        """All channels of one array as files hold them, alpha last; (rows, columns) when there is one."""
        if self.alpha is not None:
            return np.dstack([self.pixels, self.alpha])
        return self.pixels[..., 0] if self.header.channels == 1 else self.pixels


def as_planes(samples: Pixels, alpha: bool) -> tuple[Pixels, Pixels | None]:
    """The pixels (rows, columns, channels) and the alpha channel of `samples`."""
    planes = samples if samples.ndim == 3 else samples[..., None]
    return (planes[..., :-1], planes[..., -1]) if alpha else (planes, None)


def upright(samples: Pixels, orientation: int) -> Pixels:
    """`samples` turned the way the EXIF `orientation` says they are to be seen."""
    swap, rows, columns = ORIENTATIONS.get(orientation, (False, False, False))
    turned = np.swapaxes(samples, 0, 1) if swap else samples
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]


def as_dtype(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """`values` in `dtype`: rounded half to even and clipped to its range where it is not a float."""
    if dtype.kind == "f":
        return values.astype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.clip(np.rint(values), low, high).astype(dtype)

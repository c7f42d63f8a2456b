"""Where the pixels of a TIFF lie, carried from an image to its result: GeoTIFF's tags, GDAL's, and the resolution."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["Georeference"]

_SCALE, _TIEPOINTS, _TRANSFORMATION = 33550, 33922, 34264
_KEYS, _DOUBLES, _TEXT = 34735, 34736, 34737
_METADATA, _NODATA = 42112, 42113
_RESOLUTION = (282, 283, 296)
_RASTER_TYPE, _POINT = 1025, 2  # a key, and its value where coordinates are those of pixel centres
_STATISTICS = re.compile(r"\s*<Item[^>]*\bname=\"STATISTICS_[^>]*>[^<]*</Item>")

Doubles = tuple[float, ...]


@dataclass(frozen=True)
class Georeference:
    """The tags of a page of ``rows`` by ``columns`` pixels that say where on Earth it lies, and what its values mean.

    ``pixel`` is the size of a pixel, ``tiepoints`` pairs of places in the image and on Earth (6 numbers
    each), ``transformation`` a 4 by 4 matrix; GeoTIFF has the first two, or the last one.
    """

    rows: int
    columns: int
    samples: int
    pixel: Doubles | None = None
    tiepoints: Doubles | None = None
    transformation: Doubles | None = None
    keys: tuple[int, ...] | None = None
    doubles: Doubles | None = None
    text: str | None = None
    metadata: str | None = None
    nodata: str | None = None
    resolution: tuple[float, float, int] | None = None

    @classmethod
    def of(cls, page: Any) -> Georeference | None:
        """What a page of tifffile says; None where it says nothing."""
        found = cls(
            int(page.imagelength),
            int(page.imagewidth),
            int(page.samplesperpixel),
            _read_numbers(page, _SCALE, float),
            _read_numbers(page, _TIEPOINTS, float),
            _read_numbers(page, _TRANSFORMATION, float),
            _read_numbers(page, _KEYS, int),
            _read_numbers(page, _DOUBLES, float),
            _read_text(page, _TEXT),
            _read_text(page, _METADATA),
            _read_text(page, _NODATA),
            _read_resolution(page),
        )
        return None if found == cls(found.rows, found.columns, found.samples) else found

    @property
    def located(self) -> bool:
        """Whether it says where on Earth the pixels lie."""
        return bool(self.pixel or self.tiepoints or self.transformation or self.keys)

    @property
    def _shift(self) -> float:
        """Where the coordinates (0, 0) lie in the first pixel: 0 in its corner, 0.5 in its middle."""
        entries = [(self.keys or ())[k : k + 4] for k in range(4, len(self.keys or ()), 4)]
        point = any(e[0] == _RASTER_TYPE and e[3] == _POINT for e in entries if len(e) == 4)
        return 0.5 if point else 0.0

    def scale_to(self, rows: int, columns: int) -> Georeference:
        """The tags of the same area in another number of pixels: their size, tie points and resolution follow."""
        x, y = columns / self.columns, rows / self.rows
        if (x, y) == (1, 1):
            return self
        pixel, ties, matrix = self.pixel, self.tiepoints, self.transformation
        if pixel:
            pixel = (pixel[0] / x, pixel[1] / y, *pixel[2:])
        if ties:
            ties = tuple(
                self._move(n, x if k % 6 == 0 else y) if k % 6 < 2 else n
                for k, n in enumerate(ties)
            )
        if matrix:
            matrix = self._stretch(matrix, x, y)
        inch = self.resolution
        return replace(
            self,
            rows=rows,
            columns=columns,
            pixel=pixel,
            tiepoints=ties,
            transformation=matrix,
            resolution=None if inch is None else (inch[0] * x, inch[1] * y, inch[2]),
        )

    def _move(self, place: float, factor: float) -> float:
        return (place + self._shift) * factor - self._shift

    def _stretch(self, matrix: Doubles, x: float, y: float) -> Doubles:
        """The transformation of an image scaled by ``x`` and ``y``: back to the old pixels, then as before."""
        shift = self._shift
        back = np.diag([1 / x, 1 / y, 1.0, 1.0])
        back[0, 3], back[1, 3] = shift / x - shift, shift / y - shift
        return tuple(float(n) for n in (np.reshape(matrix, (4, 4)) @ back).ravel())

    def options(self, dtype: np.dtype[Any], samples: int) -> dict[str, Any]:
        """Options of `tifffile.TiffWriter.write` that store the tags with pages of ``dtype`` and ``samples``."""
        tags: list[tuple[int, str, int, Any, bool]] = []
        for code, kind, numbers in (
            (_SCALE, "d", self.pixel),
            (_TIEPOINTS, "d", self.tiepoints),
            (_TRANSFORMATION, "d", self.transformation),
            (_KEYS, "H", self.keys),
            (_DOUBLES, "d", self.doubles),
        ):
            if numbers:
                tags.append((code, kind, len(numbers), numbers, True))
        metadata = self.metadata if samples == self.samples else None
        metadata = metadata and _STATISTICS.sub("", metadata)  # of other values than these
        for code, words in (
            (_TEXT, self.text),
            (_METADATA, metadata),
            (_NODATA, self.nodata if _can_hold(dtype, self.nodata) else None),
        ):
            if words:
                tags.append((code, "s", 0, words, True))
        options: dict[str, Any] = {"extratags": tags}
        if self.resolution is not None:
            options |= {"resolution": self.resolution[:2], "resolutionunit": self.resolution[2]}
        return options


def _read_numbers(page: Any, code: int, kind: type) -> Any:
    tag = page.tags.get(code)
    if tag is None:
        return None
    value = tag.value if isinstance(tag.value, tuple | list) else (tag.value,)
    return tuple(kind(n) for n in value)


def _read_text(page: Any, code: int) -> str | None:
    tag = page.tags.get(code)
    if tag is None:
        return None
    value = tag.value.decode("latin-1") if isinstance(tag.value, bytes) else str(tag.value)
    return value.rstrip("\0") or None


def _read_resolution(page: Any) -> tuple[float, float, int] | None:
    """Pixels per unit along columns and rows, and the unit (2: inch, 3: centimetre); None where it says nothing."""
    x, y, unit = (page.tags.get(code) for code in _RESOLUTION)
    if x is None or y is None:
        return None
    kind = 2 if unit is None else int(unit.value)
    pair = [tag.value[0] / tag.value[1] if tag.value[1] else 0.0 for tag in (x, y)]
    if not all(pair) or (kind == 1 and pair == [1, 1]):
        return None
    return pair[0], pair[1], kind


def _can_hold(dtype: np.dtype[Any], number: str | None) -> bool:
    """Whether the value that marks missing pixels can be stored in ``dtype``."""
    if number is None or dtype.kind in "fc":
        return number is not None
    with suppress(ValueError, OverflowError):
        value = float(number)
        if dtype.kind in "iu":
            return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    return False

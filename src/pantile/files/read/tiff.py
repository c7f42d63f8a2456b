"""TIFF files through tifffile: pages as an axis, tiles and strips read one by one."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from ..extras import import_optional
from ..faults import check_index
from ..georeference import Georeference
from ..mapping import Mapping, byte_strides_of

__all__ = ["TIFF_MAGIC", "TiffPlace", "open_tiff"]

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class TiffPlace:
    """One level of one series of a TIFF file: pages of the same kind."""

    path: str
    series: int
    level: int
    kind: ClassVar[str] = "TIFF"

    def open(self) -> Any:
        with _collect_complaints() as complaints, contextlib.ExitStack() as failing:
            file = failing.enter_context(
                import_optional("tifffile", "reading TIFF").TiffFile(self.path)
            )
            pages = self._pages(file)
            if complaints:
                raise ValueError(f"{self.path} is truncated, pages are missing: {complaints[0]}")
            _refuse_truncated(self.path, pages)
            _refuse_misread(self.path, pages.keyframe)
            if pages.dataoffset is None:
                blocks = _Blocks(file, pages)
                failing.pop_all()
                return blocks
            dtype = np.dtype(pages.dtype).newbyteorder(file.byteorder)
            shape = tuple(pages.shape)
            return Mapping(self.path, pages.dataoffset, dtype, shape, byte_strides_of(shape, dtype))

    def channel_axis(self) -> int | None:
        """Where the axes in the file's metadata have samples of a pixel, or else channels."""
        with open_tiff(self.path) as file:
            axes = str(self._pages(file).axes)
        return next((axes.index(name) for name in "SC" if name in axes), None)

    def dims(self) -> list[str]:
        """The letters of the axes in the file's metadata, small; samples of a pixel are channels."""
        with open_tiff(self.path) as file:
            axes = str(self._pages(file).axes)
        known = {"S": "s" if "C" in axes else "c"}
        return [f"dim_{k}" if a in "QI" else known.get(a, a.lower()) for k, a in enumerate(axes)]

    def georeference(self) -> Georeference | None:
        """Where the pixels lie, by the tags of the first page; of a smaller level, by those of the full one."""
        with open_tiff(self.path) as file:
            page, full = self._pages(file).keyframe, file.series[self.series].levels[0].keyframe
            found = Georeference.of(page)
            whole = Georeference.of(full) if found is None or not found.located else found
            if whole is None or (found is not None and not whole.located):
                return found
            return whole.scale_to(int(page.imagelength), int(page.imagewidth))

    def inside(self) -> dict[str, Any]:
        return {"series": self.series, "level": self.level}

    def _pages(self, file: Any) -> Any:
        """The series at its level, or a ValueError where the file has no such one."""
        every = list(file.series)
        check_index(self.path, "series", self.series, len(every))
        levels = every[self.series].levels
        check_index(self.path, "level", self.level, len(levels))
        return levels[self.level]


@contextmanager
def open_tiff(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A TIFF file as tifffile's, open inside; nothing that tifffile logs of it is printed."""
    with (
        _collect_complaints(),
        import_optional("tifffile", f"reading {path}").TiffFile(path) as file,
    ):
        yield file


class _Blocks:
    """Pages whose tiles or strips are decoded, as a Zarr array; the file is open while this lives."""

    def __init__(self, file: Any, pages: Any) -> None:
        zarr = import_optional("zarr", "reading a TIFF file by blocks")
        # of all ways to a store, this one is the same before and after the changes of 2026
        self._array = zarr.open_array(pages.aszarr(level=0), mode="r")
        self.shape, self.dtype = self._array.shape, self._array.dtype
        self.chunks = self._array.chunks
        weakref.finalize(self, file.close)

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        return self._array[key]


def _refuse_truncated(path: str, pages: Any) -> None:
    """Raise where a strip or tile ends behind the end of the file: some would be read as zeros."""
    size = os.path.getsize(path)
    if pages.dataoffset is not None:
        end = pages.dataoffset + prod(pages.shape) * np.dtype(pages.dtype).itemsize
    else:
        here = [p for p in (pages[k] for k in range(len(pages))) if _is_in(path, p)]
        end = max((_find_end(page) for page in here), default=0)
    if end > size:
        raise ValueError(f"{path} is truncated: it has {size:,} bytes of {end:,}")


def _refuse_misread(path: str, page: Any) -> None:
    """Raise for channels of one bit: tifffile takes each row's bits apart at the wrong places."""
    if np.dtype(page.dtype).kind == "b" and page.samplesperpixel > 1:
        raise ValueError(f"{path} holds {page.samplesperpixel} channels of 1 bit: save it as 8-bit")


def _is_in(path: str, page: Any) -> bool:
    """Whether ``page`` is in this file: OME images may go on in others, and miss pages."""
    return page is not None and page.keyframe is not None and page.parent.filehandle.path == path


def _find_end(page: Any) -> int:
    return max(
        (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0
    )


@contextmanager
def _collect_complaints() -> Iterator[list[str]]:
    """What tifffile says of pages that it cannot find; it goes on without them."""
    complaints: list[str] = []
    here = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if record.thread == here and "TiffPages @" in message and "circular" not in message:
                complaints.append(message)

    listener = Listener(logging.ERROR)
    logger = logging.getLogger("tifffile")
    disabled, logger.disabled = logger.disabled, False  # a dictConfig of others' may disable it
    level = logger.level
    logger.setLevel(min(level, logging.ERROR))  # one that is silenced would say nothing here
    logger.addHandler(listener)
    try:
        yield complaints
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.disabled = disabled

"""Images and results in files: readers, and sinks that show only whole results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from .npy_sink import NpySink
    from .opening import open_image
    from .picture_sink import PictureSink
    from .protocol import Reader, Sink, Writer
    from .sinks import sink_of
    from .tiff_sink import TiffSink
    from .zarr_sink import ZarrSink

__all__ = [
    "NpySink",
    "PictureSink",
    "Reader",
    "Sink",
    "TiffSink",
    "Writer",
    "ZarrSink",
    "open_image",
    "sink_of",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "NpySink": "npy_sink",
            "PictureSink": "picture_sink",
            "Reader": "protocol",
            "Sink": "protocol",
            "TiffSink": "tiff_sink",
            "Writer": "protocol",
            "ZarrSink": "zarr_sink",
            "open_image": "opening",
            "sink_of": "sinks",
        },
    )

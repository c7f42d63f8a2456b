"""Images and results in files: readers, and sinks that show only whole results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from .protocol import Reader, Sink, Writer
    from .read.opening import open_image
    from .write.npy_sink import NpySink
    from .write.picture_sink import PictureSink
    from .write.sinks import sink_of
    from .write.tiff_sink import TiffSink
    from .write.zarr_sink import ZarrSink

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
            "NpySink": "write.npy_sink",
            "PictureSink": "write.picture_sink",
            "Reader": "protocol",
            "Sink": "protocol",
            "TiffSink": "write.tiff_sink",
            "Writer": "protocol",
            "ZarrSink": "write.zarr_sink",
            "open_image": "read.opening",
            "sink_of": "write.sinks",
        },
    )

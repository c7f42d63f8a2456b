"""Images and results in files: readers, and sinks that show only whole results."""

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

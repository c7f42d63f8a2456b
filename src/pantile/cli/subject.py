"""What `info` describes: a picture seen upright, or any other image in a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pantile.files import open_image
from pantile.files.whole.formats import is_picture, is_tiff, read_header
from pantile.files.whole.picture import Header, PictureError

__all__ = ["Subject", "subject_of"]

_LIMITLESS = 2**62  # a header cannot fill the memory


@dataclass(frozen=True)
class Subject:
    """An image of which no element is read. ``image`` has its shape, dtype and channel axis."""

    path: Path
    kind: str
    image: Any
    header: Header | None = None

    @property
    def noun(self) -> str:
        """What to call it."""
        return "picture" if self.header else "image"

    def facts(self) -> dict[str, object]:
        """Shape, dtype, chunks and colours as JSON values."""
        image, header = self.image, self.header
        chunks = None if image.chunks is None else list(image.chunks)
        colours = {"colour": header.colour, "alpha": header.alpha} if header else {}
        return {
            "file": str(self.path),
            "kind": self.kind,
            "shape": list(image.shape),
            "dtype": str(image.dtype),
            "channel_axis": image.channel_axis,
            "chunks": chunks,
            **colours,
        }

    def __str__(self) -> str:
        if self.header is not None:
            return str(self.header)
        image = self.image
        sizes = " x ".join(map(str, image.shape))
        chunks = (
            "" if image.chunks is None else f", in chunks of {'x'.join(map(str, image.chunks))}"
        )
        channels = "" if image.channel_axis is None else f", channels on axis {image.channel_axis}"
        return f"{self.kind}, {sizes}, {image.dtype}{channels}{chunks}"


class _HeaderImage:
    """A picture of which only the header is read: shape and dtype, upright, with zeros for elements."""

    chunks = None

    def __init__(self, header: Header) -> None:
        channels = header.channels + header.alpha
        self.shape = (*header.shape, channels) if channels > 1 else header.shape
        self.dtype = header.dtype
        self.channel_axis = 2 if channels > 1 else None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


def subject_of(path: Path, **choice: Any) -> Subject:
    """The image in ``path``: a picture where `denoise` can read it, else what `open_image` reads."""
    chosen = {name: value for name, value in choice.items() if value is not None}
    if not chosen and is_picture(path):
        try:
            header = read_header(path)
            return Subject(path, header.kind, _HeaderImage(header), header)
        except PictureError:
            if not is_tiff(path):  # one of several pages, or of axes
                raise
    image: Any = open_image(path, **{"max_pixels": _LIMITLESS, **chosen})
    return Subject(path, image.place.kind, image)

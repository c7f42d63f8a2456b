"""Open images: find the reader for a path or an object."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from ..faults import explain_read_errors
from ..protocol import Reader
from .hdf5 import Hdf5Place, find_dataset
from .npy import NpyPlace, describe_zip
from .objects import reader_of
from .pictures import PicturePlace, PictureReader
from .pillow import MAX_PIXELS
from .reader import FileReader, Place
from .tiff import TIFF_MAGIC, TiffPlace
from .zarrs import find_array, is_zarr

__all__ = ["open_image"]


class Choice(NamedTuple):
    """Which image in a file is to be read."""

    level: int | None
    dataset: str | None
    series: int | None
    max_pixels: int | None


class Format(NamedTuple):
    """One kind of file: its first bytes, which choices it offers, and the place of the chosen image."""

    name: str
    magic: tuple[bytes, ...]
    chooses: tuple[str, ...]
    place: Callable[[str, Choice], Place]
    reader: type[FileReader] = FileReader


def open_image(
    image: Any,
    *,
    level: int | None = None,
    dataset: str | None = None,
    series: int | None = None,
    max_pixels: int | None = None,
) -> Reader:
    """A `Reader` of ``image``: shape, dtype, and blocks by slices; never read whole.

    A path is opened by what the file is, whatever its suffix says:

    - ``.npy``, C or Fortran order, mapped block by block;
    - a Zarr array (v2, v3); in a group, ``dataset`` names what is meant, unless there is only one
      array; in an OME-Zarr image (0.4, 0.5) ``level`` is the resolution, 0 the full one, and
      ``series`` the image where there are several;
    - TIFF and BigTIFF, tiled or striped, by tifffile: pages of the same kind are an axis.
      ``series`` chooses where pages differ, ``level`` in a pyramid; both 0 if not given. Values
      are as stored (palette indices stay indices);
    - HDF5: ``dataset`` names what is meant, unless there is only one;
    - PNG, JPEG, and what else Pillow opens: decoded whole when first read, and only up to
      ``max_pixels`` (default 178,956,970), so that a small file cannot fill the memory. Palettes
      become RGB or RGBA, 16-bit grays stay 16-bit, 16-bit colour PNGs are refused (Pillow halves
      their depth). Rows and columns are as stored: what EXIF says of turning is not done.
      ``series`` is the frame of an animation.

    An object is read as it is: NumPy arrays, memmaps, ``zarr.Array``, ``h5py.Dataset``,
    ``xarray.DataArray`` (Dask-backed ones compute what a slice needs), or anything with ``shape``,
    ``dtype`` and slices. What lies in a local file pickles as its place, a few hundred bytes.
    Blocks have the machine's byte order, and may be read from several threads at once. Readers of files
    know what those say of their axes: names (``dims``), which one holds channels (``channel_axis``).

    Raises
    ------
    FileNotFoundError
        There is nothing at that path.
    ValueError
        The file is truncated, damaged, no image, or an image without elements; a choice is
        missing, out of range, or means nothing in such a file. It names the file.
    ImportError
        The format needs a package that is not installed: ``pip install "pantile[io]"``.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from pantile.files import open_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "ramp.npy"
    ...     np.save(path, np.arange(12).reshape(3, 4))
    ...     image = open_image(path)
    ...     image.shape, image[1:3, 0:2].tolist()
    ((3, 4), [[4, 5], [8, 9]])
    """
    choice = Choice(level, dataset, series, max_pixels)
    if not isinstance(image, (str, os.PathLike)):
        _refuse_choices(choice, (), "an image that is not a path")
        return reader_of(image)
    path = os.path.abspath(os.fspath(image))
    found = _find_format(path)
    _refuse_choices(choice, found.chooses, f"{path}, {found.name}")
    with explain_read_errors(path):
        return found.reader(found.place(path, choice))


def _refuse_choices(choice: Choice, chooses: tuple[str, ...], what: str) -> None:
    for name in ("level", "dataset", "series"):
        if getattr(choice, name) is not None and name not in chooses:
            raise ValueError(f"{name}={getattr(choice, name)!r} chooses nothing in {what}")


def _find_format(path: str) -> Format:
    """The format by the first bytes of the file, whatever its suffix."""
    if os.path.isdir(path):
        if not is_zarr(path):
            os.scandir(path).close()  # one that may not be looked into says so
            raise ValueError(f"{path} is a directory, and no Zarr array or group")
        return _ZARR
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
        raise ValueError(
            f"{path} is no file, and images are read in blocks: save it to a file first"
        )
    with open(path, "rb") as file:
        begin = file.read(8)
    if not begin:
        raise ValueError(f"{path} is empty")
    if begin.startswith(_ZIP):
        raise ValueError(f"{path} {describe_zip(path)}")
    for each in _FILES:
        if begin.startswith(each.magic):
            return each
    return _PICTURE


def _npy_place(path: str, _: Choice) -> Place:
    return NpyPlace(path)


def _zarr_place(path: str, choice: Choice) -> Place:
    return find_array(path, choice.dataset, choice.series, choice.level)


def _hdf5_place(path: str, choice: Choice) -> Place:
    return Hdf5Place(path, find_dataset(path, choice.dataset))


def _tiff_place(path: str, choice: Choice) -> Place:
    return TiffPlace(path, choice.series or 0, choice.level or 0)


def _picture_place(path: str, choice: Choice) -> Place:
    limit = MAX_PIXELS if choice.max_pixels is None else choice.max_pixels
    return PicturePlace(path, choice.series, limit)


_ZIP = (b"PK\3\4", b"PK\5\6")  # the second: an empty one
_ZARR = Format("a Zarr directory", (), ("level", "dataset", "series"), _zarr_place)
_PICTURE = Format("a picture", (), ("series",), _picture_place, PictureReader)
_FILES = (
    Format("an .npy file", (b"\x93NUMPY",), (), _npy_place),
    Format("a TIFF file", TIFF_MAGIC, ("level", "series"), _tiff_place),
    Format("an HDF5 file", (b"\x89HDF\r\n\x1a\n",), ("dataset",), _hdf5_place),
)

"""Images written by the libraries whose files are read, and read by those whose files are written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

Make = Callable[[Path, NDArray[Any]], Any]

SHAPES = {"gray": (37, 53), "rgb": (37, 53, 3), "volume": (5, 21, 34)}
DTYPES = ("bool", "uint8", "uint16", "float32", "complex64")


def image(kind: str, dtype: str, seed: int = 0) -> NDArray[Any]:
    """Random elements: no two neighbours alike, complex ones with both parts."""
    values = np.random.default_rng(seed).normal(128, 40, (2, *SHAPES[kind]))
    if dtype == "bool":
        return values[0] > 128
    if dtype.startswith("complex"):
        return (values[0] + 1j * values[1]).astype(dtype)
    return values[0].clip(0, 255).astype(dtype)


def npy(path: Path, x: NDArray[Any]) -> Any:
    np.save(path, x)


def npy_fortran(path: Path, x: NDArray[Any]) -> Any:
    np.save(path, np.asfortranarray(x))


def npy_big_endian(path: Path, x: NDArray[Any]) -> Any:
    np.save(path, x.astype(x.dtype.newbyteorder(">")))


def _chunks(x: NDArray[Any]) -> tuple[int, ...]:
    return tuple(min(n, 16) for n in x.shape)


def zarr_v3(path: Path, x: NDArray[Any]) -> Any:
    zarr.create_array(path, data=x, chunks=_chunks(x))


def zarr_sharded(path: Path, x: NDArray[Any]) -> Any:
    chunks = _chunks(x)
    zarr.create_array(path, data=x, chunks=chunks, shards=tuple(3 * c for c in chunks))


def zarr_v2(path: Path, x: NDArray[Any]) -> Any:
    zarr.create_array(path, data=x, chunks=_chunks(x), zarr_format=2)


def ome_zarr_v04(path: Path, x: NDArray[Any]) -> Any:
    """Two levels, the second half as large, described as in version 0.4."""
    group = zarr.create_group(path, zarr_format=2)
    group.attrs["multiscales"] = [
        {"version": "0.4", "datasets": [{"path": "s0"}, {"path": "s1"}]},
    ]
    group.create_array("s0", data=x, chunks=_chunks(x))
    group.create_array("s1", data=x[..., ::2, ::2], chunks=_chunks(x))


def ome_zarr_v05(path: Path, x: NDArray[Any]) -> Any:
    """Two levels, the second half as large, described as in version 0.5."""
    group = zarr.create_group(path, zarr_format=3)
    datasets = [{"path": "scale/0"}, {"path": "scale/1"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": datasets}]}
    group.create_array("scale/0", data=x, chunks=_chunks(x))
    group.create_array("scale/1", data=x[..., ::2, ::2], chunks=_chunks(x))


def _tiff(path: Path, x: NDArray[Any], **options: Any) -> None:
    colours = x.ndim == 3 and x.shape[-1] == 3
    kind = {"photometric": "rgb", "planarconfig": "contig"} if colours else {}
    tifffile.imwrite(path, x, **({"photometric": "minisblack"} | kind | options))


def tiff_plain(path: Path, x: NDArray[Any]) -> Any:
    _tiff(path, x)


def tiff_big_endian(path: Path, x: NDArray[Any]) -> Any:
    _tiff(path, x, byteorder=">", bigtiff=True)


def tiff_strips(path: Path, x: NDArray[Any]) -> Any:
    _tiff(path, x, rowsperstrip=7, compression="zlib", predictor=x.dtype.kind == "u")


def tiff_tiles(path: Path, x: NDArray[Any]) -> Any:
    _tiff(path, x, tile=(16, 32), compression="zlib", byteorder=">", metadata=None)


def hdf5(path: Path, x: NDArray[Any]) -> Any:
    with h5py.File(path, "w") as file:
        file.create_dataset("raw/image", data=x)


def hdf5_chunked(path: Path, x: NDArray[Any]) -> Any:
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=x, chunks=_chunks(x), compression="gzip")
        file.attrs["title"] = "no image"
        file["kind"] = "a text, no image"


def png(path: Path, x: NDArray[Any]) -> Any:
    Image.fromarray(x).save(path, format="PNG")


MAKERS: dict[str, tuple[str, Make]] = {
    "npy": (".npy", npy),
    "npy fortran": (".npy", npy_fortran),
    "npy big-endian": (".npy", npy_big_endian),
    "zarr v3": (".zarr", zarr_v3),
    "zarr sharded": (".zarr", zarr_sharded),
    "zarr v2": (".zarr", zarr_v2),
    "ome-zarr 0.4": (".zarr", ome_zarr_v04),
    "ome-zarr 0.5": (".zarr", ome_zarr_v05),
    "tiff plain": (".tif", tiff_plain),
    "tiff big-endian": (".tif", tiff_big_endian),
    "tiff strips": (".tif", tiff_strips),
    "tiff tiles": (".tif", tiff_tiles),
    "hdf5": (".h5", hdf5),
    "hdf5 chunked": (".h5", hdf5_chunked),
    "png": (".png", png),
}


def holds(name: str, kind: str, dtype: str) -> bool:
    """Whether the format has a place for such an image."""
    if name == "png":
        return (kind, dtype) in {
            ("gray", "bool"), ("gray", "uint8"), ("gray", "uint16"), ("rgb", "uint8"),
        }  # fmt: skip
    return not (name.startswith("tiff") and (kind, dtype) == ("rgb", "bool"))


def make(name: str, folder: Path, x: NDArray[Any]) -> Path:
    """The file that the library of that name writes."""
    suffix, maker = MAKERS[name]
    path = folder / (name.replace(" ", "_") + suffix)
    maker(path, x)
    return path


def read_by_library(path: Path) -> NDArray[Any]:
    """All elements of a result, by the library that its suffix belongs to."""
    readers: dict[str, Callable[[Any], Any]] = {
        ".npy": np.load,
        ".zarr": lambda p: zarr.open_array(p, mode="r")[...],
        ".tif": tifffile.imread,
        ".tiff": tifffile.imread,
    }
    return np.asarray(readers[path.suffix](path))


def everything(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


@contextmanager
def nobody() -> Iterator[None]:
    """A user whom directory permissions hold for, which they do not for root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)

"""Every kind of image read, to every kind of result written, through map_patches; checked by the real library."""

from pathlib import Path

import numpy as np
import pytest

import pantile as pt

h5py = pytest.importorskip("h5py")
tifffile = pytest.importorskip("tifffile")
xarray = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
PIL = pytest.importorskip("PIL.Image")

IMAGE = np.random.default_rng(0).integers(0, 255, (70, 90), np.uint8)


def as_npy(folder):
    np.save(folder / "image.npy", IMAGE)
    return folder / "image.npy"


def as_zarr(version):
    def make(folder):
        array = zarr.create_array(
            folder / "image.zarr",
            shape=IMAGE.shape,
            chunks=(32, 32),
            dtype="u1",
            zarr_format=version,
        )
        array[:] = IMAGE
        return folder / "image.zarr"

    return make


def as_tiff(**options):
    def make(folder):
        tifffile.imwrite(folder / "image.tif", IMAGE, **options)
        return folder / "image.tif"

    return make


def as_hdf5(folder):
    with h5py.File(folder / "image.h5", "w") as file:
        file.create_dataset("image", data=IMAGE, chunks=(16, 16))
    return folder / "image.h5"


def as_png(folder):
    PIL.fromarray(IMAGE).save(folder / "image.png")
    return folder / "image.png"


SOURCES = {
    "array": lambda _: IMAGE,
    "npy": as_npy,
    "zarr 3": as_zarr(3),
    "zarr 2": as_zarr(2),
    "tiff, striped": as_tiff(),
    "tiff, tiled": as_tiff(tile=(32, 32), compression="zlib", bigtiff=True),
    "hdf5": as_hdf5,
    "xarray": lambda _: xarray.DataArray(IMAGE, dims=("y", "x")),
    "png": as_png,
}
SINKS = {
    ".npy": np.load,
    ".zarr": lambda path: zarr.open_array(path, mode="r")[:],
    ".tif": tifffile.imread,
}


@pytest.mark.parametrize("suffix", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_from_every_source_to_every_sink(source, suffix, tmp_path):
    image, out = SOURCES[source](tmp_path), tmp_path / f"out{suffix}"
    before = {path.name for path in tmp_path.iterdir()}
    given = pt.map_patches(lambda b: b, image, (9, 7), (4, 5), out=out, dtype=np.uint8)
    assert Path(given) == out
    np.testing.assert_array_equal(SINKS[suffix](out), IMAGE)
    assert {path.name for path in tmp_path.iterdir()} == before | {out.name}

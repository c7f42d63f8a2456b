"""Images in files: what every library writes is read, by blocks, anywhere, or refused by name."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.array
import h5py
import numpy as np
import pytest
import tifffile
import xarray
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pantile
from pantile.files import open_image
from pantile.testing.stores import RecordingStore, accesses
from tests._files_made import DTYPES, MAKERS, SHAPES, everything, holds, image, make, nobody


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """A gray image of 16 bits as every format, and its elements."""
    folder = tmp_path_factory.mktemp("made")
    x = image("gray", "uint16")
    return {name: (make(name, folder, x), x) for name in MAKERS}


@pytest.mark.parametrize("name", MAKERS)
def test_what_the_library_writes_is_read(name: str, tmp_path: Path) -> None:
    for kind in SHAPES:
        for dtype in DTYPES:
            if holds(name, kind, dtype):
                (folder := tmp_path / f"{kind}-{dtype}").mkdir()
                x = image(kind, dtype)
                reader = open_image(make(name, folder, x))
                assert (reader.shape, reader.dtype) == (x.shape, x.dtype)
                block = reader[everything(x.shape)]
                assert type(block) is np.ndarray
                assert block.dtype == x.dtype
                assert block.dtype.isnative
                np.testing.assert_array_equal(block, x, f"{kind} {dtype}")


@given(data=st.data())
def test_any_block_is_what_the_array_has_there(made: dict[str, Any], data: st.DataObject) -> None:
    path, x = made[data.draw(st.sampled_from(sorted(made)))]
    key = []
    for n in x.shape:
        begin, end = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
        key.append(slice(begin, end, data.draw(st.sampled_from([None, 1, 3]))))
    np.testing.assert_array_equal(open_image(path)[tuple(key)], x[tuple(key)])


@pytest.mark.parametrize("name", MAKERS)
def test_a_reader_is_indexed_as_an_array_is(name: str, made: dict[str, Any]) -> None:
    path, _ = made[name]
    reader, whole = open_image(path), np.asarray(open_image(path))
    for key in (..., 3, -1, slice(2, 5), (2, 3), (..., 2), (slice(1, 4), -2), (..., slice(3))):
        np.testing.assert_array_equal(reader[key], whole[key])
        assert reader[key].shape == whole[key].shape
    with pytest.raises(IndexError, match="element 1000 of axis 0"):
        reader[1000]
    with pytest.raises(IndexError, match="too many"):
        reader[(0,) * (whole.ndim + 1)]
    with pytest.raises(TypeError, match="slices and whole numbers"):
        reader[[0, 1]]


@pytest.mark.parametrize("name", MAKERS)
def test_chunks_are_what_is_decoded_at_once(name: str, made: dict[str, Any]) -> None:
    path, x = made[name]
    chunks = {"zarr": (16, 16), "ome-zarr": (16, 16), "png": x.shape}.get(name.split()[0])
    chunks = {"tiff strips": (7, 53), "tiff tiles": (16, 32), "hdf5 chunked": (16, 16)}.get(
        name, chunks
    )
    assert open_image(path).chunks == chunks


def test_readers_pickle_as_their_place_and_open_in_another_process(
    made: dict[str, Any], tmp_path: Path
) -> None:
    readers = {name: open_image(path) for name, (path, _) in made.items()}
    mapped = np.load(made["npy"][0], mmap_mode="r")
    readers["memmap"] = open_image(mapped[3:30:2, 4:])
    readers["memmap backwards"] = open_image(mapped[::-1, ::-1])
    readers["reader"] = open_image(open_image(made["npy"][0]))
    readers["zarr object"] = open_image(zarr.open_array(made["zarr v3"][0]))
    with h5py.File(made["hdf5"][0]) as file:
        readers["hdf5 object"] = open_image(file["raw/image"])
    pickles = {name: pickle.dumps(reader) for name, reader in readers.items()}
    assert max(map(len, pickles.values())) < 600
    (tmp_path / "pickles").write_bytes(pickle.dumps(pickles))
    np.save(tmp_path / "expected.npy", made["npy"][1])
    code = """if True:
        import pickle, sys, numpy as np
        folder = sys.argv[1]
        x = np.load(folder + "/expected.npy")
        for name, data in pickle.load(open(folder + "/pickles", "rb")).items():
            y = {"memmap": x[3:30:2, 4:], "memmap backwards": x[::-1, ::-1]}.get(name, x)
            reader = pickle.loads(data)
            assert (reader.shape, reader.dtype) == (y.shape, y.dtype), name
            assert (reader[2:9, 5:33] == y[2:9, 5:33]).all(), name
        print("all equal")
    """
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"all equal\n"


def test_threads_read_the_same_reader(made: dict[str, Any]) -> None:
    for path, x in made.values():
        reader = pickle.loads(pickle.dumps(open_image(path)))  # opened by whoever comes first

        def agrees(row: int, reader: Any = reader, x: Any = x) -> bool:
            return bool((reader[row : row + 5, 3:40] == x[row : row + 5, 3:40]).all())

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(agrees, range(0, 32, 2)))


def test_what_is_far_larger_than_memory_is_read_by_blocks(tmp_path: Path) -> None:
    side = 2**20  # squared: a terabyte each
    header = {"descr": "|u1", "fortran_order": False, "shape": (side, side)}
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        file.truncate(file.tell() + side**2)
    chunks = {"shape": (side, side), "dtype": "u1", "chunks": (256, 256)}
    array = zarr.create_array(tmp_path / "a.zarr", **chunks)
    array[side - 3 :, side - 4 :] = 7
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5.create_dataset("x", **chunks)[side - 3 :, side - 4 :] = 7
    with open(tmp_path / "a.npy", "r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\7\7\7")
    corner = (slice(side - 2, side), slice(side - 3, side))
    assert open_image(tmp_path / "a.npy")[corner].tolist() == [[0, 0, 0], [7, 7, 7]]
    for name in ("a.zarr", "a.h5"):
        assert open_image(tmp_path / name)[corner].tolist() == [[7, 7, 7], [7, 7, 7]]


def test_a_block_decodes_only_the_chunks_that_it_touches(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path / "x.zarr")
    array = zarr.create_array(store, data=image("gray", "uint16"), chunks=(10, 10))
    reader = open_image(array)
    before = len(accesses(store.root))
    reader[9:11, 20:30]
    assert {a.key for a in accesses(store.root)[before:]} == {"c/0/2", "c/1/2"}


def test_levels_of_pyramids(tmp_path: Path, made: dict[str, Any]) -> None:
    for name in ("ome-zarr 0.4", "ome-zarr 0.5"):
        path, x = made[name]
        np.testing.assert_array_equal(
            open_image(path, level=1)[0:19, 0:27], x[::2, ::2], strict=True
        )
    x = image("gray", "uint8")
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(x, subifds=1, tile=(16, 16), photometric="minisblack")
        file.write(x[::2, ::2], subfiletype=1, tile=(16, 16), photometric="minisblack")
    reader = open_image(tmp_path / "pyramid.tif", level=1)
    assert reader.shape == (19, 27)
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again[0:19, 0:27], x[::2, ::2])


def test_series_choose_where_pages_differ(tmp_path: Path) -> None:
    first, second = image("gray", "uint8"), image("volume", "float32")
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(first, photometric="minisblack")
        file.write(second, photometric="minisblack", compression="zlib")
    for series, x in enumerate((first, second)):
        reader = open_image(tmp_path / "two.tif", series=series)
        np.testing.assert_array_equal(reader[everything(x.shape)], x, strict=True)
    frames = [Image.fromarray(np.full((4, 6), k, np.uint8)) for k in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "a.gif", series=2)[0:4, 0:6, 0:3].max() == 2


def test_datasets_of_groups(tmp_path: Path) -> None:
    x = image("gray", "uint8")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["g/y"] = x, x + 1
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("x", data=x)
    group.create_array("g/y", data=x + 1)
    for name in ("a.h5", "a.zarr"):
        with pytest.raises(ValueError, match=f"dataset= must name one .* in .*{name}.*: it holds"):
            open_image(tmp_path / name)
        with pytest.raises(ValueError, match=f"dataset='z' is not in .*{name}: it holds .*x"):
            open_image(tmp_path / name, dataset="z")
        assert (open_image(tmp_path / name, dataset="g/y")[0:9, 0:9] == x[:9, :9] + 1).all()


def test_what_pictures_hold_is_stated(tmp_path: Path) -> None:
    x = image("rgb", "uint8")
    picture = Image.fromarray(x)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by viewers
    picture.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(open_image(tmp_path / "turned.png")[everything(x.shape)], x)
    palette = picture.quantize(16)
    palette.save(tmp_path / "palette.png")
    reader = open_image(tmp_path / "palette.png")
    np.testing.assert_array_equal(reader[everything(x.shape)], np.asarray(palette.convert("RGB")))
    assert (reader.held, reader.chunks) == (x.size, x.shape)
    with pytest.raises(ValueError, match=r"1,961 pixels, more than max_pixels=1,960.*=1961"):
        open_image(tmp_path / "turned.png", max_pixels=1960)
    assert open_image(tmp_path / "turned.png", max_pixels=1961).shape == x.shape
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="max_pixels=178,956,970"):
        open_image(tmp_path / "bomb.png")
    assert open_image(tmp_path / "bomb.png", max_pixels=10**9).shape == (10_000, 20_000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_objects_are_read_as_they_are() -> None:
    x = image("volume", "float32")
    key = (slice(1, 4), slice(3, 20), slice(30, 34))
    for each in (x, x.astype(">f4"), xarray.DataArray(x), _anything(x)):
        reader = open_image(each)
        np.testing.assert_array_equal(reader[key], x[key])
        assert reader.dtype == np.float32
        assert reader.dtype.isnative
    block = open_image(x)[key]
    assert np.shares_memory(block, x)
    assert not block.flags.writeable
    assert x.flags.writeable


def _anything(x: Any) -> Any:
    class Anything:
        shape, dtype = x.shape, x.dtype

        def __getitem__(self, key: Any) -> Any:
            return x[key]

    return Anything()


def test_dask_arrays_compute_only_what_a_block_needs() -> None:
    x, seen = image("volume", "float32"), []

    def note(block: Any, block_info: Any = None) -> Any:
        seen.append(block_info[0]["chunk-location"])
        return block * 2

    lazy = dask.array.from_array(x, chunks=(2, 10, 17)).map_blocks(note, dtype=x.dtype, meta=x[:0])
    for each in (lazy, xarray.DataArray(lazy)):
        seen.clear()
        reader = open_image(each)
        assert reader.chunks == (2, 10, 17)
        np.testing.assert_array_equal(reader[0:2, 12:20, 20:34], x[:2, 12:20, 20:34] * 2)
        assert seen == [(0, 1, 1)]


@pytest.mark.parametrize("name", MAKERS)
def test_a_fingerprint_tells_a_changed_image(name: str, tmp_path: Path) -> None:
    x = image("gray", "uint8")
    path = make(name, tmp_path, x)
    first, again = open_image(path).fingerprint(), open_image(str(path)).fingerprint()
    assert first == again == json.loads(json.dumps(first))
    assert first["path"].startswith(str(path))
    place = Path(first["path"])
    files = [p for p in sorted(place.rglob("*")) if p.is_file()] if place.is_dir() else [place]
    os.utime(files[-1], ns=(1, 1))
    assert open_image(path).fingerprint() != first


def test_the_fingerprint_of_an_array_is_of_its_elements() -> None:
    x = image("volume", "float32")
    changed = x.copy()
    changed[-1, -1, -1] += 1
    assert open_image(x).fingerprint() == open_image(np.asfortranarray(x)).fingerprint()
    assert open_image(x).fingerprint() != open_image(changed).fingerprint()


def test_a_block_is_a_copy_that_holds_no_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    block = open_image(tmp_path / "a.npy")[1:3, 0:5]
    np.lib.format.open_memmap(tmp_path / "a.npy", "r+")[...] = 1
    assert block.max() == 0
    assert block.base is None


def test_an_image_that_changed_in_use_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    reader = pickle.loads(pickle.dumps(open_image(tmp_path / "a.npy")))
    np.save(tmp_path / "a.npy", np.zeros((5, 5)))
    with pytest.raises(ValueError, match=r"a\.npy changed while it was in use: it was \(4, 5\)"):
        reader[0:1, 0:1]


def _whole(reader: Any) -> Any:
    return reader[everything(reader.shape)]


def _cut(path: Path, share: float) -> None:
    os.truncate(path, int(os.path.getsize(path) * share))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["gray", "volume"])
@pytest.mark.parametrize("name", [n for n, (s, _) in MAKERS.items() if s != ".zarr"])
def test_a_truncated_file_is_refused_by_name(
    name: str, kind: str, share: float, tmp_path: Path
) -> None:
    if not holds(name, kind, "uint8"):
        kind = "rgb"
    path = make(name, tmp_path, image(kind, "uint8"))
    _cut(path, share)
    with pytest.raises((ValueError, OSError), match=path.name):
        _whole(open_image(path))


def test_a_damaged_chunk_is_refused_by_name_and_the_others_are_read(tmp_path: Path) -> None:
    x = image("gray", "uint8")
    for name in ("zarr v3", "zarr v2", "zarr sharded"):
        path = make(name, tmp_path, x)
        last = max((p for p in path.rglob("*") if p.is_file() and p.name[0].isdigit()), key=str)
        last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
        reader = open_image(path)
        np.testing.assert_array_equal(reader[0:8, 0:8], x[:8, :8])
        with pytest.raises(ValueError, match=f"{path.name}: cannot be read"):
            reader[everything(x.shape)]
    path = make("tiff tiles", tmp_path, x)
    with tifffile.TiffFile(path) as file:
        where = file.pages.first.dataoffsets[-1]
    with open(path, "r+b") as raw:
        raw.seek(where)
        raw.write(bytes(8))
    np.testing.assert_array_equal(open_image(path)[0:8, 0:8], x[:8, :8])
    with pytest.raises(ValueError, match=f"{path.name}: cannot be read"):
        open_image(path)[everything(x.shape)]


def test_what_cannot_be_opened_says_why(tmp_path: Path, made: dict[str, Any]) -> None:
    (tmp_path / "text.tif").write_text("no image at all")
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    np.save(tmp_path / "scalar.npy", np.float64(3))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    zarr.create_array(tmp_path / "empty.zarr", shape=(0, 3), dtype="f4")
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.attrs["x"] = 1
    table: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (tmp_path / "missing.npy", {}, FileNotFoundError, r"missing\.npy"),
        (tmp_path / "text.tif", {}, ValueError, r"text\.tif is no image that is known"),
        (tmp_path / "folder", {}, ValueError, "folder is a directory, and no Zarr array"),
        (tmp_path / "empty.npy", {}, ValueError, r"empty\.npy.* one element"),
        (tmp_path / "scalar.npy", {}, ValueError, r"scalar\.npy.* at least one axis"),
        (tmp_path / "words.npy", {}, ValueError, r"words\.npy must hold numbers"),
        (tmp_path / "objects.npy", {}, ValueError, r"objects\.npy"),
        (tmp_path / "empty.zarr", {}, ValueError, r"empty\.zarr must have"),
        (tmp_path / "none.h5", {}, ValueError, "it holds no datasets of numbers"),
        (np.zeros((2, 0)), {}, ValueError, "image must have at least one axis and one element"),
        (np.ma.masked_equal([1, 2], 2), {}, TypeError, "masked array, .* fill it first"),
        ([[1, 2]], {}, TypeError, "image must be a path, an array, or have shape"),
        (made["npy"][0], {"level": 1}, ValueError, r"level=1 chooses nothing in .*npy"),
        (made["tiff plain"][0], {"dataset": "x"}, ValueError, "dataset='x' chooses nothing"),
        (made["tiff plain"][0], {"level": 1}, ValueError, r"level=1 must be from 0 to 0"),
        (made["tiff plain"][0], {"series": -1}, ValueError, r"series=-1 must be from 0 to 0"),
        (made["ome-zarr 0.5"][0], {"level": 2}, ValueError, r"level=2 must be from 0 to 1"),
        (
            made["zarr v3"][0],
            {"level": 1},
            ValueError,
            "choose in an OME-Zarr group, .* is an array",
        ),
        (np.zeros(3), {"level": 0}, ValueError, "level=0 chooses nothing in an image that is not"),
    ]
    for source, options, error, message in table:
        with pytest.raises(error, match=message):
            open_image(source, **options)


def test_deep_colour_that_pillow_would_halve_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(b"".join(b"\0" + bytes(6 * 4) for _ in range(3)))
    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    with pytest.raises(ValueError, match=r"deep\.png: Pillow reads 16-bit colour as 8-bit"):
        open_image(tmp_path / "deep.png")


def test_a_file_that_may_not_be_read_is_refused_by_name() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "a.npy"
        np.save(path, np.zeros(3))
        os.chmod(path, 0)
        with nobody(), pytest.raises(PermissionError, match=r"a\.npy"):
            open_image(path)


@pytest.mark.parametrize("name", ["zarr v3", "hdf5", "png", "tiff tiles"])
def test_a_missing_package_is_named_with_its_extra(
    name: str, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"zarr v3": "zarr", "hdf5": "h5py", "png": "PIL.Image"}.get(name, "tifffile")
    monkeypatch.setitem(sys.modules, module, None)
    package = "Pillow" if name == "png" else module
    with pytest.raises(ImportError, match=rf'needs {package}: pip install "pantile\[io\]"'):
        open_image(made[name][0])
    assert open_image(made["npy"][0]).shape == made["npy"][1].shape


def test_what_has_no_file_any_more_is_read_from_memory() -> None:
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, np.uint8, "w+", shape=(4, 5))
        mapped[...] = 3
        assert (open_image(mapped)[1:3, 0:5] == 3).all()
    with h5py.File("nowhere.h5", "w", driver="core", backing_store=False) as h5:
        assert open_image(h5.create_dataset("x", data=[[1, 2]]))[0:1, 1:2].tolist() == [[2]]


def test_a_memmap_runs_any_way_through_its_file(tmp_path: Path) -> None:
    x = image("volume", "float32")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for each in (mapped[1::2, ::3], mapped.T, mapped[..., 4], mapped[::-1], mapped.swapaxes(0, 1)):
        reader = pickle.loads(pickle.dumps(open_image(each)))
        np.testing.assert_array_equal(_whole(reader), np.asarray(each))


def test_a_reader_becomes_an_array(tmp_path):
    np.save(tmp_path / "image.npy", image := np.arange(42, dtype="u2").reshape(6, 7))
    reader = open_image(tmp_path / "image.npy")
    np.testing.assert_array_equal(np.asarray(reader), image, strict=True)
    assert np.asarray(reader, np.float32).dtype == np.float32
    np.testing.assert_array_equal(pantile.extract(reader, 3), pantile.extract(image, 3))
    with pytest.raises(ValueError, match=r"image\.npy has to be read"):
        np.array(reader, copy=False)


def test_readers_do_not_pickle_their_elements(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((300, 200))
    store = zarr.create_array(zarr.storage.MemoryStore(), data=x, chunks=(50, 50))
    held = {"array": x, "backwards": x[::-1], "xarray": xarray.DataArray(x), "zarr": store}
    np.save(tmp_path / "x.npy", x)
    held["private map"] = np.load(tmp_path / "x.npy", mmap_mode="c")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        held["hdf5 being written"] = file.create_dataset("x", data=x)
        for name, each in held.items():
            reader = open_image(each)
            assert (reader[3:5, 0:7] == np.asarray(each[3:5, 0:7])).all(), name
            with pytest.raises(TypeError, match="no place that another process could open"):
                pickle.dumps(reader)

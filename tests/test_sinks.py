"""Results in files: whole or not there, in the formats of others, one writer to a chunk."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pantile.files import NpySink, TiffSink, ZarrSink, open_image, sink_of
from pantile.files.write.zarr_sink import default_chunks
from pantile.testing.stores import Recorded, RecordingStore, assert_one_writer, writers
from tests._files_made import DTYPES, SHAPES, everything, image, nobody, read_by_library
from tests._files_written import FLOAT, SHAPE, SINKS, Killed, blocks, limit, names, result, write


@pytest.mark.parametrize("name", SINKS)
def test_what_is_written_is_read_by_the_library_and_by_us(name: str, tmp_path: Path) -> None:
    file, options = SINKS[name]
    for kind, shape in SHAPES.items():
        for dtype in DTYPES:
            if file.startswith("out.tif") and (kind, dtype) == ("rgb", "bool"):
                continue
            x = image(kind, dtype)
            more = tuple(8 for _ in shape[:-2])
            lengths = {k: more + options[k] for k in ("chunks", "shards") if k in options}
            result(tmp_path / file, x, **options | lengths)
            np.testing.assert_array_equal(read_by_library(tmp_path / file), x, strict=True)
            reader = open_image(tmp_path / file)
            np.testing.assert_array_equal(reader[everything(shape)], x, strict=True)
            assert names(tmp_path) == [file]


@pytest.mark.parametrize(
    "shape", [(9,), (1, 40, 50), (40, 1), (20, 30, 1), (2, 1, 3, 20), (1,) * 5]
)
def test_axes_of_any_length_come_back(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    for file in ("a.npy", "a.zarr", "a.tif"):
        # of tifffile: it has rows and columns, and cannot read its own file of a single element
        if file != "a.tif" or (len(shape) > 1 and prod(shape) > 1):
            result(tmp_path / file, x)
            np.testing.assert_array_equal(read_by_library(tmp_path / file), x, strict=True)
            reader = open_image(tmp_path / file)
            np.testing.assert_array_equal(reader[everything(shape)], x, strict=True)


def test_tiffs_are_tiled_bigtiffs_with_sensible_colours(tmp_path: Path) -> None:
    for kind, photometric in (("rgb", "RGB"), ("volume", "MINISBLACK"), ("gray", "MINISBLACK")):
        x = image(kind, "uint8")
        result(tmp_path / "a.tif", x)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            page = file.pages.first
            assert file.is_bigtiff
            assert page.tile == (256, 256)
            assert page.photometric.name == photometric
            assert len(file.pages) == (5 if kind == "volume" else 1)
    rgba = np.concatenate([image("rgb", "uint8"), image("rgb", "uint8")[..., :1]], axis=-1)
    result(tmp_path / "a.tif", rgba)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), rgba)
    result(tmp_path / "a.tif", image("rgb", "uint8"), photometric="minisblack")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), image("rgb", "uint8"))


def test_zarr_is_v3_with_the_layout_that_was_asked_for(tmp_path: Path) -> None:
    sink = ZarrSink(tmp_path / "a.zarr", chunks=(8, 8), shards=(16, 24))
    writer = sink.create(SHAPE, FLOAT)
    assert writer.unit == (16, 24)
    writer.commit()
    array = zarr.open_array(tmp_path / "a.zarr")
    assert (array.metadata.zarr_format, array.chunks, array.shards) == (3, (8, 8), (16, 24))
    assert NpySink(tmp_path / "a.npy").create(SHAPE, FLOAT).unit is None


@given(
    shape=st.lists(st.integers(1, 30_000), min_size=1, max_size=5).map(tuple),
    dtype=st.sampled_from(["u1", "u2", "f4", "c16"]),
)
def test_default_chunks_are_1_to_4_megabytes(shape: tuple[int, ...], dtype: str) -> None:
    size = np.dtype(dtype).itemsize
    chunks = default_chunks(shape, np.dtype(dtype))
    nbytes = prod(chunks) * size
    assert all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    assert nbytes <= 2**22
    assert nbytes >= min(prod(shape) * size, 2**20)
    assert max(chunks) <= 4 * min(
        (c for c, n in zip(chunks, shape, strict=True) if c < n), default=2**30
    )


@pytest.mark.parametrize("name", SINKS)
def test_an_earlier_result_stays_until_the_new_one_is_whole(name: str, tmp_path: Path) -> None:
    file, options = SINKS[name]
    old, new = image("gray", "float32"), image("gray", "float32", seed=1)
    result(tmp_path / file, old, **options)
    for give_up in (True, False):
        writer = sink_of(tmp_path / file, **options).create(SHAPE, FLOAT)
        write(writer, new)
        np.testing.assert_array_equal(read_by_library(tmp_path / file), old)
        assert names(tmp_path) == [file, file + ".partial"]
        if give_up:
            writer.discard()
            np.testing.assert_array_equal(read_by_library(tmp_path / file), old)
            assert names(tmp_path) == [file]
    writer.commit()
    np.testing.assert_array_equal(read_by_library(tmp_path / file), new)
    assert names(tmp_path) == [file]


@pytest.mark.parametrize("name", SINKS)
def test_a_run_that_was_cut_short_goes_on(name: str, tmp_path: Path) -> None:
    file, options = SINKS[name]
    x, sink = image("gray", "float32"), sink_of(tmp_path / file, **options)
    writer = sink.create(SHAPE, FLOAT)
    order = blocks(SHAPE, writer.unit)
    half = len(order) // 2
    for place in order[:half]:
        writer[place] = x[place]
    writer.sync()
    again = pickle.loads(pickle.dumps(sink)).reopen(SHAPE, FLOAT)
    assert (again.shape, again.dtype, again.unit) == (SHAPE, FLOAT, writer.unit)
    for place in order[half:]:
        again[place] = x[place]
    again.commit()
    np.testing.assert_array_equal(read_by_library(tmp_path / file), x)
    with pytest.raises(FileNotFoundError, match=r"partial"):
        sink.reopen(SHAPE, FLOAT)
    sink.create((3, 4), FLOAT)
    with pytest.raises(
        ValueError, match=r"partial was left by another run: it is \(3, 4\) float32"
    ):
        sink.reopen(SHAPE, FLOAT)
    with pytest.raises(ValueError, match=r"the result is .* float64"):
        sink.reopen((3, 4), np.dtype("float64"))
    sink.create(SHAPE, FLOAT).discard()


@pytest.mark.parametrize("name", SINKS)
def test_writers_pickle_as_their_place(name: str, tmp_path: Path) -> None:
    file, options = SINKS[name]
    x = image("gray", "float32")
    writer = sink_of(tmp_path / file, **options).create(SHAPE, FLOAT)
    assert len(pickle.dumps(writer)) < 1000
    np.save(tmp_path / "x.npy", x)
    code = """if True:
        import pickle, sys, numpy as np
        x = np.load(sys.argv[1])
        writer = pickle.loads(bytes.fromhex(sys.argv[2]))
        writer[0:32, 0:48] = x[:32, :48]
        writer.sync()
    """
    data = pickle.dumps(writer).hex()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.npy"), data], check=True)
    writer[0:32, 48:53], writer[32:37, 0:53] = x[:32, 48:], x[32:]
    writer.commit()
    np.testing.assert_array_equal(read_by_library(tmp_path / file), x)


@pytest.mark.parametrize("options", [{"chunks": (8, 8)}, {"chunks": (4, 8), "shards": (16, 24)}])
def test_writers_that_keep_to_the_unit_never_share_a_chunk(
    options: dict[str, Any], tmp_path: Path
) -> None:
    x = image("gray", "float32")
    writer = ZarrSink(tmp_path / "a.zarr", **options).create(SHAPE, FLOAT)
    root = tmp_path / "a.zarr.partial"
    array = Recorded(zarr.open_array(RecordingStore(root), mode="r+"))

    def put(place: tuple[slice, ...]) -> None:
        array[place] = x[place]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, blocks(SHAPE, writer.unit)))
    assert_one_writer(root)
    assert len(writers(root)) == len(blocks(SHAPE, writer.unit))
    writer.commit()
    np.testing.assert_array_equal(read_by_library(tmp_path / "a.zarr"), x)


def test_the_recording_store_finds_two_writers_in_one_chunk(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path / "a.zarr")
    array = Recorded(zarr.create_array(store, shape=(20, 20), chunks=(10, 10), dtype="f4"))
    with pytest.raises(FileNotFoundError):
        assert_one_writer(store.root)
    array[0:10, :] = 1
    assert_one_writer(store.root)
    pickle.loads(pickle.dumps(array))[9:20, :] = 2
    with pytest.raises(AssertionError, match=r"more than one writer: .*c/0/0"):
        assert_one_writer(store.root)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What is made to survive a power cut, and what is renamed, in order."""
    seen: list[tuple[str, Any]] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        seen.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def note_replace(source: Any, target: Any) -> None:
        if str(target).startswith("/") and "c/" not in str(target):
            seen.append(("replace", os.fspath(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    return seen


@pytest.mark.parametrize("name", SINKS)
def test_what_is_synced_or_final_survives_a_power_cut(
    name: str, tmp_path: Path, events: list[tuple[str, Any]]
) -> None:
    file, options = SINKS[name]
    x, path = image("gray", "float32"), tmp_path / file
    writer = sink_of(path, **options).create(SHAPE, FLOAT)
    write(writer, x)
    events.clear()
    writer.sync()
    staged = Path(f"{path}.partial")
    written = [p for p in staged.rglob("*") if p.name[0].isdigit()] if staged.is_dir() else [staged]
    assert {p.stat().st_ino for p in written} <= {e for kind, e in events if kind == "fsync"}
    events.clear()
    writer.commit()
    final = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    renamed = [k for k, (kind, e) in enumerate(events) if (kind, e) == ("replace", str(path))]
    assert len(renamed) == 1
    before = {e for kind, e in events[: renamed[0]] if kind == "fsync"}
    after = {e for kind, e in events[renamed[0] :] if kind == "fsync"}
    assert {p.stat().st_ino for p in final} <= before
    assert tmp_path.stat().st_ino in after


@pytest.mark.parametrize("moment", ["replace", "rmtree"])
def test_a_kill_while_directories_swap_leaves_a_usable_result(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = image("gray", "float32"), image("gray", "float32", seed=1)
    path = tmp_path / "a.zarr"
    result(path, old)
    sink = sink_of(path)
    writer = sink.create(SHAPE, FLOAT)
    write(writer, new)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(
            f"pantile.files.write.staging.{'os' if moment == 'replace' else 'shutil'}.{moment}", die
        )
        with pytest.raises(Killed):
            writer.commit()
    if moment == "replace":  # the old one stands aside, the new one is staged
        assert names(tmp_path) == ["a.zarr.pantile-previous", "a.zarr.partial"]
        again = sink.reopen(SHAPE, FLOAT)
        np.testing.assert_array_equal(read_by_library(path), old)
        again.commit()
    np.testing.assert_array_equal(read_by_library(path), new)
    sink.create(SHAPE, FLOAT).discard()
    assert names(tmp_path) == ["a.zarr"]


def test_a_killed_writer_leaves_no_stray_files(tmp_path: Path) -> None:
    x = image("gray", "float32")
    writer = sink_of(tmp_path / "a.zarr", chunks=(16, 16)).create(SHAPE, FLOAT)
    write(writer, x)
    (tmp_path / "a.zarr.partial" / "c" / "1" / "0.abc.partial").write_bytes(b"half")
    writer.commit()
    result(tmp_path / "b.tif", x)
    (tmp_path / "b.tif.partial.tif").write_bytes(b"half")
    result(tmp_path / "b.tif", x)
    left = [p.name for p in tmp_path.rglob("*") if "partial" in p.name]
    assert left == []
    for name in ("a.zarr", "b.tif"):
        np.testing.assert_array_equal(read_by_library(tmp_path / name), x)


@pytest.mark.parametrize("file", ["a.npy", "a.zarr", "a.tif"])
def test_a_read_only_directory_is_refused_before_any_work(file: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        result(Path(folder) / file, image("gray", "float32"))
        os.chmod(folder, 0o555)
        with nobody(), pytest.raises(PermissionError, match="out cannot be written") as caught:
            sink_of(Path(folder) / file)
        assert caught.value.filename == os.path.realpath(folder)
        os.chmod(folder, 0o755)
        assert names(Path(folder)) == [file]
        np.testing.assert_array_equal(
            read_by_library(Path(folder) / file), image("gray", "float32")
        )


def test_all_space_is_taken_at_once(tmp_path: Path) -> None:
    for file in ("a.npy", "a.tif"):
        sink_of(tmp_path / file).create((1000, 1000), FLOAT)
        assert (tmp_path / f"{file}.partial").stat().st_blocks * 512 >= 4_000_000


@pytest.mark.parametrize("file", ["a.npy", "a.tif"])
def test_a_disk_that_is_too_full_shows_at_once(file: str, tmp_path: Path) -> None:
    x = image("gray", "float32")
    result(tmp_path / file, x)
    with (
        limit(2**16),
        pytest.raises(OSError, match=r"\(400, 500\) float32 needs 800,000 bytes") as e,
    ):
        sink_of(tmp_path / file).create((400, 500), FLOAT)
    assert (e.value.errno, e.value.filename) == (errno.EFBIG, str(tmp_path / file))
    usage = os.statvfs(tmp_path)
    side = int((usage.f_bavail * usage.f_frsize) ** 0.5)
    for sink in (sink_of(tmp_path / file), ZarrSink(tmp_path / "z.zarr", compressors=None)):
        with pytest.raises(OSError, match=r"needs [\d,]+ bytes, [\d,]+ are free") as e:
            sink.create((side + 2**15, side + 2**15), FLOAT)
        assert e.value.errno == errno.ENOSPC
    assert names(tmp_path) == [file]
    np.testing.assert_array_equal(read_by_library(tmp_path / file), x)


def test_a_disk_that_fills_up_is_one_clear_error_and_the_run_goes_on(tmp_path: Path) -> None:
    old, new = image("gray", "float32"), np.random.default_rng(0).random((200, 300), np.float32)
    sink = sink_of(tmp_path / "a.zarr", chunks=(200, 150))
    result(tmp_path / "a.zarr", old)
    writer = sink.create(new.shape, FLOAT)
    writer[0:200, 0:150] = new[:, :150]
    with limit(2**14), pytest.raises(OSError, match="free some space and resume") as e:
        writer[0:200, 150:300] = new[:, 150:]
    assert (e.value.errno, e.value.filename) == (errno.EFBIG, str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(read_by_library(tmp_path / "a.zarr"), old)
    again = sink.reopen(new.shape, FLOAT)
    again[0:200, 150:300] = new[:, 150:]
    again.commit()
    np.testing.assert_array_equal(read_by_library(tmp_path / "a.zarr"), new)

    result(tmp_path / "a.tif", old)
    tiff = sink_of(tmp_path / "a.tif").create(new.shape, FLOAT)
    write(tiff, new)
    with limit(2**16), pytest.raises(OSError, match="free some space and resume"):
        tiff.commit()
    np.testing.assert_array_equal(read_by_library(tmp_path / "a.tif"), old)
    assert names(tmp_path) == ["a.tif", "a.tif.partial", "a.zarr"]
    sink_of(tmp_path / "a.tif").reopen(new.shape, FLOAT).commit()
    np.testing.assert_array_equal(read_by_library(tmp_path / "a.tif"), new)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB, where the system lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount; the tests above fill a disk by a limit instead")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_fills_up(small_disk: Path) -> None:
    old = image("gray", "float32")
    new = np.random.default_rng(0).random((400, 400), np.float32)
    for file in ("a.npy", "a.zarr", "a.tif"):
        result(small_disk / file, old)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    for file in ("a.npy", "a.tif"):
        with pytest.raises(OSError, match="are free") as e:
            sink_of(small_disk / file).create(new.shape, FLOAT)
        assert e.value.errno == errno.ENOSPC
    sink = sink_of(small_disk / "a.zarr", chunks=(100, 400))
    writer, full, errors = sink.create(new.shape, FLOAT), [], set()
    for place in blocks(new.shape, writer.unit):
        try:
            writer[place] = new[place]
        except OSError as error:
            errors.add((error.errno, error.filename))
            full.append(place)
    assert errors == {(errno.ENOSPC, str(small_disk / "a.zarr"))}
    assert 0 < len(full) < 4
    for file in ("a.npy", "a.zarr", "a.tif"):
        np.testing.assert_array_equal(read_by_library(small_disk / file), old)
    ballast.unlink()
    again = sink.reopen(new.shape, FLOAT)
    for place in full:
        again[place] = new[place]
    again.commit()
    np.testing.assert_array_equal(read_by_library(small_disk / "a.zarr"), new)
    assert names(small_disk) == ["a.npy", "a.tif", "a.zarr"]


def test_the_door_refuses_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "letters").write_text("not to be lost")
    (tmp_path / "file.zarr").write_text("not to be lost")
    zarr.create_group(tmp_path / "group.zarr").create_array("x", shape=(3,), dtype="u1")
    table: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (
            "out.gif",
            {},
            ValueError,
            r"'out.gif' has the suffix '.gif': .*\.npy, \.zarr, \.tif, \.tiff",
        ),
        (tmp_path / "out", {}, ValueError, "has the suffix ''"),
        (tmp_path / "no" / "a.npy", {}, FileNotFoundError, "there is no directory .*no: make it"),
        (tmp_path / "folder.npy", {}, FileExistsError, r"folder\.npy' is there and no file"),
        (
            tmp_path / "folder.zarr",
            {},
            FileExistsError,
            r"folder\.zarr' is there and no Zarr array",
        ),
        (tmp_path / "file.zarr", {}, FileExistsError, r"file\.zarr' is there and no Zarr array"),
        (tmp_path / "group.zarr", {}, FileExistsError, r"group\.zarr' is there and no Zarr array"),
        (tmp_path / "a.npy", {"chunks": 3}, TypeError, "unknown option 'chunks', .npy takes none"),
        (tmp_path / "a.zarr", {"tile": 3}, TypeError, "takes chunks, shards, compressors"),
        (tmp_path / "a.zarr", {"chunks": 3}, TypeError, "chunks must be one length per axis"),
        (tmp_path / "a.zarr", {"chunks": (0, 3)}, ValueError, "chunks must be at least 1"),
        (tmp_path / "a.tif", {"tile": (20, 20)}, ValueError, "tile=.* multiples of 16"),
        (tmp_path / "a.tif", {"compression": "zipp"}, ValueError, "'zipp' is unknown to tifffile"),
        (tmp_path / "a.tif", {"photometric": "cmyk"}, ValueError, "photometric='cmyk' must be"),
        (3, {}, TypeError, "out must be a path or a sink, got int"),
        (NpySink(tmp_path / "a.npy"), {"x": 1}, TypeError, "go with a path, out is NpySink"),
    ]
    for out, options, error, message in table:
        with pytest.raises(error, match=message):
            sink_of(out, **options)
    assert names(tmp_path) == ["file.zarr", "folder.npy", "folder.zarr", "group.zarr"]


def test_what_a_format_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    table: list[tuple[Any, tuple[int, ...], Any, type[Exception], str]] = [
        (NpySink(tmp_path / "a.npy"), (3, 0), "f4", ValueError, r"no elements, its shape is \(3, 0\)"),
        (NpySink(tmp_path / "a.npy"), (), "f4", ValueError, "no elements"),
        (NpySink(tmp_path / "a.npy"), (3,), "O", TypeError, "cannot hold dtype object"),
        (ZarrSink(tmp_path / "a.zarr"), (3,), "U5", TypeError, "cannot hold dtype <U5"),
        (ZarrSink(tmp_path / "a.zarr"), (3,), "g", TypeError, "cannot hold dtype float128"),
        (ZarrSink(tmp_path / "a.zarr", chunks=(2,)), (3, 3), "f4", ValueError, r"chunks=\(2,\) must"),
        (
            ZarrSink(tmp_path / "a.zarr", chunks=(2,), shards=(3,)),
            (9,), "f4", ValueError, r"shards=\(3,\) must be multiples of the chunks \(2,\)",
        ),
        (TiffSink(tmp_path / "a.tif"), (3,), "f4", ValueError, r"rows and columns, the result is \(3,\)"),
        (TiffSink(tmp_path / "a.tif"), (3, 3), "G", TypeError, "cannot hold dtype complex256"),
        (TiffSink(tmp_path / "a.tif"), (9, 9, 3), "?", TypeError, "no channels of dtype bool"),
        (TiffSink(tmp_path / "a.tif", photometric="rgb"), (9, 9), "f4", ValueError, "3 or 4 channels"),
    ]  # fmt: skip
    for sink, shape, dtype, error, message in table:
        with pytest.raises(error, match=message):
            sink.create(shape, np.dtype(dtype))
    assert names(tmp_path) == []


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    x = image("gray", "float32")
    for file in ("a.npy", "a.zarr"):
        result(tmp_path / "disk" / file, x)
        (tmp_path / file).symlink_to(tmp_path / "disk" / file)
        result(tmp_path / file, x + 1)
        assert (tmp_path / file).is_symlink()
        np.testing.assert_array_equal(read_by_library(tmp_path / "disk" / file), x + 1)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    code = """if True:
        import resource, sys, numpy as np
        from pantile.files import open_image, sink_of
        sink = sink_of(sys.argv[1])
        def pass_through(rows):
            writer = sink.create((rows, 5000), np.dtype("float32"))
            for begin in range(0, rows, 100):
                writer[begin : begin + 100, 0:5000] = np.full((100, 5000), begin, np.float32)
            writer.commit()
            reader = open_image(sys.argv[1])
            assert all(reader[k : k + 100, 0:5000].max() == k for k in range(0, rows, 100))
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(-pass_through(500) + pass_through(4000))
    """
    for file in ("a.npy", "a.tif"):  # 80 MB
        command = [sys.executable, "-c", code, str(tmp_path / file)]
        grown = int(subprocess.run(command, check=True, capture_output=True).stdout)
        assert grown < 24, f"{file}: {grown} MB"


@pytest.mark.parametrize("file", ["a.npy", "a.zarr"])
def test_what_someone_else_named_stays(tmp_path: Path, file: str) -> None:
    mine = tmp_path / f"{file}.previous"
    mine.mkdir()
    result(tmp_path / file, image("gray", "float32"))
    result(tmp_path / file, image("gray", "float32"))
    assert mine.is_dir()

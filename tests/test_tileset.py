"""Tiles on disk: what is cut and merged is what was there, and what does not fit is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import pantile as pt
from pantile.tileset import Manifest, merge_tiles, read_manifest, write_tiles
from pantile.tileset.manifest import MANIFEST


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (23, 31), np.uint8)


def cut(image, folder, *arguments, **options):
    write_tiles(image, folder, *arguments, **options)
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_folder_holds_every_patch_under_its_number(image, tmp_path):
    grid = pt.PatchGrid(image.shape, 8, 5)
    names = cut(image, tmp_path / "tiles", grid)
    assert names == [MANIFEST, *(f"tile-{k:02d}.png" for k in range(len(grid)))]
    for k in range(len(grid)):
        with Image.open(tmp_path / "tiles" / f"tile-{k:02d}.png") as tile:
            np.testing.assert_array_equal(np.asarray(tile), image[grid[k]])
    assert read_manifest(tmp_path / "tiles").grid == grid
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((23, 31), {}),
        ((23, 31, 3), {"channel_axis": -1}),
        ((3, 23, 31), {}),  # a batch of three
        ((31, 2, 23), {"axes": (2, 0)}),
    ],
)
def test_what_was_cut_merges_back(shape, options, suffix, tmp_path):
    image = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    write_tiles(image, tmp_path / "tiles", (8, 6), 4, suffix=suffix, **options)
    np.testing.assert_array_equal(merge_tiles(tmp_path / "tiles", dtype=np.uint8), image)


@pytest.mark.parametrize("dtype", ["float32", "uint16", "complex64", "bool"])
def test_arrays_of_tiles(dtype, tmp_path):
    image = np.random.default_rng(2).normal(scale=9, size=(19, 22)).astype(dtype)
    grid = pt.PatchGrid(image.shape, 7, 3, pad="same", pad_mode="reflect")
    write_tiles(image, tmp_path / "tiles.npy", grid)
    patches = np.load(tmp_path / "tiles.npy")
    np.testing.assert_array_equal(patches.reshape(-1, 7, 7), pt.extract(image, grid))
    merged = merge_tiles(tmp_path / "tiles.npy", merge="mean" if dtype == "complex64" else "max")
    np.testing.assert_allclose(merged, image, rtol=1e-6)


def test_png_of_16_bits_and_pads(tmp_path):
    image = np.random.default_rng(3).integers(0, 65535, (20, 21), np.uint16)
    grid = pt.PatchGrid(image.shape, 8, 8, tail="pad", pad_mode="edge")
    write_tiles(image, tmp_path / "tiles", grid)
    np.testing.assert_array_equal(merge_tiles(tmp_path / "tiles", dtype=np.uint16), image)


def test_tiles_that_were_worked_on(image, tmp_path):
    """Another kind of file, another dtype, smaller: as map_patches would have merged them."""
    grid = pt.PatchGrid(image.shape, 9, 4)
    write_tiles(image, tmp_path / "tiles", grid)
    for path in sorted((tmp_path / "tiles").glob("*.png")):
        tile = np.asarray(Image.open(path)).astype(np.float32)[2:-2, 2:-2] / 2
        tifffile.imwrite(path.with_suffix(".tif"), tile)
        path.unlink()
    expected = pt.map_patches(
        lambda b: b[:, 2:-2, 2:-2].astype(np.float32) / 2, image, grid, weights="hann", fill=-1
    )
    merged = merge_tiles(tmp_path / "tiles", weights="hann", fill=-1)
    np.testing.assert_array_equal(merged, expected)
    merge_tiles(tmp_path / "tiles", tmp_path / "merged.npy", weights="hann", fill=-1, memory="50MB")
    np.testing.assert_array_equal(np.load(tmp_path / "merged.npy"), expected)


def spoil_missing(folder):
    (folder / "tile-03.png").unlink()
    return "lacks 1 of", "tile-03"


def spoil_twice(folder):
    tifffile.imwrite(folder / "tile-03.tif", np.zeros((8, 8), np.uint8))
    return "twice", "tile-03.png and tile-03.tif"


def spoil_shape(folder):
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(folder / "tile-03.png")
    return "tile-03.png", "(8, 9)", "one shape"


def spoil_dtype(folder):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "tile-03.png")
    return "tile-03.png", "uint16"


def spoil_bytes(folder):
    (folder / "tile-03.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    return ("tile-03.png cannot be read",)


def spoil_link(folder):
    outside = folder.parent / "outside.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(outside)
    (folder / "tile-03.png").unlink()
    (folder / "tile-03.png").symlink_to(outside)
    return ("leads out of the folder",)


def spoil_pickle(folder):
    (folder / "tile-03.png").unlink()
    np.save(folder / "tile-03.npy", np.array([print], dtype=object), allow_pickle=True)
    return ("tile-03.npy cannot be read",)


@pytest.mark.parametrize(
    "spoil",
    [spoil_missing, spoil_twice, spoil_shape, spoil_dtype, spoil_bytes, spoil_link, spoil_pickle],
)
def test_spoiled_tiles_are_refused_before_any_work(spoil, image, tmp_path):
    write_tiles(image, tmp_path / "tiles", 8, 5)
    words = spoil(tmp_path / "tiles")
    with pytest.raises(ValueError) as caught:
        merge_tiles(tmp_path / "tiles", tmp_path / "out.npy")
    assert all(word in str(caught.value) for word in words), caught.value
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prefix": "../tile-"}, "prefix"),
        ({"prefix": "/etc/tile-"}, "prefix"),
        ({"digits": 0}, "digits"),
        ({"shape": [0, 4]}, "shape"),
        ({"shape": [99, 99]}, "grid"),
        ({"channel_axis": 7}, "channel_axis"),
        ({"pantile-tiles": 2}, "pantile-tiles"),
        ({"grid": {"shape": [4]}}, "keys"),
        ({"more": 1}, "keys"),
    ],
)
def test_a_spoiled_manifest_is_refused(change, words, image, tmp_path):
    write_tiles(image, tmp_path / "tiles", 8, 5)
    path = tmp_path / "tiles" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises((ValueError, TypeError, IndexError), match=words):
        merge_tiles(tmp_path / "tiles")


def test_a_manifest_is_equal_after_json(image, tmp_path):
    manifest = write_tiles(image, tmp_path / "tiles", 8, 5)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_refusals_before_anything_is_written(image, tmp_path):
    with pytest.raises(ValueError, match=r"use .tif or .npy"):
        write_tiles(image.astype(float), tmp_path / "tiles", 8)
    with pytest.raises(ValueError, match=r"\.png"):
        write_tiles(image, tmp_path / "tiles", 8, suffix=".gif")
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_tiles(image, tmp_path / "a" / "tiles", 8)
    with pytest.raises(FileNotFoundError, match="pantile extract"):
        merge_tiles(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there"):
        write_tiles(image, tmp_path / "there", 8)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_folder_appears_only_when_it_is_whole(image, tmp_path, monkeypatch):
    written = []

    def fail(path, _tile):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("pantile.tileset.write.write_tile", fail)
    with pytest.raises(OSError, match="No space"):
        write_tiles(image, tmp_path / "tiles", 8, 5)
    assert not list(tmp_path.iterdir())

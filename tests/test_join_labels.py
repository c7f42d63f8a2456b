"""join_labels: objects that tiles see in parts are one, with one number, as if the whole had been labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import pantile as pt


def label(image: Any, structure: Any = None) -> Any:
    return ndimage.label(image, structure)[0]


def parts_of(image: Any, grid: pt.PatchGrid, structure: Any = None) -> Any:
    """The connected components that each tile sees, with numbers of its own."""
    found = [label(patch, structure) for patch in pt.extract(image, grid)]
    rng = np.random.default_rng(0)
    mixed = []
    for tile in found:
        names = np.append(0, 1 + rng.permutation(int(tile.max()))) * 3
        mixed.append(names[tile])
    return np.array(mixed)


@settings(max_examples=60, deadline=None)
@given(
    ndim=st.integers(1, 3),
    density=st.floats(0.05, 0.5),
    corners=st.booleans(),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_it_is_the_labelling_of_the_whole_where_tiles_overlap_by_more_than_the_largest_object(
    ndim: int, density: float, corners: bool, seed: int, data: st.DataObject
) -> None:
    shape = tuple(data.draw(st.integers(6, 40 if ndim < 3 else 14)) for _ in range(ndim))
    image = np.random.default_rng(seed).random(shape) < density
    structure = np.ones((3,) * ndim) if corners else None
    wanted = label(image, structure)
    sizes = [1] * ndim
    for found in ndimage.find_objects(wanted):
        sizes = [max(n, s.stop - s.start) for n, s in zip(sizes, found, strict=True)]
    patch = [data.draw(st.integers(min(n + 1, m), m)) for n, m in zip(sizes, shape, strict=True)]
    step = [max(1, p - n) for p, n in zip(patch, sizes, strict=True)]
    step = [data.draw(st.integers(1, s)) for s in step]
    tail = data.draw(st.sampled_from(["shift", "respace", "pad"]))
    grid = pt.PatchGrid(shape, patch, step, tail=tail)
    threshold = data.draw(st.sampled_from([0.1, 0.5, 1.0]))
    tiles = parts_of(image, grid, structure)
    found = pt.join_labels(tiles, grid, threshold=threshold)
    np.testing.assert_array_equal(found, wanted)


def test_functions_arrays_on_the_grid_and_files_give_the_same(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    image = ndimage.gaussian_filter(np.random.default_rng(1).random((90, 70)), 1) > 0.65
    grid = pt.PatchGrid(image.shape, 40, 20)
    wanted = label(image)
    largest = max(max(s.stop - s.start for s in o) for o in ndimage.find_objects(wanted))
    assert 3 < largest < 20
    calls: list[int] = []

    def see(number: int) -> Any:
        calls.append(number)
        return label(image[grid[number]])

    np.testing.assert_array_equal(pt.join_labels(see, grid), wanted)
    assert calls == list(range(len(grid)))
    tiles = tmp_path / "tiles.zarr"
    pt.map_patches(
        lambda b: np.stack([label(each) for each in b]), image, grid, merge=None, out=tiles
    )
    stored = zarr.open(str(tiles))
    assert stored.shape == (*grid.counts, 40, 40)
    out = tmp_path / "labels.zarr"
    assert pt.join_labels(stored, grid, out=out, workers=2) == out
    np.testing.assert_array_equal(zarr.open(str(out))[:], wanted)


def test_long_objects_are_joined_from_tile_to_tile() -> None:
    image = np.zeros((60, 60), bool)
    image[5:8, :] = image[20:23, 3:58] = True
    image[30:50, 10:12] = image[48:50, 10:50] = True
    grid = pt.PatchGrid(image.shape, 16, 8)
    np.testing.assert_array_equal(pt.join_labels(parts_of(image, grid), grid), label(image))


def test_objects_that_touch_stay_apart() -> None:
    """A segmenter tells neighbours apart that are no components; so does what it says in every tile."""
    columns = np.repeat(np.arange(1, 13), 5)
    truth = np.broadcast_to(columns, (40, 60)) + 12 * (np.arange(40)[:, None] // 8)
    grid = pt.PatchGrid(truth.shape, 20, 8)
    tiles = pt.extract(truth, grid)
    found = pt.join_labels(tiles, grid)
    pairs = np.unique(np.stack([truth.ravel(), found.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(truth)) == found.max()


def test_a_threshold_tells_what_is_one_object() -> None:
    grid = pt.PatchGrid(12, 8, 4)
    tiles = np.zeros((2, 8), int)
    tiles[0, 4:7] = 1  # elements 4 to 6
    tiles[1, 1:4] = 1  # elements 5 to 7: half of what either says
    assert pt.join_labels(tiles, grid, threshold=0.5).max() == 1
    tiles[1, 0] = 0
    tiles[1, 1] = 0  # elements 6 and 7: a quarter
    assert pt.join_labels(tiles, grid, threshold=0.5).max() == 2
    assert pt.join_labels(tiles, grid, threshold=0.25).max() == 1


def test_nothing_and_progress() -> None:
    grid = pt.PatchGrid((9, 9), 4, 2)
    told: list[tuple[int, int]] = []
    found = pt.join_labels(
        lambda _: np.zeros((4, 4), np.uint8), grid, progress=lambda *at: told.append(at)
    )
    assert not found.any()
    assert told[-1] == (2 * len(grid), 2 * len(grid))
    assert told == sorted(told)


@pytest.mark.parametrize(
    ("tiles", "options", "error"),
    [
        (np.zeros((3, 4)), {}, "whole numbers"),
        (np.zeros((4, 3), int), {}, "must be of shape"),
        (np.full((3, 4), -1), {}, "from 1 on"),
        (np.zeros((3, 4), int), {"threshold": 0}, "threshold must be"),
        (np.zeros((3, 4), int), {"dtype": float}, "whole numbers"),
    ],
)
def test_what_cannot_be_is_refused(tiles: Any, options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        pt.join_labels(tiles, pt.PatchGrid(8, 4, 2), **options)


def test_more_objects_than_the_dtype_holds() -> None:
    tiles = np.arange(1, 401).reshape(1, 400)
    with pytest.raises(OverflowError, match="400 objects"):
        pt.join_labels(tiles, pt.PatchGrid(400, 400), dtype=np.uint8)
    with pytest.raises(ValueError, match="dilation"):
        pt.join_labels(tiles, pt.PatchGrid(400, 4, dilation=2))

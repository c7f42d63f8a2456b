"""merge="moments": mean, variance, number and effective number of the patches that meet, wherever one can merge."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from fuzz.tiles import small_limits
from pantile.geometry.limits import using_limits
from pantile.testing import slow, strategies
from pantile.testing.compare import assert_agrees, assert_same_bits

RNG = np.random.default_rng(5)
IMAGE = RNG.normal(size=(30, 41)).astype(np.float32)
GRID = pt.PatchGrid(IMAGE.shape, 7, 3)
PATCHES = pt.extract(IMAGE, GRID) * RNG.uniform(0.5, 2, (len(GRID), 1, 1)).astype(np.float32)


def bent(batch: Any) -> Any:
    return np.sin(batch * 5) * np.arange(7)


@given(st.data())
def test_moments_are_several_merges_in_one_pass(data: st.DataObject) -> None:
    pool = [np.dtype(d) for d in ("f4", "f8", "u1", "i4")]
    placed = data.draw(strategies.placed(kinds="iuf", pool=pool, batch=False))
    patches = slow.extract(placed.image, placed.grid, **placed.roles)
    patches = data.draw(strategies.arrays(patches.shape, patches.dtype))
    weights = data.draw(st.sampled_from([None, "hann"]))
    options: dict[str, Any] = {"fill": 1, "weights": weights, **placed.roles}
    found = pt.unpatchify(patches, placed.grid, merge="moments", **options)
    twin = slow.moments(patches, placed.grid, **options)
    largest = 1e3 * float(np.abs(patches.astype(float)).max(initial=1.0))
    for one, other, scale in zip(found, twin, (largest, largest**2, 1, 1), strict=True):
        assert one.dtype == other.dtype
        assert_agrees(one, other, scale=scale)


def test_in_memory_in_pieces_streamed_and_lazily_alike() -> None:
    whole = pt.unpatchify(bent(PATCHES), GRID, merge="moments", weights="hann")
    merger = pt.Merger(GRID, merge="moments", weights="hann")
    for rows in np.array_split(RNG.permutation(len(GRID)), 5):
        merger.add(bent(PATCHES)[rows], rows)
    in_pieces: Any = merger.result()
    for one, other in zip(in_pieces, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    streamed = [
        pt.map_patches(bent, IMAGE, GRID, merge="moments", batch_bytes=4000, workers=n)
        for n in (1, 3)
    ]
    for one, other in zip(*streamed, strict=True):
        assert_same_bits(one, other)
    np.testing.assert_array_equal(streamed[0][2], GRID.coverage())
    np.testing.assert_allclose(
        streamed[0][1], pt.map_patches(bent, IMAGE, GRID, merge="var", batch_bytes=4000), rtol=1e-6
    )


def test_a_dask_array_gives_four() -> None:
    da = pytest.importorskip("dask.array")
    lazy = pt.map_patches(bent, da.from_array(IMAGE, chunks=20), GRID, merge="moments")
    known = pt.map_patches(bent, IMAGE, GRID, merge="moments")
    for one, other in zip(lazy, known, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one.compute(), other, rtol=1e-6, atol=1e-7)


class Stopped(Exception):
    pass


def test_four_files_are_resumed_together(tmp_path: Any) -> None:
    outs = tuple(
        str(tmp_path / f"{name}.npy") for name in ("mean", "variance", "patches", "effective")
    )
    calls = iter(range(0))

    def failing(batch: Any) -> Any:
        if next(calls) == 12:
            raise Stopped
        return bent(batch)

    options: dict[str, Any] = {"merge": "moments", "out": outs, "batch_bytes": 2000, "workers": 1}
    at_once = replace(small_limits(200), journal_seconds=0, journal_share=0)
    with using_limits(at_once):
        whole = pt.map_patches(bent, IMAGE, GRID, merge="moments", batch_bytes=2000)
        calls = iter(range(4, 100))
        with pytest.raises(Stopped) as error:
            pt.map_patches(failing, IMAGE, GRID, **options)
        assert "resume=True" in "".join(error.value.__notes__)
        calls = iter(range(13, 1000))
        pt.map_patches(failing, IMAGE, GRID, resume=True, **options)
    for path, expected in zip(outs, whole, strict=True):
        assert_same_bits(np.load(path), expected)


def test_holes_hold_the_fill_and_no_patches() -> None:
    grid = pt.PatchGrid(10, 2, 4)
    mean, variance, patches, effective = pt.unpatchify(
        np.ones((len(grid), 2)), grid, merge="moments", fill=7
    )
    np.testing.assert_array_equal(mean, np.where(grid.coverage() > 0, 1, 7))
    np.testing.assert_array_equal(variance, np.where(grid.coverage() > 0, 0, 7))
    np.testing.assert_array_equal(patches, grid.coverage())
    np.testing.assert_array_equal(effective, grid.coverage())


def test_effective_number_of_patches_that_weigh_differently() -> None:
    """Two patches of which one weighs three times as much tell as much as 1.6 of equal weight."""
    grid = pt.PatchGrid(3, 2)
    found = pt.unpatchify([[0.0, 1.0], [5.0, 2.0]], grid, merge="moments", patch_weights=[1, 3])
    np.testing.assert_allclose(found[0], [0, 4, 2])
    np.testing.assert_allclose(found[1], [0, 3, 0])
    np.testing.assert_array_equal(found[2], [1, 2, 1])
    np.testing.assert_allclose(found[3], [1, 1.6, 1])

    def weigh(batch: Any) -> Any:
        return pt.Weighted(batch, batch.mean(axis=(1, 2)) ** 2)

    streamed = pt.map_patches(weigh, IMAGE, GRID, merge="moments", weights="hann", batch=5)
    each = pt.extract(IMAGE, GRID).mean(axis=(1, 2)) ** 2
    twin = slow.moments(pt.extract(IMAGE, GRID), GRID, weights="hann", patch_weights=each)
    for one, other in zip(streamed, twin, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_too_few_places_and_finalize_are_refused_before_any_work(tmp_path: Any) -> None:
    def never(batch: Any) -> Any:
        raise AssertionError(batch)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="makes 4 images, so out must be a tuple of 4 places"):
            pt.map_patches(never, IMAGE, GRID, merge="moments", out=tmp_path / "one.npy")
        with pytest.raises(ValueError, match="finalize= reduces one image"):
            pt.map_patches(never, IMAGE, GRID, merge="moments", finalize=np.abs)
        with pytest.raises(ValueError, match="must be a tuple of as many arrays"):
            pt.unpatchify(PATCHES, GRID, merge="moments", out=np.empty(IMAGE.shape, np.float32))
    assert not list(tmp_path.iterdir())

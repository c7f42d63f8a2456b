"""`pantile.compat.tiler` agrees with tiler, where that is installed, and gives back what was cut."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.outcomes import outcome, plain_type
from pantile.compat.tiler import Merger, Tiler

pytestmark = pytest.mark.filterwarnings("ignore")  # what the others warn about is not ours to judge


@pytest.fixture(scope="module")
def theirs() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tiler")


@st.composite
def tilings(draw: st.DrawFn) -> dict[str, Any]:
    ndim = draw(st.integers(1, 3))
    shape = draw(st.tuples(*[st.integers(1, 13)] * ndim))
    tile = draw(st.tuples(*[st.integers(1, 7)] * ndim))
    channel = draw(st.none() | st.integers(-ndim, ndim - 1)) if ndim > 1 else None
    if channel is not None:
        k = channel % ndim
        tile = (*tile[:k], shape[k], *tile[k + 1 :])
    each = st.tuples(*[st.integers(0, 3)] * ndim)
    overlap = draw(st.integers(-1, 4) | st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.5]) | each)
    mode = draw(st.sampled_from([*Tiler.TILING_MODES, "other"]))
    return {
        "data_shape": shape, "tile_shape": tile, "overlap": overlap, "channel_dimension": channel,
        "mode": mode, "constant_value": 3,
    }  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(options=tilings(), data=st.data())
def test_tiles_places_and_merged_arrays_are_tilers(
    theirs: Any, options: dict[str, Any], data: st.DataObject
) -> None:
    channel = options["channel_dimension"]
    if isinstance(options["overlap"], tuple) and channel is not None:
        return  # there an overlap of channels is taken at its word, and shifts what is not cut
    overlap, tile = options["overlap"], np.array(options["tile_shape"])
    if isinstance(overlap, float) and (np.ceil(overlap * tile) >= tile).any():
        return  # rounded up to all of a tile, which gives no tile there, without a word, and an error here
    ours, other = outcome(Tiler, **options), outcome(theirs.Tiler, **options)
    if isinstance(other, Exception):
        assert isinstance(ours, plain_type(other)), f"{ours!r}, expected {other!r}"
        return
    assert repr(ours) == repr(other)
    assert len(ours) == len(other)
    if not len(other):
        return
    array = np.arange(float(np.prod(options["data_shape"]))).reshape(options["data_shape"])
    size = data.draw(st.integers(0, 4))
    parts = (
        [list(t.iterate(array, batch_size=size)) for t in (ours, other)]
        if ours.mode != "irregular"
        else []
    )
    for (one, mine), (two, its) in zip(*parts, strict=True) if parts else ():
        assert one == two
        np.testing.assert_array_equal(mine, its)
    for k in range(len(ours)):
        for flag in (False, True):
            for mine, its in zip(
                ours.get_tile_bbox(k, flag), other.get_tile_bbox(k, flag), strict=True
            ):
                np.testing.assert_array_equal(mine, its)
            np.testing.assert_array_equal(
                ours.get_tile_mosaic_position(k, flag), other.get_tile_mosaic_position(k, flag)
            )
        corners = [np.array(t.get_tile_bbox(k, all_corners=True)) for t in (ours, other)]
        np.testing.assert_array_equal(*corners)
    _compare_merged(ours, other, theirs, array, data)


def _compare_merged(ours: Any, other: Any, theirs: Any, array: Any, data: st.DataObject) -> None:
    window = data.draw(st.sampled_from(["boxcar", "hamming", "overlap-tile"]))
    # with logits, tiler puts smaller tiles where others are
    logits = data.draw(st.sampled_from([0, 2] if ours.mode != "irregular" else [0]))
    options = {"window": window, "logits": logits, "data_dtype": np.float64}
    mergers = Merger(ours, **options), theirs.Merger(other, **options)
    np.testing.assert_allclose(mergers[0].window, mergers[1].window, atol=1e-6)
    for merger in mergers:
        for k in range(len(ours)):
            tile = ours.get_tile(array, k)
            merger.add(k, np.stack([tile, tile**2]) if logits else tile)
    for merged in ({}, {"unpad": False}, {"argmax": bool(logits)}, {"normalize_by_weights": False}):
        mine, its = (m.merge(**merged, dtype=np.float64) for m in mergers)
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(mergers[0].data_visits, mergers[1].data_visits)


@settings(max_examples=40, deadline=None)
@given(options=tilings(), window=st.sampled_from(["boxcar", "hamming"]))
def test_what_was_cut_is_merged_to_what_it_was(options: dict[str, Any], window: str) -> None:
    tiler = outcome(
        Tiler, **{**options, "mode": "reflect" if min(options["data_shape"]) > 1 else "edge"}
    )
    if isinstance(tiler, Exception):
        assert isinstance(tiler, ValueError)
        return
    if not len(tiler):
        return  # less data than overlap
    array = np.random.default_rng(0).random(options["data_shape"])
    merger = Merger(tiler, window=window, data_dtype=np.float64)
    for k, tile in tiler(array, batch_size=3):
        merger.add_batch(k, 3, tile)
    if tiler.channel_dimension is None or not isinstance(options["overlap"], tuple):
        np.testing.assert_allclose(merger.merge(), array, atol=1e-6)


def test_padding_for_windows_that_fall_to_zero(theirs: Any) -> None:
    options = {"data_shape": (20, 17), "tile_shape": (8, 6), "overlap": 0.5}
    (shape, pads), (wanted, theirs_pads) = (
        t(**options).calculate_padding() for t in (Tiler, theirs.Tiler)
    )
    np.testing.assert_array_equal(shape, wanted)
    np.testing.assert_array_equal(pads, theirs_pads)
    array = np.random.default_rng(0).random((20, 17))
    tiler = Tiler(**{**options, "data_shape": shape})
    merger = Merger(tiler, window="hann", data_dtype=np.float64)
    for k, tile in tiler(np.pad(array, pads, mode="reflect")):
        merger.add(k, tile)
    np.testing.assert_allclose(merger.merge(extra_padding=pads), array, atol=1e-6)


def test_functions_views_and_errors() -> None:
    tiler, array = Tiler((10,), (4,)), np.arange(10)
    np.testing.assert_array_equal(tiler.get_tile(lambda at, n: array[at : at + n], 2), [8, 9, 0, 0])
    assert np.shares_memory(tiler.get_tile(array, 0, copy_data=False), array)
    assert not np.shares_memory(tiler.get_tile(array, 0), array)
    assert tiler.get_all_tiles(array, axis=1).shape == (4, 3)
    for call, kind in (
        (lambda: tiler.get_tile(array, 3), IndexError),
        (lambda: tiler.get_tile(array[1:], 0), ValueError),
        (lambda: list(tiler(array, batch_size=-1)), ValueError),
        (lambda: Merger(tiler, window="none"), ValueError),
        (lambda: Merger(tiler, window=np.ones(3)), ValueError),
        (lambda: Merger(tiler, logits=-1), ValueError),
        (lambda: Merger(tiler).add(0, np.ones(3)), ValueError),
        (lambda: Merger(tiler).add_batch(2, 2, np.ones((2, 4))), IndexError),
        (lambda: Tiler((10,), (4,), mode="irregular").get_all_tiles(array), ValueError),
    ):
        with pytest.raises(kind):
            call()
    merger = Merger(tiler)
    merger.add(0, array[:4])
    with pytest.warns(UserWarning, match="keep their window"):
        merger.set_window("hann")

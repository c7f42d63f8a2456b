"""Weighted: func says what its patches, or their samples, count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pantile as pt
from pantile.geometry.limits import Limits, using_limits

RNG = np.random.default_rng(3)
IMAGE = RNG.random((23, 19, 2)) + 0.1


@settings(max_examples=30, deadline=None)
@given(
    per=st.sampled_from(["patch", "sample", "channel"]),
    taper=st.sampled_from([None, "hann"]),
    merge=st.sampled_from(["mean", "sum"]),
    axis=st.integers(0, 2),
    step=st.integers(1, 5),
    options=st.sampled_from([{}, {"batch": 7}, {"layout": "feature"}, {"batch_bytes": 900}]),
)
def test_it_is_the_merge_of_the_products_over_that_of_the_weights(
    per: str, taper: str | None, merge: str, axis: int, step: int, options: dict[str, Any]
) -> None:
    image = np.moveaxis(IMAGE, 2, axis)

    def weigh(batch: Any) -> Any:
        others = tuple(k for k in range(1, 4))
        if per == "patch":
            return batch.mean(others)
        return batch.sum(axis + 1) if per == "sample" else batch**2

    def func(batch: Any) -> Any:
        return pt.Weighted(np.sin(9 * batch), weigh(batch))

    def times(batch: Any, values: Any) -> Any:
        weights = weigh(batch)
        if per == "patch":
            weights = weights[:, None, None, None]
        if per == "sample":
            weights = np.expand_dims(weights, axis + 1)
        return values * np.broadcast_to(weights, batch.shape)

    known: dict[str, Any] = {"channel_axis": axis, "weights": taper, "merge": "sum"}
    total = pt.map_patches(lambda b: times(b, np.sin(9 * b)), image, 6, step, **known)
    wanted = total
    if merge == "mean":
        wanted = total / pt.map_patches(lambda b: times(b, 1.0), image, 6, step, **known)
    with using_limits(Limits(tile_state_bytes=3000)):
        found = pt.map_patches(func, image, 6, step, **{**known, "merge": merge}, **options)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_other_dtypes_smaller_patches_and_several_results() -> None:
    def func(batch: Any) -> Any:
        counted = pt.Weighted((batch[:, 1:-1, 1:-1] * 100).astype(np.uint8), batch.mean((1, 2, 3)))
        return counted, batch

    grid = pt.PatchGrid((23, 19), 6, 2, pad=1, pad_mode="edge")
    found, same = pt.map_patches(func, IMAGE, grid, channel_axis=2)
    np.testing.assert_allclose(same, IMAGE)
    rounded = (IMAGE * 100).astype(np.uint8)
    np.testing.assert_allclose(found, rounded)


def test_where_all_weights_are_zero_there_is_no_value() -> None:
    def func(batch: Any) -> Any:
        return pt.Weighted(batch, np.zeros(len(batch)))

    with pytest.raises(ValueError, match="fill"):
        pt.map_patches(func, IMAGE, 6, 2, channel_axis=2)
    found = pt.map_patches(func, IMAGE, 6, 2, channel_axis=2, fill=-1)
    np.testing.assert_array_equal(found, np.full(IMAGE.shape, -1.0))


def test_it_is_resumed_and_lazy(tmp_path: Path) -> None:
    def func(batch: Any) -> Any:
        return pt.Weighted(batch, batch.mean((1, 2, 3)))

    plain = pt.map_patches(func, IMAGE, 6, 2, channel_axis=2)
    path = tmp_path / "a.npy"
    for resume in (False, True):
        pt.map_patches(func, IMAGE, 6, 2, channel_axis=2, out=path, resume=resume)
        np.testing.assert_array_equal(np.load(path), plain)
    da = pytest.importorskip("dask.array")
    lazy = pt.map_patches(func, da.from_array(IMAGE, chunks=(11, 19, 2)), 6, 2, channel_axis=2)
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), plain)


@pytest.mark.parametrize(
    ("weights", "options", "error"),
    [
        (lambda b: np.ones(len(b) + 1), {}, "real numbers"),
        (lambda b: -np.ones(len(b)), {}, "not negative"),
        (lambda b: np.full(len(b), np.nan), {}, "finite"),
        (lambda b: np.ones(len(b)), {"merge": "max"}, "takes no weights"),
        (lambda b: np.ones(b.shape), {"merge": "var"}, "no weights per sample"),
        (lambda b: np.ones(b.shape[:2]), {}, "have shape"),
        (lambda b: np.ones(len(b)), {"merge": None}, "nothing is weighted"),
        (lambda b: np.ones(len(b)), {"weights": "trim"}, "trim"),
    ],
)
def test_what_cannot_be_is_refused(weights: Any, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        pt.map_patches(lambda b: pt.Weighted(b, weights(b)), IMAGE, 6, 2, channel_axis=2, **options)

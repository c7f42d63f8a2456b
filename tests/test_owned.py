"""Merges by one of the patches that meet, where all are there: boxes that are known before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from fuzz.tiles import tiles_of
from pantile.geometry import AxisGrid
from pantile.merge.alone import Alone
from pantile.merge.owned import Owned
from pantile.merge.pick import PickOne
from pantile.merge.spec import resolve_rule
from pantile.testing import strategies
from pantile.testing.compare import assert_same_bits

AXES = st.tuples(st.integers(1, 30), st.integers(1, 9), st.integers(1, 12)).filter(
    lambda case: case[1] <= case[0]
)
REDUCTIONS = {"mean": Alone, "first": Owned}
PICKS = st.sampled_from(["first", "last", "center"])


def axis_of(size: int, patch: int, step: int, end: str) -> AxisGrid:
    return pt.PatchGrid((size,), patch, step, tail=end).axis_grids[0]


@given(AXES, PICKS, st.sampled_from(["shift", "drop", "pad", "respace", "center"]))
def test_samples_that_a_patch_owns_are_the_elements_it_is_the_owner_of(
    case: tuple[int, int, int], by: str, end: str
) -> None:
    axis = axis_of(*case, end)
    low, high = axis.owned(by)
    found = np.full(axis.size, -1)
    for i, start in enumerate(axis.starts()):
        for e in range(start + low[i], start + high[i]):
            if 0 <= e < axis.size:
                assert found[e] == -1, "no element has two owners"
                found[e] = i
    assert np.array_equal(found, axis.owners(by))


@given(st.lists(AXES, min_size=1, max_size=3), PICKS, st.integers(1, 5), st.data())
def test_streams_pick_what_a_mask_of_all_patches_picks(
    cases: list[tuple[int, int, int]], by: str, batch: int, data: st.DataObject
) -> None:
    shape, patch, step = zip(*cases, strict=True)
    dtype = data.draw(st.sampled_from(["u1", "f4", "c16", "i8"]))
    image = np.random.default_rng(3).integers(0, 100, shape).astype(dtype)
    grid = pt.PatchGrid(shape, patch, step)

    def flip(patches: np.ndarray) -> np.ndarray:
        return patches[..., ::-1] + np.arange(patches.shape[1], dtype=dtype).reshape(
            -1, *(1,) * (len(shape) - 1)
        )

    nbytes = batch * int(np.prod(patch)) * image.itemsize
    found = pt.map_patches(flip, image, grid, merge=by, fill=0, batch_bytes=nbytes)
    patches = flip(pt.extract(image, grid).reshape(-1, *patch))
    merger = pt.Merger(grid, merge=by, fill=0, dtype=dtype)
    merger.add(patches, np.arange(len(patches)))
    assert np.array_equal(found, merger.result())


@given(st.data())
def test_values_put_where_they_stay_are_those_of_pieces(data: st.DataObject) -> None:
    """A result of our own takes values from tiles themselves; a place of the caller's takes joined pieces."""
    merge = data.draw(st.sampled_from(["first", "last", "center", "mean", "sum"]))
    case = data.draw(strategies.placed(strategies.grids(), pool=[np.dtype("u1"), np.dtype("f4")]))
    image, grid = case.image, case.grid
    options = {**case.roles, "merge": merge, "fill": 3, "dtype": image.dtype, "workers": 2}

    def turned(patches: np.ndarray) -> np.ndarray:
        return patches[..., ::-1] // 2 + np.asarray(1, image.dtype)

    with tiles_of(data.draw(st.sampled_from([None, 30, 200]))):
        found = pt.map_patches(turned, image, grid, **options)
        place = np.zeros_like(found)
        pt.map_patches(turned, image, grid, out=place, **options)
    assert_same_bits(found, place)


def test_who_lets_tiles_write_into_the_image() -> None:
    image = np.arange(900.0).reshape(30, 30)
    seen: list[int] = []

    def watched(k: int, merge: str, **options: Any) -> None:
        real = REDUCTIONS[merge].lasting
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                REDUCTIONS[merge], "lasting", lambda s, i: seen.append(i.size) or real(s, i)
            )
            with tiles_of(100):
                pt.map_patches(np.copy, image, 5, k, merge=merge, **options)

    for k, merge in ((5, "mean"), (3, "first")):
        seen.clear()
        watched(k, merge)
        assert sum(n > 0 for n in seen) > 3, "each tile has its part of the image"
        for options in ({"out": np.zeros((30, 30))}, {"finalize": np.abs}, {"dtype": "f4"}):
            seen.clear()
            watched(k, merge, **options)
            assert not any(seen)


def test_what_is_compiled_for_whole_grids_and_for_others() -> None:
    rule = resolve_rule("first", None, False, None, None)
    frame = pt.plan(np.copy, np.zeros((9, 9), "f4"), 3, 2).job.frame
    assert isinstance(rule.compile(frame, np.dtype("f4"), True).reduction, Owned)
    assert isinstance(rule.compile(frame, np.dtype("f4"), False).reduction, PickOne)
    grid = pt.PatchGrid((9, 9), 3, 1, dilation=2)
    dilated = pt.plan(np.copy, np.zeros((9, 9), "f4"), grid).job.frame
    assert isinstance(rule.compile(dilated, np.dtype("f4"), True).reduction, PickOne)

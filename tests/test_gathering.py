"""Merging by gathering: the same bits in whatever parts it is made, and the values of merging by tiles."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pantile as pt
from pantile.geometry import AxisGrid
from pantile.geometry.limits import Limits, using_limits
from pantile.testing import slow, strategies
from pantile.testing.compare import assert_agrees, assert_same_bits

Array = NDArray[Any]
FEW = [
    np.dtype(c) for c in ("f4", "u1")
]  # each is a compilation; all others: test_laws.py, for every dtype
POOL = strategies.DTYPES if settings().max_examples > 30 else FEW
ALL = Limits(gather_least_elements=0)
MERGES = ("mean", "sum", "max", "min", "first", "last", "center")
unpatchify = importlib.import_module("pantile.ops.unpatchify")


@st.composite
def merges(draw: st.DrawFn) -> tuple[Array, pt.PatchGrid, dict[str, Any]]:
    """Patches of a grid, as they were cut in either layout or lying otherwise, and how to merge them."""
    case = draw(strategies.placed(strategies.grids(), pool=POOL))
    real = case.image.dtype.kind != "c"
    merge = draw(st.sampled_from(MERGES if real else ("mean", "sum", "first", "center")))
    layout = draw(st.sampled_from(("patch", "feature")))
    patches = pt.extract(case.image, case.grid, layout=layout, **case.roles)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    patches[...] = rng.permutation(patches.ravel()).reshape(patches.shape)
    options: dict[str, Any] = dict(case.roles, merge=merge, fill=1)
    if merge in ("mean", "sum") and draw(st.booleans()):
        options["weights"] = draw(strategies.tapers(case.grid.patch, positive=False))
    if merge in ("mean", "sum") and draw(st.booleans()):
        options["patch_weights"] = draw(strategies.patch_weights(case.grid.n_patches))
    if draw(st.booleans()):
        patches = draw(strategies.restrided(patches))
    return patches, case.grid, options


@given(merges(), st.integers(1, 40), st.integers(1, 5))
def test_the_parts_it_is_made_in_change_no_bit(case: Any, elements: int, tall: int) -> None:
    patches, grid, options = case
    with using_limits(ALL):
        whole = pt.unpatchify(patches, grid, **options)
    few = Limits(
        gather_elements=elements,
        gather_together_rows=tall,
        gather_leaf_elements=20,
        gather_least_elements=0,
        long_line_elements=0,
    )
    with using_limits(few):
        assert_same_bits(pt.unpatchify(patches, grid, **options), whole)


@given(merges())
def test_it_gives_what_tiles_give(case: Any) -> None:
    patches, grid, options = case
    with using_limits(ALL):
        gathered = pt.unpatchify(patches, grid, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpatchify, "gather_patches", lambda *_: False)
        tiles = pt.unpatchify(patches, grid, **options)
    assert gathered.dtype == tiles.dtype
    assert_agrees(gathered, tiles, scale=1e6)


@pytest.mark.parametrize("merge", ["mean", "sum", "var", "vote", "moments"])
@pytest.mark.parametrize("weights", ["hann", "uneven"])
def test_weights_belong_to_their_samples_however_patches_lie(merge: Any, weights: str) -> None:
    rng = np.random.default_rng(8)
    grid = pt.PatchGrid((4, 5), (2, 3), (1, 2))
    taper = rng.random((2, 3)) if weights == "uneven" else weights
    for channel_axis, shape in ((2, (6, 2, 3, 3)), (0, (6, 3, 2, 3))):
        patches = rng.integers(0, 5, shape).astype(np.float32)
        given_: dict[str, Any] = {"merge": merge, "weights": taper, "channel_axis": channel_axis}
        expected = images(pt.unpatchify(patches, grid, **given_))
        if merge != "moments":
            assert_agrees(expected[0], slow.unpatchify(patches, grid, **given_), scale=1e3)
        for order in itertools.permutations(range(patches.ndim)):
            lying = patches.transpose(order).copy().transpose(np.argsort(order))
            with using_limits(ALL):
                found = images(pt.unpatchify(lying, grid, **given_))
            for one, other in zip(found, expected, strict=True):
                assert_agrees(one, other, scale=1e3)


def images(merged: Any) -> tuple[Array, ...]:
    return merged if isinstance(merged, tuple) else (merged,)


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_small_whole_numbers_come_back_rounded_and_saturated(merge: str, dtype: str) -> None:
    rng = np.random.default_rng(5)
    grid = pt.PatchGrid((9, 40), (3, 7), (2, 3))
    patches = rng.integers(0, 256, (grid.n_patches, 3, 7)).astype(dtype)
    merged = pt.unpatchify(patches, grid, merge=merge, dtype="uint8")
    expected = slow.unpatchify(patches, grid, merge=merge, dtype="uint8")
    assert_same_bits(merged, expected)


def test_nan_on_its_way_into_whole_numbers_is_refused() -> None:
    patches = np.ones((19, 4), np.float32)
    patches[3, 2] = np.nan
    with pytest.raises(ValueError, match="the merge has NaN where dtype=uint8 has none"):
        pt.unpatchify(patches, pt.PatchGrid(40, 4, 2), dtype="uint8")


def test_elements_without_weight_are_refused_or_filled() -> None:
    grid, weights = pt.PatchGrid(40, 4, 4), np.ones(10)
    weights[2] = 0
    patches = np.ones((10, 4), np.float32)
    with pytest.raises(ValueError, match="4 elements within"):
        pt.unpatchify(patches, grid, patch_weights=weights)
    merged = pt.unpatchify(patches, grid, patch_weights=weights, fill=7)
    assert merged[8:12].tolist() == [7] * 4
    assert (np.delete(merged, range(8, 12)) == 1).all()


def axes() -> st.SearchStrategy[AxisGrid]:
    return strategies.grids(ndim=1).map(lambda grid: grid.axis_grids[0])


@given(axes(), st.data())
def test_an_axis_says_of_a_part_what_it_says_of_the_whole(axis: AxisGrid, data: Any) -> None:
    begin = data.draw(st.integers(0, axis.size))
    end = data.draw(st.integers(begin, axis.size))
    weights = np.random.default_rng(1).random(axis.patch)
    touching = [axis.touching(x) for x in range(axis.size)]
    counts = [len(t) for t in touching]
    assert axis.profile(None, begin, end).tolist() == counts[begin:end]
    assert axis.profile(weights, begin, end).tolist() == axis.profile(weights)[begin:end].tolist()
    reach = range(min(0, axis.start(0)), max(axis.size, axis.end))
    assert axis.most == max(len(axis.touching(x)) for x in reach)
    for by, pick in (("first", 0), ("last", -1)):
        expected = [int(t[pick]) if len(t) else -1 for t in touching]
        assert axis.owners(by, begin, end).tolist() == expected[begin:end]
    middle = (axis.patch - 1) * axis.dilation
    nearest = [
        min(t.tolist(), key=lambda i: abs(2 * (x - axis.start(i)) - middle)) if len(t) else -1
        for x, t in enumerate(touching)
    ]
    assert axis.owners("center", begin, end).tolist() == nearest[begin:end]
    if axis.dilation == 1:
        low = data.draw(st.integers(0, axis.count))
        high = data.draw(st.integers(low, axis.count))
        for by in ("first", "last", "center"):
            owned = [
                (axis.start(i) + a, axis.start(i) + b)
                for i, (a, b) in enumerate(zip(*axis.owned(by), strict=True))
            ]
            owners = [
                next((i for i, (a, b) in enumerate(owned) if a <= x < b), -1)
                for x in range(axis.size)
            ]
            assert axis.owners(by).tolist() == owners
            part = zip(*axis.owned(by, low, high), strict=True)
            assert list(part) == list(zip(*axis.owned(by), strict=True))[low:high]


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize(("patch", "step"), [(1, 1), (40, 40), (40, 50), (40, 20), (3, 1)])
def test_patches_that_are_one_in_memory(merge: Any, patch: int, step: int) -> None:
    """Stacks that broadcasting made: no stride, or none along the samples."""
    grid = pt.PatchGrid((400,), patch, step, tail="drop")
    for one in (np.full((1, 1), 3.0), np.arange(1.0, grid.n_patches + 1)[:, None]):
        patches = np.broadcast_to(one, (grid.n_patches, patch))
        found = pt.unpatchify(patches, grid, merge=merge, fill=0)
        assert_same_bits(found, pt.unpatchify(patches.copy(), grid, merge=merge, fill=0))

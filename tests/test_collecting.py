"""Merges that look at all values of an element: in memory, in pieces and streamed, like their slow twins."""

from __future__ import annotations

import importlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pantile as pt
from fuzz.cases import is_clear
from pantile.geometry.limits import Limits, using_limits
from pantile.kernels.collect import append, find_empty
from pantile.kernels.lanes import find_majority, find_median, find_spread
from pantile.kernels.moments import find_moments
from pantile.testing import slow, strategies
from pantile.testing.compare import assert_agrees, assert_same_bits

Array = NDArray[Any]
MERGES = ("median", "vote", "var", "moments")
# each dtype is a compilation of a second or two of every loop; those of others: PANTILE_EXAMPLES above the default,
# and below for each merge
POOL = [
    np.dtype(d) for d in ("f4", "u1", *(("f8", "i8", "?") if settings().max_examples > 30 else ()))
]
FEW_LANES, MANY_VALUES = 150, 230  # more than are worked on together; more than a network sorts
unpatchify = importlib.import_module("pantile.ops.unpatchify")


@st.composite
def merges(draw: st.DrawFn) -> tuple[Array, pt.PatchGrid, dict[str, Any]]:
    """Patches of a grid, lying in memory in any order of axes, and how to merge them."""
    case = draw(strategies.placed(strategies.grids(), kinds="biuf", pool=POOL))
    merge = draw(st.sampled_from(MERGES))
    layout = draw(st.sampled_from(("patch", "feature")))
    patches = pt.extract(case.image, case.grid, layout=layout, **case.roles)
    assume(is_clear(patches.shape, case))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    few = rng.integers(0, draw(st.integers(1, 9)), patches.shape)
    patches[...] = (
        few if draw(st.booleans()) else rng.permutation(patches.ravel()).reshape(few.shape)
    )
    options: dict[str, Any] = dict(case.roles, merge=merge, fill=1)
    if merge != "median" and draw(st.booleans()):
        # (an element without weight has no value, and of moments no number of patches either)
        positive = options["merge"] == "moments"
        options["weights"] = draw(strategies.tapers(case.grid.patch, positive=positive))
    if merge != "median" and draw(st.booleans()):
        options["patch_weights"] = draw(strategies.patch_weights(case.grid.n_patches))
    order = draw(st.permutations(range(patches.ndim)))
    patches = patches.transpose(order).copy().transpose(np.argsort(order))
    return patches, case.grid, options


def images(merged: Any) -> tuple[Array, ...]:
    return merged if isinstance(merged, tuple) else (merged,)


@given(merges(), st.integers(1, 60))
def test_neither_parts_nor_the_layout_change_a_bit(case: Any, elements: int) -> None:
    patches, grid, options = case
    whole = images(pt.unpatchify(patches, grid, **options))
    with using_limits(Limits(gather_elements=elements, gather_leaf_elements=20)):
        parts = images(pt.unpatchify(patches, grid, **options))
    copied = images(pt.unpatchify(patches.copy(order="C"), grid, **options))
    for one, other, third in zip(whole, parts, copied, strict=True):
        assert_same_bits(other, one)
        assert_same_bits(third, one)


@given(merges())
def test_it_gives_what_tiles_give(case: Any) -> None:
    patches, grid, options = case
    collected = images(pt.unpatchify(patches, grid, **options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpatchify, "collect_patches", lambda *_: False)
        tiles = images(pt.unpatchify(patches, grid, **options))
    scale = 1e3 * max(1.0, float(np.abs(patches.astype(float)).max(initial=1.0))) ** 2
    for one, other in zip(collected, tiles, strict=True):
        assert one.dtype == other.dtype
        exact = options["merge"] in ("median", "vote")
        assert_agrees(one, other, exact=exact, scale=scale)


@given(merges())
@settings(max_examples=20)
def test_it_gives_what_plain_loops_give(case: Any) -> None:
    patches, grid, options = case
    found = images(pt.unpatchify(patches, grid, **options))
    if options["merge"] == "moments":
        twins = slow.moments(patches, grid, **{k: v for k, v in options.items() if k != "merge"})
    else:
        twins = images(slow.unpatchify(patches, grid, **options))
    if options["merge"] == "vote" and {"weights", "patch_weights"} & options.keys():
        return  # sums that are equal but for rounding may go to either label; tiles round like this
    scale = 1e3 * max(1.0, float(np.abs(patches.astype(float)).max(initial=1.0))) ** 2
    for one, other in zip(found, twins, strict=True):
        assert_agrees(one, other, scale=scale)


def kept(seed: int, depth: int, dtype: str, labels: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, labels, (depth, FEW_LANES)).astype(dtype)
    if dtype == "f8":
        odd = rng.choice([np.nan, np.inf, -np.inf, 0.5], values.shape)
        values = np.where(rng.random(values.shape) < 0.4 / depth, odd, values)
    used = rng.integers(0, depth + 1, FEW_LANES)
    return values, used, rng.choice([0.0, 0.25, 0.5, 3.0], values.shape)


CASES = [(1, "u1"), (3, "f8"), (17, "u1"), (17, "f8"), (MANY_VALUES, "u1"), (MANY_VALUES, "f8")]


@pytest.mark.parametrize(("depth", "dtype"), CASES)
@pytest.mark.parametrize("labels", [2, 100])
def test_medians_are_those_of_numpy(depth: int, dtype: str, labels: int) -> None:
    values, used, _ = kept(depth, depth, dtype, labels)
    found = find_median((values, used, None))
    for k, n in enumerate(used):
        with np.errstate(invalid="ignore"):
            expected = np.median(values[:n, k]) if n else 0.0
        np.testing.assert_equal(found[k], expected)


@pytest.mark.parametrize(("depth", "dtype"), CASES)
@pytest.mark.parametrize("labels", [2, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_majorities_are_those_of_a_count(
    depth: int, dtype: str, labels: int, weighted: bool
) -> None:
    values, used, weights = kept(depth, depth, dtype, labels)
    each = (values, used, weights if weighted else None)
    found, empty = find_majority(each), find_empty(each)
    for k, n in enumerate(used):
        votes: dict[float, float] = {}
        for value, weight in zip(values[:n, k].tolist(), weights[:n, k].tolist(), strict=True):
            if value == value:  # one NaN is another label than the next
                votes[value] = votes.get(value, 0.0) + (weight if weighted else 1.0)
        assert empty[k] == (not (weights[:n, k].any() if weighted else n))
        alone = max(
            [w for v, w in zip(values[:n, k], weights[:n, k], strict=True) if v != v], default=0.0
        )
        if not empty[k] and max(votes.values(), default=0.0) >= (alone if weighted else 1.0):
            assert found[k] == min(votes, key=lambda label: (-votes[label], label))
        elif not empty[k]:
            assert np.isnan(found[k])


def exact_moments(values: Any, weights: Any) -> tuple[float, float]:
    x, w = [[Fraction(float(v)) for v in each] for each in (values, weights)]
    mean = sum(a * b for a, b in zip(x, w, strict=True)) / sum(w)
    return float(mean), float(sum(b * (a - mean) ** 2 for a, b in zip(x, w, strict=True)) / sum(w))


@pytest.mark.parametrize("base", [0.0, 1.0, 1e8, 1e15, -1e30])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_mean_costs_the_variance_nothing(base: float, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(9, 30)) * max(1.0, abs(base) * 1e-14)
    values, weights = base + noise, rng.uniform(0.1, 2, noise.shape)
    mean, variance = find_spread((values, np.full(30, 9), weights if weighted else None))
    for k in range(30):
        w = weights[:, k] if weighted else np.ones(9)
        expected = exact_moments(values[:, k], w)
        np.testing.assert_allclose((mean[k], variance[k]), expected, rtol=1e-13)


def test_equal_values_have_no_variance_and_their_mean() -> None:
    values = np.full((7, 5), 0.1)
    weights = np.random.default_rng(1).random(values.shape)
    mean, variance = find_spread((values, np.arange(1, 6), weights))
    assert (mean == 0.1).all()
    assert (variance == 0).all()


def test_weights_and_a_large_mean_cost_the_variance_nothing_in_memory_and_in_pieces() -> None:
    rng = np.random.default_rng(4)
    grid = pt.PatchGrid((20, 21), 5, 2)
    patches = 1e8 + rng.normal(size=(grid.n_patches, 5, 5))
    whole = images(pt.unpatchify(patches, grid, merge="moments", weights="hann"))
    merger = pt.Merger(grid, merge="moments", weights="hann")
    for rows in np.array_split(rng.permutation(grid.n_patches), 4):
        merger.add(patches[rows], rows)
    twin = slow.moments(patches - 1e8, grid, weights="hann")  # exact differences
    for found in (whole, images(merger.result())):
        np.testing.assert_allclose(found[0], twin[0] + 1e8, rtol=1e-15)
        np.testing.assert_allclose(found[1], twin[1], rtol=1e-7, atol=1e-12)
        assert_same_bits(found[2], twin[2])
    mean, variance = find_moments(tuple([np.zeros(1)] * 6))
    assert np.isnan([mean, variance]).all()


def test_states_are_put_behind_each_other() -> None:
    values, used, weights = np.zeros((4, 3), "u1"), np.array([1, 0, 2, 0]), np.zeros((4, 3))
    values[0, 0], values[2, :2] = 9, (7, 8)
    more = np.array([[1, 2], [3, 4]], "u1"), np.array([2, 1]), np.array([[0.1, 0.2], [0.3, 0.4]])
    append((values, used, weights), np.array([0, 2]), more)
    assert values.tolist() == [[9, 1, 2], [0, 0, 0], [7, 8, 3], [0, 0, 0]]
    assert weights.tolist() == [[0, 0.1, 0.2], [0, 0, 0], [0, 0, 0.3], [0, 0, 0]]
    assert used.tolist() == [3, 0, 3, 0]


@pytest.mark.parametrize("merge", ["median", "vote"])
def test_the_order_patches_come_in_changes_no_bit(merge: Any) -> None:
    rng = np.random.default_rng(6)
    image = rng.integers(0, 4, (40, 50)).astype("f4")
    grid = pt.PatchGrid(image.shape, 7, 2)
    patches = rng.permuted(pt.extract(image, grid), axis=0)
    whole = pt.unpatchify(patches, grid, merge=merge)
    for seed in range(3):
        merger = pt.Merger(grid, merge=merge)
        for rows in np.array_split(np.random.default_rng(seed).permutation(len(grid)), 6):
            merger.add(patches[rows], rows)
        assert_same_bits(merger.result(), whole)

    def noisy(batch: Array) -> Array:
        return np.floor(batch * np.linspace(1, 3, 7))

    known = pt.unpatchify(noisy(pt.extract(image, grid)), grid, merge=merge)
    for workers in (1, 3):
        assert_same_bits(
            pt.map_patches(noisy, image, grid, merge=merge, workers=workers, batch_bytes=6000),
            known,
        )


@pytest.mark.parametrize(
    ("merge", "dtype"),
    [("median", "uint8"), ("vote", "uint8"), ("var", "uint8"), ("median", "int64"),
     ("vote", "float32"), ("var", "bool")],
)  # fmt: skip
def test_values_are_rounded_and_saturated_on_their_way_into_a_dtype(merge: Any, dtype: str) -> None:
    rng = np.random.default_rng(5)
    grid = pt.PatchGrid((9, 40), (3, 7), (2, 3))
    patches = rng.integers(-40, 300, (grid.n_patches, 3, 7)).astype("f4") / 2
    merged = pt.unpatchify(patches, grid, merge=merge, dtype=dtype)
    expected = slow.unpatchify(patches, grid, merge=merge, dtype="f8")
    expected = np.rint(expected) >= 1 if dtype == "bool" else expected
    if dtype == "uint8":
        expected = np.clip(np.rint(expected), 0, 255)
    assert_agrees(merged, (np.rint(expected) if dtype == "int64" else expected).astype(dtype))


def test_nan_and_holes_are_refused_with_all_of_them_counted() -> None:
    patches, grid = np.ones((10, 4), np.float32), pt.PatchGrid(40, 4, 4)
    weights = np.ones(10)
    weights[[2, 8]] = 0
    few = Limits(gather_elements=6, gather_leaf_elements=6)
    with using_limits(few), pytest.raises(ValueError, match="8 elements within"):
        pt.unpatchify(patches, grid, merge="var", patch_weights=weights)
    merged = pt.unpatchify(patches, grid, merge="vote", patch_weights=weights, fill=7)
    assert (merged == np.repeat(np.where(weights, 1, 7), 4)).all()
    patches[3, 2] = np.nan
    with pytest.raises(ValueError, match="the merge has NaN where dtype=uint8 has none"):
        pt.unpatchify(patches, grid, merge="median", dtype="uint8")

"""The laws: what must hold on any grid, dtype, layout, weights, batch and worker count."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pantile as pt
from fuzz.cases import is_clear
from pantile.testing import slow, strategies
from pantile.testing.compare import assert_agrees, assert_same_bits

AVERAGING = ("mean", "max", "min", "median", "first", "last", "center")
WEIGHED = ("mean", "sum", "var", "vote")
MERGES = ("mean", "sum", "var", "max", "min", "median", "vote", "first", "last", "center")
COVERING = strategies.grids(covers=True)
TILES = st.sampled_from([None, 1, 20, 200])  # elements of a tile; None: pantile's own choice
# every dtype is a compilation of its own; PANTILE_EXAMPLES above the default draws from all
CHECKED = (
    "NUMBA_BOUNDSCHECK" in os.environ
)  # loops take longer to compile, and types differ in nothing there
FEW = [np.dtype(c) for c in (("f4", "u1") if CHECKED else ("f4", "u1", "i8", "?", "c8"))]
POOL = strategies.DTYPES if settings().max_examples > 30 else FEW


def placed_images(*args, **options):
    return strategies.placed(*args, pool=POOL, **options)


def some_dtypes(kinds):
    return strategies.dtypes(kinds, POOL)


def kinds_for(merge):
    return {"vote": "biu", "max": "biuf", "min": "biuf", "median": "biuf", "var": "biuf"}.get(
        merge, "biufc"
    )


def scale_of(image, merge="mean"):
    largest = float(np.abs(image.astype(np.complex128)).max(initial=1.0))
    return 1e3 * (largest**2 if merge == "var" else largest)


@st.composite
def merge_options(draw, merge, grid):
    """Weights and patch weights where the merge has a use for them."""
    options = {}
    if merge in WEIGHED:
        if draw(st.booleans()):
            options["weights"] = draw(strategies.tapers(grid.patch))
        if draw(st.sampled_from([False, False, True])):
            options["patch_weights"] = draw(strategies.patch_weights(grid.n_patches))
    return options


# 1: merging what was cut gives the image back


@given(placed_images(COVERING), TILES)
def test_merging_the_cut_patches_restores_the_image(tiles_of, placed, tile):
    image, grid = placed.image, placed.grid
    patches = pt.extract(image, grid, **placed.roles)
    assume(is_clear(patches.shape, placed))
    with tiles_of(tile):
        back = pt.unpatchify(patches, grid, **placed.roles)
    wanted = image if image.dtype.kind in "fc" else image.astype(np.float64)
    assert_agrees(back, wanted, scale=scale_of(image), exact=image.dtype.itemsize < 8)
    kept = pt.unpatchify(patches, grid, dtype=image.dtype, **placed.roles)
    assert_agrees(kept, image, scale=scale_of(image))


@given(st.data())
def test_merging_the_view_restores_the_image(data):
    grid = data.draw(strategies.grids(pads=False, tails=("error", "drop", "shift"), covers=True))
    if not grid.regular:
        return
    placed = data.draw(placed_images(st.just(grid), channels=False))
    view = pt.patchify(placed.image, grid, axes=placed.axes)
    back = pt.unpatchify(view, grid, axes=placed.axes, dtype=placed.image.dtype)
    assert_agrees(back, placed.image, scale=scale_of(placed.image))


@given(st.data())
def test_weighted_merging_restores_the_image(data):
    placed = data.draw(placed_images(COVERING))
    patches = pt.extract(placed.image, placed.grid, **placed.roles)
    assume(is_clear(patches.shape, placed))
    options = data.draw(merge_options("mean", placed.grid))
    back = pt.unpatchify(patches, placed.grid, dtype=placed.image.dtype, **placed.roles, **options)
    assert_agrees(back, placed.image, scale=scale_of(placed.image))


@pytest.mark.parametrize("merge", ["max", "min", "median", "first", "last", "center"])
@given(data=st.data())
def test_choosing_merges_restore_the_image_exactly(merge, data):
    placed = data.draw(placed_images(COVERING, kinds=kinds_for(merge)))
    patches = pt.extract(placed.image, placed.grid, **placed.roles)
    assume(is_clear(patches.shape, placed))
    back = pt.unpatchify(
        patches, placed.grid, merge=merge, dtype=placed.image.dtype, **placed.roles
    )
    assert_agrees(back, placed.image, exact=True)


# 2: a constant stays constant


@pytest.mark.parametrize("merge", AVERAGING)
@given(data=st.data())
def test_a_constant_image_stays_constant(merge, data):
    grid = data.draw(strategies.grids(covers=True, pads=False))
    value = data.draw(st.sampled_from([0.1, -7.3e5, 1e-30, 3.0]))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    image = np.full(grid.shape, value, dtype)
    options = data.draw(merge_options(merge, grid))
    patches = np.full((grid.n_patches, *grid.patch), value, dtype)
    back = pt.unpatchify(patches, grid, merge=merge, **options)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, image, rtol=1e-6 if dtype == np.float32 else 1e-14)


@given(st.data())
def test_a_constant_image_has_no_variance(data):
    grid = data.draw(strategies.grids(covers=True))
    value = data.draw(st.sampled_from([0.1, 1e6 + 0.3, 7.0]))
    patches = np.full((grid.n_patches, *grid.patch), value)
    options = data.draw(merge_options("var", grid))
    variance = pt.unpatchify(patches, grid, merge="var", **options)
    assert (variance >= 0).all()
    assert variance.max() <= 1e-14 * value**2


# 3: cutting and merging are adjoint


@given(st.data())
def test_cutting_and_sum_merging_are_adjoint(data):
    zeros_outside = strategies.grids(pad_modes=("constant",), pad_values=(0,))
    placed = data.draw(placed_images(zeros_outside, kinds="ifc"))
    x = placed.image.astype(np.result_type(placed.image, np.float64), copy=False)
    patches = pt.extract(x, placed.grid, **placed.roles)
    assume(is_clear(patches.shape, placed))
    y = data.draw(strategies.arrays(patches.shape, x.dtype))
    merged = pt.unpatchify(y, placed.grid, merge="sum", fill=0, **placed.roles)
    assert merged.shape == x.shape
    left, right = np.vdot(patches, y), np.vdot(x, merged)
    size = np.linalg.norm(patches) * np.linalg.norm(y)
    assert abs(left - right) <= 1e-12 * max(size, 1e-300)


@given(st.data())
def test_integers_are_adjoint_exactly(data):
    zeros_outside = strategies.grids(pad_modes=("constant",), pad_values=(0,))
    grid = data.draw(zeros_outside)
    x = data.draw(strategies.arrays(grid.shape, np.int16)).astype(np.int64)
    y = data.draw(strategies.arrays((grid.n_patches, *grid.patch), np.int16)).astype(np.int64)
    merged = pt.unpatchify(y, grid, merge="sum", fill=0)
    assert int((pt.extract(x, grid) * y).sum()) == int((x * merged).sum())


# 4: coverage and weight sums (the counts of coverage are in test_geometry)


@given(st.data())
def test_weight_sums_are_the_brute_force_ones(data):
    grid = data.draw(strategies.grids())
    options = data.draw(merge_options("sum", grid))
    ones = np.ones((grid.n_patches, *grid.patch))
    total = pt.unpatchify(ones, grid, merge="sum", fill=0, **options)
    assert_agrees(total, slow.weight_sum(grid, **options))


@given(st.data())
def test_a_merger_counts_what_was_added(data):
    grid = data.draw(strategies.grids())
    merger = pt.Merger(grid, fill=0)
    ones = np.ones((grid.n_patches, *grid.patch))
    pieces = data.draw(strategies.orders(grid.n_patches))
    counted = np.zeros(grid.shape, np.int64)
    for piece in pieces:
        merger.add(ones[piece], piece)
        for i in piece:
            for position in np.ndindex(*grid.patch):
                corner = [
                    s[k] for s, k in zip(grid.starts, np.unravel_index(i, grid.counts), strict=True)
                ]
                rows = zip(corner, position, grid.dilation, strict=True)
                element = tuple(int(c + p * d) for c, p, d in rows)
                if all(0 <= e < n for e, n in zip(element, grid.shape, strict=True)):
                    counted[element] += 1
        assert merger.coverage().tolist() == counted.tolist()
    assert merger.coverage().tolist() == grid.coverage().tolist()


# 5: streamed, in memory, in any order, by any number of workers


@given(placed_images(COVERING), TILES)
def test_mapping_the_identity_gives_the_image(tiles_of, placed, tile):
    with tiles_of(tile):
        mapped = pt.map_patches(lambda batch: batch, placed.image, placed.grid, **placed.roles)
    wanted = placed.image if placed.image.dtype.kind in "fc" else placed.image.astype(np.float64)
    assert_agrees(mapped, wanted, scale=scale_of(placed.image), exact=wanted.dtype.itemsize < 8)


@pytest.mark.parametrize("merge", MERGES)
@given(data=st.data())
def test_streamed_is_in_memory(merge, tiles_of, data):
    placed = data.draw(placed_images(kinds=kinds_for(merge).replace("b", "")))
    options = data.draw(merge_options(merge, placed.grid))
    options.pop("patch_weights", None)
    batch_bytes = data.draw(st.sampled_from([None, 1, 300, 5000]))
    workers = data.draw(st.sampled_from([1, 2, 3]))

    def func(batch):
        return batch + batch  # stays in the dtype

    with tiles_of(data.draw(TILES)):
        streamed = pt.map_patches(
            func, placed.image, placed.grid, merge=merge, fill=0, workers=workers,
            batch_bytes=batch_bytes, **placed.roles, **options,
        )  # fmt: skip
    with np.errstate(over="ignore"):
        patches = func(pt.extract(placed.image, placed.grid, **placed.roles))
    assume(is_clear(patches.shape, placed))
    at_once = pt.unpatchify(patches, placed.grid, merge=merge, fill=0, **placed.roles, **options)
    assert_agrees(streamed, at_once, scale=4 * scale_of(placed.image, merge))


@pytest.mark.parametrize("merge", MERGES)
@given(data=st.data())
def test_the_number_of_workers_does_not_reach_the_bits(merge, tiles_of, data):
    plain = strategies.grids(pad_modes=("constant", *strategies.MAPPED_MODES))
    placed = data.draw(placed_images(plain, kinds="f", nonfinite=merge not in ("var", "vote")))
    options = data.draw(merge_options(merge, placed.grid))
    options.pop("patch_weights", None)
    options["batch_bytes"] = data.draw(st.sampled_from([1, 200, 3000]))
    with tiles_of(data.draw(st.sampled_from([1, 20, 200]))):
        results = [
            pt.map_patches(
                lambda batch: batch * batch.dtype.type(1.1), placed.image, placed.grid,
                merge=merge, fill=-1, workers=workers, **placed.roles, **options,
            )
            for workers in (1, 2, 7)
        ]  # fmt: skip
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


@pytest.mark.parametrize("merge", MERGES)
@given(data=st.data())
def test_the_order_of_add_does_not_reach_the_bits(merge, data):
    placed = data.draw(placed_images(kinds="biuf"))
    grid, roles = placed.grid, placed.roles
    n_batch = len(placed.batch)
    patches = data.draw(
        strategies.arrays(pt.extract(placed.image, grid, **roles).shape, placed.image.dtype)
    )
    options = data.draw(merge_options(merge, grid))
    factors = options.pop("patch_weights", None)
    results = []
    for _ in range(3):
        merger = pt.Merger(grid, merge=merge, fill=0, **roles, **options)
        for piece in data.draw(strategies.orders(grid.n_patches)):
            chosen = patches[(slice(None),) * n_batch + (piece,)]
            extra = {} if factors is None else {"patch_weights": factors[piece]}
            merger.add(chosen, piece, **extra)
        results.append(merger.result())
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])
    if not is_clear(patches.shape, placed):
        return
    together = pt.unpatchify(
        patches, grid, merge=merge, fill=0, patch_weights=factors, **roles, **options
    )
    assert_agrees(results[0], together, scale=scale_of(patches, merge))


# 6: every selected patch exactly once


@given(st.data())
def test_func_sees_every_selected_patch_exactly_once(tiles_of, data):
    grid = data.draw(strategies.grids(pads=False))
    where = data.draw(st.none() | strategies.wheres(grid))
    image = np.arange(1, np.prod(grid.shape) + 1, dtype=np.float64).reshape(grid.shape)
    seen, lock = [], threading.Lock()

    def func(batch):
        assert batch.shape[1:] == grid.patch
        with lock:
            seen.extend(patch.tobytes() for patch in batch)
        return batch

    with tiles_of(data.draw(TILES)):
        pt.map_patches(
            func, image, grid, where=where, fill=0,
            workers=data.draw(st.sampled_from([1, 2, 7])),
            batch_bytes=data.draw(st.sampled_from([None, 1, 500])),
        )  # fmt: skip
    chosen = slow.extract(image, grid, indices=slow.select(grid, where))
    assert sorted(seen) == sorted(patch.tobytes() for patch in chosen)


def test_patches_in_padding_alone_are_seen_too(tiles_of):
    seen = []
    with tiles_of(1):
        pt.map_patches(
            lambda batch: seen.extend(batch.ravel().tolist()) or batch,
            np.ones(2), pt.PatchGrid(2, 1, 2, tail="pad"), fill=0, workers=1,
        )  # fmt: skip
    assert seen == [1, 0]


# 8: fast paths equal their slow twins


@given(st.data())
def test_extract_is_its_slow_twin(tiles_of, data):
    placed = data.draw(placed_images(nonfinite=True))
    rows = data.draw(st.none() | strategies.indices(placed.grid))
    layout = data.draw(st.sampled_from(["patch", "feature"]))
    with np.errstate(invalid="ignore"), tiles_of(data.draw(TILES)):
        fast = pt.extract(placed.image, placed.grid, indices=rows, layout=layout, **placed.roles)
        twin = slow.extract(placed.image, placed.grid, indices=rows, **placed.roles)
    computed = placed.grid.pad_mode in ("linear_ramp", "mean", "median")
    assert_agrees(
        fast,
        twin,
        exact=not computed,
        scale=scale_of(np.nan_to_num(placed.image, posinf=0, neginf=0)),
    )
    assert not np.shares_memory(fast, placed.image)
    assert fast.flags.writeable


@given(st.data())
def test_patchify_is_its_slow_twin(data):
    grid = data.draw(
        strategies.grids(pads=False, tails=("error", "drop", "center", "shift", "respace"))
    )
    placed = data.draw(placed_images(st.just(grid), channels=False))
    if not grid.regular:
        with pytest.raises(ValueError, match="extract"):
            pt.patchify(placed.image, grid, axes=placed.axes)
        return
    view = pt.patchify(placed.image, grid, axes=placed.axes)
    assert_agrees(view, slow.patchify(placed.image, grid, axes=placed.axes), exact=True)
    assert np.shares_memory(view, placed.image)
    assert not view.flags.writeable


@pytest.mark.parametrize("merge", MERGES)
@given(data=st.data())
def test_unpatchify_is_its_slow_twin(merge, tiles_of, data):
    placed = data.draw(placed_images(kinds=kinds_for(merge)))
    grid, roles = placed.grid, placed.roles
    shape = slow.extract(placed.image, grid, **roles).shape
    assume(is_clear(shape, placed))
    patches = data.draw(strategies.arrays(shape, placed.image.dtype))
    given_ = data.draw(strategies.restrided(patches))
    options = data.draw(merge_options(merge, grid))
    fill = data.draw(st.sampled_from([None, 0, 1]))
    if fill is None and not slow.coverage(grid).all():
        with pytest.raises(ValueError, match="fill"):
            pt.unpatchify(given_, grid, merge=merge, **roles, **options)
        return
    with tiles_of(data.draw(TILES)):
        fast = pt.unpatchify(given_, grid, merge=merge, fill=fill, **roles, **options)
    twin = slow.unpatchify(patches, grid, merge=merge, fill=fill, **roles, **options)
    unrounded = merge not in ("mean", "sum", "var") or (
        patches.dtype.kind in "biu" and not options and merge != "var"
    )
    assert_agrees(fast, twin, exact=unrounded, scale=scale_of(patches, merge))


@pytest.mark.parametrize("dtype", strategies.DTYPES, ids=str)
@pytest.mark.parametrize("merge", ["mean", "max", "last"])
def test_every_dtype_merges_as_in_the_slow_twin(merge, dtype):
    if dtype.kind == "c" and merge == "max":
        return
    rng = np.random.default_rng(0)
    grid = pt.PatchGrid((6, 7), (3, 2), (1, 3))
    values = rng.integers(0, 100, (grid.n_patches, 3, 2))
    patches = (values % 2 if dtype.kind == "b" else values).astype(dtype)
    expected = slow.unpatchify(patches, grid, merge=merge, fill=0)
    assert_agrees(pt.unpatchify(patches, grid, merge=merge, fill=0), expected)
    assert_agrees(pt.unpatchify(patches[::-1].copy()[::-1], grid, merge=merge, fill=0), expected)


@pytest.mark.parametrize(
    "merge", ["max", "min", "median", "first", "last", "center", "mean", "sum"]
)
@given(data=st.data())
def test_nonfinite_values_merge_as_in_the_slow_twin(merge, data):
    grid = data.draw(strategies.grids())
    dtype = data.draw(some_dtypes("f"))
    patches = data.draw(strategies.arrays((grid.n_patches, *grid.patch), dtype, nonfinite=True))
    with np.errstate(invalid="ignore"):
        fast = pt.unpatchify(patches, grid, merge=merge, fill=0)
        twin = slow.unpatchify(patches, grid, merge=merge, fill=0)
    assert_agrees(fast, twin, scale=1e6)


@given(st.data())
def test_a_merger_is_the_slow_twin_for_nonfinite_values(data):
    grid = data.draw(strategies.grids())
    patches = data.draw(
        strategies.arrays((grid.n_patches, *grid.patch), np.float64, nonfinite=True)
    )
    merger = pt.Merger(grid, fill=0)
    merger.add(patches, np.arange(grid.n_patches))
    with np.errstate(invalid="ignore"):
        fast = merger.result()
    assert_agrees(fast, slow.unpatchify(patches, grid, fill=0), scale=1e6)


@pytest.mark.parametrize("merge", ["mean", "sum", "max", "center", "vote"])
@given(data=st.data())
def test_integers_round_half_to_even_and_saturate(merge, data):
    grid = data.draw(strategies.grids())
    patches = data.draw(
        strategies.arrays((grid.n_patches, *grid.patch), data.draw(some_dtypes("iu")))
    )
    target = data.draw(some_dtypes("iu"))
    fast = pt.unpatchify(patches, grid, merge=merge, fill=0, dtype=target)
    twin = slow.unpatchify(patches, grid, merge=merge, fill=0, dtype=target)
    assert_agrees(fast, twin)


@given(st.data())
def test_weights_with_zeros_leave_holes_where_they_sum_to_nothing(data):
    grid = data.draw(strategies.grids())
    weights = data.draw(strategies.tapers(grid.patch, positive=False))
    total = slow.weight_sum(grid, weights)
    patches = data.draw(strategies.arrays((grid.n_patches, *grid.patch), np.float64))
    if not np.any(slow.taper(weights, grid.patch)):
        with pytest.raises(ValueError, match="weights"):
            pt.unpatchify(patches, grid, weights=weights, fill=0)
        return
    if not total.all():
        with pytest.raises(ValueError, match="fill"):
            pt.unpatchify(patches, grid, weights=weights)
    merged = pt.unpatchify(patches, grid, weights=weights, fill=-5.0)
    assert (merged[total == 0] == -5.0).all()
    assert_agrees(merged, slow.unpatchify(patches, grid, weights=weights, fill=-5.0), scale=1e6)


@pytest.mark.parametrize("merge", ["mean", "sum", "max", "last", "vote", None])
@given(data=st.data())
def test_map_patches_is_its_slow_twin(merge, tiles_of, data):
    kinds = kinds_for(merge).replace("b", "") if merge else "iufc"
    placed = data.draw(placed_images(kinds=kinds))
    where = data.draw(st.none() | strategies.wheres(placed.grid))
    options = {"merge": merge, "where": where, "fill": 0, **placed.roles}

    def func(batch):
        if merge is None:
            return batch.reshape(len(batch), -1)[:, :2].copy()
        return batch[::-1][::-1] + batch.dtype.type(3)

    with np.errstate(over="ignore"), tiles_of(data.draw(TILES)):
        fast = pt.map_patches(
            func, placed.image, placed.grid, workers=data.draw(st.sampled_from([1, 2])),
            batch_bytes=data.draw(st.sampled_from([None, 1, 400])), **options,
        )  # fmt: skip
        twin = slow.map_patches(func, placed.image, placed.grid, **options)
    assert_agrees(fast, twin, scale=scale_of(placed.image))


@given(st.data())
def test_smaller_results_are_centred_as_in_the_slow_twin(tiles_of, data):
    grid = data.draw(strategies.grids())
    image = data.draw(strategies.arrays(grid.shape, np.float32))
    smaller = tuple(data.draw(st.integers(1, p)) for p in grid.patch)
    offsets = [(p - q) // 2 for p, q in zip(grid.patch, smaller, strict=True)]
    inner = tuple(slice(o, o + q) for o, q in zip(offsets, smaller, strict=True))

    def func(batch):
        return batch[(slice(None), *inner)] * np.float32(2)

    with tiles_of(data.draw(TILES)):
        fast = pt.map_patches(func, image, grid, fill=-1)
    assert_agrees(fast, slow.map_patches(func, image, grid, fill=-1), scale=1e3)
    covered = fast != -1
    np.testing.assert_allclose(fast[covered], 2 * image[covered], rtol=1e-6)


@given(st.data())
def test_scaled_results_are_the_slow_twin(tiles_of, data):
    grid = data.draw(strategies.grids(dilated=False, ndim=data.draw(st.integers(1, 2))))
    image = data.draw(strategies.arrays(grid.shape, np.float64))
    scale = data.draw(st.integers(2, 3))

    def func(batch):
        for axis in range(1, batch.ndim):
            batch = batch.repeat(scale, axis)
        return batch

    with tiles_of(data.draw(TILES)):
        fast = pt.map_patches(func, image, grid, scale=scale, fill=0)
    assert_agrees(fast, slow.map_patches(func, image, grid, scale=scale, fill=0), scale=1e3)


# 9: memory stays below what the plan projects

MEASURE = """
import resource, sys
import numpy as np
import pantile as pt

image = np.ones((600, 600), np.float32)
pt.map_patches(lambda b: b, image[:64, :64], 16, 1, workers=2)  # compile, start threads
plan = pt.plan(lambda b: b, image, 16, 1, workers=2, batch_bytes=1_000_000)
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")  # the peak starts again from here
def kilobytes(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name))
before = kilobytes("VmRSS:")
out = plan.run()
peak = kilobytes("VmHWM:")
assert np.array_equal(out, image)
print((peak - before) * 1024, plan.projected_bytes, plan.expanded_bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_stays_below_the_projection():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak, projected, expanded = map(int, done.stdout.split())
    assert expanded == 585 * 585 * 256 * 4
    assert peak <= projected
    assert projected < expanded / 10

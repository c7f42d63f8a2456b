"""The grid says where patches lie: against enumeration, by hand-worked examples, as a value."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import pantile as pt
from pantile.testing import slow, strategies


def unit_image(grid):
    return np.arange(math.prod(grid.shape)).reshape(grid.shape)


# starts and counts


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        ({"tail": "shift"}, [0, 4, 6]),
        ({"tail": "respace"}, [0, 3, 6]),
        ({"tail": "pad"}, [0, 4, 8]),
        ({"tail": "drop"}, [0, 4]),
        ({"tail": "center"}, [1, 5]),
        ({"tail": "center", "pad": ((0, 1),)}, [1, 5]),
        ({"tail": "error", "pad": (1,)}, [-1, 3, 7]),
        ({"tail": "shift", "pad": ((1, 0),)}, [-1, 3, 6]),
        ({"pad": "same"}, [-2, 2, 6]),
    ],
)
def test_starts_by_hand(options, starts):
    grid = pt.PatchGrid(10, 4, 4, **options)
    assert [s.tolist() for s in grid.starts] == [starts]
    assert grid.counts == (len(starts),)


def test_respaced_starts_round_half_up():
    assert pt.PatchGrid(8, 2, 5, tail="respace").starts[0].tolist() == [0, 3, 6]
    assert pt.PatchGrid(7, 2, 3, tail="respace").starts[0].tolist() == [0, 3, 5]  # 2.5 -> 3


@given(strategies.grids())
def test_starts_are_the_enumerated_ones(grid):
    pads = (grid.pad,) * grid.ndim if grid.pad == "same" else grid.pad
    rows = zip(grid.shape, grid.patch, grid.step, grid.dilation, pads, strict=True)
    expected = [slow.starts(n, p, s, dilation=d, tail=grid.tail, pad=b) for n, p, s, d, b in rows]
    assert [s.tolist() for s in grid.starts] == expected
    assert all(s.dtype == np.int64 for s in grid.starts)


@given(strategies.grids())
def test_sizes_follow_from_starts(grid):
    counts = tuple(len(s) for s in grid.starts)
    assert grid.counts == counts
    assert grid.n_patches == len(grid) == math.prod(counts)
    assert grid.features == math.prod(grid.patch)
    spans = tuple((p - 1) * d + 1 for p, d in zip(grid.patch, grid.dilation, strict=True))
    assert grid.extent == spans
    assert grid.overlap == tuple(max(e - s, 0) for e, s in zip(spans, grid.step, strict=True))
    assert grid.nbytes(np.float32) == 4 * grid.n_patches * grid.features


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_counts_without_padding_are_the_convolution_formula(size, patch, step):
    if patch > size:
        with pytest.raises(ValueError, match="patch"):
            pt.PatchGrid(size, patch, step)
        return
    assert pt.PatchGrid(size, patch, step, tail="drop").counts == ((size - patch) // step + 1,)
    assert pt.PatchGrid(size, patch, step).counts == (-(-(size - patch) // step) + 1,)
    assert pt.PatchGrid(size, patch, step, pad="same").counts == (-(-size // step),)


@given(strategies.grids(tails=("shift", "respace"), pads=False))
def test_shift_and_respace_begin_and_end_at_the_edges(grid):
    for starts, n, extent in zip(grid.starts, grid.shape, grid.extent, strict=True):
        assert starts[0] == 0
        assert starts[-1] == n - extent


@given(strategies.grids(tails=("respace",)))
def test_respaced_gaps_differ_by_at_most_one(grid):
    for starts in grid.starts:
        gaps = np.diff(starts)
        assert np.ptp(gaps) <= 1 if len(gaps) else len(starts) == 1


def test_fields_are_canonical_tuples():
    grid = pt.PatchGrid([9, 8], 3, (1, 2), pad=(1, (0, 2)), tail="pad", pad_mode="edge")
    assert (grid.shape, grid.patch, grid.step, grid.dilation) == ((9, 8), (3, 3), (1, 2), (1, 1))
    assert (grid.tail, grid.pad, grid.pad_mode, grid.pad_value) == (
        "pad",
        ((1, 1), (0, 2)),
        "edge",
        0,
    )
    assert pt.PatchGrid(np.int64(9), np.int32(3)).shape == (9,)
    assert isinstance(pt.PatchGrid(np.int64(9), np.int32(3)).patch[0], int)


@pytest.mark.parametrize(("n", "patch", "counts"), [(10, 7, 4), (10, 9, 2), (10, 10, 1), (5, 3, 3)])
def test_patches_larger_than_half_the_image_are_counted(n, patch, counts):
    assert pt.PatchGrid((n, n), patch).counts == (counts, counts)


def test_a_padded_tail_may_extend_an_image_smaller_than_the_patch():
    grid = pt.PatchGrid(3, 5, 2, tail="pad")
    assert grid.starts[0].tolist() == [0]
    assert pt.extract([1, 2, 3], grid).tolist() == [[1, 2, 3, 0, 0]]


# regions, locating, coverage


@given(strategies.grids())
def test_a_region_indexes_what_of_its_patch_lies_in_the_image(grid):
    image = unit_image(grid)
    outside = pt.PatchGrid(
        grid.shape,
        grid.patch,
        grid.step,
        dilation=grid.dilation,
        tail=grid.tail,
        pad=grid.pad,
        pad_value=-1,
    )
    expected = slow.extract(image, outside)
    for i in range(len(grid)):
        assert image[grid[i]].ravel().tolist() == [v for v in expected[i].ravel() if v >= 0]
        assert grid[i] == grid[i - len(grid)] == grid[tuple(np.unravel_index(i, grid.counts))]


def test_regions_in_c_order():
    grid = pt.PatchGrid((4, 5), (2, 3), tail="drop")
    assert grid[0] == (slice(0, 2), slice(0, 3))
    assert grid[1] == (slice(0, 2), slice(1, 4))
    assert grid[3] == grid[1, 0] == (slice(1, 3), slice(0, 3))
    assert grid[-1] == grid[-1, -1] == (slice(2, 4), slice(2, 5))
    assert list(grid) == [grid[i] for i in range(len(grid))]


def test_a_dilated_region_carries_its_step():
    grid = pt.PatchGrid(9, 3, dilation=2)
    assert [(s.start, s.stop, s.step) for s in grid[1]] == [(1, 6, 2)]
    assert np.arange(9)[grid[1]].tolist() == [1, 3, 5]


@given(strategies.grids())
def test_locate_finds_the_patches_that_sample_an_element(grid):
    for element in np.ndindex(*grid.shape):
        found = grid.locate(element)
        assert found.dtype == np.int64
        assert found.tolist() == slow.locate(grid, element)


@given(strategies.grids())
def test_coverage_is_the_brute_force_count(grid):
    coverage = grid.coverage()
    assert coverage.dtype == np.int64
    assert coverage.shape == grid.shape
    assert coverage.tolist() == slow.coverage(grid).tolist()


@given(strategies.grids())
@example(pt.PatchGrid(1, 1, 2, pad=((0, 2),)))  # gaps in the padding only
@example(pt.PatchGrid(1, 1, 2, pad=1))  # no patch in the image
@example(pt.PatchGrid(6, 2, dilation=3, tail="drop"))
def test_covers_says_whether_the_brute_force_count_has_a_hole(grid):
    assert grid.covers == bool(slow.coverage(grid).all())


@given(strategies.grids(pads=False, tails=("shift", "respace", "drop", "center", "error")))
def test_coverage_sums_to_all_patch_elements(grid):
    assert grid.coverage().sum() == grid.n_patches * grid.features


@given(strategies.grids())
def test_regular_says_whether_strides_can_express_the_grid(grid):
    even = all(np.ptp(np.diff(s)) == 0 for s in grid.starts if len(s) > 2)
    rows = zip(grid.starts, grid.extent, grid.shape, strict=True)
    inside = all(s[0] >= 0 and s[-1] + e <= n for s, e, n in rows)
    assert grid.regular == (even and inside)


# indices and centres


@given(st.data())
def test_flat_indices_read_the_patches(data):
    grid = data.draw(strategies.grids(pad_modes=("edge", "reflect", "symmetric", "wrap")))
    image = unit_image(grid) * 3 + 1
    rows = data.draw(st.none() | strategies.indices(grid))
    index = grid.flat_indices(rows)
    expected = slow.extract(image, grid, indices=rows)
    assert index.dtype == np.int64
    assert image.ravel()[index].tolist() == expected.reshape(len(expected), grid.features).tolist()


@given(
    strategies.grids(pad_modes=("constant", "linear_ramp", "mean", "median", "maximum", "minimum"))
)
def test_flat_indices_refuse_padding_that_is_no_element(grid):
    rows = zip(grid.starts, grid.extent, grid.shape, strict=True)
    if any(s[0] < 0 or s[-1] + e > n for s, e, n in rows):
        with pytest.raises(ValueError, match="pad_mode") as caught:
            grid.flat_indices()
        assert "reflect" in str(caught.value)
    else:
        assert (
            unit_image(grid).ravel()[grid.flat_indices()].ravel() == grid.flat_indices().ravel()
        ).all()


def test_centres_sample_labels_where_the_middle_of_a_patch_lies():
    labels = np.arange(30).reshape(5, 6)
    assert pt.PatchGrid((5, 6), 3, 2).centers(labels).tolist() == [[7, 9, 10], [19, 21, 22]]
    assert pt.PatchGrid((5, 6), 1).centers(labels).tolist() == labels.tolist()
    same = pt.PatchGrid((5, 6), (3, 4), 2, pad="same")
    assert same.centers(labels).tolist() == labels[::2, ::2].tolist()
    stacked = np.stack([labels, -labels])
    assert same.centers(stacked).tolist() == stacked[:, ::2, ::2].tolist()


@given(strategies.grids(pads=False, tails=("shift", "respace", "drop", "center", "error")))
def test_a_centre_is_sample_half_the_patch(grid):
    image = unit_image(grid)
    middle = tuple(p // 2 for p in grid.patch)
    patches = slow.extract(image, grid)
    expected = [patch[middle] for patch in patches]
    assert grid.centers(image).ravel().tolist() == expected


def test_centres_in_the_padding_have_no_label():
    with pytest.raises(ValueError, match="same"):
        pt.PatchGrid(5, 3, pad=2).centers(np.arange(5))


# from overlap


@pytest.mark.parametrize(
    ("patch", "options", "step"),
    [
        (16, {"overlap": 4}, (12, 12)),
        (16, {"fraction": 0.5}, (8, 8)),
        ((16, 8), {"overlap": (15, 0)}, (1, 8)),
        ((16, 8), {"fraction": (0.25, 0.75)}, (12, 2)),
        (3, {"fraction": 0.99}, (1, 1)),
    ],
)
def test_steps_from_overlap(patch, options, step):
    grid = pt.PatchGrid.from_overlap((100, 100), patch, **options)
    assert grid == pt.PatchGrid((100, 100), patch, step)


def test_options_travel_through_from_overlap():
    grid = pt.PatchGrid.from_overlap(50, 8, overlap=2, tail="respace", pad=1)
    assert grid == pt.PatchGrid(50, 8, 6, tail="respace", pad=1)
    assert grid.overlap == (2,)


# a value


@given(strategies.grids())
def test_a_grid_survives_json_and_pickle(grid):
    again = pt.PatchGrid.from_dict(json.loads(json.dumps(grid.to_dict())))
    unpickled = pickle.loads(pickle.dumps(grid))
    assert again == grid == unpickled
    assert hash(again) == hash(grid) == hash(unpickled)
    assert [s.tolist() for s in again.starts] == [s.tolist() for s in unpickled.starts]


@pytest.mark.parametrize("value", [-1, 2.5, float("nan"), float("inf"), True, 1 + 2j])
def test_every_pad_value_survives_json_and_pickle(value):
    grid = pt.PatchGrid(5, 3, pad=1, pad_value=value)
    assert pt.PatchGrid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid
    assert pickle.loads(pickle.dumps(grid)) == grid


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (10, 10)},
        {"patch": 2},
        {"step": (1, 2)},
        {"dilation": 2},
        {"tail": "drop"},
        {"pad": 1},
        {"pad": "same"},
        {"pad_mode": "edge"},
        {"pad_value": 1},
    ],
)
def test_every_field_counts_in_equality(change):
    base = {"shape": (10, 9), "patch": 3, "step": 1, "dilation": 1, "tail": "shift", "pad": 0}
    assert pt.PatchGrid(**(base | change)) != pt.PatchGrid(**base)
    assert pt.PatchGrid(**(base | change)) == pt.PatchGrid(**(base | change))


def test_other_spellings_are_the_same_grid():
    assert (
        len({pt.PatchGrid((9, 9), 3), pt.PatchGrid([9, 9], (3, 3), (1, 1), pad=((0, 0), (0, 0)))})
        == 1
    )


def test_a_grid_cannot_be_changed():
    grid = pt.PatchGrid((9, 9), 3)
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        grid.step = (2, 2)
    grid.starts[0][:] = 7
    assert grid.starts[0].tolist() == list(range(7))
    grid.coverage()[:] = 0
    assert grid.coverage().max() == 9


def test_a_grid_over_a_huge_image_is_small_and_quick():
    begin = time.perf_counter()
    grid = pt.PatchGrid((10**6, 10**6), 39)
    assert grid.n_patches == (10**6 - 38) ** 2
    assert grid[grid.n_patches - 1] == (slice(10**6 - 39, 10**6),) * 2
    assert grid[-1] == grid[grid.n_patches - 1]
    assert len(grid.locate((500_000, 500_000))) == 39 * 39
    assert grid.covers
    assert grid.regular
    assert grid.nbytes(np.float32) == 4 * grid.n_patches * 1521
    assert len(pickle.dumps(grid)) < 1000
    assert time.perf_counter() - begin < 5


def test_the_sketch_is_svg_and_quick_for_any_size():
    for grid in (
        pt.PatchGrid((9, 8), 3, 2),
        pt.PatchGrid(7, 3),
        pt.PatchGrid((9, 10**6, 10**6), 5, 2),
    ):
        html = grid._repr_html_()
        assert "<svg" in html
        assert "</svg>" in html
        assert f"{grid.n_patches:,}" in html
    hole = pt.PatchGrid(10, 2, 5, tail="drop")._repr_html_()
    assert "hole" in hole


def test_repr_names_what_differs_from_the_defaults():
    grid = pt.PatchGrid((9, 8), 3, 2, tail="pad", pad_mode="edge")
    assert eval(repr(grid), {"PatchGrid": pt.PatchGrid}) == grid
    assert "tail='pad'" in repr(grid)
    assert "dilation" not in repr(grid)


def test_import_pulls_in_neither_numba_nor_scipy():
    code = "import sys, pantile; pantile.PatchGrid((9, 9), 3).coverage(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"numba", "scipy", "dask", "torch", "sklearn", "hypothesis"}

"""Pictures hold what they say: patches where the grid has them, values that were computed."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import pantile as pt
from pantile.testing import slow

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from pantile import plot

IMAGE = np.arange(20.0 * 30).reshape(20, 30)


def axes():
    return Figure(figsize=(6, 4)).subplots()


def boxes(ax):
    """Corners and sizes of the drawn patches, ``(row, column, height, width)``, without the frame."""
    return [
        (p.get_y() + 0.5, p.get_x() + 0.5, p.get_height(), p.get_width()) for p in ax.patches[1:]
    ]


@pytest.mark.parametrize("options", [{}, {"pad": 3}, {"tail": "pad"}, {"dilation": 2}])
def test_a_small_grid_is_drawn_whole(options):
    grid = pt.PatchGrid((20, 30), 6, 5, **options)
    ax = plot.grid(IMAGE, grid, ax=axes())
    rows, columns = grid.starts
    expected = [(y, x, *grid.extent) for y in rows for x in columns]
    assert boxes(ax) == expected
    np.testing.assert_array_equal(ax.images[0].get_array(), IMAGE)
    assert ax.get_xlabel() == ""
    left, right = ax.get_xlim()
    assert left < min(0, columns[0])
    assert right > max(30, columns[-1] + grid.extent[1]) - 1


def test_of_a_large_grid_some_patches_are_drawn_and_a_note_says_so():
    grid = pt.PatchGrid((200, 300), 39)
    ax = plot.grid(None, grid, ax=axes())
    starts = {(y, x) for y, x, *_ in boxes(ax)}
    assert {(0, 0), (0, 39), (161, 261)} <= starts
    assert {(0, 1), (1, 0)} <= starts  # the neighbours, which show the step
    assert len(starts) < 80
    assert "of 162 x 262 patches" in ax.get_xlabel()


def test_a_huge_grid_is_drawn_as_quickly():
    ax = plot.grid(None, pt.PatchGrid((10**6, 10**6), 512, 256), ax=axes())
    assert len(ax.patches) < 250


def test_chosen_patches_are_drawn_alone():
    grid = pt.PatchGrid((20, 30), 6, 5)
    ax = plot.grid(IMAGE, grid, indices=[0, -1], ax=axes())
    assert boxes(ax) == [(0, 0, 6, 6), (14, 24, 6, 6)]


def test_colours_are_drawn_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8)
    ax = plot.grid(image, (6, 6), 5, channel_axis=0, ax=axes())
    np.testing.assert_array_equal(ax.images[0].get_array(), np.moveaxis(image, 0, -1))


def test_patches_of_a_signal_are_bars_that_do_not_overlap_in_a_row():
    grid = pt.PatchGrid(100, 20, 8, pad=4)
    ax = plot.grid(np.arange(100.0), grid, ax=axes())
    spans = [c.get_paths()[0].get_extents() for c in ax.collections]
    assert [s.x0 + 0.5 for s in spans] == list(grid.starts[0])
    assert all(s.width == pytest.approx(20) for s in spans)
    for a in spans:
        assert not any(
            a is not b and a.y0 == b.y0 and a.x0 < b.x1 - 0.5 and b.x0 < a.x1 - 0.5 for b in spans
        )
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), np.arange(100.0))


@pytest.mark.parametrize(
    "grid", [pt.PatchGrid((20, 30), 8, 3), pt.PatchGrid((20, 30), 4, 7, tail="drop")]
)
def test_coverage_is_the_brute_force_count(grid):
    ax = plot.coverage(grid, ax=axes())
    counts = slow.coverage(grid)
    shown = ax.images[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(shown, 0), counts)
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), counts == 0)
    holes = int((counts == 0).sum())
    assert (f"{holes} elements" in ax.get_xlabel()) == (holes > 0)
    assert len(ax.child_axes) == 1  # the colour bar
    assert not plot.coverage(grid, ax=axes(), colorbar=False).child_axes


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "weights",
    [None, "hann", [np.arange(1.0, 9), np.ones(8)], RNG.random((8, 8))],
    ids=["none", "hann", "vectors", "array"],
)
def test_weight_sums_are_the_brute_force_ones(weights):
    grid = pt.PatchGrid((20, 30), 8, 3)
    ax = plot.weight_sum(grid, weights, ax=axes())
    np.testing.assert_allclose(ax.images[0].get_array(), slow.weight_sum(grid, weights))


def test_a_large_map_shows_every_hole():
    grid = pt.PatchGrid((5000, 30000), 100, 101, tail="drop")
    ax = plot.coverage(grid, ax=axes())
    shown = ax.images[0].get_array()
    assert shown.shape == (1000, 1000)
    assert np.ma.getmaskarray(shown).any()
    assert "5 x 30 elements" in ax.get_xlabel()


def test_coverage_of_a_signal():
    grid = pt.PatchGrid(50, 9, 12, tail="drop")
    ax = plot.coverage(grid, ax=axes())
    np.testing.assert_array_equal(ax.patches[0].get_data().values, slow.coverage(grid))
    assert "elements" in ax.get_xlabel()


def test_a_montage_holds_the_patches():
    patches = pt.extract(IMAGE, 5, 5)
    picture = np.asarray(plot.montage(patches, columns=6, ax=axes()).images[0].get_array())
    scaled = (patches - IMAGE.min()) / (IMAGE.max() - IMAGE.min())
    for k, patch in enumerate(scaled):
        row, column = divmod(k, 6)
        place = picture[row * 6 : row * 6 + 5, column * 6 : column * 6 + 5]
        np.testing.assert_allclose(place, patch)
    assert np.isnan(picture[5]).all()


def test_a_montage_of_a_view_lies_as_on_the_grid():
    view = pt.patchify(IMAGE, 5, 5)
    picture = plot.montage(view, ax=axes()).images[0].get_array()
    assert picture.shape == (4 * 6 - 1, 6 * 6 - 1)
    low, high = view.min(), view.max()  # one range for all
    for i, j in np.ndindex(4, 6):
        tile = np.asarray(picture)[6 * i : 6 * i + 5, 6 * j : 6 * j + 5]
        np.testing.assert_allclose(tile, (view[i, j] - low) / (high - low))


def test_each_patch_may_have_its_own_range():
    picture = plot.montage(pt.extract(IMAGE, 5, 5), scale="each", columns=1, ax=axes()).images[0]
    rows = np.asarray(picture.get_array())[:5]
    assert (rows.min(), rows.max()) == (0, 1)


def test_a_montage_of_many_patches_says_how_many_it_shows():
    ax = plot.montage(pt.extract(IMAGE, 3), most=20, ax=axes())
    assert "20 of 504 patches" in ax.texts[-1].get_text()


def test_a_montage_of_colours_and_of_lines():
    colours = RNG.random((6, 4, 5, 3))
    picture = plot.montage(colours, channel_axis=-1, columns=3, ax=axes()).images[0].get_array()
    assert picture.shape == (9, 17, 4)
    assert picture[:4, :5, :3].min() >= 0
    lines = plot.montage(RNG.random((7, 12)), ax=axes()).lines
    assert len(lines) == 7
    assert all(len(line.get_xdata()) == 12 for line in lines)


def test_nan_is_no_part_of_a_range():
    patches = np.stack([np.full((3, 3), 2.0), np.full((3, 3), 4.0)])
    patches[0, 0, 0] = np.nan
    picture = np.asarray(plot.montage(patches, columns=2, ax=axes()).images[0].get_array())
    assert np.isnan(picture[0, 0])
    assert picture[1, 0] == 0
    assert picture[1, 4] == 1


def test_components_stand_around_the_middle():
    parts = RNG.standard_normal((5, 4, 4))
    ax = plot.components(parts, columns=5, ax=axes())
    picture = np.asarray(ax.images[0].get_array())
    last = picture[-4:, :4]
    np.testing.assert_allclose(last, 0.5 + 0.5 * parts[0] / np.abs(parts[0]).max())
    assert [t.get_text() for t in ax.texts] == list("01234")


@pytest.mark.parametrize(
    ("patch", "whole", "shape"),
    [
        (4, None, (4, 4)),
        ((2, 8), None, (2, 8)),
        ((2, 8), (2, 8), (2, 8)),
        (4, (4, 4, 3), (4, 4, 3)),
        (4, (3, 4, 4), (4, 4, 3)),
    ],
)
def test_components_of_an_estimator(patch, whole, shape):
    features = int(np.prod(shape))
    model = SimpleNamespace(components_=np.eye(features)[:3], patch=patch)
    model.explained_variance_ratio_ = np.array([0.5, 0.25, 1e-6])
    if whole:
        model.patch_shape_ = whole
    ax = plot.components(model, columns=3, ax=axes())
    assert [t.get_text() for t in ax.texts] == ["50%", "25%", "<0.01%"]
    picture = np.asarray(ax.images[0].get_array())
    tile = picture[-shape[0] :, : shape[1]]
    found = tile[..., :3] if len(shape) == 3 else tile
    assert (found > 0.9).sum() == 1


def test_many_components_are_the_first_ones():
    ax = plot.components(np.eye(49).reshape(49, 7, 7), most=9, ax=axes())
    assert "the first 9 of 49" in ax.texts[-1].get_text()


def test_a_grid_is_drawn_without_an_image():
    made = pt.PatchGrid((20, 30), 6, 5)
    alone, beside = plot.grid(made, ax=axes()), plot.grid(None, made, ax=axes())
    assert boxes(alone) == boxes(beside)
    assert len(boxes(alone)) == made.n_patches
    assert not alone.images


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_patches_in_colour_are_no_strips(dtype):
    """What `extract` gives of a photo, ``(n, 39, 39, 3)``, one tile for each patch."""
    photo = RNG.random((60, 60, 3)) * (255 if dtype is np.uint8 else 1)
    patches = pt.extract(photo.astype(dtype), 39, 21, channel_axis=-1)
    assert patches.shape == (4, 39, 39, 3)
    picture = np.asarray(plot.montage(patches, columns=2, ax=axes()).images[0].get_array())
    assert picture.shape == (80, 80, 4)
    scaled = (patches - float(patches.min())) / float(np.ptp(patches))
    np.testing.assert_allclose(picture[:39, 41:, :3], scaled[1], atol=1e-6)
    on_grid = plot.montage(patches.reshape(2, 2, 39, 39, 3), ax=axes()).images[0].get_array()
    np.testing.assert_array_equal(on_grid, picture)


def test_what_holds_no_colours_is_drawn_in_grey():
    def shape(patches, **options):
        return plot.montage(patches, ax=axes(), **options).images[0].get_array().shape

    assert shape(pt.patchify(IMAGE / 600, 3, 3)) == (6 * 4 - 1, 10 * 4 - 1)  # small patches
    assert shape(RNG.standard_normal((2, 5, 9, 3))) == (2 * 10 - 1, 5 * 4 - 1)  # beyond 0..1
    assert shape(RNG.random((2, 5, 9, 3)), channel_axis=None) == (2 * 10 - 1, 5 * 4 - 1)
    assert shape(RNG.random((2, 5, 9, 3)), columns=2) == (5, 19, 4)


MISTAKES = {
    "a grid and a patch": (lambda: plot.grid(pt.PatchGrid(8, 2), 3), TypeError, "alone"),
    "no patch": (lambda: plot.grid(IMAGE), TypeError, "patch is missing"),
    "3-D grid": (lambda: plot.grid(None, pt.PatchGrid((4, 4, 4), 2)), ValueError, "slice"),
    "3-D coverage": (lambda: plot.coverage(pt.PatchGrid((4, 4, 4), 2)), ValueError, "two of its axes"),
    "batch axes": (lambda: plot.grid(np.zeros((3, 8, 8)), (2, 2)), ValueError, "channel_axis"),
    "no grid": (lambda: plot.grid(None, 3), TypeError, "PatchGrid"),
    "no axes": (lambda: plot.grid(IMAGE, 6, ax=3), TypeError, "Axes"),
    "5 channels": (lambda: plot.grid(np.zeros((8, 8, 5)), (2, 2), channel_axis=2), ValueError, "3 or 4"),
    "coverage of a shape": (lambda: plot.coverage((4, 4)), TypeError, "PatchGrid"),
    "trim": (lambda: plot.weight_sum(pt.PatchGrid(8, 2), "trim"), ValueError, "trim"),
    "unknown weights": (lambda: plot.weight_sum(pt.PatchGrid(8, 2), "hat"), ValueError, "weights"),
    "3-D patches": (lambda: plot.montage(np.zeros((2, 2, 2, 3, 3))), ValueError, "slice"),
    "text patches": (lambda: plot.montage(np.full((2, 3, 3), "a")), TypeError, "numbers"),
    "unknown scale": (lambda: plot.montage(np.zeros((2, 3, 3)), scale="max"), ValueError, "each"),
    "too few titles": (lambda: plot.montage(np.zeros((2, 3, 3)), titles=["a"]), ValueError, "titles"),
    "not fitted": (lambda: plot.components(SimpleNamespace(fit=None, patch=3)), ValueError, "fit"),
    "other features": (
        lambda: plot.components(SimpleNamespace(components_=np.eye(7), patch=3)),
        ValueError,
        "7 features",
    ),
    "complex components": (lambda: plot.components(np.zeros((2, 3, 3), complex)), TypeError, "real"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "error", "says"), [pytest.param(*v, id=k) for k, v in MISTAKES.items()]
)
def test_mistakes(mistake, error, says):
    with pytest.raises(error, match=says):
        mistake()


PYPLOT = """
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot
pyplot.switch_backend("agg")
before = dict(matplotlib.rcParams)
pyplot.show = None  # calling it would fail
import pantile as pt
from pantile import plot
assert plot.coverage(pt.PatchGrid((9, 9), 3)) is pyplot.gca()
plot.grid(None, pt.PatchGrid((9, 9), 3), ax=pyplot.figure().subplots())
assert dict(matplotlib.rcParams) == before
"""


def test_the_current_axes_are_used_and_nothing_else_of_pyplot():
    subprocess.run([sys.executable, "-c", PYPLOT], check=True)


def test_without_matplotlib_the_extra_is_named():
    code = "import sys; sys.modules['matplotlib'] = None; from pantile import PatchGrid, plot"
    code += "; plot.coverage(PatchGrid(9, 3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: pantile.plot needs matplotlib: pip install "pantile[plot]"' in done.stderr

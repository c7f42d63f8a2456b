"""Mistakes are refused before anything happens: a builtin type, the argument's name, what to do."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pantile as pt
from pantile.learn import PatchPCA

IMAGE = np.arange(80.0).reshape(8, 10)
GRID = pt.PatchGrid((8, 10), 3)
PATCHES = np.ones((GRID.n_patches, 3, 3))
COLOUR = np.zeros((8, 10, 3))


GRID_MISTAKES = {
    "shape 0": (lambda: pt.PatchGrid((0, 5), 1), ValueError, "shape"),
    "shape negative": (lambda: pt.PatchGrid((-3,), 1), ValueError, "shape"),
    "shape empty": (lambda: pt.PatchGrid((), 1), ValueError, "shape"),
    "shape float": (lambda: pt.PatchGrid((8.5, 10), 3), TypeError, "shape"),
    "shape an image": (
        lambda: pt.PatchGrid(IMAGE, 3),
        TypeError,
        r"array of 2 axes: give its shape, \(8, 10\)$",
    ),
    "patch an image": (
        lambda: pt.PatchGrid((8, 10), IMAGE),
        TypeError,
        "patch.*array of 2 axes: give the shape of a patch$",
    ),
    "shape text": (lambda: pt.PatchGrid("ab", 3), TypeError, "shape"),
    "patch 0": (lambda: pt.PatchGrid(8, 0), ValueError, "patch"),
    "patch float": (lambda: pt.PatchGrid(8, 3.0), TypeError, "patch"),
    "patch None": (lambda: pt.PatchGrid(8, None), TypeError, "patch"),
    "patch of other length": (lambda: pt.PatchGrid((8, 8), (3, 3, 3)), ValueError, "patch"),
    "patch too large": (lambda: pt.PatchGrid((8, 8), 9), ValueError, r"patch.*9.*8.*(pad|smaller)"),
    "extent too large": (lambda: pt.PatchGrid(8, 4, dilation=3), ValueError, "dilation"),
    "step 0": (lambda: pt.PatchGrid(8, 3, 0), ValueError, "step"),
    "step negative": (lambda: pt.PatchGrid(8, 3, -1), ValueError, "step"),
    "step bool": (lambda: pt.PatchGrid(8, 3, True), (TypeError, ValueError), "step"),
    "step of other length": (lambda: pt.PatchGrid((8, 8), 3, (1,)), ValueError, "step"),
    "dilation 0": (lambda: pt.PatchGrid(8, 3, dilation=0), ValueError, "dilation"),
    "tail unknown": (lambda: pt.PatchGrid(8, 3, tail="wrap"), ValueError, r"tail.*shift.*wrap"),
    "tail no text": (lambda: pt.PatchGrid(8, 3, tail=1), (TypeError, ValueError), "tail"),
    "tail error": (lambda: pt.PatchGrid(8, 3, 2, tail="error"), ValueError, r"step.*2.*tail"),
    "pad negative": (lambda: pt.PatchGrid(8, 3, pad=-1), ValueError, "pad"),
    "pad unknown": (lambda: pt.PatchGrid(8, 3, pad="valid"), ValueError, "same"),
    "pad of other length": (lambda: pt.PatchGrid(8, 3, pad=(1, 2)), ValueError, "pad"),
    "pad triple": (lambda: pt.PatchGrid(8, 3, pad=((1, 2, 3),)), ValueError, "pad"),
    "pad float": (lambda: pt.PatchGrid(8, 3, pad=0.5), TypeError, "pad"),
    "pad_mode empty": (lambda: pt.PatchGrid(8, 3, pad_mode="empty"), ValueError, "pad_mode"),
    "pad_mode unknown": (lambda: pt.PatchGrid(8, 3, pad_mode="zeros"), ValueError, "constant"),
    "pad_value text": (lambda: pt.PatchGrid(8, 3, pad_value="0"), TypeError, "pad_value"),
    "no such patch": (lambda: GRID[48], IndexError, "48"),
    "no such patch before": (lambda: GRID[-49], IndexError, "-49|48"),
    "no such patch of a tuple": (lambda: GRID[6, 0], IndexError, "6"),
    "tuple of other length": (lambda: GRID[1, 2, 3], IndexError, "2"),
    "patch index float": (lambda: GRID[1.0], TypeError, "1.0"),
    "element outside": (lambda: GRID.locate((8, 0)), IndexError, "8"),
    "element of other length": (lambda: GRID.locate((8,)), IndexError, "2"),
    "labels of other shape": (lambda: GRID.centers(np.zeros((8, 9))), ValueError, r"8, 10"),
    "no such row": (lambda: GRID.flat_indices([48]), IndexError, "48"),
    "rows float": (lambda: GRID.flat_indices([0.5]), TypeError, "whole"),
    "overlap and fraction": (
        lambda: pt.PatchGrid.from_overlap(8, 3, overlap=1, fraction=0.5),
        TypeError,
        "overlap",
    ),
    "no overlap": (lambda: pt.PatchGrid.from_overlap(8, 3), TypeError, "overlap"),
    "overlap of the patch": (
        lambda: pt.PatchGrid.from_overlap(8, 3, overlap=3),
        ValueError,
        "overlap",
    ),
    "overlap negative": (
        lambda: pt.PatchGrid.from_overlap(8, 3, overlap=-1),
        ValueError,
        "overlap",
    ),
    "fraction 1": (lambda: pt.PatchGrid.from_overlap(8, 3, fraction=1), ValueError, "fraction"),
    "step and overlap": (
        lambda: pt.PatchGrid.from_overlap(8, 3, overlap=1, step=2),
        TypeError,
        "step",
    ),
    "dict with another key": (lambda: pt.PatchGrid.from_dict({"shape": [8]}), ValueError, "patch"),
}

VERB_MISTAKES = {
    "grid and step": (lambda: pt.extract(IMAGE, GRID, 2), TypeError, "step"),
    "grid and step in patchify": (lambda: pt.patchify(IMAGE, GRID, 2), TypeError, "step"),
    "grid and dilation in patchify": (
        lambda: pt.patchify(IMAGE, GRID, dilation=2),
        TypeError,
        "dilation",
    ),
    "grid and step in unpatchify": (lambda: pt.unpatchify(PATCHES, GRID, 2), TypeError, "step"),
    "grid and step in map_patches": (
        lambda: pt.map_patches(len, IMAGE, GRID, 2),
        TypeError,
        "step",
    ),
    "grid of another image": (lambda: pt.extract(IMAGE.T, GRID), ValueError, r"8, 10"),
    "grid of another image in patchify": (lambda: pt.patchify(IMAGE.T, GRID), ValueError, r"8, 10"),
    "arguments the wrong way round": (
        lambda: pt.map_patches(IMAGE, len, 3),
        TypeError,
        r"array of shape \(8, 10\), the function first: map_patches\(func, image, patch\)",
    ),
    "a path": (lambda: pt.extract("photo.png", 3), TypeError, "path, 'photo.png'.*open_image"),
    "a path to learn from": (
        lambda: PatchPCA(3).fit("photo.png"),
        TypeError,
        "path, 'photo.png'.*open_image",
    ),
    "patches of a shifted tail": (
        lambda: pt.unpatchify(pt.extract(IMAGE, 3, 2), IMAGE.shape, 2),
        ValueError,
        r"drops what the step leaves over.*give PatchGrid\(\(8, 10\), 3, step=2\)",
    ),
    "too few axes": (lambda: pt.extract(IMAGE[0], GRID), ValueError, "axes"),
    "scalar image": (lambda: pt.extract(np.float64(3), 1), ValueError, "image|axes"),
    "patch too large": (lambda: pt.extract(IMAGE, (9, 3)), ValueError, "patch"),
    "patch too large for a view": (lambda: pt.patchify(IMAGE, (9, 3)), ValueError, "patch"),
    "axis twice": (lambda: pt.extract(IMAGE, (3, 3), axes=(0, 0)), ValueError, "axes"),
    "axis twice, once negative": (
        lambda: pt.patchify(IMAGE, (3, 3), axes=(1, -1)),
        ValueError,
        "axes",
    ),
    "no such axis": (lambda: pt.extract(IMAGE, (3, 3), axes=(0, 2)), ValueError, "axes"),
    "axes of other length": (lambda: pt.extract(IMAGE, (3, 3), axes=(0,)), ValueError, "axes"),
    "channel is patched": (
        lambda: pt.extract(COLOUR, (3, 3), axes=(1, 2), channel_axis=2),
        ValueError,
        "channel_axis",
    ),
    "no such channel": (
        lambda: pt.extract(COLOUR, (3, 3), channel_axis=3),
        ValueError,
        "channel_axis",
    ),
    "channel no number": (
        lambda: pt.extract(COLOUR, (3, 3), channel_axis="C"),
        TypeError,
        "channel_axis",
    ),
    "uneven view": (lambda: pt.patchify(IMAGE, pt.PatchGrid((8, 10), 3, 2)), ValueError, "extract"),
    "padded view": (
        lambda: pt.patchify(IMAGE, pt.PatchGrid((8, 10), 3, pad=1)),
        ValueError,
        "extract",
    ),
    "layout unknown": (lambda: pt.extract(IMAGE, 3, layout="rows"), ValueError, r"layout.*feature"),
    "index too large": (lambda: pt.extract(IMAGE, 3, indices=[48]), IndexError, "48"),
    "index too small": (lambda: pt.extract(IMAGE, 3, indices=[-49]), IndexError, "49"),
    "indices float": (lambda: pt.extract(IMAGE, 3, indices=[1.5]), TypeError, "indices"),
    "indices bool": (lambda: pt.extract(IMAGE, 3, indices=[True, False]), TypeError, "indices"),
    "indices 2-D": (
        lambda: pt.extract(IMAGE, 3, indices=[[1], [2]]),
        (TypeError, ValueError),
        "indices",
    ),
    "out of other shape": (lambda: pt.extract(IMAGE, 3, out=np.zeros((48, 9))), ValueError, "out"),
    "out of other dtype": (
        lambda: pt.extract(IMAGE, 3, out=np.zeros((48, 3, 3), "f4")),
        ValueError,
        "out",
    ),
    "out no array": (lambda: pt.extract(IMAGE, 3, out=[]), TypeError, "out"),
    "out is the image": (
        lambda: pt.extract(IMAGE, (8, 10), out=IMAGE[None]),
        ValueError,
        "out",
    ),
    "pad_value for uint8": (
        lambda: pt.extract(IMAGE.astype("u1"), pt.PatchGrid((8, 10), 3, pad=1, pad_value=-1)),
        ValueError,
        "pad_value",
    ),
    "pad_value fraction for ints": (
        lambda: pt.extract(IMAGE.astype("i4"), pt.PatchGrid((8, 10), 3, pad=1, pad_value=0.5)),
        ValueError,
        "pad_value",
    ),
    "too few patches": (lambda: pt.unpatchify(PATCHES[:-1], GRID), ValueError, "48"),
    "too many patches": (lambda: pt.unpatchify(np.ones((49, 3, 3)), GRID), ValueError, "48"),
    "patches of another shape": (
        lambda: pt.unpatchify(np.ones((48, 3, 4)), GRID),
        ValueError,
        r"3, 3",
    ),
    "counts of another grid": (
        lambda: pt.unpatchify(np.ones((8, 6, 3, 3)), GRID),
        ValueError,
        "patches",
    ),
    "rows of other features": (
        lambda: pt.unpatchify(np.ones((48, 10)), GRID),
        ValueError,
        "patches",
    ),
    "merge unknown": (
        lambda: pt.unpatchify(PATCHES, GRID, merge="average"),
        ValueError,
        r"merge.*mean",
    ),
    "merge no value": (
        lambda: pt.unpatchify(PATCHES, GRID, merge=np.mean),
        (TypeError, ValueError),
        "merge",
    ),
    "weights unknown": (lambda: pt.unpatchify(PATCHES, GRID, weights="hat"), ValueError, "weights"),
    "weights of other shape": (
        lambda: pt.unpatchify(PATCHES, GRID, weights=np.ones((3, 4))),
        ValueError,
        r"weights.*3, 3",
    ),
    "weights negative": (
        lambda: pt.unpatchify(PATCHES, GRID, weights=[[1, -1, 1], [1, 1, 1]]),
        ValueError,
        "weights",
    ),
    "weights nan": (
        lambda: pt.unpatchify(PATCHES, GRID, weights=np.full((3, 3), np.nan)),
        ValueError,
        "weights",
    ),
    "weights infinite": (
        lambda: pt.unpatchify(PATCHES, GRID, weights=np.full((3, 3), np.inf)),
        ValueError,
        "weights",
    ),
    "weights all 0": (
        lambda: pt.unpatchify(PATCHES, GRID, weights=np.zeros((3, 3))),
        ValueError,
        "weights",
    ),
    "weights complex": (
        lambda: pt.unpatchify(PATCHES, GRID, weights=np.ones((3, 3)) * 1j),
        TypeError,
        "weights",
    ),
    "patch_weights of other length": (
        lambda: pt.unpatchify(PATCHES, GRID, patch_weights=np.ones(47)),
        ValueError,
        "patch_weights",
    ),
    "patch_weights negative": (
        lambda: pt.unpatchify(PATCHES, GRID, patch_weights=-np.ones(48)),
        ValueError,
        "patch_weights",
    ),
    "patch_weights nan": (
        lambda: pt.unpatchify(PATCHES, GRID, patch_weights=np.full(48, np.nan)),
        ValueError,
        "patch_weights",
    ),
    "holes": (
        lambda: pt.unpatchify(np.ones((4, 2, 2)), pt.PatchGrid((6, 6), 2, 4)),
        ValueError,
        "fill=",
    ),
    "out of another shape": (
        lambda: pt.unpatchify(PATCHES, GRID, out=np.zeros((8, 9))),
        ValueError,
        "out",
    ),
    "dtype unknown": (lambda: pt.unpatchify(PATCHES, GRID, dtype="float7"), TypeError, "float7"),
    "complex max": (lambda: pt.unpatchify(PATCHES * 1j, GRID, merge="max"), TypeError, "complex"),
    "complex min": (lambda: pt.unpatchify(PATCHES * 1j, GRID, merge="min"), TypeError, "complex"),
    "text patches": (
        lambda: pt.unpatchify(np.full((48, 3, 3), "a"), GRID),
        TypeError,
        "patches|dtype",
    ),
    "patch wider than shape": (lambda: pt.unpatchify(PATCHES, (2, 10)), ValueError, "patch"),
    "shape of other length": (
        lambda: pt.unpatchify(np.ones((4, 3)), (8, 10, 3)),
        ValueError,
        "shape|patch",
    ),
    "merger: more indices": (
        lambda: pt.Merger(GRID).add(PATCHES, range(47)),
        ValueError,
        "indices",
    ),
    "merger: index too large": (lambda: pt.Merger(GRID).add(PATCHES[:1], [48]), IndexError, "48"),
    "merger: patches of another shape": (
        lambda: pt.Merger(GRID).add(np.ones((1, 4, 3)), [0]),
        ValueError,
        "3, 3",
    ),
    "merger: merge unknown": (lambda: pt.Merger(GRID, merge="best"), ValueError, "merge"),
    "merger: no grid": (lambda: pt.Merger((8, 10)), TypeError, "grid"),
    "merger: nothing added": (lambda: pt.Merger(GRID).result(), ValueError, "add|fill"),
}


@pytest.mark.parametrize(
    ("mistake", "error", "says"), [pytest.param(*v, id=k) for k, v in GRID_MISTAKES.items()]
)
def test_mistakes_in_a_grid(mistake, error, says):
    with pytest.raises(error, match=says) as caught:
        mistake()
    assert type(caught.value).__module__ == "builtins"


@pytest.mark.parametrize(
    ("mistake", "error", "says"), [pytest.param(*v, id=k) for k, v in VERB_MISTAKES.items()]
)
def test_mistakes_in_a_verb(mistake, error, says):
    before = IMAGE.tobytes(), PATCHES.tobytes()
    with pytest.raises(error, match=says) as caught:
        mistake()
    assert type(caught.value).__module__ == "builtins"
    assert (IMAGE.tobytes(), PATCHES.tobytes()) == before


@pytest.mark.parametrize("merge", ["max", "min", "median", "first", "last", "center"])
def test_weights_mean_nothing_to_merges_that_choose(merge):
    with pytest.raises(ValueError, match="weights"):
        pt.unpatchify(PATCHES, GRID, merge=merge, weights="hann")
    with pytest.raises(ValueError, match="weights"):
        pt.unpatchify(PATCHES, GRID, merge=merge, patch_weights=np.ones(48))
    with pytest.raises(ValueError, match="weights"):
        pt.Merger(GRID, merge=merge, weights="hann")
    with pytest.raises(ValueError, match="weights"):
        pt.map_patches(lambda b: b, IMAGE, GRID, merge=merge, weights="hann")


@pytest.mark.parametrize("merge", ["var", "vote"])
def test_trimming_is_for_means_and_sums(merge):
    with pytest.raises(ValueError, match="trim"):
        pt.unpatchify(np.ones((48, 3, 3), int), GRID, merge=merge, weights="trim")


def test_out_is_untouched_when_a_mistake_is_found():
    out = np.full((48, 3, 3), -1.0)
    for options in ({"indices": [99]}, {"layout": "x"}, {"axes": (0, 5)}):
        with pytest.raises((IndexError, ValueError)):
            pt.extract(IMAGE, (3, 3), out=out, **options)
    image = np.full((8, 10), -1.0)
    for options in ({"merge": "x"}, {"weights": "x"}, {"patch_weights": [1]}):
        with pytest.raises(ValueError):
            pt.unpatchify(PATCHES, GRID, out=image, **options)
    assert (out == -1).all()
    assert (image == -1).all()


HOLED = pt.PatchGrid((8, 10), 2, 4)
MAP_MISTAKES = {
    "patch too large": (lambda f: pt.map_patches(f, IMAGE, 9), ValueError, "patch"),
    "grid of another image": (lambda f: pt.map_patches(f, IMAGE.T, GRID), ValueError, "8, 10"),
    "merge unknown": (lambda f: pt.map_patches(f, IMAGE, 3, merge="average"), ValueError, "merge"),
    "weights unknown": (
        lambda f: pt.map_patches(f, IMAGE, 3, weights="hat"),
        ValueError,
        "weights",
    ),
    "weights without merge": (
        lambda f: pt.map_patches(f, IMAGE, 3, merge=None, weights="hann"),
        ValueError,
        "weights",
    ),
    "holes": (lambda f: pt.map_patches(f, IMAGE, HOLED), ValueError, "fill="),
    "where leaves holes": (
        lambda f: pt.map_patches(f, IMAGE, 3, where=np.eye(8, 10) > 2),
        ValueError,
        "fill=|where",
    ),
    "where leaves a hole": (
        lambda f: pt.map_patches(f, IMAGE, 3, where=np.arange(48).reshape(6, 8) > 0),
        ValueError,
        "fill=",
    ),
    "where of another shape": (
        lambda f: pt.map_patches(f, IMAGE, 3, where=np.ones((8, 9), bool)),
        ValueError,
        "where",
    ),
    "where of numbers": (
        lambda f: pt.map_patches(f, IMAGE, 3, where=np.ones((8, 10))),
        TypeError,
        "where",
    ),
    "layout unknown": (lambda f: pt.map_patches(f, IMAGE, 3, layout="rows"), ValueError, "layout"),
    "batch_bytes 0": (
        lambda f: pt.map_patches(f, IMAGE, 3, batch_bytes=0),
        ValueError,
        "batch_bytes",
    ),
    "workers 0": (lambda f: pt.map_patches(f, IMAGE, 3, workers=0), ValueError, "workers"),
    "workers half": (lambda f: pt.map_patches(f, IMAGE, 3, workers=1.5), TypeError, "workers"),
    "scale 0": (lambda f: pt.map_patches(f, IMAGE, 3, scale=0), ValueError, "scale"),
    "memory too small": (
        lambda f: pt.map_patches(f, IMAGE, 3, memory=100),
        MemoryError,
        "memory.*100",
    ),
    "executor without submit": (
        lambda f: pt.map_patches(f, IMAGE, 3, executor=object()),
        TypeError,
        "submit",
    ),
    "progress no function": (
        lambda f: pt.map_patches(f, IMAGE, 3, progress=3),
        TypeError,
        "progress",
    ),
    "axis twice": (lambda f: pt.map_patches(f, IMAGE, (3, 3), axes=(0, 0)), ValueError, "axes"),
    "pad_value for uint8": (
        lambda f: pt.map_patches(
            f, IMAGE.astype("u1"), pt.PatchGrid((8, 10), 3, pad=1, pad_value=256)
        ),
        ValueError,
        "pad_value",
    ),
}


@pytest.mark.parametrize(
    ("mistake", "error", "says"), [pytest.param(*v, id=k) for k, v in MAP_MISTAKES.items()]
)
def test_mistakes_are_found_before_func_is_called(mistake, error, says):
    called = []

    def func(batch):
        called.append(len(batch))
        return batch

    with pytest.raises(error, match=says) as caught:
        mistake(func)
    assert not called
    assert type(caught.value).__module__ == "builtins"


def test_an_out_of_another_shape_is_refused_and_untouched():
    for shape in ((3, 3), (8, 9), (8, 10, 1), (80,)):
        out = np.full(shape, -1.0)
        with pytest.raises(ValueError, match="out"):
            pt.map_patches(lambda b: b, IMAGE, 3, out=out)
        assert (out == -1).all()


def test_func_must_be_callable():
    with pytest.raises(TypeError, match="func"):
        pt.map_patches(IMAGE, IMAGE, 3)


@pytest.mark.parametrize(
    ("func", "error", "says"),
    [
        (lambda _: None, TypeError, "func"),
        (lambda b: b[:-1], ValueError, "func"),
        (lambda b: b.sum(), (ValueError, TypeError), "func"),
        (lambda b: b[:, :, :0], ValueError, "func"),
        (lambda b: np.ones((len(b), 5, 5)), ValueError, "func"),
        (lambda b: np.full(b.shape, "text"), TypeError, "func"),
    ],
)
def test_results_that_do_not_fit_are_refused(func, error, says):
    with pytest.raises(error, match=says):
        pt.map_patches(func, IMAGE, 3)


def test_results_whose_shape_changes_between_batches_are_refused():
    sizes = iter([3, 2, 1, 3, 2, 1, 3, 2, 1] * 10)

    def func(batch):
        n = next(sizes)
        return batch[:, :n, :n]

    with pytest.raises(ValueError, match="func"):
        pt.map_patches(func, IMAGE, 3, batch_bytes=300, workers=1)


# Messages that say what was meant


def test_a_func_that_slices_the_wrong_axis_is_told_what_it_returned():
    """`b[:, :, 0]` of patches in colour: it only said that 169 of 640 positions were uncovered."""
    with pytest.raises(
        ValueError, match=r"returned \(n, 16, 3\) for \(n, 16, 16, 3\).*smaller patches"
    ):
        pt.map_patches(lambda b: b[:, :, 0], np.zeros((64, 80, 3)), 16, channel_axis=-1)
    with pytest.raises(ValueError, match=r"returned \(n, 3, 16, 16\) for \(n, 16, 16, 3\)"):
        pt.map_patches(
            lambda b: b.transpose(0, 3, 1, 2), np.zeros((64, 80, 3)), 16, channel_axis=-1
        )


VERBS = [pt.extract, pt.patchify, pt.PatchMatrix, lambda x, p: pt.map_patches(lambda b: b, x, p)]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("shape", "patch", "said"),
    [
        ((12, 5000), 720, r"patch=\(720,\).*channel_axis=0"),
        ((2, 3, 64, 64), 16, r"patch=\(16, 16\).*channel_axis=1"),
        ((64, 80, 3), 8, r"patch=\(8, 8\) with axes=\(0, 1\).*channel_axis=2"),
    ],
)
def test_one_number_for_all_axes_where_some_are_thin(verb, shape, patch, said):
    said = said.partition(".*")[0] if verb is pt.patchify else said  # it has no channel axis
    with pytest.raises(ValueError, match=said):
        verb(np.zeros(shape), patch)


@pytest.mark.parametrize(("shape", "patch"), [((12, 5000), (720,)), ((2, 3, 64, 64), (16, 16))])
def test_what_that_message_says_works(shape, patch):
    assert pt.extract(np.zeros(shape), patch).shape[-len(patch) :] == patch
    assert pt.extract(np.zeros(shape), patch, channel_axis=len(shape) - len(patch) - 1).size


def test_an_image_in_colour_is_not_fitted_as_a_volume():
    """Padding made it one, 3 elements thick."""
    from pantile.learn import PatchKMeans

    for model in (PatchPCA(8), PatchKMeans(patch=8)):
        with pytest.raises(ValueError, match="channel_axis=2"):
            model.fit(np.zeros((40, 50, 3)))


def test_a_mask_is_not_lost_by_fit():
    with pytest.raises(TypeError, match="masked array"):
        PatchPCA(4).fit(np.ma.masked_less(np.arange(400.0).reshape(20, 20), 5))


@pytest.mark.parametrize(("size", "patch", "step"), [(100, 39, 10), (101, 16, 7), (50, 7, 30)])
def test_a_step_that_leaves_elements_over_is_told_what_divides(size, patch, step):
    with pytest.raises(ValueError, match="choose step=") as caught:
        pt.PatchGrid(size, patch, step, tail="error")
    said = str(caught.value)
    offered = re.search(r"choose step=(\d+)(?: or (\d+))?", said)
    for other in filter(None, offered.groups()):
        pt.PatchGrid(size, patch, int(other), tail="error")
    other = re.search(r"or patch=(\d+) with step", said)
    if other:
        pt.PatchGrid(size, int(other[1]), step, tail="error")


COUNTED = pt.PatchMatrix(IMAGE, 3)
# what was said, before, of arguments in the wrong order or of the wrong kind, was beside the point
ORDER_MISTAKES = {
    "patch before the image": (
        lambda: pt.extract(3, IMAGE),
        TypeError,
        "image comes before the patch",
    ),
    "grid before the image": (lambda: pt.extract(GRID, IMAGE), TypeError, "image comes before"),
    "grid before the patches": (
        lambda: pt.unpatchify(GRID, PATCHES),
        TypeError,
        "patches come before the grid",
    ),
    "no image": (
        lambda: pt.map_patches(abs, None, 3),
        TypeError,
        "image must be an array, got None",
    ),
    "patch before the image, to map": (
        lambda: pt.map_patches(abs, GRID, IMAGE),
        TypeError,
        "image comes before the patch",
    ),
    "patches where the patch stands": (
        lambda: pt.map_patches(abs, IMAGE, PATCHES),
        TypeError,
        "array of 3 axes: give the shape of a patch",
    ),
    "grid for masked_patchify": (
        lambda: pt.masked_patchify(IMAGE, GRID),
        TypeError,
        r"got PatchGrid.*give its patch, \(3, 3\)",
    ),
    "merge as third": (
        lambda: pt.unpatchify(PATCHES, GRID, "max"),
        TypeError,
        "step must be whole numbers, got 'max'.*merge='max'",
    ),
    "shape, no step": (
        lambda: pt.unpatchify(pt.extract(IMAGE, 2, 2), IMAGE.shape),
        ValueError,
        "cut with a step, say step=",
    ),
    "channel_axis is a truth value": (
        lambda: pt.extract(COLOUR, (3, 3), channel_axis=True),
        TypeError,
        "channel_axis must be a whole number, got True",
    ),
    "images of several sizes": (
        lambda: pt.extract([IMAGE, IMAGE[:5]], 3),
        ValueError,
        "image is a list of entries of different shapes.*PatchMatrix",
    ),
    "indices is a slice": (
        lambda: pt.extract(IMAGE, GRID, indices=slice(3)),
        TypeError,
        r"slice\(None, 3, None\): give numpy.arange",
    ),
    "one index": (lambda: pt.extract(IMAGE, GRID, indices=5), TypeError, r"indices.*give \[5\]"),
    "dtype unknown, named": (
        lambda: pt.map_patches(abs, IMAGE, 3, dtype="text"),
        TypeError,
        "dtype='text' is no dtype.*float32",
    ),
    "where is a word": (
        lambda: pt.map_patches(abs, IMAGE, 3, where="mask"),
        TypeError,
        "where must be a boolean array of the image's shape.*got str",
    ),
    "executor is a class": (
        lambda: pt.map_patches(abs, IMAGE, 3, executor=ThreadPoolExecutor),
        TypeError,
        r"executor is the class ThreadPoolExecutor: make one, ThreadPoolExecutor\(\)",
    ),
    "finalize gives nothing": (
        lambda: pt.map_patches(abs, IMAGE, 3, finalize=lambda _: None),
        TypeError,
        "finalize must return an array of numbers, got objects or None",
    ),
    "a list of results": (
        lambda: pt.map_patches(lambda b: [b, b], IMAGE, 3),
        ValueError,
        "return a tuple, not a list",
    ),
    "one number per patch": (
        lambda: pt.map_patches(lambda b: b.sum((1, 2)), IMAGE, 3),
        ValueError,
        r"got one number per patch, \(n,\); for results that are no patches, say merge=None",
    ),
    "blocks of no bytes": (lambda: list(COUNTED.blocks(0)), ValueError, "nbytes"),
    "blocks of words": (lambda: list(COUNTED.blocks("1MB")), TypeError, "nbytes.*'1MB'"),
    "no dict of a grid": (lambda: pt.PatchGrid.from_dict(None), TypeError, "described by a dict"),
    "estimator of a grid": (
        lambda: PatchPCA(GRID).fit(IMAGE),
        TypeError,
        "patch must be the shape of a patch, got PatchGrid.*makes a grid for each image",
    ),
    "matrix before predict": (
        lambda: pt.integrations.predict_rows(COUNTED, abs),
        TypeError,
        r"predict must be a function of rows, got PatchMatrix: predict_rows\(predict, matrix\)",
    ),
}


@pytest.mark.parametrize(
    ("mistake", "error", "says"), [pytest.param(*v, id=k) for k, v in ORDER_MISTAKES.items()]
)
def test_arguments_in_the_wrong_order_or_of_the_wrong_kind(mistake, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        mistake()


@pytest.mark.parametrize("fill", [[1, 2], np.zeros(3)])
def test_what_cannot_be_is_refused_before_func_is_called(fill):
    calls = []

    def func(batch):
        calls.append(len(batch))
        return batch

    with pytest.raises(ValueError, match="fill must be one number"):
        pt.map_patches(func, IMAGE, 3, fill=fill)
    with pytest.raises(TypeError, match="dtype must be a number's, got object"):
        pt.map_patches(func, IMAGE, 3, dtype=object)
    assert not calls


@pytest.mark.parametrize("ddof", [48, 99])
def test_no_degree_of_freedom_is_no_negative_variance(ddof):
    """cov(ddof=99) of 48 rows divided by -51, without a word."""
    with pytest.raises(ValueError, match=f"ddof={ddof} leaves no degree of freedom of 48 values"):
        COUNTED.cov(ddof=ddof)
    with pytest.raises(ValueError, match="degree of freedom"):
        COUNTED.var(0, ddof=ddof)
    with pytest.raises(ValueError, match="of 9 values: give less than 9"):
        COUNTED.std(1, ddof=9)
    np.testing.assert_allclose(COUNTED.var(1, 8), np.asarray(COUNTED).var(1, ddof=8))

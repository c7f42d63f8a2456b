"""Where results go: what cannot be held or written is refused, and the caller's image stays."""

import numpy as np
import pytest

import windrow as wr

IMAGE = np.random.default_rng(1).normal(size=(40, 50))


def never(_batch):
    raise AssertionError("func was called before the arguments were checked")


@pytest.mark.parametrize("out", [IMAGE, IMAGE[::-1], IMAGE[:, ::-1]])
def test_out_must_not_overlap_the_image(out):
    before = IMAGE.copy()
    with pytest.raises(ValueError, match="out shares memory"):
        wr.map_patches(never, IMAGE, 3, out=out)
    np.testing.assert_array_equal(IMAGE, before)


def test_out_must_be_writeable():
    out = np.empty_like(IMAGE)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        wr.map_patches(never, IMAGE, 3, out=out)


def test_two_results_need_two_arrays():
    out = np.empty_like(IMAGE)
    with pytest.raises(ValueError, match="same memory"):
        wr.map_patches(never, IMAGE, 3, out=(out, out))


def test_complex_results_on_the_grid_are_not_cut_down():
    with pytest.raises(TypeError, match="complex"):
        wr.map_patches(lambda b: b.max((1, 2)) * 1j, IMAGE, 3, merge=None, dtype="f8")


@pytest.mark.parametrize("fill", [np.nan, 1.5, 300, -1])
def test_fill_on_the_grid_must_fit(fill):
    with pytest.raises(ValueError, match="fill"):
        wr.map_patches(
            lambda b: np.ones(len(b), np.uint8), IMAGE, 3, merge=None, where=IMAGE > 2, fill=fill
        )


def test_results_must_be_numbers():
    with pytest.raises(TypeError, match="array of numbers"):
        wr.map_patches(lambda b: np.full(b.shape, None), IMAGE, 3)


def test_a_long_axis_is_planned_at_once():
    # counts of touching patches must not cost patch x count
    line = np.broadcast_to(np.float32(0), (10**7,))
    assert wr.plan(never, line, 1000).n_patches == 10**7 - 999
    grid = wr.PatchGrid(50, 7, 3, dilation=2, pad=4)
    brute = np.zeros(50, np.int64)
    for start in grid.starts[0]:
        for a in range(7):
            if 0 <= start + 2 * a < 50:
                brute[start + 2 * a] += 1
    np.testing.assert_array_equal(grid.coverage(), brute)

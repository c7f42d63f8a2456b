"""Where results go: what cannot be held or written is refused, and the caller's image stays."""

import numpy as np
import pytest

import pantile as pt

IMAGE = np.random.default_rng(1).normal(size=(40, 50))


def never(_batch):
    raise AssertionError("func was called before the arguments were checked")


@pytest.mark.parametrize("out", [IMAGE, IMAGE[::-1], IMAGE[:, ::-1]])
def test_out_must_not_overlap_the_image(out):
    before = IMAGE.copy()
    with pytest.raises(ValueError, match="out shares memory"):
        pt.map_patches(never, IMAGE, 3, out=out)
    np.testing.assert_array_equal(IMAGE, before)


def test_out_must_be_writeable():
    out = np.empty_like(IMAGE)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        pt.map_patches(never, IMAGE, 3, out=out)


def test_two_results_need_two_arrays():
    out = np.empty_like(IMAGE)
    with pytest.raises(ValueError, match="same memory"):
        pt.map_patches(never, IMAGE, 3, out=(out, out))


def test_complex_results_on_the_grid_are_not_cut_down():
    with pytest.raises(TypeError, match="complex"):
        pt.map_patches(lambda b: b.max((1, 2)) * 1j, IMAGE, 3, merge=None, dtype="f8")


@pytest.mark.parametrize("fill", [np.nan, 1.5, 300, -1])
def test_fill_on_the_grid_must_fit(fill):
    with pytest.raises(ValueError, match="fill"):
        pt.map_patches(
            lambda b: np.ones(len(b), np.uint8), IMAGE, 3, merge=None, where=IMAGE > 2, fill=fill
        )


def test_results_must_be_numbers():
    with pytest.raises(TypeError, match="array of numbers"):
        pt.map_patches(lambda b: np.full(b.shape, None), IMAGE, 3)


def test_a_long_axis_is_planned_at_once():
    # counts of touching patches must not cost patch x count
    line = np.broadcast_to(np.float32(0), (10**7,))
    assert pt.plan(never, line, 1000).n_patches == 10**7 - 999
    grid = pt.PatchGrid(50, 7, 3, dilation=2, pad=4)
    brute = np.zeros(50, np.int64)
    for start in grid.starts[0]:
        for a in range(7):
            if 0 <= start + 2 * a < 50:
                brute[start + 2 * a] += 1
    np.testing.assert_array_equal(grid.coverage(), brute)


def test_a_zarr_array_is_written_to():
    zarr = pytest.importorskip("zarr")
    expected = pt.map_patches(np.negative, IMAGE, 3)
    for shards in (None, (8, 10)):
        out = zarr.create_array({}, shape=(40, 50), dtype="f8", chunks=(4, 5), shards=shards)
        assert pt.map_patches(np.negative, IMAGE, 3, out=out, workers=2) is out
        np.testing.assert_array_equal(out[:], expected)


def _mapped(path):
    np.save(path, IMAGE)
    return str(path), np.load(path, mmap_mode="r+")


def _zarr(path):
    array = pytest.importorskip("zarr").create_array(str(path), shape=(40, 50), dtype="f8")
    array[:] = IMAGE
    return str(path), array


def _dataset(path):
    array = pytest.importorskip("h5py").File(path, "w").create_dataset("a", data=IMAGE)
    return array, array


@pytest.mark.parametrize(
    ("make", "name"), [(_mapped, "a.npy"), (_zarr, "a.zarr"), (_dataset, "a.h5")]
)
def test_what_is_read_is_not_written_to(tmp_path, make, name):
    image, out = make(tmp_path / name)
    with pytest.raises(ValueError, match="is the image itself"):
        pt.map_patches(never, image, 3, out=out)
    with pytest.raises(ValueError, match="same path"):
        pt.map_patches(never, IMAGE, 3, out=(out, out) if name != "a.npy" else (image, image))
    np.testing.assert_array_equal(out[:], IMAGE)


def test_halves_of_one_file_are_apart(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([IMAGE, IMAGE]))
    both = np.load(tmp_path / "a.npy", mmap_mode="r+")
    pt.map_patches(np.negative, both[0], 3, out=both[1])
    np.testing.assert_array_equal(
        np.load(tmp_path / "a.npy"), [IMAGE, pt.map_patches(np.negative, IMAGE, 3)]
    )


def test_an_image_inside_the_result_would_go_with_it(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "a.zarr", shape=(4,), dtype="f8")
    np.save(tmp_path / "a.zarr" / "image.npy", IMAGE)
    with pytest.raises(ValueError, match="lie in each other"):
        pt.map_patches(never, tmp_path / "a.zarr" / "image.npy", 3, out=tmp_path / "a.zarr")


def test_fill_on_the_grid_is_a_value_of_the_result_not_of_the_image():
    image = np.arange(30, dtype=np.uint8).reshape(5, 6)
    where = np.zeros((3, 4), bool)
    where[1, 2] = True
    found = pt.map_patches(lambda b: b.mean((1, 2)), image, 3, merge=None, where=where, fill=-1)
    np.testing.assert_array_equal(found, np.where(where, 15.0, -1.0))


def test_the_callers_context_holds_in_threads():
    image = np.zeros((200, 200))
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        pt.map_patches(np.log, image, 9, workers=2)
    with np.errstate(divide="ignore"):  # else a warning is an error
        assert np.isneginf(pt.map_patches(np.log, image, 9, workers=2, merge="max")).all()

"""Where results go: nothing that somebody else has is read and written at once, or taken away."""

from __future__ import annotations

import os

import numpy as np
import pytest

import pantile as pt

zarr = pytest.importorskip("zarr")
h5py = pytest.importorskip("h5py")
pytest.importorskip("tifffile")

X = np.random.default_rng(0).random((30, 40)).astype("f4")


def same(batch):
    return batch


def never(_):
    raise AssertionError("work has begun")


@pytest.mark.parametrize("beside", ["out.npy.partial", "out.npy.journal"])
def test_an_image_under_a_name_that_the_run_needs_is_not_lost(tmp_path, beside):
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").rename(tmp_path / beside)
    with pytest.raises(ValueError, match=r"is written by way of .*, which is the image"):
        pt.map_patches(never, tmp_path / beside, 5, out=tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / beside), X)


def test_two_results_do_not_meet_on_their_way(tmp_path):
    outs = tmp_path / "a.tif", tmp_path / "a.tif.partial.tif"
    with pytest.raises(ValueError, match="which is another result"):
        pt.map_patches(lambda b: (never(b), b), X, 5, out=outs)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".zarr"])
def test_a_folder_that_somebody_named_partial_stays(tmp_path, suffix):
    mine = tmp_path / f"out{suffix}.partial"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="which is there and not of a run: move it away"):
        pt.map_patches(never, X, 5, out=tmp_path / f"out{suffix}")
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_file_that_somebody_named_journal_stays(tmp_path):
    mine = tmp_path / "out.npy.journal"
    mine.write_text("Dear diary, ")
    for resume in (False, True):
        with pytest.raises(FileExistsError, match="which is there and not one: move it away"):
            pt.map_patches(never, X, 5, out=tmp_path / "out.npy", resume=resume)
    assert mine.read_text() == "Dear diary, "
    mine.unlink()
    pt.map_patches(same, X, 5, out=tmp_path / "out.npy")
    assert os.listdir(tmp_path) == ["out.npy"]


def test_a_store_that_is_read_only_is_refused_before_work(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X)
    with pytest.raises(ValueError, match="out is read-only: open it for writing"):
        pt.map_patches(never, X, 5, out=zarr.open_array(tmp_path / "x.zarr", mode="r"))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = X
    with (
        h5py.File(tmp_path / "x.h5", "r") as file,
        pytest.raises(ValueError, match="out is read-only: open it for writing"),
    ):
        pt.map_patches(never, X, 5, out=file["x"])


def test_a_data_array_that_is_the_image_is_not_written_to():
    xarray = pytest.importorskip("xarray")
    image = xarray.DataArray(X.copy(), dims=("y", "x"))
    for source in (image, image.data):
        with pytest.raises(ValueError, match="out shares memory with the image"):
            pt.map_patches(never, source, 5, out=image)
    np.testing.assert_array_equal(image, X)
    out = xarray.zeros_like(image)
    assert pt.map_patches(same, image, 5, out=out) is out
    np.testing.assert_array_equal(out, X)
    with pytest.raises(TypeError, match="slice assignment in place, got Array"):
        pt.map_patches(never, X, 5, out=image.chunk())


def test_a_relative_path_is_that_of_the_call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    np.save("x.npy", X)
    plan = pt.plan(same, "x.npy", 5, out="out.npy")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert plan.run() == "out.npy"
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), X)
    assert not os.listdir(tmp_path / "elsewhere")

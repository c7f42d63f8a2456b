"""Names and coordinates of axes: DataArrays in and out, dask-backed ones lazily, results in Zarr that xarray opens."""

from __future__ import annotations

import itertools
import os
import warnings

import numpy as np
import pytest

import pantile as pt
from fuzz.tiles import tiles_of

xarray = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
da = pytest.importorskip("dask.array")
h5py = pytest.importorskip("h5py")
tifffile = pytest.importorskip("tifffile")
pillow = pytest.importorskip("PIL.Image")

from pantile.files import ZarrSink, open_image, sink_of  # noqa: E402

X = np.random.default_rng(0).random((4, 30, 40))


def labelled(values=X):
    return xarray.DataArray(
        values,
        dims=("band", "y", "x"),
        coords={
            "band": ["red", "green", "blue", "near"],
            "y": 5000.0 - 10 * np.arange(30),
            "x": 100 + 10 * np.arange(40),
            "time": np.datetime64("2020-01-01", "ns"),
            "longitude": (("y", "x"), np.arange(1200.0).reshape(30, 40)),
            "wavelength": ("band", [1, 2, 3, 4]),
            "land": ("y", np.arange(30) > 9),
        },
        name="reflectance",
        attrs={"units": "1"},
    )


def smooth(batch):
    return batch - batch.mean((-2, -1), keepdims=True)


def best(slab):
    return slab.argmax(0)


def per_patch(batch):
    return batch.mean((1, 2, 3))


def test_a_data_array_keeps_its_dims_coordinates_name_and_attributes():
    image = labelled()
    found = pt.map_patches(smooth, image, 5, channel_axis=0)
    expected = image.copy(data=pt.map_patches(smooth, X, 5, channel_axis=0))
    xarray.testing.assert_identical(found, expected)
    xarray.testing.assert_identical(pt.plan(smooth, image, 5, channel_axis=0).run(), expected)
    assert (image == labelled()).all()


def test_a_dask_backed_data_array_stays_lazy_and_keeps_its_coordinates():
    def refuse(_):
        raise AssertionError("computed")

    lazy = labelled(da.from_array(X, chunks=(4, 16, 16)).map_blocks(refuse, dtype=X.dtype, meta=X))
    found = pt.map_patches(smooth, lazy, 5, channel_axis="band", finalize=best)
    assert isinstance(found, xarray.DataArray)
    assert isinstance(found.data, da.Array)
    image = labelled(da.from_array(X, chunks=(4, 16, 16)))
    for options in ({}, {"finalize": best}, {"scale": 1, "weights": "hann"}):
        found = pt.map_patches(smooth, image, 5, channel_axis="band", **options)
        assert isinstance(found.data, da.Array)
        eager = pt.map_patches(smooth, labelled(), 5, channel_axis="band", **options)
        xarray.testing.assert_allclose(found.compute(), eager)
        assert found.attrs == eager.attrs
        assert found.name == eager.name
    grid = pt.map_patches(per_patch, image, (4, 5), (3, 2), channel_axis=0, merge=None)
    assert isinstance(grid.data, da.Array)
    eager = pt.map_patches(per_patch, labelled(), (4, 5), (3, 2), channel_axis=0, merge=None)
    xarray.testing.assert_allclose(grid.compute(), eager)
    with pytest.raises(ValueError, match="out: of a dask array comes a dask array"):
        pt.map_patches(smooth, image, 5, channel_axis=0, out=np.empty(X.shape))


def test_finalize_that_drops_the_channels_drops_their_coordinates():
    found = pt.map_patches(smooth, labelled(), 5, channel_axis="band", finalize=best)
    assert found.dims == ("y", "x")
    assert set(found.coords) == {"y", "x", "time", "longitude", "land"}
    np.testing.assert_array_equal(
        found, pt.map_patches(smooth, X, 5, channel_axis=0, finalize=best)
    )
    np.testing.assert_array_equal(found.longitude, labelled().longitude)


def test_other_channels_have_no_coordinates_of_the_old_ones():
    found = pt.map_patches(lambda b: b[:, :2], labelled(), 5, channel_axis=0)
    assert found.dims == ("band", "y", "x")
    assert found.sizes["band"] == 2
    assert "band" not in found.coords
    assert "wavelength" not in found.coords
    added = pt.map_patches(lambda b: np.stack([b, -b], -1), labelled()[0], 5)
    assert added.dims == ("y", "x", "channel")
    np.testing.assert_array_equal(added.y, labelled().y)


def test_results_on_the_grid_have_the_coordinates_of_patch_centres():
    found = pt.map_patches(per_patch, labelled(), (5, 4), (3, 2), channel_axis=0, merge=None)
    assert found.dims == ("y", "x")
    starts = pt.PatchGrid((30, 40), (5, 4), (3, 2)).starts
    np.testing.assert_array_equal(found.y, 5000 - 10 * (starts[0] + 2.0))
    np.testing.assert_array_equal(found.x, 100 + 10 * (starts[1] + 1.5))
    expected = 40 * (starts[0][:, None] + 2) + starts[1] + 1.5
    np.testing.assert_allclose(found.longitude, expected)
    assert found.time == np.datetime64("2020-01-01", "ns")
    odd = pt.map_patches(per_patch, labelled(), 5, 2, channel_axis=0, merge=None)
    assert odd.x.dtype == labelled().x.dtype  # elements of the coordinate, as they are
    grid = pt.PatchGrid((30, 40), 5, 2, pad=3)
    padded = pt.map_patches(per_patch, labelled(), grid, channel_axis=0, merge=None)
    np.testing.assert_allclose(padded.x, 100 + 10 * (grid.starts[1] + 2.0))
    features = pt.map_patches(lambda b: b.mean((2, 3)), labelled(), 5, channel_axis=0, merge=None)
    assert features.dims == ("y", "x", "dim_2")


def test_times_lie_between_times_and_text_only_where_it_was():
    series = xarray.DataArray(
        np.arange(12.0).reshape(2, 6),
        dims=("lead", "time"),
        coords={"time": np.arange("2020-01-01", "2020-01-07", dtype="datetime64[D]").astype("M8[ns]"),
                "day": ("time", list("abcdef")), "lead": ["I", "II"]},
    )  # fmt: skip
    found = pt.map_patches(lambda b: b.mean(1), series, (2,), (2,), merge=None)
    noon = np.array(["2020-01-01T12", "2020-01-03T12", "2020-01-05T12"], "M8[ns]")
    np.testing.assert_array_equal(found.time, noon)
    assert "day" not in found.coords
    assert found.lead.values.tolist() == ["I", "II"]
    whole = pt.map_patches(lambda b: b.mean(1), series, (3,), (1,), merge=None)
    assert whole.day.values.tolist() == list("bcde")


def test_a_scaled_result_has_scaled_coordinates():
    found = pt.map_patches(lambda b: b.repeat(2, 1).repeat(2, 2), labelled()[0], 5, scale=2)
    np.testing.assert_allclose(found.x, np.arange(97.5, 495, 5))
    np.testing.assert_allclose(found.y, 5002.5 - 5 * np.arange(60))
    np.testing.assert_allclose(found.longitude[0], np.arange(-0.25, 39.5, 0.5) - 10)


def test_axes_may_be_named():
    found = pt.map_patches(smooth, labelled(), 5, axes=("y", "x"), channel_axis="band")
    xarray.testing.assert_identical(found, pt.map_patches(smooth, labelled(), 5, channel_axis=0))
    turned = pt.map_patches(smooth, labelled(), (3, 7), axes=("x", "y"), merge=None)
    assert turned.dims[:3] == ("band", "x", "y")
    with pytest.raises(
        ValueError, match="channel_axis='bands' is no axis of the image, whose axes are"
    ):
        pt.map_patches(smooth, labelled(), 5, channel_axis="bands")
    with pytest.raises(
        ValueError, match="axes='y' is no axis of the image, whose axes have no names"
    ):
        pt.map_patches(smooth, X, 5, axes=("y", "x"))


def test_a_labelled_mask_is_taken_by_its_names():
    mask = labelled()[0] > 0.5
    expected = pt.map_patches(smooth, X[0], 5, where=mask.values, fill=0)
    for where in (mask, mask.transpose("x", "y")):
        found = pt.map_patches(smooth, labelled()[0], 5, where=where, fill=0)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(
        ValueError, match=r"where has the axes \('a', 'b'\), which the image has not"
    ):
        pt.map_patches(smooth, labelled()[0], 5, where=mask.rename(y="a", x="b"), fill=0)


def test_other_verbs_take_data_arrays_and_give_plain_ones():
    image = labelled()[0]
    np.testing.assert_array_equal(pt.extract(image, 5), pt.extract(X[0], 5))
    view = pt.patchify(image, 5)
    assert type(view) is np.ndarray
    assert np.shares_memory(view, image.data)
    back = pt.unpatchify(xarray.DataArray(view), (30, 40))
    np.testing.assert_allclose(back, X[0])
    matrix = pt.PatchMatrix(image, 5)
    np.testing.assert_array_equal(matrix[3:5], pt.PatchMatrix(X[0], 5)[3:5])
    lazy = pt.PatchMatrix(image.chunk(y=16, x=16), 5)
    assert isinstance(lazy.gram(), da.Array)
    np.testing.assert_allclose(lazy.gram().compute(), matrix.gram())
    with pytest.raises(TypeError, match="all of it would be computed here"):
        pt.extract(image.chunk(), 5)


# results in Zarr


def test_open_zarr_opens_a_result_with_its_coordinates(tmp_path):
    path = str(tmp_path / "result.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pt.map_patches(smooth, labelled(), 5, channel_axis=0, out=f"{path}/reflectance")
        found = xarray.open_zarr(path)["reflectance"]
    expected = pt.map_patches(smooth, labelled(), 5, channel_axis=0)
    assert found.dims == ("band", "y", "x")
    np.testing.assert_array_equal(found, expected)
    assert set(found.coords) == set(expected.coords)
    for name in expected.coords:
        assert (found[name] == expected[name]).all(), name
    assert os.listdir(tmp_path) == ["result.zarr"]
    # a second run replaces it, in one step
    pt.map_patches(smooth, labelled(), 5, channel_axis=0, finalize=best, out=f"{path}/reflectance")
    assert set(xarray.open_zarr(path)["reflectance"].coords) == {
        "y",
        "x",
        "time",
        "longitude",
        "land",
    }
    reader = open_image(path)
    assert reader.dims == ("y", "x")
    assert reader.shape == (30, 40)


def test_a_result_in_zarr_has_the_names_of_its_axes(tmp_path):
    cases = {
        "labelled": (labelled(), ("band", "y", "x")),
        "plain": (X, ("dim_0", "dim_1", "dim_2")),
    }
    for name, (image, dims) in cases.items():
        pt.map_patches(smooth, image, 5, channel_axis=0, out=tmp_path / f"{name}.zarr")
        array = zarr.open_array(tmp_path / f"{name}.zarr")
        assert array.metadata.dimension_names == dims
        pt.map_patches(smooth, image, 5, channel_axis=0, out=tmp_path / f"{name}.zarr" / "image")
        assert xarray.open_zarr(tmp_path / f"{name}.zarr")["image"].dims == dims
    sink = ZarrSink(tmp_path / "mine.zarr", name="image", dims=("c", "row", "column"))
    pt.map_patches(smooth, X, 5, channel_axis=0, out=sink)
    assert xarray.open_zarr(sink.path)["image"].dims == ("c", "row", "column")


def ome_zarr(path, version):
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    kinds = {"t": "time", "c": "channel", "y": "space", "x": "space"}
    axes = [{"name": n, "type": kinds[n]} for n in ("c", "y", "x")]
    images = [{"axes": axes, "version": version, "datasets": [{"path": "0"}]}]
    group.attrs.update(
        {"multiscales": images} if version == "0.4" else {"ome": {"multiscales": images}}
    )
    group.create_array("0", data=X, chunks=(1, 16, 16))


def named_hdf5(path):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("image", data=X)
        for dim, name in zip(data.dims, ("c", "y", "x"), strict=True):
            dim.label = name


NAMED = {
    "zarr 3": lambda p: zarr.create_array(p, data=X, dimension_names=("c", "y", "x")),
    "zarr 2": lambda p: zarr.create_array(
        p, data=X, zarr_format=2, attributes={"_ARRAY_DIMENSIONS": ["c", "y", "x"]}
    ),
    "ome-zarr 0.4": lambda p: ome_zarr(p, "0.4"),
    "ome-zarr 0.5": lambda p: ome_zarr(p, "0.5"),
    "xarray's zarr": lambda p: labelled().rename(band="c").to_zarr(p, zarr_format=2),
    "hdf5": named_hdf5,
    "tiff": lambda p: tifffile.imwrite(
        p, X.astype("f4"), metadata={"axes": "CYX"}, imagej=False, ome=True
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_names_of_a_file_reach_the_result(kind, tmp_path):
    path = tmp_path / ("image.ome.tif" if kind == "tiff" else "image")
    NAMED[kind](path)
    reader = open_image(path)
    assert reader.dims == ("c", "y", "x")
    found = pt.plan(smooth, path, 5, channel_axis="c", out=tmp_path / "out.zarr").run()
    array = zarr.open_array(found)
    assert array.metadata.dimension_names == ("c", "y", "x")
    np.testing.assert_allclose(
        array[...], pt.map_patches(smooth, np.asarray(reader), 5, channel_axis=0)
    )
    pt.map_patches(smooth, path, 5, channel_axis="c", finalize=best, out=tmp_path / "best.zarr")
    assert zarr.open_array(tmp_path / "best.zarr").metadata.dimension_names == ("y", "x")
    if kind.startswith("ome"):
        assert reader.channel_axis == 0


def test_pictures_have_names_and_other_files_none(tmp_path):
    pillow.fromarray((X[:3].transpose(1, 2, 0) * 255).astype("u1")).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", X)
    assert open_image(tmp_path / "a.png").dims == ("y", "x", "c")
    assert open_image(tmp_path / "a.npy").dims is None


def test_a_group_that_holds_more_is_not_replaced(tmp_path):
    xarray.Dataset({"a": (("y", "x"), X[0]), "b": (("y", "x"), X[1])}).to_zarr(
        tmp_path / "two.zarr", consolidated=False
    )
    with pytest.raises(FileExistsError, match="holds more than 'a'"):
        sink_of(tmp_path / "two.zarr" / "a")
    with pytest.raises(FileExistsError, match="no Zarr array"):
        sink_of(tmp_path / "two.zarr")
    pt.map_patches(smooth, X, 5, channel_axis=0, out=tmp_path / "one.zarr" / "a")
    with pytest.raises(FileExistsError, match="holds more than 'b'"):
        sink_of(tmp_path / "one.zarr" / "b")
    with pytest.raises(ValueError, match="is that of a coordinate"):
        pt.map_patches(smooth, labelled(), 5, channel_axis=0, out=tmp_path / "r.zarr" / "x")
    assert set(os.listdir(tmp_path)) == {"one.zarr", "two.zarr"}


def test_combined_indices_stay_and_are_stored_as_their_parts(tmp_path):
    image = xarray.DataArray(
        np.arange(240.0).reshape(3, 4, 20),
        dims=("i", "j", "t"),
        coords={"i": range(3), "j": list("abcd")},
    ).stack(s=("i", "j"))
    found = pt.map_patches(lambda b: b, image, (3,), axes="t")
    xarray.testing.assert_identical(found, image)
    pt.map_patches(lambda b: b, image, (3,), axes="t", out=tmp_path / "r.zarr" / "image")
    stored = xarray.open_zarr(tmp_path / "r.zarr")["image"]
    assert stored.j.values.tolist() == list("abcd") * 3
    np.testing.assert_array_equal(stored.i, np.repeat(range(3), 4))


def test_a_run_to_a_group_goes_on_where_it_was_cut_short(tmp_path):
    calls = itertools.count()

    def fails_late(batch):
        if next(calls) == 700:
            raise InterruptedError
        return smooth(batch)

    def run(func, **options):
        return pt.map_patches(func, labelled(), 5, channel_axis=0, batch_bytes=8000, workers=1,
                              out=ZarrSink(tmp_path / "r.zarr", name="image", chunks=(4, 8, 8)), **options)  # fmt: skip

    with tiles_of(100):
        with pytest.raises(InterruptedError):
            run(fails_late)
        assert "r.zarr.journal" in os.listdir(tmp_path)
        run(fails_late, resume=True)
    expected = pt.map_patches(smooth, X, 5, channel_axis=0)
    np.testing.assert_allclose(xarray.open_zarr(tmp_path / "r.zarr")["image"], expected)
    assert set(os.listdir(tmp_path)) == {"r.zarr"}


@pytest.mark.parametrize("executor", ["processes", None])
def test_labels_stay_here_whatever_the_executor(executor):
    image = labelled()
    found = pt.map_patches(smooth, image, 5, channel_axis=0, executor=executor, workers=2)
    assert found.coords.identical(image.coords)

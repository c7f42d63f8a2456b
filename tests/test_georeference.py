"""What a GeoTIFF says of the place of its pixels reaches its result, or is said to be lost."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import pantile as pt

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("zarr")

from pantile.files import TiffSink, open_image  # noqa: E402

X = np.random.default_rng(0).integers(0, 4000, (60, 80)).astype("u2")
PIXEL, TIES = (10.0, 20.0, 0.0), (0.0, 0.0, 0.0, 500_000.0, 4_200_000.0, 0.0)
AREA = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
POINT = (*AREA[:11], 2, *AREA[12:])
MATRIX = (10.0, 1.0, 0, 500_000, -2.0, -20.0, 0, 4_200_000, 0, 0, 0, 0, 0, 0, 0, 1.0)
METADATA = (
    '<GDALMetadata><Item name="BAND">red</Item>'
    '<Item name="STATISTICS_MEAN" sample="0">1999</Item></GDALMetadata>'
)


def write(path, image=X, keys=AREA, matrix=None, nodata="0", **options):
    tags = [(34735, "H", len(keys), keys, True), (34737, "s", 0, "WGS 84 / UTM zone 33N|", True)]
    if matrix is None:
        tags += [(33550, "d", 3, PIXEL, True), (33922, "d", 6, TIES, True)]
    else:
        tags += [(34264, "d", 16, matrix, True)]
    tags += [(42112, "s", 0, METADATA, True), (42113, "s", 0, nodata, True)]
    tifffile.imwrite(
        path, image, extratags=tags, resolution=(300, 200), resolutionunit=2, **options
    )
    return path


def tags(path):
    with tifffile.TiffFile(path) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags}


def smooth(batch):
    return batch - batch.mean((-2, -1), keepdims=True)


def place(found, row, column):
    """Where a corner of a pixel lies, by the tags, as GeoTIFF says."""
    centre = 0.5 if POINT[8:12] == tuple(found[34735][8:12]) else 0
    row, column = row - centre, column - centre
    if 34264 in found:
        m = np.reshape(found[34264], (4, 4))
        return tuple((m @ [column, row, 0, 1])[:2])
    (i, j, _, x, y, _), (width, height, _) = found[33922], found[33550]
    return x + (column - i) * width, y - (row - j) * height


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16), "compression": "zlib"}])
def test_geotiff_tags_are_carried_over(tmp_path, options):
    source = write(tmp_path / "in.tif", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pt.map_patches(smooth, source, 5, out=tmp_path / "out.tif")
    old, new = tags(source), tags(tmp_path / "out.tif")
    for code in (33550, 33922, 34735, 34737, 42113, 282, 283, 296):
        assert new[code] == old[code], code
    assert 'name="BAND"' in new[42112]
    assert "STATISTICS" not in new[42112]
    np.testing.assert_allclose(
        open_image(tmp_path / "out.tif")[0:60, 0:80], pt.map_patches(smooth, X, 5)
    )


@pytest.mark.parametrize("keys", [AREA, POINT])
@pytest.mark.parametrize("matrix", [None, MATRIX])
def test_a_scaled_result_lies_where_the_image_lies(tmp_path, keys, matrix):
    source = write(tmp_path / "in.tif", keys=keys, matrix=matrix)
    pt.map_patches(
        lambda b: b.repeat(2, 1).repeat(4, 2), source, 5, scale=(2, 4), out=tmp_path / "out.tif"
    )
    old, new = tags(source), tags(tmp_path / "out.tif")
    for row, column in ((0, 0), (60, 80), (13, 7)):
        assert place(new, 2 * row, 4 * column) == pytest.approx(place(old, row, column))
    assert np.divide(*new[282]) == 1200
    assert np.divide(*new[283]) == 400


def test_several_bands_stay_bands_of_one_page(tmp_path):
    image = np.random.default_rng(0).integers(0, 200, (60, 80, 7)).astype("u1")
    for name, bands, axis in (("last", image, -1), ("first", np.moveaxis(image, -1, 0).copy(), 0)):
        planar = {"last": "contig", "first": "separate"}[name]
        source = write(
            tmp_path / f"{name}.tif", bands, photometric="minisblack", planarconfig=planar
        )
        out = tmp_path / f"{name}-out.tif"
        pt.map_patches(lambda b: b, source, 5, channel_axis=axis, dtype=np.uint8, out=out)
        with tifffile.TiffFile(out) as file:
            assert len(file.pages) == 1
            assert file.pages[0].samplesperpixel == 7
        assert tags(out)[33922] == TIES
        assert "BAND" in tags(out)[42112]
        np.testing.assert_array_equal(tifffile.imread(out), bands)
    classes = tmp_path / "classes.tif"
    last = tmp_path / "last.tif"
    finalize = {"finalize": lambda s: s.argmax(-1).astype("u1"), "out": classes}
    pt.map_patches(lambda b: b, last, 5, channel_axis=-1, **finalize)
    assert tags(classes)[33550] == PIXEL
    assert 42112 not in tags(classes)  # of bands that are no more


def test_many_channels_are_samples_of_a_pixel(tmp_path):
    image = np.random.default_rng(0).random((40, 50, 6))
    pt.map_patches(lambda b: b, image, 5, channel_axis=-1, out=tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert [(p.imagelength, p.imagewidth, p.samplesperpixel) for p in file.pages] == [
            (40, 50, 6)
        ]
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), image)


def test_a_missing_value_that_the_result_cannot_hold_is_left_out(tmp_path):
    source = write(tmp_path / "in.tif", X.astype("f4"), nodata="-9999")
    pt.map_patches(lambda b: b, source, 5, dtype=np.uint8, out=tmp_path / "bytes.tif")
    pt.map_patches(lambda b: b, source, 5, out=tmp_path / "floats.tif")
    assert 42113 not in tags(tmp_path / "bytes.tif")
    assert tags(tmp_path / "floats.tif")[42113] == "-9999"


def test_tags_that_cannot_be_carried_over_are_said_to_be_lost_before_work(tmp_path):
    source, calls = write(tmp_path / "in.tif"), []

    def mean(batch):
        calls.append(len(batch))
        return batch.mean((1, 2))

    with pytest.warns(
        UserWarning, match="tags of the image are lost in .*out.npy: only a TIFF"
    ) as said:
        plan = pt.plan(smooth, source, 5, out=tmp_path / "out.npy")
    assert len(said) == 1
    assert not calls
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan.run()
    with pytest.warns(UserWarning, match="rows and columns are not those of the image") as said:
        pt.map_patches(mean, source, 5, 2, merge=None, out=tmp_path / "grid.tif")
    assert len(said) == 1
    assert 33550 not in tags(tmp_path / "grid.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pt.map_patches(smooth, source, 5)  # an array says nothing of places


def test_a_plain_tiff_is_written_without_a_word(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pt.map_patches(smooth, tmp_path / "in.tif", 5, out=tmp_path / "out.npy")
        pt.map_patches(smooth, tmp_path / "in.tif", 5, out=TiffSink(tmp_path / "out.tif"))
    assert 33550 not in tags(tmp_path / "out.tif")


def test_pages_without_a_name_keep_their_place(tmp_path):
    source = tmp_path / "in.tif"
    with tifffile.TiffWriter(source) as file:
        for k in range(3):  # pages of which the file does not say what they are
            extra = [(33550, "d", 3, PIXEL, True), (33922, "d", 6, TIES, True)] if k == 0 else []
            file.write(X + k, extratags=extra, metadata=None, contiguous=False)
    assert open_image(source).dims == ("dim_0", "y", "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pt.map_patches(smooth, source, (5, 5), out=tmp_path / "out.tif")
    assert tags(tmp_path / "out.tif")[33922] == TIES
    assert tifffile.imread(tmp_path / "out.tif").shape == (3, 60, 80)


def test_a_smaller_level_lies_where_the_full_one_does(tmp_path):
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        extra = [
            (33550, "d", 3, PIXEL, True),
            (33922, "d", 6, TIES, True),
            (34735, "H", 16, AREA, True),
        ]
        file.write(X, subifds=1, extratags=extra)
        file.write(X[::2, ::2], subfiletype=1)
    source = open_image(tmp_path / "in.tif", level=1)
    pt.map_patches(smooth, source, 5, out=tmp_path / "out.tif")
    assert tags(tmp_path / "out.tif")[33550] == (20, 40, 0)


def test_tags_survive_a_run_that_is_resumed(tmp_path):
    source, calls = write(tmp_path / "in.tif"), itertools.count()

    def fails_late(batch):
        if next(calls) == 30:
            raise InterruptedError
        return smooth(batch)

    options = {"batch_bytes": 4000, "workers": 1, "out": tmp_path / "out.tif"}
    with pt.testing.fuzz.tiles.tiles_of(200):
        with pytest.raises(InterruptedError):
            pt.map_patches(fails_late, source, 5, **options)
        assert (tmp_path / "out.tif.journal").exists()
        pt.map_patches(fails_late, source, 5, resume=True, **options)
    assert tags(tmp_path / "out.tif")[33922] == TIES


def test_the_command_line_says_in_a_line_what_is_lost(tmp_path, monkeypatch):
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from pantile.cli.commands import app

    write(tmp_path / "in.tif")
    monkeypatch.chdir(tmp_path)
    planned = CliRunner().invoke(app, ["plan", "in.tif", "--patch", "5"])
    assert planned.exit_code == 0
    assert "GeoTIFF" not in planned.output
    lost = CliRunner().invoke(app, ["plan", "in.tif", "--patch", "5", "--out", "out.npy"])
    assert lost.exit_code == 0
    line = f"pantile: the GeoTIFF tags of the image are lost in {tmp_path / 'out.npy'}: only a TIFF has room for them"
    assert lost.stderr.splitlines() == [line]

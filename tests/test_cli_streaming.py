"""``pantile map, plan, extract, merge``: what they write, print and refuse."""

import json
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

import pantile as pt
from pantile.cli.commands import app
from pantile.geometry.limits import Limits, using_limits


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def refused(*arguments):
    message = run(*arguments, code=2).stderr
    assert message.startswith("pantile: ")
    assert message.count("\n") == 1, message
    return message


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # --func looks here first
    np.save("image.npy", np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32))
    Path("filters_of_mine.py").write_text(
        textwrap.dedent(
            """
            import numpy as np
            number = 3
            def halved(batch):
                return batch * np.float32(0.5)
            def wrong(batch):
                raise ZeroDivisionError("in my function")
            class Model:
                @staticmethod
                def spread(batch):
                    return batch.std(axis=(1, 2))
            """
        )
    )
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_map_through_a_function_of_the_users():
    image = np.load("image.npy")
    expected = pt.map_patches(lambda b: b * np.float32(0.5), image, (8, 6), (4, 3), weights="hann")
    options = ("--patch", "8x6", "--step", "4x3", "--weights", "hann", "--memory", "100MB")
    for func, out in (("filters_of_mine:halved", "a.npy"), ("filters_of_mine.py:halved", "b.npy")):
        said = run("map", "image.npy", out, "--func", func, *options).stdout
        assert f"Written: {out}" in said
        assert "patches in" in said
        np.testing.assert_array_equal(np.load(out), expected)
    run("map", "image.npy", "c.zarr", "--func", "filters_of_mine:halved", *options)
    np.testing.assert_array_equal(zarr.open_array("c.zarr", mode="r")[:], expected)
    run("map", "c.zarr", "d.tif", "--func", "filters_of_mine:halved", *options, "--workers", "1")
    np.testing.assert_array_equal(
        tifffile.imread("d.tif"),
        pt.map_patches(lambda b: b * np.float32(0.5), expected, (8, 6), (4, 3), weights="hann"),
    )


@pytest.mark.usefixtures("folder")
def test_map_prints_json_for_machines():
    func = (
        "--func",
        "filters_of_mine:Model.spread",
        "--patch",
        "5",
        "--merge",
        "none",
        "--pad",
        "same",
    )
    facts = json.loads(run("map", "image.npy", "spread.npy", *func, "--json").stdout)
    assert facts["patches"] == 2000
    assert facts["out"] == "spread.npy"
    assert np.load("spread.npy").shape == (40, 50)


def test_map_refuses_in_one_line_and_leaves_nothing(folder):
    before = sorted(path.name for path in folder.iterdir())
    base = ("map", "image.npy", "out.npy", "--patch", "5", "--func")
    assert "module:name" in refused(*base, "halved")
    assert "no module 'nothing'" in refused(*base, "nothing:halved")
    assert "no 'thirds'" in refused(*base, "filters_of_mine:thirds")
    assert "not a function" in refused(*base, "filters_of_mine:number")
    assert "no file other.py" in refused(*base, "other.py:halved")
    good = (*base, "filters_of_mine:halved")
    assert "memory" in refused(*good, "--memory", "1kB")
    assert "merge" in refused(*good, "--merge", "average")
    assert "float99" in refused(*good, "--dtype", "float99")
    assert "patch" in refused("map", "image.npy", "out.npy", "--patch", "99", "--func", good[-1])
    assert ".gif" in refused("map", "image.npy", "out.gif", "--patch", "5", "--func", good[-1])
    said = run(*base, "filters_of_mine:wrong", code=1).stderr  # with the way to it
    assert "ZeroDivisionError: in my function" in said
    assert "filters_of_mine.py" in said
    assert "image region [" in said
    found = sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    assert found == before


@pytest.mark.usefixtures("folder")
def test_plan_says_what_map_would_do():
    said = run("plan", "image.npy", "--patch", "39", "--memory", "1GB").stdout
    assert "(40, 50) float32" in said
    assert "2 x 12 = 24 of 39x39" in said
    facts = json.loads(run("plan", "image.npy", "--patch", "39", "--json").stdout)
    assert facts["patches"] == 24
    assert facts["expanded_bytes"] == 24 * 39 * 39 * 4
    assert pt.PatchGrid.from_dict(facts["grid"]) == pt.PatchGrid((40, 50), 39)
    some = ("--patch", "5", "--dilation", "2x3", "--weights", "hann", "--json")
    facts = json.loads(run("plan", "image.npy", *some).stdout)
    assert pt.PatchGrid.from_dict(facts["grid"]) == pt.PatchGrid((40, 50), 5, dilation=(2, 3))


@pytest.mark.usefixtures("folder")
def test_map_takes_a_dilation():
    func = ("--func", "filters_of_mine:halved", "--patch", "5x4", "--dilation", "2")
    run("map", "image.npy", "dilated.npy", *func)
    grid = pt.PatchGrid((40, 50), (5, 4), dilation=2)
    expected = pt.map_patches(lambda b: b * np.float32(0.5), np.load("image.npy"), grid)
    np.testing.assert_array_equal(np.load("dilated.npy"), expected)


def test_extract_and_merge(folder):
    image = np.load("image.npy")
    grid = ("--patch", "16", "--step", "8", "--pad", "2", "--pad-mode", "reflect")
    for out, more in (("tiles", ("--format", "tif")), ("tiles.npy", ()), ("tiles.zarr", ())):
        run("extract", "image.npy", out, *grid, *more)
        run("merge", out, f"back{Path(out).suffix}.npy", "--weights", "gaussian,4")
        np.testing.assert_allclose(
            np.load(f"back{Path(out).suffix}.npy"), image, rtol=1e-5, atol=1e-6
        )
    (folder / "tiles" / "tile-00.tif").unlink()
    assert "lacks 1 of" in refused("merge", "tiles", "again.npy")
    assert "exists already" in refused("extract", "image.npy", "tiles", *grid, "--format", "tif")
    assert "not a number" in refused("merge", "tiles", "again.npy", "--weights", "gaussian,wide")


@pytest.mark.usefixtures("folder")
def test_axes_and_channels():
    image = np.random.default_rng(1).integers(0, 255, (20, 24, 3), np.uint8)
    np.save("colour.npy", image)
    run("extract", "colour.npy", "tiles", "--patch", "8", "--step", "8", "--channel-axis", "-1")
    run("merge", "tiles", "back.tif", "--dtype", "uint8")
    np.testing.assert_array_equal(tifffile.imread("back.tif"), image)
    said = run("plan", "colour.npy", "--patch", "8x3", "--axes", "1,2").stdout
    assert "8x3" in said


@pytest.mark.usefixtures("folder")
def test_damage_is_one_line_and_earlier_results_stay():
    image = np.load("image.npy")
    array = zarr.create_array("image.zarr", shape=image.shape, chunks=(16, 16), dtype="f4")
    array[:] = image
    np.save("out.npy", image)
    chunk = Path("image.zarr/c/1/1")
    chunk.write_bytes(chunk.read_bytes()[:40])
    tifffile.imwrite("cut.tif", image, tile=(16, 16))
    Path("cut.tif").write_bytes(Path("cut.tif").read_bytes()[:-2000])
    call = ("--patch", "5", "--func", "numpy:negative")
    for source in ("image.zarr", "cut.tif"):
        assert source in refused("map", source, "out.npy", *call)
        np.testing.assert_array_equal(np.load("out.npy"), image)
    assert not [path for path in Path().iterdir() if "out.npy." in path.name]


def test_an_interrupted_map_says_how_to_go_on(folder):
    code = "n = iter(range(9))\ndef f(b):\n    if next(n) == 8: raise KeyboardInterrupt\n    return -b\n"
    (folder / "queue.py").write_text(code)  # the file, not the standard library's module
    call = ("map", "image.npy", "out.npy", "--patch", "5", "--func", "queue.py:f")
    with using_limits(Limits(journal_seconds=0.0, tile_state_bytes=4000, tile_batches=0)):
        said = run(*call, "--workers", "1", code=130).stderr
    assert "blocks are kept beside" in said
    assert "the same command with --resume goes on" in said
    (folder / "queue.py").write_text("def f(b):\n    return -b\n")
    run(*call, "--resume")
    expected = pt.map_patches(np.negative, np.load("image.npy"), 5)
    np.testing.assert_array_equal(np.load("out.npy"), expected)


def test_progress_shows_rate_and_time_left_on_a_terminal_only(capsys, monkeypatch):
    from pantile.stream.progress import bar

    for terminal in (False, True):
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
        with bar() as report:
            for done in (10, 20, 40):
                time.sleep(0.01)
                report(done, 80)
        said = capsys.readouterr()
        assert said.out == ""
        assert ("a second" in said.err) == ("40/80" in said.err) == terminal


@pytest.mark.usefixtures("folder")
def test_batches_of_so_many_patches():
    planned = json.loads(run("plan", "image.npy", "--patch", "8", "--batch", "7", "--json").stdout)
    assert planned["batch"] == 7
    Path("counts.py").write_text(
        "sizes = []\ndef count(batch):\n    sizes.append(len(batch))\n    return batch\n"
    )
    arguments = ("--func", "counts.py:count", "--patch", "8", "--step", "4", "--batch", "7")
    run("map", "image.npy", "out.npy", *arguments, "--workers", "1")
    np.testing.assert_allclose(np.load("out.npy"), np.load("image.npy"), rtol=1e-6)
    message = refused("map", "image.npy", "out.npy", *arguments[:-1], "0")
    assert "batch" in message

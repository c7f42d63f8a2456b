"""What a new user of the command line saw, and what is said and done instead."""

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import typer
import zarr
from PIL import Image
from typer.testing import CliRunner

import pantile as pt
from pantile.cli.commands import app
from pantile.files import open_image
from pantile.geometry.limits import Limits, using_limits

COLOURS = np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)
GRAY = COLOURS[..., 0]
N_TILES = 140 * 140  # of `many`


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def refused(*arguments):
    message = run(*arguments, code=2).stderr
    assert message.startswith("pantile: ")
    assert message.count("\n") == 1, message
    return message


def process(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "pantile", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def left():
    return sorted(path.name for path in Path().iterdir())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def photo():
    Image.fromarray(COLOURS).save("photo.png")
    return "photo.png"


def written(path):
    with Image.open(path) as image:
        return np.asarray(image)


# 1: which axis holds colours


def save_pictures():
    for suffix in ("png", "jpg", "webp", "tif"):
        Image.fromarray(COLOURS).save(f"colours.{suffix}")
    planes = np.ascontiguousarray(COLOURS.transpose(2, 0, 1))
    tifffile.imwrite("planar.tif", planes, photometric="rgb", planarconfig="separate")
    axes = {"imagej": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack"}
    tifffile.imwrite("cyx.tif", planes, **axes)


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        *((f"colours.{suffix}", 2) for suffix in ("png", "jpg", "webp", "tif")),
        ("planar.tif", 0),
        ("cyx.tif", 0),
    ],
)
@pytest.mark.parametrize("command", ["plan", "info"])
def test_a_colour_picture_was_planned_3x3x3(name, channel, command):
    save_pictures()
    facts = json.loads(run(command, name, "--patch", "3", "--json").stdout)
    seen = 2 if (command, name) == ("info", "planar.tif") else channel  # as denoise sees it
    assert facts["channel_axis"] == seen
    assert (facts["patches"], facts["counts"]) == (18 * 22, [18, 22])
    assert sorted(facts["patch"]) == [3, 3, 3]
    whole = ("--patch", "3", "--channel-axis", "none", "--json")
    facts = json.loads(run(command, name, *whole).stdout)
    assert facts["channel_axis"] is None
    assert sorted(facts["counts"]) == [1, 18, 22]


def test_map_and_extract_cut_through_colours(photo):
    run("map", photo, "out.npy", "--func", "numpy:negative", "--patch", "5", "--dtype", "int16")
    np.testing.assert_array_equal(np.load("out.npy"), (256 - COLOURS.astype(int)) % 256)
    run("extract", photo, "tiles", "--patch", "8", "--tail", "drop")
    tiles = sorted(Path("tiles").glob("*.png"))
    assert len(tiles) == 2 * 3
    np.testing.assert_array_equal(written(tiles[1]), COLOURS[:8, 8:16])


def test_an_axis_that_is_named_wins(photo):
    asked = ("plan", photo, "--json", "--patch")
    assert json.loads(run(*asked, "3", "--channel-axis", "0").stdout)["channel_axis"] == 0
    facts = json.loads(run(*asked, "8x3", "--axes", "1,2").stdout)
    assert (facts["channel_axis"], facts["counts"]) == (None, [17, 1])
    message = refused("plan", photo, "--patch", "3x3x3")
    assert "--channel-axis none" in message
    assert "none" in refused("plan", photo, "--patch", "3", "--channel-axis", "last")
    assert "3 axes" in refused("plan", photo, "--patch", "3", "--channel-axis", "3")


def test_gray_pictures_and_arrays_have_no_colours():
    Image.fromarray(GRAY).save("gray.png")
    np.save("colours.npy", COLOURS)
    tifffile.imwrite("pages.tif", np.zeros((3, 9, 9), np.uint8), photometric="minisblack")
    for name in ("gray.png", "colours.npy", "pages.tif"):
        facts = json.loads(run("plan", name, "--patch", "3", "--json").stdout)
        assert facts["channel_axis"] is None
        assert len(facts["counts"]) == len(open_image(name).shape)


# 2: results as pictures


def test_map_refused_to_write_a_png(photo):
    run("map", photo, "out.png", "--func", "numpy:invert", "--patch", "5", "--dtype", "uint8")
    np.testing.assert_array_equal(written("out.png"), 255 - COLOURS)
    run("map", photo, "out.webp", "--func", "numpy:invert", "--patch", "5", "--dtype", "uint8")
    np.testing.assert_array_equal(written("out.webp"), 255 - COLOURS)
    run("map", photo, "out.jpg", "--func", "numpy:invert", "--patch", "5", "--dtype", "uint8")
    assert written("out.jpg").shape == COLOURS.shape
    deep = GRAY.astype(np.uint16) * 257
    np.save("deep.npy", deep)
    run("map", "deep.npy", "deep.png", "--func", "numpy:invert", "--patch", "5", "--merge", "max")
    np.testing.assert_array_equal(written("deep.png"), 65535 - deep)
    assert written("deep.png").dtype == np.uint16
    assert left() == ["deep.npy", "deep.png", "out.jpg", "out.png", "out.webp", "photo.png"]


def test_merge_refused_to_write_a_png():
    cover = np.full((20, 24, 1), 200, np.uint8)
    Image.fromarray(np.dstack([COLOURS, cover])).save("cover.png")
    run("extract", "cover.png", "tiles", "--patch", "8", "--step", "5")
    run("merge", "tiles", "back.png", "--dtype", "uint8", "--weights", "hann")
    np.testing.assert_array_equal(written("back.png"), np.dstack([COLOURS, cover]))
    message = refused("merge", "tiles", "back.jpg", "--dtype", "uint8")
    assert "JPEG" in message
    assert ".tif" in message


def test_a_float_result_for_a_png_is_refused_before_any_work(photo):
    Path("seen.py").write_text("def f(b):\n    open('called', 'w').close()\n    return b\n")
    call = ("map", photo, "out.png", "--func", "seen.py:f", "--patch", "5")
    assert "--dtype uint8" in refused(*call)
    assert "--dtype uint8" in refused(*call, "--dtype", "float32")
    assert "PNG" in refused(*call, "--dtype", "uint16", "--merge", "first")
    assert "--dtype uint8" in refused("plan", photo, "--patch", "5", "--out", "out.png")
    assert "out.png" not in left()
    Path("called").unlink()  # by the third, whose channels only func can tell
    assert "--dtype uint8" in refused(*call, "--merge", "var")
    assert not [name for name in left() if name.startswith(("out", "called"))]


def test_shapes_that_no_picture_has_are_refused():
    np.save("volume.npy", np.zeros((5, 9, 9), np.uint8))
    call = ("map", "volume.npy", "out.png", "--func", "numpy:invert", "--patch", "3x3")
    assert "(5, 9, 9)" in refused(*call, "--dtype", "uint8")
    assert left() == ["volume.npy"]


def test_a_picture_appears_only_when_it_is_whole(photo, monkeypatch):
    Path("out.png").write_text("old")

    def full(_image, path, **_options):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device", str(path))

    call = ("map", photo, "out.png", "--func", "numpy:invert", "--patch", "5", "--dtype", "uint8")
    with monkeypatch.context() as context:
        context.setattr(Image.Image, "save", full)
        assert "No space left" in refused(*call)
    assert Path("out.png").read_text() == "old"
    run(*call, "--resume")
    np.testing.assert_array_equal(written("out.png"), 255 - COLOURS)
    assert left() == ["out.png", "photo.png"]


def test_the_plan_counts_a_picture_that_is_encoded(photo):
    facts = [
        json.loads(run("plan", photo, "--patch", "5", "--dtype", "uint8", "--json", *out).stdout)
        for out in ((), ("--out", "out.png"))
    ]
    assert facts[1]["held_bytes"] - facts[0]["held_bytes"] == 4 * 20 * 24


# 3: extract


@pytest.fixture
def many():
    """A picture of `N_TILES` tiles of 16x16 at step 2."""
    Image.fromarray(np.arange(294 * 294, dtype=np.uint32).reshape(294, 294) % 251 > 9).save("m.png")
    return "m.png"


MANY = ("tiles", "--patch", "16", "--step", "2")


def test_extract_wrote_thousands_of_files_without_a_word(many):
    message = refused("extract", many, *MANY)
    assert f"{N_TILES:,} files" in message
    assert "--yes" in message
    assert left() == [many]
    run("extract", many, "tiles.npy", *MANY[1:])  # one file is no question
    assert np.load("tiles.npy", mmap_mode="r").shape == (140, 140, 16, 16)


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
def test_extract_asks_on_a_terminal(many):
    main, terminal = os.openpty()
    try:
        command = [sys.executable, "-m", "pantile", "extract", many, *MANY]
        os.write(main, b"n\n")
        done = subprocess.run(
            command,
            stdin=terminal,
            stderr=terminal,
            stdout=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        said = os.read(main, 4096).decode()
    finally:
        os.close(main)
        os.close(terminal)
    assert done.returncode == 1
    assert f"{N_TILES:,} files. Go on?" in said
    assert left() == [many]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_left_tiles_behind_and_a_kill_is_tidied(many):
    staging = Path("tiles.partial")
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    for stop, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        extract = process("extract", many, *MANY, "--yes", **default)
        while extract.poll() is None and (
            not staging.is_dir() or len(list(staging.iterdir())) < 99
        ):
            time.sleep(0.01)
        extract.send_signal(stop)
        _, said = extract.communicate(timeout=60)
        assert extract.returncode == code
        if stop == signal.SIGINT:
            assert said == "pantile: interrupted\n"
            assert left() == [many]
    assert staging.is_dir()
    run("extract", many, "tiles", "--patch", "98")
    assert left() == [many, "tiles"]
    assert len(list(Path("tiles").glob("*.png"))) == 9


def test_a_stopped_extract_ends_when_no_thread_writes(monkeypatch, tiles_of):
    from pantile.tileset import write

    at_work, lock = set(), threading.Lock()
    write_tile = write.write_tile

    def slow(path, tile):
        with lock:
            at_work.add(path)
        time.sleep(0.3)
        write_tile(path, tile)
        with lock:
            at_work.discard(path)

    def stop(_done, _total):
        if at_work:
            raise KeyboardInterrupt

    monkeypatch.setattr(write, "write_tile", slow)
    with tiles_of(100), pytest.raises(KeyboardInterrupt):  # one tile alone needs no threads
        write.write_tiles(GRAY, "tiles", 4, 4, workers=2, progress=stop)
    assert not at_work
    assert left() == []


def test_extract_removed_a_folder_of_mine(photo):
    mine = Path("tiles.partial")
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    assert "tiles.partial is in the way" in refused("extract", photo, "tiles", "--patch", "8")
    assert (mine / "notes.txt").read_text() == "mine"


def test_extract_of_one_array_can_be_resumed(photo):
    run("extract", photo, "tiles.npy", "--patch", "8", "--resume")
    assert np.load("tiles.npy").shape == (3, 3, 8, 8, 3)
    message = refused("extract", photo, "tiles", "--patch", "8", "--resume")
    assert message.startswith("pantile: --resume goes with one array")


# 4: the documents


def test_the_documents_say_the_defaults_of_steps(photo):
    text = " ".join((Path(__file__).parents[1] / "docs" / "large-images.md").read_text().split())
    stated = (
        "Without `--step` tiles lie side by side (unlike `map`, `plan` and `info`, where it is 1,"
        " and `write_tiles` in Python)"
    )
    assert stated in text
    run("extract", photo, "tiles", "--patch", "10x6")
    assert len(list(Path("tiles").glob("*.png"))) == 2 * 4
    commands = typer.main.get_command(app).commands
    for name in ("map", "plan", "info"):
        (step,) = (each for each in commands[name].params if each.name == "step")
        assert step.default == "1"
    from pantile.cli.streaming import MANY_FILES
    from pantile.tileset import write_tiles

    assert inspect.signature(write_tiles).parameters["step"].default == 1
    assert f"Above {MANY_FILES:,} files" in text


# 5 and 6: info


def test_info_says_the_same_to_machines(photo):
    Image.fromarray(GRAY).save("gray.png")
    facts = json.loads(run("info", photo, "--patch", "5", "--step", "2", "--json").stdout)
    grid = pt.PatchGrid((20, 24), 5, 2)
    plan = pt.plan(np.negative, COLOURS, grid, channel_axis=-1)
    assert pt.PatchGrid.from_dict(facts["grid"]) == grid
    coverage = grid.coverage()
    wanted = {
        "file": photo, "kind": "PNG", "shape": [20, 24, 3], "dtype": "uint8", "channel_axis": 2,
        "colour": "rgb", "alpha": False, "covered": {"least": coverage.min(), "most": coverage.max()},
        "matrix": [grid.n_patches, 75], "patches": grid.n_patches, "counts": list(grid.counts),
        "expanded_bytes": plan.expanded_bytes, "batch": plan.job.batch, "layout": plan.job.layout,
        "workers": plan.workers, "read_bytes": plan.read_bytes, "written_bytes": plan.written_bytes,
    }  # fmt: skip
    assert {name: facts[name] for name in wanted} == wanted
    several = json.loads(run("info", photo, "gray.png", "--patch", "5", "--json").stdout)
    assert [each["shape"] for each in several] == [[20, 24, 3], [20, 24]]
    said = run("info", photo, "gray.png", "--patch", "5").stdout
    assert (
        said.index("photo.png") < said.index("rgb") < said.index("gray.png") < said.index("gray\n")
    )


def test_info_said_an_npy_is_no_picture():
    np.save("x.npy", np.zeros((20, 24), np.float32))
    said = run("info", "x.npy", "--patch", "5").stdout
    assert "npy, 20 x 24, float32" in said
    assert "16 x 20 = 320 of 5x5" in said


def test_info_said_a_zarr_is_a_directory():
    array = zarr.create_array("x.zarr", shape=(20, 24), chunks=(8, 8), dtype="u2")
    array[:] = 1
    assert "Zarr, 20 x 24, uint16, in chunks of 8x8" in run("info", "x.zarr", "--patch", "5").stdout
    group = zarr.open_group("image.zarr", mode="w")
    datasets = [{"path": str(level), "coordinateTransformations": []} for level in (0, 1)]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": [], "datasets": datasets}]}
    for level, size in enumerate((20, 10)):
        group.create_array(str(level), shape=(size, size), dtype="u1")
    for options, size in (((), 20), (("--level", "1"), 10)):
        facts = json.loads(run("info", "image.zarr", "--patch", "5", "--json", *options).stdout)
        assert facts["shape"] == [size, size]
    plain = zarr.open_group("two.zarr", mode="w")
    for name in ("one", "other"):
        plain.create_array(name, shape=(9, 9), dtype="u1")
    message = refused("info", "two.zarr", "--patch", "5")
    assert message.startswith("pantile: --dataset must name one array")
    assert "one, other" in message
    assert "9 x 9" in run("info", "two.zarr", "--dataset", "one", "--patch", "5").stdout


def test_info_of_hdf5_pages_and_volumes():
    with h5py.File("x.h5", "w") as file:
        file["a"] = np.zeros((20, 24))
    assert "HDF5, 20 x 24, float64" in run("info", "x.h5", "--patch", "5").stdout
    tifffile.imwrite("pages.tif", np.zeros((5, 9, 9), np.uint8), photometric="minisblack")
    assert "TIFF, 5 x 9 x 9, uint8" in run("info", "pages.tif", "--patch", "3").stdout
    frames = [Image.fromarray(GRAY + n) for n in range(2)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    assert refused("info", "moving.gif", "--patch", "3").startswith("pantile: --series must choose")
    assert "GIF, 20 x 24" in run("info", "moving.gif", "--series", "1", "--patch", "3").stdout


@pytest.mark.parametrize("command", ["info", "plan"])
def test_an_npz_was_no_picture_whatever_its_name_says(command):
    np.savez("x.npz", first=COLOURS, second=GRAY)
    message = refused(command, "x.npz", "--patch", "5")
    assert "first (20, 24, 3) uint8, second (20, 24) uint8" in message
    code = message[message.index("np.save(") :].strip()
    exec(code, {"np": np})  # what it says to do
    assert "20 x 24 x 3" in run("info", "first.npy", "--patch", "3").stdout
    Path("cut.npz").write_bytes(Path("x.npz").read_bytes()[:99])
    assert "damaged" in refused(command, "cut.npz", "--patch", "5")
    Path("empty.npy").touch()
    assert "empty.npy is empty" in refused(command, "empty.npy", "--patch", "5")


# 7: packages that are not installed


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("zarr", "io", "plan x.zarr --patch 3"),
        ("zarr", "io", "map x.npy out.zarr --func numpy:negative --patch 3"),
        ("tifffile", "io", "plan x.tif --patch 3"),
        ("tifffile", "io", "map x.npy out.tif --func numpy:negative --patch 3"),
        ("tifffile", "io", "info x.tif --patch 3"),
        ("h5py", "io", "info x.h5 --patch 3"),
        ("PIL", "io", "plan x.png --patch 3"),
        ("rich", "cli", "plan x.npy --patch 3"),
        ("typer", "cli", "--help"),
        ("sklearn", "cli", "demo"),
    ],
)
def test_a_missing_package_was_a_traceback(package, extra, command):
    np.save("x.npy", GRAY)
    Image.fromarray(GRAY).save("x.png")
    tifffile.imwrite("x.tif", GRAY)
    zarr.create_array("x.zarr", shape=(9, 9), dtype="u1")
    with h5py.File("x.h5", "w") as file:
        file["a"] = GRAY
    code = f"""
import sys
sys.modules[{package!r}] = None
from pantile.cli import main
sys.exit(main({command.split()!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pantile: ")
    assert done.stderr.endswith(f'pip install "pantile[{extra}]"\n')
    assert done.stderr.count("\n") == 1
    if package == "PIL":
        assert "Pillow" in done.stderr


# 8: words


@pytest.mark.parametrize(
    ("arguments", "said", "unsaid"),
    [
        (
            "denoise x.png o.png --sigma 3 --patch 1000",
            ["--patch: 1000 is more", "20 x 24"],
            ["pad=", "tail="],
        ),
        (
            "plan x.png --patch 1000",
            ["--patch spans 1000", "--pad, or --tail pad"],
            ["pad=", "tail="],
        ),
        (
            "plan x.npy --patch 3 --merge none --weights hann",
            ["--weights goes", "--merge none"],
            ["="],
        ),
        (
            "plan x.npy --patch 3 --merge max --weights hann",
            ["--merge max takes no weights"],
            ["="],
        ),
        ("plan x.npy --patch 3 --merge best", ["--merge must be", "or none"], ["pantile.Merge"]),
        ("plan x.npy --patch 3 --axes 0,0", ["--axes 0,0 and --channel-axis"], ["channel_axis"]),
        ("plan x.npy --patch 3 --step 0", ["--step must be at least 1"], ["="]),
        ("plan x.npy --patch 3 --pad 1 --pad-mode mirror", ["--pad-mode must be"], ["pad_mode"]),
        ("plan x.npy --patch 3 --memory 9", ["--memory 9 B", "allow more"], ["memory="]),
        ("plan x.npy --patch 3 --level 1", ["--level 1 chooses nothing"], ["level="]),
        ("plan x.npy --patch 3 --dtype nope", ["--dtype", "uint8"], ["understood"]),
        ("plan x.npy --patch 3 --weights nope", ["--weights nope", "kaiser,14"], ["('kaiser'"]),
        (
            "map x.npy o.npy --func numpy:negative --patch 3 --dtype uint8 --fill 300",
            ["--fill 300.0", "another --fill or --dtype"],
            ["="],
        ),
        ("map x.npy o.gif --func numpy:negative --patch 3", ["OUT o.gif has the suffix"], ["out="]),
        ("plan x.npy --patch 3 --out o.gif", ["--out o.gif has the suffix"], ["out="]),
        (
            "map x.npy o.npy --func numpy:negative --patch 3 --step 5",
            ["--fill", "--tail shift"],
            ["="],
        ),
        ("extract x.npy no/t.npy --patch 3", ["OUT /", "make it first"], ["out=", "DIR"]),
        ("plan x.png --patch 3 --max-pixels 9", ["give --max-pixels 480"], ["max_pixels"]),
    ],
)
def test_errors_advised_python(arguments, said, unsaid):
    np.save("x.npy", GRAY)
    Image.fromarray(COLOURS).save("x.png")
    message = refused(*arguments.split())
    assert all(words in message for words in said), message
    assert not [words for words in unsaid if words in message], message


def test_what_the_user_typed_is_not_translated():
    Path("step=4").mkdir()
    np.save("step=4/pad=3.npy", GRAY)
    assert "step=4/pad=3.npy" in refused("plan", "step=4/pad=3.npy", "--level", "2", "--patch", "3")
    assert "'a=b'" in refused("plan", "step=4/pad=3.npy", "--patch", "3", "--dtype", "a=b")


def test_a_run_that_cannot_be_resumed_says_so_in_options():
    np.save("x.npy", np.zeros((400, 400), np.float32))
    code = "n = iter(range(9))\ndef f(b):\n    if next(n) == 2: raise KeyboardInterrupt\n    return b\n"
    Path("stops.py").write_text(code)
    call = ("map", "x.npy", "o.npy", "--patch", "5", "--func", "stops.py:f", "--workers", "1")
    with using_limits(Limits(journal_seconds=0.0, tile_state_bytes=100_000, tile_batches=0)):
        run(*call, code=130)
        message = refused(*call, "--resume", "--step", "2")
    assert "step: [1, 1] -> [2, 2]" in message
    assert message.endswith("or without --resume to begin again\n")
    assert "resume=" not in message


# 9: the first twenty minutes


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_closed_pipe_is_no_error(photo, more):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pantile", "info", photo, "--patch", "3", *more],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_module_with_an_error_was_a_traceback():
    np.save("x.npy", GRAY)
    Path("cut.py").write_text("x = (\n")
    Path("broken.py").write_text("\n1 / 0\n")
    Path("lacking.py").write_text("import no_such_package\n")
    call = ("map", "x.npy", "o.npy", "--patch", "3", "--func")
    assert "cut.py, line 1" in refused(*call, "cut.py:f")
    assert "line 2 of " in refused(*call, "broken:f")
    assert "ZeroDivisionError" in refused(*call, "broken.py:f")
    assert "needs no_such_package" in refused(*call, "lacking:f")
    assert "needs no_such_package" in refused(*call, "lacking.py:f")
    assert "not module:name" in refused(*call, ".relative:f")


def test_the_way_to_an_error_in_func_is_the_users_own():
    np.save("x.npy", GRAY)
    Path("mine.py").write_text("def f(b):\n    return g(b)\ndef g(b):\n    return 1 / 0\n")
    said = run("map", "x.npy", "o.npy", "--patch", "3", "--func", "mine.py:f", code=1).stderr
    assert [line.split(", ")[1:] for line in said.splitlines() if "File " in line] == [
        ["line 2", "in f"],
        ["line 4", "in g"],
    ], said
    assert "image region [" in said


def test_a_damaged_tile_was_a_traceback(photo):
    run("extract", photo, "tiles", "--patch", "8")
    tile = Path("tiles/tile-4.png")
    tile.write_bytes(tile.read_bytes()[:60])
    assert "tile-4.png" in refused("merge", "tiles", "back.npy")
    assert left() == [photo, "tiles"]


def test_merge_wrote_over_its_tiles(photo):
    run("extract", photo, "tiles.npy", "--patch", "8")
    before = np.load("tiles.npy")
    assert "choose another place" in refused("merge", "tiles.npy", "tiles.npy")
    np.testing.assert_array_equal(np.load("tiles.npy"), before)
    run("extract", photo, "tiles", "--patch", "8", "--format", "npy")
    assert "choose another place" in refused("merge", "tiles", "tiles/tile-0.npy")


def test_a_budget_need_not_hold_the_result_in_a_file():
    """`plan` as the documents have it, of an image that is larger than the budget."""
    shape = (20_000, 30_000)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with open("big.npy", "wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        file.truncate(file.tell() + 4 * 20_000 * 30_000)  # a hole, which takes no space
    call = ("plan", "big.npy", "--patch", "39", "--step", "4", "--memory", "100MB", "--json")
    facts = json.loads(run(*call).stdout)
    assert facts["held_bytes"] <= 100e6 < facts["written_bytes"]


def test_denoise_noticed_a_folder_without_permission_after_its_work(photo, monkeypatch):
    from pantile.files.write import staging

    def forbidden(**_options):
        raise PermissionError(13, "Permission denied", "here")

    monkeypatch.setattr(staging.tempfile, "TemporaryFile", forbidden)
    result = run("denoise", photo, "out.png", "--sigma", "3", code=2)
    assert result.stdout == ""  # what the picture is comes first of the work
    assert "out cannot be written to this directory" in result.stderr


def test_damaged_and_cut_files_are_one_line(photo):
    content = Path(photo).read_bytes()
    tifffile.imwrite("x.tif", COLOURS)
    Path("cut.png").write_bytes(content[: len(content) // 2])
    Path("cut.tif").write_bytes(Path("x.tif").read_bytes()[:400])
    Path("text.png").write_bytes(b"text, and no picture")
    Path("garbled.png").write_bytes(content[:60] + zlib.compress(content) + content[99:])
    Path("folder").mkdir()
    for name in ("cut.png", "cut.tif", "text.png", "garbled.png", "folder", "nothing.png"):
        for call in (
            ("map", name, "o.npy", "--func", "numpy:invert", "--patch", "3"),
            ("extract", name, "tiles", "--patch", "8"),
            ("denoise", name, "o.png", "--sigma", "3"),
            ("merge", name, "o.npy"),
        ):
            assert name in refused(*call)
    assert not [name for name in left() if name.startswith(("o.", "tiles"))]


def test_pages_that_are_missing_went_unnoticed_after_another_tiff():
    """Reading one picture silences tifffile, which is where missing pages are heard of."""
    tifffile.imwrite("x.tif", COLOURS)
    with tifffile.TiffWriter("pages.tif") as file:
        for page in np.zeros((9, 40, 50), np.uint8):
            file.write(page, photometric="minisblack", contiguous=False, rowsperstrip=8)
    size = os.path.getsize("pages.tif")
    run("info", "x.tif", "--patch", "3")
    os.truncate("pages.tif", size // 2)
    for command in ("info", "plan"):
        assert "pages.tif is truncated" in refused(command, "pages.tif", "--patch", "3")

"""The command line: what it prints, what it writes, and what it says when it cannot."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import tifffile
from PIL import Image, ImageOps
from typer.testing import CliRunner

import pantile as pt
from pantile.cli import demonstration, main
from pantile.cli.commands import app
from pantile.denoise import dct, shrink, sliding_dct
from pantile.files.whole.formats import read_picture
from pantile.files.whole.picture import upright

SIGMA = 25.0
CROPS = {"china": np.s_[160:320, 200:440], "flower": np.s_[180:340, 0:240]}
LEAST_GAIN = {"china": 7.5, "flower": 13.2}  # dB


def run(*arguments: object) -> Any:
    """The result of `pantile arguments`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "pantile", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def assert_refused(result: Any, *words: str) -> None:
    """Exit code 2 and one line on stderr that holds all `words`."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("pantile: ")
    for word in words:
        assert word in result.stderr


def assert_left_nothing(folder: Path, *expected: str) -> None:
    """No file in `folder` but the `expected` ones: nothing half-written, nothing temporary."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)


def smooth(*shape: int, top: float = 200.0) -> np.ndarray:
    """A smooth picture of values from 0 to `top`, each channel another one."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    waves = [
        np.sin(rows / (9 + k)) + np.cos(columns / (7 + k))
        for k in range(shape[2] if shape[2:] else 1)
    ]
    values = (np.stack(waves, axis=-1) + 2) / 4 * top
    return values if shape[2:] else values[..., 0]


def noisy(clean: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    """`clean` with white Gaussian noise."""
    return clean + np.random.default_rng(seed).normal(0, sigma, clean.shape)


def error(values: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the difference."""
    return float(np.sqrt(np.mean(np.square(values.astype(float) - truth))))


def loaded(path: Path) -> Image.Image:
    """The picture in `path`, its file closed again."""
    with Image.open(path) as image:
        image.load()
        return image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small colour picture on disk."""
    path = tmp_path / "photo.png"
    Image.fromarray(noisy(smooth(40, 60, 3), 10).clip(0, 255).astype(np.uint8)).save(path)
    return path


class TestDenoising:
    @pytest.mark.parametrize("name", demonstration.PHOTOGRAPHS)
    def test_gains_on_photographs(self, name: str) -> None:
        clean = demonstration.photograph(name)[CROPS[name]]
        image = noisy(clean, SIGMA).astype(np.float32)
        result = dct(image, SIGMA, channel_axis=-1)
        assert result.dtype == np.float32
        gain = demonstration.psnr(result, clean) - demonstration.psnr(image, clean)
        assert gain > LEAST_GAIN[name]

    def test_same_bits_for_any_number_of_workers(self) -> None:
        image = noisy(smooth(50, 40, 3), SIGMA).astype(np.float32)
        one = dct(image, SIGMA, workers=1, channel_axis=-1)
        np.testing.assert_array_equal(dct(image, SIGMA, workers=3, channel_axis=-1), one)

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_a_constant_image_stays(self, channels: int) -> None:
        image = np.full((20, 24, channels), 77.0)
        np.testing.assert_allclose(dct(image, SIGMA, channel_axis=-1), image, rtol=1e-12)

    def test_patches_as_large_as_the_image(self) -> None:
        image = noisy(smooth(12, 12, 1), 5.0)
        assert [stage.patch for stage in sliding_dct.plan_passes(12, image.shape)] == [12, 12]
        assert error(dct(image, 5.0, 12, channel_axis=-1), smooth(12, 12, 1)) < 3.0

    def test_hard_threshold_is_the_formula(self) -> None:
        batch = noisy(np.zeros((5, 8, 8, 3)), SIGMA)
        spectra = scipy.fft.dctn(batch, axes=(1, 2), norm="ortho")
        keep = np.abs(spectra) > shrink.THRESHOLD * SIGMA
        keep[:, 0, 0] = True
        weight = 1 / keep.sum(axis=(1, 2, 3), keepdims=True)
        patches = scipy.fft.idctn(spectra * keep, axes=(1, 2), norm="ortho")
        result = shrink.hard_threshold(batch.copy(), SIGMA)
        np.testing.assert_allclose(result.patches, patches, atol=1e-10)
        np.testing.assert_allclose(result.weights, weight.ravel())

    def test_empirical_wiener_is_the_formula(self) -> None:
        batch = noisy(np.zeros((5, 8, 8, 2)), SIGMA)
        spectra = scipy.fft.dctn(batch, axes=(1, 2), norm="ortho")
        gain = spectra[..., 1:] ** 2 / (spectra[..., 1:] ** 2 + SIGMA**2)
        gain[:, 0, 0] = 1
        weight = 1 / (gain**2).sum(axis=(1, 2, 3), keepdims=True)
        patches = scipy.fft.idctn(spectra[..., :1] * gain, axes=(1, 2), norm="ortho")
        result = shrink.empirical_wiener(batch.copy(), SIGMA)
        np.testing.assert_allclose(result.patches, patches, atol=1e-10)
        np.testing.assert_allclose(result.weights, weight.ravel())

    @pytest.mark.parametrize("weigh", [shrink.hard_threshold, shrink.empirical_wiener])
    def test_strides_do_not_matter(self, weigh: Callable[..., pt.Weighted]) -> None:
        batch = noisy(np.zeros((7, 6, 6, 4)), SIGMA)
        feature = np.ascontiguousarray(batch.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
        strided = np.repeat(batch, 2, axis=0)[::2]
        expected = weigh(batch.copy(), SIGMA)
        for moved in (feature, strided):
            found = weigh(moved, SIGMA)
            np.testing.assert_allclose(found.patches, expected.patches, atol=1e-12)
            np.testing.assert_allclose(found.weights, expected.weights)


class TestDenoiseCommand:
    def test_groups_leave_less_noise_than_patches_by_themselves(self, tmp_path: Path) -> None:
        clean = np.tile(smooth(16, 16, 1).astype(np.float64), (5, 6, 1)).squeeze()
        samples = clean + np.random.default_rng(0).normal(0, 20, clean.shape)
        source = tmp_path / "in.tif"
        tifffile.imwrite(source, samples.astype(np.float32))
        errors = {}
        for method in ("dct", "groups"):
            out = tmp_path / f"{method}.tif"
            result = run("denoise", source, out, "--sigma", 20, "--method", method)
            assert result.exit_code == 0, result.output
            errors[method] = error(tifffile.imread(out), clean)
        assert errors["groups"] < 0.9 * errors["dct"]
        refused = run("denoise", source, tmp_path / "no.tif", "--sigma", 20, "--method", "bm3d")
        assert refused.exit_code != 0

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
    def test_eight_bits(self, tmp_path: Path, mode: str, suffix: str) -> None:
        clean = smooth(48, 40, len(mode))
        samples = noisy(clean, 12.0).clip(0, 255).round().astype(np.uint8)
        source, out = tmp_path / "in.png", tmp_path / f"out{suffix}"
        Image.fromarray(samples.squeeze()).save(source)
        result = run("denoise", source, out, "--sigma", 12)
        assert result.exit_code == 0, result.output
        assert "the picture's own values" in result.output
        written = np.asarray(loaded(out)) if suffix == ".png" else tifffile.imread(out)
        written = written.reshape(clean.shape)
        colours = np.s_[..., : len(mode) - mode.endswith("A")]
        assert written.dtype == np.uint8
        assert error(written[colours], clean[colours]) < error(samples[colours], clean[colours]) / 3
        if mode.endswith("A"):
            np.testing.assert_array_equal(written[..., -1], samples[..., -1])

    @pytest.mark.parametrize(
        ("dtype", "top"),
        [
            ("uint8", 200),
            ("uint16", 60_000),
            ("int16", 30_000),
            ("int32", 2e9),
            ("float16", 1),
            ("float32", 1),
            ("float64", 1e-9),
        ],
    )
    def test_tiffs_keep_their_dtype(self, tmp_path: Path, dtype: str, top: float) -> None:
        clean = smooth(40, 48, top=top)
        samples = noisy(clean, top / 15)
        if np.dtype(dtype).kind in "ui":
            samples = samples.clip(np.iinfo(dtype).min, np.iinfo(dtype).max).round()
        samples = samples.astype(dtype)
        source, out = tmp_path / "in.tif", tmp_path / "out.tif"
        tifffile.imwrite(source, samples, compression="zlib")
        result = run("denoise", source, out, "--sigma", top / 15)
        assert result.exit_code == 0, result.output
        written = tifffile.imread(out)
        assert (written.dtype, written.shape) == (samples.dtype, samples.shape)
        assert error(written, clean) < error(samples, clean) / 3

    def test_sixteen_bit_gray_png(self, tmp_path: Path) -> None:
        clean = smooth(40, 48, top=60_000)
        samples = noisy(clean, 3000).clip(0, 65_535).astype(np.uint16)
        Image.fromarray(samples).save(tmp_path / "in.png")
        assert (
            run("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 3000).exit_code
            == 0
        )
        written = np.asarray(loaded(tmp_path / "out.png"))
        assert written.dtype == np.uint16
        assert error(written, clean) < error(samples, clean) / 3

    def test_one_bit(self, tmp_path: Path) -> None:
        clean = smooth(64, 64) > 100
        samples = clean ^ (np.random.default_rng(0).random(clean.shape) < 0.03)
        Image.fromarray(samples).save(tmp_path / "in.png")
        assert (
            run("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 0.2).exit_code == 0
        )
        image = loaded(tmp_path / "out.png")
        assert image.mode == "1"
        assert (np.asarray(image) != clean).sum() < (samples != clean).sum() / 2

    @pytest.mark.parametrize(("options", "mode"), [({}, "RGB"), ({"transparency": 0}, "RGBA")])
    def test_palettes_become_colours(
        self, photo: Path, tmp_path: Path, options: dict[str, int], mode: str
    ) -> None:
        palette = loaded(photo).quantize(16)
        palette.save(tmp_path / "palette.png", **options)
        assert (
            run("denoise", tmp_path / "palette.png", tmp_path / "out.png", "--sigma", 5).exit_code
            == 0
        )
        image = loaded(tmp_path / "out.png")
        assert image.mode == mode
        if mode == "RGBA":
            opaque = np.where(np.asarray(palette) == 0, 0, 255)
            np.testing.assert_array_equal(np.asarray(image)[..., 3], opaque)

    def test_jpeg_keeps_its_profile_and_exif_and_stands_upright(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "maker"
        source = tmp_path / "in.jpg"
        image = Image.fromarray(smooth(40, 64, 3).astype(np.uint8))
        image.save(source, quality=95, exif=exif, icc_profile=b"profile", dpi=(300, 300))
        assert run("denoise", source, tmp_path / "out.jpg", "--sigma", 1).exit_code == 0
        written = loaded(tmp_path / "out.jpg")
        assert written.size == (40, 64)
        assert (written.info["icc_profile"], written.info["dpi"]) == (b"profile", (300, 300))
        assert dict(written.getexif()) == {0x010F: "maker"}
        turned = np.asarray(ImageOps.exif_transpose(loaded(source)))
        assert error(np.asarray(written), turned) < 2

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientations_are_pillows(self, orientation: int) -> None:
        samples = np.arange(12, dtype=np.uint8).reshape(3, 4)
        image = Image.fromarray(samples)
        image.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(upright(samples, orientation), expected)

    def test_tiff_layouts(self, tmp_path: Path) -> None:
        planar = smooth(24, 32, 3).astype(np.uint16).transpose(2, 0, 1)
        tifffile.imwrite(
            tmp_path / "planar.tif", planar, photometric="rgb", planarconfig="separate"
        )
        np.testing.assert_array_equal(
            read_picture(tmp_path / "planar.tif").pixels, planar.transpose(1, 2, 0)
        )
        bands = smooth(24, 32, 7).astype(np.float32)
        tifffile.imwrite(
            tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig"
        )
        assert (
            run("denoise", tmp_path / "bands.tif", tmp_path / "out.tif", "--sigma", 0.1).exit_code
            == 0
        )
        np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), bands, atol=1.0)

    def test_lzw_and_palette_tiffs(self, photo: Path, tmp_path: Path) -> None:
        image = loaded(photo)
        image.save(tmp_path / "lzw.tif", compression="tiff_lzw")
        np.testing.assert_array_equal(read_picture(tmp_path / "lzw.tif").pixels, np.asarray(image))
        image.quantize(16).save(tmp_path / "palette.tif")
        expected = np.asarray(image.quantize(16).convert("RGB"))
        np.testing.assert_array_equal(read_picture(tmp_path / "palette.tif").pixels, expected)

    def test_the_output_may_exist(self, photo: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.png"
        out.write_text("old")
        assert run("denoise", photo, out, "--sigma", 5, "--workers", 1, "--patch", 4).exit_code == 0
        assert loaded(out).size == (60, 40)
        assert_left_nothing(tmp_path, "out.png", "photo.png")


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("nope.png", "out.png", "--sigma", 5), ("nope.png",)),
            ((".", "out.png", "--sigma", 5), ("directory",)),
            (("photo.png", "photo.png", "--sigma", 5), ("input itself",)),
            (("photo.png", "nowhere/../photo.png", "--sigma", 5), ("input itself",)),
            (("photo.png", "folder/out.png", "--sigma", 5), ("folder",)),
            (("photo.png", "out.xyz", "--sigma", 5), (".xyz", ".tiff")),
            (("photo.png", "out.png", "--sigma", -5), ("--sigma", "-5")),
            (("photo.png", "out.png", "--sigma", 0), ("--sigma",)),
            (("photo.png", "out.png", "--sigma", "nan"), ("--sigma",)),
            (("photo.png", "out.png", "--sigma", "much"), ("--sigma",)),
            (("photo.png", "out.png"), ("--sigma",)),
            (("photo.png", "out.png", "--sigma", 5, "--workers", 0), ("--workers",)),
            (("photo.png", "out.png", "--sigma", 5, "--patch", 0), ("--patch",)),
            (("photo.png", "out.png", "--sigma", 5, "--patch", 41), ("41", "40")),
            (("photo.png", "out.png", "--sgima", 5), ("--sgima",)),
        ],
    )
    def test_denoise(
        self,
        photo: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: tuple[object, ...],
        words: tuple[str, ...],
    ) -> None:
        monkeypatch.chdir(photo.parent)
        before = photo.read_bytes()
        assert_refused(run("denoise", *arguments), *words)
        assert photo.read_bytes() == before
        assert_left_nothing(photo.parent, "photo.png")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--patch", 39, "--step", 0), ("step", "0")),
            (("--patch", 61), ("61", "40")),
            (("--patch", "3x4x5"), ("patch",)),
            (("--patch", "wide"), ("--patch", "wide")),
            (("--patch", 3, "--tail", "cut"), ("--tail", "cut")),
            (("--patch", 3, "--pad", -1), ("pad", "-1")),
            ((), ("--patch",)),
        ],
    )
    def test_info(self, photo: Path, arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
        assert_refused(run("info", photo, *arguments), *words)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--image", "moon"), ("--image", "moon")),
            (("--out", "nowhere/demo.png"), ("nowhere",)),
            (("--out", "demo.xyz"), (".xyz",)),
            (("--patch", 428, "--out", "demo.png"), ("428", "427")),
        ],
    )
    def test_demo(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: tuple[object, ...],
        words: tuple[str, ...],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert_refused(run("demo", *arguments), *words)
        assert_left_nothing(tmp_path)

    def test_no_such_command(self) -> None:
        assert_refused(run("sharpen"), "sharpen")

    @pytest.mark.parametrize("command", ["denoise", "info"])
    def test_files_that_are_no_pictures(self, tmp_path: Path, command: str) -> None:
        for content in (b"", b"hello", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"):
            path = tmp_path / "text.png"
            path.write_bytes(content)
            options = (
                (tmp_path / "out.png", "--sigma", 5) if command == "denoise" else ("--patch", 3)
            )
            assert_refused(run(command, path, *options), "text.png")
            assert_left_nothing(tmp_path, "text.png")

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
    def test_cut_off_files(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"cut{suffix}"
        Image.fromarray(noisy(smooth(64, 64, 3), 20).clip(0, 255).astype(np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert_refused(run("denoise", path, tmp_path / "out.png", "--sigma", 5), path.name)
        assert_left_nothing(tmp_path, path.name)

    def test_damaged_files_are_refused_or_read(self, photo: Path, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        tifffile.imwrite(tmp_path / "photo.tif", np.asarray(loaded(photo)))
        for path in (photo, tmp_path / "photo.tif"):
            content = np.frombuffer(path.read_bytes(), np.uint8)
            for _ in range(40):
                broken = content.copy()
                broken[rng.integers(0, 200, 3)] = rng.integers(0, 256, 3)
                (tmp_path / "broken").write_bytes(broken.tobytes())
                try:
                    read = read_picture(tmp_path / "broken")
                except (ValueError, OSError, MemoryError):
                    continue
                assert read.pixels.shape == (*read.header.shape, read.header.channels)

    @pytest.mark.parametrize(
        ("write", "words"),
        [
            (lambda path: tifffile.imwrite(path, np.zeros((5, 9, 9), "u1")), ("5 pages",)),
            (
                lambda path: tifffile.imwrite(
                    path,
                    np.zeros((16, 20, 24), "u1"),
                    volumetric=True,
                    tile=(16, 16, 16),
                    photometric="minisblack",
                ),
                ("volume", "16 x 20 x 24"),
            ),
            (lambda path: tifffile.imwrite(path, np.zeros((9, 9), "c8")), ("complex64",)),
            (lambda path: tifffile.imwrite(path, np.full((20, 20), np.nan, "f4")), ("NaN",)),
        ],
    )
    def test_tiffs_that_are_not_one_picture(
        self, tmp_path: Path, write: Callable[[Path], None], words: tuple[str, ...]
    ) -> None:
        write(tmp_path / "in.tif")
        assert_refused(
            run("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--sigma", 1), *words
        )
        assert_left_nothing(tmp_path, "in.tif")

    def test_pictures_that_would_lose_depth(self, tmp_path: Path) -> None:
        write_png(tmp_path / "deep.png", 40, 30, depth=16, colour_type=2)
        assert_refused(
            run("denoise", tmp_path / "deep.png", tmp_path / "out.png", "--sigma", 5), "16-bit"
        )
        frames = [Image.new("L", (20, 20), value) for value in (0, 99)]
        frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
        assert_refused(
            run("denoise", tmp_path / "moving.png", tmp_path / "out.png", "--sigma", 5), "animation"
        )
        assert_left_nothing(tmp_path, "deep.png", "moving.png")

    @pytest.mark.parametrize(
        ("mode", "suffix"), [("RGBA", ".jpg"), ("I;16", ".jpg"), ("1", ".jpg"), ("CMYK", ".png")]
    )
    def test_formats_that_cannot_hold_the_picture(
        self, tmp_path: Path, mode: str, suffix: str
    ) -> None:
        source = tmp_path / ("in.jpg" if mode == "CMYK" else "in.png")
        Image.new(mode, (20, 20)).save(source)
        out = tmp_path / f"out{suffix}"
        assert_refused(run("denoise", source, out, "--sigma", 0.1), "cannot hold", ".tif")
        assert_left_nothing(tmp_path, source.name)

    def test_decompression_bombs(self, tmp_path: Path) -> None:
        write_png(tmp_path / "bomb.png", 60_000, 40_000)
        assert_refused(
            run("denoise", tmp_path / "bomb.png", tmp_path / "out.png", "--sigma", 5), "megapixels"
        )
        assert_left_nothing(tmp_path, "bomb.png")


class TestInfoCommand:
    def test_prints_the_grid_and_the_plan(self, photo: Path) -> None:
        result = run("info", photo, "--patch", 9)
        assert result.exit_code == 0, result.output
        for words in (
            "PNG, 40 x 60, uint8, rgb",
            "32 x 52 = 1,664",
            "9x9x3",
            "1 to 81 patches",
        ):
            assert words in result.output
        assert "1,664 x 243 uint8" in result.output

    def test_every_option_reaches_the_grid(self, photo: Path) -> None:
        options = ("--patch", "5x7", "--step", "4x3", "--dilation", 2, "--tail", "drop", "--pad", 3)
        grid = pt.PatchGrid((40, 60), (5, 7), (4, 3), dilation=2, tail="drop", pad=3)
        result = run("info", photo, *options)
        assert result.exit_code == 0, result.output
        assert f"{grid.counts[0]} x {grid.counts[1]} = {grid.n_patches}" in result.output
        assert "39 x 59" not in result.output

    def test_says_where_there_are_holes(self, photo: Path) -> None:
        assert "holes" in run("info", photo, "--patch", 3, "--step", 5, "--tail", "drop").output

    def test_pad_same(self, photo: Path) -> None:
        assert (
            "20 x 30 = 600" in run("info", photo, "--patch", 9, "--step", 2, "--pad", "same").output
        )

    def test_reads_the_header_only(self, tmp_path: Path) -> None:
        write_png(tmp_path / "huge.png", 60_000, 40_000)
        result = run("info", tmp_path / "huge.png", "--patch", 39)
        assert result.exit_code == 0, result.output
        assert "39,962 x 59,962 = 2,396,201,444" in result.output
        assert "3.64 TB" in result.output

    def test_turned_pictures(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 8
        Image.new("L", (60, 40)).save(tmp_path / "turned.jpg", exif=exif)
        assert "JPEG, 60 x 40" in run("info", tmp_path / "turned.jpg", "--patch", 3).output


class TestProgram:
    def test_version(self) -> None:
        assert run("--version").stdout == f"pantile {pt.__version__}\n"

    def test_help_names_every_command(self) -> None:
        result = run("--help")
        assert result.exit_code == 0
        assert all(command in result.stdout for command in ("demo", "denoise", "info"))
        assert run().stdout == result.stdout

    @pytest.mark.parametrize("command", ["demo", "denoise", "info"])
    def test_help_of_commands(self, command: str) -> None:
        assert run(command, "--help").exit_code == 0

    def test_demo(self, tmp_path: Path) -> None:
        result = run("demo", "--image", "flower", "--patch", 4, "--out", tmp_path / "demo.png")
        assert result.exit_code == 0, result.output
        for words in (
            "flower.jpg, 427 x 640",
            "270,088",
            "Gel/s",
            "PSNR 20.17 dB before",
            "Peak memory",
        ):
            assert words in result.output
        assert float(result.output.partition("after: +")[2].split()[0]) > 10
        picture = np.asarray(loaded(tmp_path / "demo.png").convert("RGB"))
        assert picture.shape[1] > picture.shape[0] > 500
        assert picture.std() > 30
        assert_left_nothing(tmp_path, "demo.png")

    def test_ctrl_c(self, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(sliding_dct, "map_patches", interrupted)
        result = run("denoise", photo, photo.with_name("out.png"), "--sigma", 5)
        assert (result.exit_code, result.stderr) == (130, "pantile: interrupted\n")
        assert_left_nothing(photo.parent, "photo.png")

    def test_a_failed_write_leaves_the_old_file(
        self, photo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: Image.Image, path: Path, **_options: object) -> None:
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device", str(path))

        out = photo.with_name("out.png")
        out.write_text("old")
        monkeypatch.setattr(Image.Image, "save", full)
        assert_refused(run("denoise", photo, out, "--sigma", 5), "No space left")
        assert out.read_text() == "old"
        assert_left_nothing(photo.parent, "out.png", "photo.png")

    def test_a_missing_extra_is_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delitem(sys.modules, "pantile.cli.commands")
        monkeypatch.delattr("pantile.cli.commands", raising=False)
        monkeypatch.setitem(sys.modules, "typer", None)
        assert main(["--version"]) == 2
        assert 'pip install "pantile[cli]"' in capsys.readouterr().err

    def test_main_returns_the_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"pantile {pt.__version__}\n"
        assert main(["info"]) == 2

    def test_as_a_module(self, photo: Path) -> None:
        done = run_process("info", photo, "--patch", 9)
        assert (done.returncode, done.stderr) == (0, "")
        assert "1,664" in done.stdout
        done = run_process("denoise", photo, photo, "--sigma", 5)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1

    @pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
    def test_ctrl_c_in_the_middle(self, tmp_path: Path) -> None:
        source, out = tmp_path / "in.tif", tmp_path / "out.tif"
        tifffile.imwrite(
            source, noisy(smooth(2000, 2000, 3), SIGMA).astype(np.float32), photometric="rgb"
        )
        command = [
            sys.executable,
            "-m",
            "pantile",
            "denoise",
            str(source),
            str(out),
            "--sigma",
            "25",
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,  # a shell's background jobs do not listen to SIGINT, nor do their children
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stdout is not None
        process.stdout.readline()  # the header of the picture: imports and reading are over
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (130, "pantile: interrupted\n")
        assert_left_nothing(tmp_path, "in.tif")


def write_png(path: Path, columns: int, rows: int, depth: int = 8, colour_type: int = 0) -> None:
    """A PNG header, and the first few lines of zeros only."""
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)

"""`pantile.denoise.dct`: any values, channels anywhere, and refusals before any work starts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pantile.denoise import dct

SIGMA = 8.0
ROWS, COLUMNS = np.mgrid[:40, :52]
CLEAN = 100 + 40 * np.sin(ROWS / 9) + 40 * np.cos(COLUMNS / 7)
NOISY = CLEAN + np.random.default_rng(0).normal(scale=SIGMA, size=CLEAN.shape)
COLOUR = np.stack([NOISY, NOISY[::-1], NOISY[:, ::-1]], axis=-1)


def test_most_of_the_noise_goes():
    assert np.std(dct(NOISY, SIGMA) - CLEAN) < 0.3 * np.std(NOISY - CLEAN)


def test_an_image_without_channels_is_one_of_one_channel():
    expected = dct(NOISY[..., None], SIGMA, channel_axis=2)[..., 0]
    np.testing.assert_array_equal(dct(NOISY, SIGMA), expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channels_may_be_anywhere(axis):
    moved = np.moveaxis(COLOUR, -1, axis)
    expected = np.moveaxis(dct(COLOUR, SIGMA, channel_axis=-1), -1, axis)
    np.testing.assert_array_equal(dct(moved, SIGMA, channel_axis=axis), expected)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", "f4"), ("uint16", "f4"), ("int32", "f8"), ("f2", "f4"), ("f4", "f4"), ("f8", "f8")],
)
def test_integers_give_floats_that_hold_them(dtype, expected):
    image = NOISY.round().astype(dtype)
    result = dct(image, SIGMA)
    assert result.dtype == expected
    np.testing.assert_array_equal(result, dct(image.astype(expected), SIGMA))


def test_the_image_is_not_changed():
    image = COLOUR.copy()
    dct(image, SIGMA, channel_axis=-1)
    np.testing.assert_array_equal(image, COLOUR)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: dct(COLOUR, SIGMA),
            ValueError,
            r"two axes, got shape \(40, 52, 3\).*channel_axis",
        ),
        (lambda: dct(NOISY, SIGMA, channel_axis=1), ValueError, "two axes beside channel_axis=1"),
        (lambda: dct(NOISY + 1j, SIGMA), TypeError, "real numbers, got dtype complex128"),
        (lambda: dct(np.where(NOISY > 100, np.nan, 0), SIGMA), ValueError, "NaN"),
        (lambda: dct(NOISY, 0), ValueError, "sigma must be a positive number.*got 0"),
        (lambda: dct(NOISY, np.inf), ValueError, "sigma must be a positive number.*got inf"),
        (lambda: dct(NOISY, SIGMA, 1), ValueError, "patch must be at least 2, got 1"),
        (lambda: dct(NOISY, SIGMA, 41), ValueError, r"patch=41 must be from 2 to 40"),
        (lambda: dct("photo.png", SIGMA), TypeError, "path, 'photo.png'.*open_image"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_no_optional_library_is_needed():
    missing = ("sklearn", "matplotlib", "typer", "rich", "PIL", "tifffile")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
    code += "import numpy as np, pantile as pt; print(pt.denoise.dct(np.ones((9, 9)), 1, 4).max())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip()[:3] in ("1.0", "0.9"), done.stderr

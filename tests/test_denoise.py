"""`pantile.denoise.dct`: any values, channels anywhere, and refusals before any work starts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pantile.denoise import dct, groups

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


# groups of similar patches


def photographs():
    """Parts of the demonstration's photographs, and the same with noise of 25."""
    from sklearn.datasets import load_sample_image

    for name in ("china", "flower"):
        clean = load_sample_image(f"{name}.jpg")[150:270, 250:390].astype(np.float32)
        noise = np.random.default_rng(0).normal(0, 25, clean.shape)
        yield clean, (clean + noise).astype(np.float32)


def test_groups_leave_less_noise_than_patches_by_themselves():
    for clean, noisy in photographs():
        apart = np.square(dct(noisy, 25, channel_axis=-1) - clean).mean()
        together = np.square(groups(noisy, 25, channel_axis=-1) - clean).mean()
        assert together < 0.99 * apart


@pytest.mark.parametrize("axis", [0, -1])
def test_channels_of_groups_may_be_anywhere(axis):
    moved = np.moveaxis(COLOUR, -1, axis)
    expected = np.moveaxis(groups(COLOUR, SIGMA, channel_axis=-1), -1, axis)
    np.testing.assert_array_equal(groups(moved, SIGMA, channel_axis=axis), expected)


def test_groups_are_the_same_for_any_number_of_workers():
    found = groups(NOISY, SIGMA)
    assert found.dtype == NOISY.dtype
    np.testing.assert_array_equal(groups(NOISY, SIGMA, workers=1), found)
    np.testing.assert_array_equal(groups(NOISY.astype("f4"), SIGMA, 4).dtype, np.float32)


def test_groups_are_counted_while_they_are_worked_on():
    from contextlib import nullcontext

    seen = {}

    def watch(stage):
        counts = seen.setdefault(stage.name, [])
        return nullcontext(lambda done, total: counts.append((done, total)))

    groups(COLOUR, SIGMA, channel_axis=-1, watch=watch)
    assert len(seen) == 2
    for counts in seen.values():
        assert counts[-1][0] == counts[-1][1] > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: groups(NOISY, -1), "sigma must be a positive number"),
        (lambda: groups(NOISY[:9, :9], SIGMA), "patch=8 leaves 4 patches.*a group is 16"),
        (lambda: groups(NOISY, SIGMA, radius=-2), "radius must be at least 0"),
    ],
)
def test_what_groups_cannot_do_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

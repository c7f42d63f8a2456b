"""Laws 12 and 13 beyond `map_patches`: axes do not matter, what is late equals what is early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

import pantile as pt
from fuzz import law_checks
from pantile.testing import slow
from tests import _law_models as models

Array = NDArray[Any]

RNG = np.random.default_rng(0)
COLOUR = RNG.random((12, 14, 3))
LABELS = (COLOUR.sum(-1) > 1.5).astype(int)
GRID = pt.PatchGrid((12, 14), 4, 2)

some = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@some
@given(law_checks.matrix_scenes())
def test_a_matrix_of_permuted_axes_is_the_permuted_matrix(scene: dict[str, Any]) -> None:
    law_checks.check_matrix_axes(**scene)


@some
@given(law_checks.where_scenes())
def test_where_is_the_full_run_wherever_all_patches_take_part(scene: dict[str, Any]) -> None:
    law_checks.check_where(**scene)


@some
@given(law_checks.scenes())
def test_a_dask_array_of_permuted_axes_gives_the_permuted_result(scene: dict[str, Any]) -> None:
    pytest.importorskip("dask")
    law_checks.check_axes(**{**scene, "lazy": True, "target": ""})


# a model of an image whose channels stand elsewhere, or that is transposed, predicts the same there

WEIGHTS = 1 + RNG.random((12, 14))


@pytest.mark.parametrize("name", models.NAMES)
@pytest.mark.parametrize("channel", [0, 1])
def test_a_model_does_not_care_where_the_channels_stand(name: str, channel: int) -> None:
    model = models.fitted(name, COLOUR, LABELS, WEIGHTS, channel_axis=2)
    moved = np.moveaxis(COLOUR, 2, channel)
    found = models.fitted(name, moved, LABELS, WEIGHTS, channel_axis=channel)
    assert_alike(models.predicted(found, moved), models.predicted(model, COLOUR))


@pytest.mark.parametrize("name", models.NAMES)
def test_a_model_of_the_transposed_image_predicts_the_transposed(name: str) -> None:
    wanted = models.predicted(models.fitted(name, COLOUR, LABELS, WEIGHTS, channel_axis=2), COLOUR)
    turned = COLOUR.swapaxes(0, 1)
    model = models.fitted(name, turned, LABELS.T, WEIGHTS.T, channel_axis=2)
    assert_alike(models.predicted(model, turned).swapaxes(0, 1), wanted)


@pytest.mark.parametrize("name", models.NAMES)
def test_a_model_takes_batch_axes_as_so_many_images(name: str) -> None:
    several, labels = np.stack([COLOUR, COLOUR[::-1]]), np.stack([LABELS, LABELS[::-1]])
    weights = np.stack([WEIGHTS, WEIGHTS[::-1] + 1])
    one = models.fitted(name, several, labels, weights, channel_axis=3, shape=(3, 3))
    many = models.fitted(
        name, list(several), list(labels), list(weights), channel_axis=2, shape=(3, 3)
    )
    found = models.predicted(one, several)
    for each, image in zip(found, several, strict=True):
        assert_alike(each, models.predicted(many, image))


def assert_alike(found: Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_masked_windows_of_the_transposed_image_are_the_transposed_windows() -> None:
    image = COLOUR[..., 0].copy()
    plain = pt.masked_patchify(image, (3, 4)).compressed().reshape(10, 11, 3, 4)
    turned = pt.masked_patchify(image.T.copy(), (4, 3)).compressed().reshape(11, 10, 4, 3)
    np.testing.assert_array_equal(turned, plain.transpose(1, 0, 3, 2))


def test_compat_verbs_that_have_axes_permute_with_them() -> None:
    from pantile.compat.numpy import sliding_window_view
    from pantile.compat.sklearn import extract_patches_2d

    plain = sliding_window_view(COLOUR, (3, 4), axis=(0, 1))
    turned = sliding_window_view(COLOUR.transpose(2, 1, 0), (4, 3), axis=(1, 2))
    np.testing.assert_array_equal(turned.transpose(2, 1, 0, 4, 3), plain)
    grey = extract_patches_2d(COLOUR[..., 1], (3, 4))
    np.testing.assert_array_equal(extract_patches_2d(COLOUR, (3, 4))[..., 1], grey)


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".tif"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_files_with_axes_in_any_order_give_what_memory_gives(
    suffix: str, order: tuple[int, ...], tmp_path: Path
) -> None:
    image = np.ascontiguousarray(COLOUR.transpose(order)).astype(np.float32)
    path = tmp_path / f"image{suffix}"
    write(path, image)
    channel = order.index(2)
    grid = pt.PatchGrid([n for k, n in enumerate(image.shape) if k != channel], 4, 2)
    options: dict[str, Any] = {"channel_axis": channel, "weights": "hann"}
    func = np.sqrt
    wanted = pt.map_patches(func, image, grid, **options)
    np.testing.assert_array_equal(pt.map_patches(func, path, grid, **options), wanted)
    out = tmp_path / f"result{'.npy' if suffix == '.tif' else suffix}"
    pt.map_patches(func, path, grid, **options, out=out)
    np.testing.assert_array_equal(np.asarray(pt.files.open_image(out)), wanted)
    plain = slow.map_patches(func, image, grid, **options)
    np.testing.assert_allclose(wanted, plain, rtol=1e-6)


def write(path: Path, image: Array) -> None:
    if path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix == ".tif":
        pytest.importorskip("tifffile").imwrite(path, image, photometric="minisblack")
    else:
        array = pytest.importorskip("zarr").create_array(
            str(path), shape=image.shape, dtype=image.dtype, chunks=(5, 3, 2)
        )
        array[...] = image


def test_a_plan_is_the_call_and_stays_it() -> None:
    """Run twice, after a run that was broken off, and with what was given changed in the meantime."""
    image, mask = COLOUR[..., 0].copy(), LABELS.astype(bool)
    options: dict[str, Any] = {"where": mask, "fill": 0, "weights": np.ones((4, 4))}
    calls = 0

    def func(batch: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise InterruptedError
        return np.sqrt(batch)

    drawn = pt.plan(func, image, GRID, **options, workers=1)
    wanted = pt.map_patches(np.sqrt, image, GRID, **options)
    with pytest.raises(InterruptedError):
        drawn.run()
    np.testing.assert_array_equal(drawn.run(), wanted)
    mask[:] = True
    options["weights"][:] = np.arange(16).reshape(4, 4)
    np.testing.assert_array_equal(drawn.run(), wanted)

"""pantile's verbs agree with kornia, tiler, MONAI and PyLops wherever these do the same work."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pantile as pt

pytestmark = pytest.mark.filterwarnings("ignore")  # what the others warn about is not ours to judge


def library(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


@pytest.fixture(scope="module")
def torch():
    return library("torch")


@pytest.fixture(scope="module")
def kornia():
    return library("kornia.contrib")


@pytest.fixture(scope="module")
def tiler():
    return library("tiler")


@pytest.fixture(scope="module")
def monai():
    return library("monai.inferers")


@pytest.fixture(scope="module")
def monai_utils():
    return library("monai.data.utils")


@pytest.fixture(scope="module")
def pylops():
    return library("pylops")


@st.composite
def covered(draw: st.DrawFn, rest: int = 0) -> tuple[tuple[int, ...], ...]:
    """Return shape, patch and step of two axes that patches cover but for at most ``rest`` elements."""
    patch = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    step = tuple(draw(st.integers(1, p)) for p in patch)
    counts = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    left = [draw(st.integers(0, min(rest, s - 1))) for s in step]
    shape = tuple(p + s * (n - 1) + r for p, s, n, r in zip(patch, step, counts, left, strict=True))
    return shape, patch, step


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


# kornia -----------------------------------------------------------------------------------------


@given(case=covered(rest=3), padding=st.integers(0, 2))
def test_kornia_extract_tensor_patches(torch, kornia, case, padding):
    shape, patch, step = case
    images = noise(2, 3, *shape)
    wanted = kornia.extract_tensor_patches(
        torch.from_numpy(images), patch, stride=step, padding=padding
    )
    grid = pt.PatchGrid(shape, patch, step, pad=padding, tail="drop")
    np.testing.assert_array_equal(pt.extract(images, grid, channel_axis=1), wanted.numpy())


@given(case=covered())
def test_kornia_combine_tensor_patches(torch, kornia, case):
    shape, patch, step = case
    grid = pt.PatchGrid(shape, patch, step)
    patches = noise(2, grid.n_patches, 3, *patch)
    wanted = kornia.combine_tensor_patches(torch.from_numpy(patches), shape, patch, stride=step)
    found = pt.unpatchify(patches, grid, channel_axis=1)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12)


# tiler ------------------------------------------------------------------------------------------


def tiler_of(tiler: Any, case: Any, mode: str) -> Any:
    shape, patch, step = case
    overlap = tuple(p - s for p, s in zip(patch, step, strict=True))
    return tiler.Tiler(shape, patch, overlap=overlap, mode=mode, constant_value=7.0)


@given(case=covered(rest=3), mode=st.sampled_from(["constant", "edge", "drop"]))
def test_tiler_get_all_tiles(tiler, case, mode):
    shape, patch, step = case
    image = noise(*shape)
    wanted = tiler_of(tiler, case, mode).get_all_tiles(image)
    options: dict[str, Any] = {"tail": "pad", "pad_mode": mode, "pad_value": 7.0}
    grid = pt.PatchGrid(shape, patch, step, **({"tail": "drop"} if mode == "drop" else options))
    np.testing.assert_array_equal(pt.extract(image, grid), wanted)


@given(case=covered(rest=3), seed=st.integers(0, 99))
def test_tiler_merger(tiler, case, seed):
    shape, patch, step = case
    tiles = tiler_of(tiler, case, "constant")
    grid = pt.PatchGrid(shape, patch, step, tail="pad")
    patches, weights = noise(grid.n_patches, *patch, seed=seed), noise(*patch, seed=seed + 1) + 0.1
    exact = {"data_dtype": np.float64, "weights_dtype": np.float64}
    merger = tiler.Merger(tiles, window=weights, **exact)
    for number, values in enumerate(patches):
        merger.add(number, values)
    wanted = merger.merge(normalize_by_weights=True)
    np.testing.assert_allclose(pt.unpatchify(patches, grid, weights=weights), wanted, rtol=1e-12)


# MONAI ------------------------------------------------------------------------------------------


@given(case=covered(rest=3))
def test_monai_sliding_window_splitter_and_avg_merger(torch, monai, case):
    shape, patch, step = case
    overlap = tuple(p - s for p, s in zip(patch, step, strict=True))
    splitter = monai.SlidingWindowSplitter(patch_size=patch, overlap=overlap, pad_value=7)
    image = noise(1, 2, *shape)
    wanted = list(splitter(torch.from_numpy(image)))
    grid = pt.PatchGrid(shape, patch, step, tail="pad", pad_value=7)
    found = pt.extract(image, grid, channel_axis=1)[0]
    np.testing.assert_array_equal(found, np.concatenate([p.numpy() for p, _ in wanted]))
    starts = np.stack(np.meshgrid(*grid.starts, indexing="ij"), axis=-1).reshape(-1, 2)
    assert [tuple(at) for at in starts] == [tuple(at) for _, at in wanted]

    merged = (1, 2, *(n + after for n, (_, after) in zip(shape, grid.margins, strict=True)))
    kinds = {"value_dtype": torch.float64, "count_dtype": torch.int32}
    merger = monai.AvgMerger(merged, cropped_shape=image.shape, **kinds)
    patches = noise(*found.shape)
    for values, (_, at) in zip(patches, wanted, strict=True):
        merger.aggregate(torch.from_numpy(values)[None], at)
    mean = pt.unpatchify(patches, grid, channel_axis=0)
    np.testing.assert_allclose(mean, merger.finalize()[0].numpy(), rtol=1e-12)


@given(case=covered(rest=3))
def test_monai_dense_patch_slices(monai_utils, case):
    shape, patch, step = case
    wanted = monai_utils.dense_patch_slices(shape, patch, step)
    found = [tuple(slice(s.start, s.stop) for s in region) for region in pt.PatchGrid(*case)]
    assert found == [tuple(region) for region in wanted]


@given(case=covered(rest=3), seed=st.integers(0, 99))
def test_monai_sliding_window_inference(torch, monai, case, seed):
    shape, patch, step = case
    image, ramp = noise(*shape, seed=seed), noise(*patch, seed=seed + 1)
    weights = noise(*patch, seed=seed + 2) + 0.1
    # a hair more overlap, so that int(patch * (1 - overlap)) rounds to the step
    overlap = [1 - (s + 1e-6) / p for s, p in zip(step, patch, strict=True)]
    wanted = monai.sliding_window_inference(
        torch.from_numpy(image)[None, None],
        patch,
        3,
        lambda batch: batch * torch.from_numpy(ramp) + 1,
        overlap=[max(o, 0.0) for o in overlap],
        roi_weight_map=torch.from_numpy(weights),
    )
    found = pt.map_patches(
        lambda batch: batch * ramp + 1, image, pt.PatchGrid(*case), weights=weights
    )
    np.testing.assert_allclose(found, wanted[0, 0].numpy(), rtol=1e-6)


# PyLops -----------------------------------------------------------------------------------------


@given(case=covered(rest=3), seed=st.integers(0, 99), complex_image=st.booleans())
def test_pylops_dot_test_of_the_patch_matrix(pylops, case, seed, complex_image):
    image = noise(*case[0], seed=seed) * (1 + 2j if complex_image else 1)
    operator = pylops.aslinearoperator(pt.PatchMatrix(image, case[1], case[2]).aslinearoperator())
    kind = 3 if complex_image else 0
    assert pylops.utils.dottest(operator, *operator.shape, complexflag=kind, rtol=1e-10)
    vector = noise(operator.shape[1], seed=seed)
    rows = pt.extract(image, case[1], case[2]).reshape(operator.shape)
    np.testing.assert_allclose(operator @ vector, rows @ vector, rtol=1e-10)


@given(case=covered())
def test_pylops_dot_test_of_cutting_and_merging(pylops, case):
    """The cut as an operator on images: its adjoint is the sum merge."""
    grid = pt.PatchGrid(*case)

    class Cut(pylops.LinearOperator):
        def __init__(self) -> None:
            shape = grid.n_patches * grid.features, int(np.prod(grid.shape))
            super().__init__(dtype=np.dtype("f8"), shape=shape)

        def _matvec(self, x: np.ndarray) -> np.ndarray:
            return pt.extract(x.reshape(grid.shape), grid).ravel()

        def _rmatvec(self, x: np.ndarray) -> np.ndarray:
            patches = x.reshape(grid.n_patches, *grid.patch)
            return pt.unpatchify(patches, grid, merge="sum").ravel()

    assert pylops.utils.dottest(Cut(), *Cut().shape, rtol=1e-10)


@given(case=covered())
def test_pylops_patch2d(pylops, case):
    shape, patch, step = case
    grid = pt.PatchGrid(shape, patch, step)
    assume(len(grid) > 1)  # of one patch Patch2D takes the operator to be one on all patches
    overlap = tuple(p - s for p, s in zip(patch, step, strict=True))
    operator = pylops.signalprocessing.Patch2D(
        pylops.Identity(grid.features),
        (grid.counts[0] * patch[0], grid.counts[1] * patch[1]),
        shape,
        patch,
        overlap,
        patch,
        tapertype=None,
    )
    image, patches = noise(*shape), noise(*grid.counts, *patch)
    cut, total = operator.H @ image.ravel(), operator @ patches.ravel()
    np.testing.assert_array_equal(pt.patchify(image, patch, step).ravel(), np.ravel(cut))
    found = pt.unpatchify(patches, grid, merge="sum")
    np.testing.assert_allclose(found.ravel(), np.ravel(total), rtol=1e-12)

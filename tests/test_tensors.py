"""torch tensors through every verb: a tensor of the same dtype comes back, with the numbers of NumPy's verbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt

torch = pytest.importorskip("torch")

GRID = pt.PatchGrid((20, 24), 6, 2)
IMAGE = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32)
PATCHES = pt.extract(IMAGE, GRID)
ROWS = np.random.default_rng(1).permutation(len(GRID))
V = np.random.default_rng(2).normal(size=(36, 3)).astype(np.float32)
U = np.random.default_rng(3).normal(size=(len(GRID), 3)).astype(np.float32)


def merged(patches: Any) -> Any:
    merger = pt.Merger(GRID, weights="hann")
    for rows in np.array_split(ROWS, 3):
        merger.add(patches[rows], rows)
    return merger.result()


def like(x: Any, array: NDArray[Any]) -> Any:
    return torch.from_numpy(array).to(x.dtype) if isinstance(x, torch.Tensor) else array


VERBS: dict[str, tuple[Callable[[Any], Any], NDArray[Any]]] = {
    "map_patches": (lambda x: pt.map_patches(lambda b: b * 2, x, 6, 2), IMAGE),
    "plan": (lambda x: pt.plan(lambda b: b * 2, x, 6, 2).run(), IMAGE),
    "patchify": (lambda x: pt.patchify(x, 6, 2), IMAGE),
    "extract": (lambda x: pt.extract(x, 6, 2), IMAGE),
    "extract feature": (
        lambda x: pt.extract(x, 6, 2, layout="feature", indices=[4, 0, -1]),
        IMAGE,
    ),
    "unpatchify": (lambda x: pt.unpatchify(x, GRID, weights="hann"), PATCHES),
    "unpatchify median": (lambda x: pt.unpatchify(x, GRID, merge="median"), PATCHES),
    "Merger": (merged, PATCHES),
    "PatchMatrix @": (lambda x: pt.PatchMatrix(x, 6, 2) @ like(x, V), IMAGE),
    "PatchMatrix.T @": (lambda x: pt.PatchMatrix(x, 6, 2).T @ like(x, U), IMAGE),
    "PatchMatrix rows": (lambda x: pt.PatchMatrix(x, 6, 2)[3:9][[1, 0]], IMAGE),
}
DTYPES = ["float32", "float64", "bfloat16", "float16"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("verb", VERBS)
def test_tensors_come_back_as_tensors_of_their_dtype(verb: str, dtype: str) -> None:
    """A network's user got NumPy arrays back, and bfloat16 was refused."""
    call, array = VERBS[verb]
    given = torch.from_numpy(array).to(getattr(torch, dtype))
    found = call(given)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == given.dtype
    wanted = call(given.double().numpy())
    rounding = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    scale = max(1, np.abs(wanted).max())
    np.testing.assert_allclose(found.double().numpy(), wanted, rtol=0, atol=rounding * scale)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "bool"])
def test_whole_numbers_merge_as_numpys_do(dtype: str) -> None:
    image = np.random.default_rng(0).integers(0, 2, (20, 24)).astype(dtype)
    patches = pt.extract(image, GRID)
    for options in ({}, {"merge": "sum"}, {"dtype": "uint8"}, {"merge": "max"}):
        wanted = pt.unpatchify(patches, GRID, **options)
        found = pt.unpatchify(pt.extract(torch.from_numpy(image), GRID), GRID, **options)
        assert str(found.dtype) == f"torch.{wanted.dtype}"
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_patchify_is_a_view_of_the_tensors_memory() -> None:
    image = torch.zeros(20, 24)
    view = pt.patchify(image, 6, 2)
    image[3, 3] = 7
    assert view[0, 0, 3, 3] == 7
    assert view.untyped_storage().data_ptr() == image.untyped_storage().data_ptr()
    grid = pt.PatchGrid((20, 24), (3, 4), (4, 5), dilation=(2, 3), tail="center")
    wanted = pt.patchify(IMAGE, grid)
    np.testing.assert_array_equal(pt.patchify(torch.from_numpy(IMAGE), grid).numpy(), wanted)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "Merger"])
def test_a_tensor_of_another_layout_gets_one_clear_error(verb: str) -> None:
    call, array = VERBS[verb]
    with pytest.raises((TypeError, NotImplementedError), match="sparse"):
        call(torch.from_numpy(array).to_sparse())


MIXED: dict[str, Callable[[], Any]] = {
    "out of extract": lambda: pt.extract(torch.from_numpy(IMAGE), GRID, out=np.empty_like(PATCHES)),
    "product": lambda: pt.PatchMatrix(torch.from_numpy(IMAGE), GRID) @ V,
    "product of arrays": lambda: pt.PatchMatrix(IMAGE, GRID) @ torch.from_numpy(V),
    "func": lambda: pt.map_patches(lambda b: b.numpy(), torch.from_numpy(IMAGE), GRID),
}


@pytest.mark.parametrize("case", MIXED)
def test_two_kinds_mixed_is_one_clear_error(case: str) -> None:
    with pytest.raises(TypeError, match=r"torch.*(numpy|ndarray)|numpy.*torch|tensor"):
        MIXED[case]()


def test_a_merger_is_fed_one_kind() -> None:
    merger = pt.Merger(GRID)
    merger.add(torch.from_numpy(PATCHES[:3]), [0, 1, 2])
    with pytest.raises(TypeError, match="numpy"):
        merger.add(PATCHES[3:5], [3, 4])
    merger = pt.Merger(GRID)
    merger.add(PATCHES[:3], [0, 1, 2])
    with pytest.raises(TypeError, match="torch"):
        merger.add(torch.from_numpy(PATCHES[3:5]), [3, 4])
    np.testing.assert_array_equal(merger.coverage() > 0, pt.Merger.coverage(merger) > 0)


def test_func_gets_batches_without_a_copy_and_under_the_callers_modes() -> None:
    """Modes of torch hold per thread, and func is called in others."""
    seen: list[tuple[bool, bool]] = []

    def func(batch: Any) -> Any:
        seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return net(batch[:, None])[:, 0]

    net = torch.nn.Conv2d(1, 1, 3, padding=1)
    image = torch.zeros(200, 200)
    for mode, wanted in (
        (torch.no_grad(), (False, False)),
        (torch.inference_mode(), (False, True)),
    ):
        with mode:
            found = pt.map_patches(func, image, 6, 2, workers=2, batch_bytes=20000)
        assert isinstance(found, torch.Tensor)
        assert set(seen) == {wanted}
        seen.clear()


def test_a_result_with_gradients_says_where_to_end_them() -> None:
    net = torch.nn.Conv2d(1, 1, 3, padding=1)
    with pytest.raises(TypeError, match=r"inference_mode\(\) inside func"):
        pt.map_patches(lambda b: net(b[:, None])[:, 0], torch.zeros(40, 40), 6, 2)


def test_where_weights_and_indices_may_be_tensors() -> None:
    image, where = torch.from_numpy(IMAGE), IMAGE > 1.5
    options = {"fill": 0.0}
    found = pt.map_patches(lambda b: b + 1, image, GRID, where=torch.from_numpy(where), **options)
    wanted = pt.map_patches(lambda b: b + 1, IMAGE, GRID, where=where, **options)
    np.testing.assert_array_equal(found.numpy(), wanted)
    each = np.linspace(0.5, 1, len(GRID))
    found = pt.unpatchify(torch.from_numpy(PATCHES), GRID, patch_weights=torch.from_numpy(each))
    wanted = pt.unpatchify(PATCHES, GRID, patch_weights=each)
    np.testing.assert_array_equal(found.numpy(), wanted)
    rows = torch.tensor([3, 1])
    np.testing.assert_array_equal(pt.extract(image, GRID, indices=rows).numpy(), PATCHES[[3, 1]])


def test_results_go_to_files_and_to_tensors(tmp_path: Path) -> None:
    image = torch.from_numpy(IMAGE)
    pt.map_patches(lambda b: b * 3, image, GRID, out=tmp_path / "a.npy")
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), IMAGE * 3, rtol=1e-6)
    out = torch.empty(20, 24)
    assert pt.map_patches(lambda b: b * 3, image, GRID, out=out) is out
    np.testing.assert_allclose(out.numpy(), IMAGE * 3, rtol=1e-6)
    patches = torch.empty(*PATCHES.shape)
    assert pt.extract(image, GRID, out=patches) is patches
    np.testing.assert_array_equal(patches.numpy(), PATCHES)


@pytest.mark.parametrize("workers", [1, 2])
def test_finalize_and_several_results_are_tensors(workers: int) -> None:
    net = torch.nn.Conv2d(1, 3, 3, padding=1)

    def func(batch: Any) -> Any:
        return net(batch)

    image = torch.from_numpy(IMAGE)[None]
    with torch.inference_mode():
        scores = pt.map_patches(func, image, (6, 6), 2, channel_axis=0, workers=workers)
        labels = pt.map_patches(
            func, image, (6, 6), 2, channel_axis=0, finalize=lambda s: s.argmax(0), workers=workers
        )
    assert scores.shape == (3, 20, 24)
    assert torch.equal(labels, scores.argmax(0))


def test_estimators_take_tensors_by_their_memory() -> None:
    learn = pytest.importorskip("pantile.learn")
    model = learn.PatchPCA(5, n_components=3).fit(torch.from_numpy(IMAGE))
    wanted = learn.PatchPCA(5, n_components=3).fit(IMAGE)
    np.testing.assert_array_equal(model.components_, wanted.components_)


def test_statistics_of_the_matrix_are_float64_tensors() -> None:
    X, Y = pt.PatchMatrix(torch.from_numpy(IMAGE), GRID), pt.PatchMatrix(IMAGE, GRID)
    assert X.gram().dtype == torch.float64
    np.testing.assert_array_equal(X.gram().numpy(), Y.gram())
    np.testing.assert_array_equal(X.std(0).numpy(), Y.std(0))
    np.testing.assert_array_equal(np.asarray(X), np.asarray(Y))


def test_the_row_of_sliding_window_inference_runs_as_it_is_written() -> None:
    """It was given a tensor, and lacked the channel axis."""
    page = Path(__file__).parent.parent / "docs" / "compat.md"
    row = next(
        line for line in page.read_text().splitlines() if "sliding_window_inference(x, p" in line
    )
    code = row.split("|")[2].strip().strip("`")
    net = torch.nn.Conv2d(2, 4, 3, padding=1).eval()
    x, p, s, w = torch.randn(2, 2, 40, 44), (16, 16), (8, 8), "gaussian"
    names = {"map_patches": pt.map_patches, "PatchGrid": pt.PatchGrid, "torch": torch}
    grid = pt.PatchGrid((40, 44), p, s)
    found = eval(code, names | {"f": net, "x": x, "p": p, "s": s, "w": w})
    with torch.inference_mode():
        wanted = [
            pt.unpatchify(
                net(torch.from_numpy(pt.extract(one, grid, channel_axis=0))).numpy(), grid,
                channel_axis=0, weights=w,
            )
            for one in x.numpy()
        ]  # fmt: skip
    np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-5, atol=1e-6)

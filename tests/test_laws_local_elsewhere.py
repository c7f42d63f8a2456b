"""Law 11 for models, trainers, pictures, tiles on disk, tensors and the command line."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

import pantile as pt
from tests import _law_models as models
from tests._law_calls import module
from tests.test_laws_local import SIDES, Calls, Counted, peak

Array = NDArray[Any]
RNG = np.random.default_rng(0)
SMALL = RNG.random((20, 22))
LABELS = (SMALL > 0.5).astype(int)


def same(batch: Array) -> Array:
    return batch


@pytest.mark.parametrize("name", models.NAMES)
def test_a_model_predicts_a_corner_for_what_a_corner_costs(name: str) -> None:
    """A view of a large image, whose memory is not gone over."""
    model = models.fitted(name, SMALL, LABELS, 1 + SMALL)
    corners = [np.zeros((side, side))[-30:, -30:] for side in (200, 1600)]
    small, large = (peak(partial(models.predicted, model, corner)) for corner in corners)
    assert large <= 2 * small + 20_000, (small, large)


class Rows(BaseEstimator):  # type: ignore[misc]
    """An estimator that counts its rows."""

    seen = 0

    def fit(self, rows: Array, targets: Any = None) -> Rows:
        Rows.seen += len(rows)
        return self

    def predict(self, rows: Array) -> Array:
        Rows.seen += len(rows)
        return np.zeros(len(rows))


def test_a_model_is_fitted_on_the_labelled_windows_alone() -> None:
    """Nothing is made that has a window's features for every pixel: 121 here; labels are looked at, all of them."""
    for side in (100, 800):
        image, labels = np.zeros((side, side), np.float32), np.full((side, side), -1)
        labels[:9, :4], labels[:9, 4:9] = 0, 1
        Rows.seen = 0
        pt.learn.PatchEstimator(Rows(), 11).fit(image, labels)
        assert Rows.seen == 81
        for fit in (
            lambda i=image, y=labels: pt.learn.PatchLDA(11, shrinkage=0.5).fit(i, y),
            lambda i=image, y=labels: pt.learn.PatchForestClassifier(11, n_estimators=1).fit(i, y),
        ):
            assert peak(fit) < 40 * side**2 + 1_500_000  # type: ignore[arg-type]


# what is allocated by calls of few patches


def rows_of_masked(side: int, _: Path) -> Callable[[], Any]:
    windows = pt.masked_patchify(np.zeros((side, 40), np.float32), 8)
    return lambda: (windows[5], windows[3:6, 2], windows[-1, ::2])


def custom_merger(side: int, _: Path) -> Callable[[], Any]:
    def add(state: Any, values: Array, _: Array | None) -> None:
        state[0][...] += values

    merge = pt.Merge(
        init=lambda shape, _: (np.zeros(shape),),
        accumulate=add,
        combine=lambda state, _: state,
        finalize=lambda state: state[0],
    )
    merger = pt.Merger(pt.PatchGrid((side, side), 8, 4), merge=merge)
    firsts, patches = itertools.count(0, 200), np.ones((4, 8, 8))
    return lambda: merger.add(patches, np.array([0, 1, 50, 51]) + next(firsts))


def trainers(side: int, _: Path) -> Callable[[], Any]:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    del lightgbm, xgboost
    X = pt.PatchMatrix(np.zeros((side, side), np.float32), 8, 4)
    sequence = module("integrations.lightgbm").PatchSequence(X)
    of_all = np.broadcast_to(1.0, len(X))
    return lambda: (
        sequence[0],
        sequence[1:4],
        sequence[[1, 2]],
        module("integrations.xgboost").PatchDataIter(X, of_all),
        pt.integrations.predict_rows(lambda rows: rows.max(1), X[:5]),
    )


def datasets(side: int, _: Path) -> Callable[[], Any]:
    pytest.importorskip("torch")
    integration = module("integrations.torch")
    dataset = integration.PatchDataset(pt.PatchMatrix(np.zeros((side, side), np.float32), 8, 4))
    return lambda: (dataset[0], dataset[[1, 2]])


def labelled(side: int, _: Path) -> Callable[[], Any]:
    labels = np.full((side, side), -1)
    labels[:5, :5] = 1
    X, _y = pt.integrations.labelled_rows(
        np.zeros((side, side), np.float32), labels, pt.PatchGrid((side, side), 3)
    )
    return lambda: (X[:3], X[[0, 2]])


def pictures(side: int, _: Path) -> Callable[[], Any]:
    figure = pytest.importorskip("matplotlib.figure")
    grid, view = pt.PatchGrid((20 * side,) * 2, 16, 8), pt.patchify(np.zeros((side, side)), 8, 4)

    def call() -> None:
        pt.plot.grid(grid, ax=figure.Figure().subplots())
        pt.plot.grid(grid, indices=[0, 5], ax=figure.Figure().subplots())
        pt.plot.montage(view, most=9, ax=figure.Figure().subplots())
        pt.plot.coverage(grid, ax=figure.Figure().subplots())
        pt.plot.weight_sum(grid, "hann", ax=figure.Figure().subplots())

    return call


def manifest(side: int, folder: Path) -> Callable[[], Any]:
    place = folder / f"{side}.npy"
    pt.tileset.write_tiles(np.zeros((side, side), np.uint8), place, 32, 32)

    def call() -> Any:
        found = pt.tileset.read_manifest(place)
        number = found.n_tiles - 1
        tile = pt.files.open_image(place)[(slice(0, 1), slice(0, 1), slice(None), slice(None))]
        return found.stem(number), found.grid[number], tile.sum()

    return call


def header(side: int, folder: Path) -> Callable[[], Any]:
    from pantile.cli.commands import run

    paths = [folder / f"{side}{suffix}" for suffix in (".npy", ".tif", ".png")]
    for path in paths:
        pt.map_patches(same, np.zeros((side, side), np.uint8), 50, 50, out=path, dtype=np.uint8)

    def call() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(["info", *map(str, paths), "--patch", "16", "--json"]) == 0

    return call


def tensors(side: int, _: Path) -> Callable[[], Any]:
    standard = pytest.importorskip("array_api_strict")
    image = standard.zeros((side, side), dtype=standard.float32)
    grid = pt.PatchGrid((side, side), 8, 4)
    return lambda: (pt.extract(image, grid, indices=[0, 5, -1]), pt.PatchMatrix(image, grid))


def denoised(side: int, _: Path) -> Callable[[], Any]:
    image = np.zeros((side, side), np.float32)
    return lambda: pt.denoise.dct(image[:40, :40], 0.1, 4)


def from_others(side: int, _: Path) -> Callable[[], Any]:
    image = np.zeros((side, side))
    return lambda: (
        module("compat.skimage").view_as_blocks(image, (8, 8)),
        module("compat.patchify").patchify(image, (8, 8), 4),
        module("compat.sklearn").extract_patches_nd(
            image, (8, 8), max_patches=3, random_state=0
        ),
        module("compat.sklearn").PatchExtractor(
            patch_size=(8, 8), max_patches=3, random_state=0
        ).transform(image[None]),
    )  # fmt: skip


ALLOCATING: dict[str, Callable[[int, Path], Callable[[], Any]]] = {
    "masked_patchify": rows_of_masked,
    "Merge": custom_merger,
    "integrations.lightgbm.PatchSequence & integrations.xgboost.PatchDataIter"
    " & integrations.predict_rows": trainers,
    "integrations.torch.PatchDataset": datasets,
    "integrations.labelled_rows": labelled,
    "plot.grid & plot.montage & plot.coverage & plot.weight_sum": pictures,
    "tileset.read_manifest & tileset.Manifest": manifest,
    "pantile info": header,
    "tensors.extract & tensors.TensorPatchMatrix": tensors,
    "denoise.dct": denoised,
    "compat.skimage.view_as_blocks & compat.patchify.patchify & compat.sklearn.extract_patches_nd"
    " & compat.sklearn.PatchExtractor": from_others,
}


@pytest.mark.parametrize("name", ALLOCATING)
def test_few_patches_allocate_as_much_at_any_size(name: str, tmp_path: Path) -> None:
    small, large = (peak(ALLOCATING[name](side, tmp_path)) for side in (200, 1600))
    assert large <= 2 * small + 100_000, (small, large)


# what is read of an image, and given to func


@pytest.mark.parametrize("what", ["Indexed", "Weighted"])
def test_functions_of_more_than_patches_are_called_for_the_corner(what: str) -> None:
    found = []
    for side in SIDES:
        image, calls = Counted(side), Calls()
        func: Any = pt.Indexed(lambda b, _, c=calls: c(b))
        if what == "Weighted":
            func = lambda b, c=calls: pt.Weighted(c(b), np.ones(len(b)))  # noqa: E731
        where = np.zeros((side, side), bool)
        where[-20:, -20:] = True
        pt.map_patches(func, image, 16, 8, where=where, fill=0)
        found.append((image.read, calls.patches))
    assert found[1] <= tuple(2 * n for n in found[0]), found


def test_a_plan_reads_nothing() -> None:
    image, calls = Counted(3000), Calls()
    plan = pt.plan(calls, image, 16, 8, dtype=np.float32)
    assert "16" in str(plan)
    assert plan.n_patches == pt.PatchGrid((3000, 3000), 16, 8).n_patches
    assert image.read == 0


def test_similar_patches_of_a_corner_read_the_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    from pantile.search import side as sides

    found = []
    for size in (200, 1000):
        read = 0

        def counting(*given: Any, read_block: Any = sides.read_block) -> Any:
            nonlocal read
            block = read_block(*given)
            read += block.size
            return block

        image, where = RNG.random((size, size), np.float32), np.zeros((size, size), bool)
        where[:20, :20] = True
        with monkeypatch.context() as patched:
            patched.setattr(sides, "read_block", counting)
            pt.similar(image, 8, 2, where=where, radius=6)
        found.append(read)
    assert 0 < found[1] <= 2 * found[0], found

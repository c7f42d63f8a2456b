"""Law 13 beyond `map_patches`: what is streamed, resumed, read by parts or asked for later is what it is at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt
from tests import _law_models as models
from tests._law_calls import module

Array = NDArray[Any]
IMAGE = np.random.default_rng(0).random((60, 40))
LABELS = (IMAGE > 0.5).astype(int)
WEIGHTS = 1 + np.random.default_rng(1).random(IMAGE.shape)
GRID = pt.PatchGrid(IMAGE.shape, 8, 4)
PREDICTING = [name for name in models.NAMES if name != "PatchPCA"]  # it has `transform` only


# models


@pytest.mark.parametrize("name", PREDICTING)
@pytest.mark.parametrize("memory", [None, "3MB"])
def test_predictions_of_a_file_are_those_of_the_image(
    name: str, memory: str | None, tmp_path: Path
) -> None:
    model = models.fitted(name, IMAGE, LABELS, WEIGHTS)
    wanted = model.predict(IMAGE)
    np.save(tmp_path / "image.npy", IMAGE)
    streamed = model.predict(tmp_path / "image.npy", out=tmp_path / "out.npy", memory=memory)
    assert Path(streamed) == tmp_path / "out.npy"
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted, rtol=1e-9, atol=1e-12)
    out = np.empty(wanted.shape, wanted.dtype)
    assert model.predict(IMAGE, out=out) is out
    np.testing.assert_allclose(out, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", models.NAMES)
def test_predictions_of_a_list_are_those_of_each(name: str) -> None:
    model = models.fitted(name, IMAGE, LABELS, WEIGHTS)
    method = model.predict if hasattr(model, "predict") else model.transform
    images = [IMAGE, IMAGE[:20] * 2]
    for each, image in zip(method(images), images, strict=True):
        np.testing.assert_allclose(each, method(image), rtol=1e-12)


@pytest.mark.parametrize("name", ["PatchPCA", "PatchLDA", "PatchKMeans"])
def test_fitting_and_transforming_in_one_call_is_one_after_the_other(name: str) -> None:
    model = models.fitted(name, IMAGE, LABELS)
    other = models.fitted(name, IMAGE, LABELS)
    given = (IMAGE,) if name == "PatchKMeans" else (IMAGE, LABELS)
    np.testing.assert_allclose(other.fit_transform(*given), model.transform(IMAGE), rtol=1e-9)
    if hasattr(model, "fit_predict"):
        np.testing.assert_array_equal(other.fit_predict(IMAGE), model.predict(IMAGE))


def test_an_estimator_that_adds_up_is_fitted_by_batches_as_on_all_rows() -> None:
    from sklearn.naive_bayes import GaussianNB

    model = pt.learn.PatchEstimator(GaussianNB(), 3, batch_size=64).fit(IMAGE, LABELS)
    grid = pt.PatchGrid(IMAGE.shape, 3, pad="same", pad_mode="reflect")
    rows = np.asarray(pt.PatchMatrix(IMAGE, grid))
    plain = GaussianNB().fit(rows, LABELS.ravel())
    np.testing.assert_allclose(model.estimator_.theta_, plain.theta_, rtol=1e-9)
    np.testing.assert_allclose(model.estimator_.var_, plain.var_, rtol=1e-6)
    np.testing.assert_array_equal(model.predict(IMAGE).ravel(), plain.predict(rows))


# searches and labels


@pytest.mark.parametrize("normalize", [False, True])
def test_a_search_that_is_narrowed_is_the_whole_search_there(normalize: bool) -> None:
    options: dict[str, Any] = {"step": 3, "normalize": normalize}
    wanted = pt.similar(IMAGE, 6, 3, **options)
    where = np.random.default_rng(2).random(wanted.indices.shape[:2]) < 0.3
    some = pt.similar(IMAGE, 6, 3, where=where, **options)
    first = pt.similar(IMAGE, 6, 1, **options)
    wide = pt.similar(IMAGE, 6, 3, radius=60, among=np.ones_like(where), **options)
    both = pt.similar(np.stack([IMAGE, IMAGE[::-1]]), 6, 3, axes=(1, 2), **options)
    other = pt.similar(IMAGE, 6, 3, other=IMAGE, exclude=0, **options)
    for k in range(2):
        np.testing.assert_array_equal(some[k][where], wanted[k][where])
        np.testing.assert_array_equal(first[k], wanted[k][..., :1])
        np.testing.assert_allclose(wide[k], wanted[k], rtol=1e-9)
        np.testing.assert_allclose(both[k][0], wanted[k], rtol=1e-9)
        np.testing.assert_allclose(other[k], wanted[k], rtol=1e-9)
    assert (some.indices[~where] == -1).all()
    assert np.isinf(some.distances[~where]).all()


def test_labels_that_are_streamed_are_those_in_memory(tmp_path: Path, tiles_of: Any) -> None:
    from scipy import ndimage

    image = IMAGE > 0.6
    tiles = np.stack([ndimage.label(patch)[0] for patch in pt.extract(image, GRID)])
    wanted = pt.join_labels(tiles, GRID)
    assert wanted.max() > 20
    with tiles_of(300):
        found = pt.join_labels(tiles, GRID, memory="3MB", workers=2, out=tmp_path / "labels.npy")
    np.testing.assert_array_equal(np.load(found), wanted)
    out = np.zeros(IMAGE.shape, np.int64)
    pt.join_labels(lambda k: tiles[k], GRID, out=out, dtype=np.int64, workers=1)
    np.testing.assert_array_equal(out, wanted)


# tiles and files


@pytest.mark.parametrize("name", ["tiles", "tiles.npy", "tiles.zarr"])
def test_tiles_that_are_merged_later_are_those_merged_at_once(name: str, tmp_path: Path) -> None:
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    pt.tileset.write_tiles(IMAGE, tmp_path / name, GRID, suffix=".npy")
    wanted = pt.map_patches(lambda b: b, IMAGE, GRID, merge="max", weights=None)
    np.testing.assert_array_equal(pt.tileset.merge_tiles(tmp_path / name, merge="max"), wanted)
    if name != "tiles":
        kept = pt.files.open_image(tmp_path / name)[(slice(None),) * 4]
        np.testing.assert_array_equal(kept.reshape(-1, 8, 8), pt.extract(IMAGE, GRID))


def test_tiles_of_a_run_that_went_on_are_those_of_one_that_did_not(
    tmp_path: Path, tiles_of: Any
) -> None:
    calls = 0

    def stop(*_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise InterruptedError

    place = tmp_path / "tiles.npy"
    with tiles_of(300):
        with pytest.raises(InterruptedError):
            pt.tileset.write_tiles(IMAGE, place, GRID, progress=stop, workers=1)
        assert not place.exists()
        pt.tileset.write_tiles(IMAGE, place, GRID, resume=True, workers=1)
    np.testing.assert_array_equal(np.load(place).reshape(-1, 8, 8), pt.extract(IMAGE, GRID))


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".zarr", ".png"])
def test_what_is_in_a_file_is_the_result_in_memory(suffix: str, tmp_path: Path) -> None:
    image = (IMAGE * 255).astype(np.uint8)
    options: dict[str, Any] = {"dtype": np.uint8, "weights": "hann"}
    wanted = pt.map_patches(np.sqrt, image, GRID, **options)
    place = tmp_path / f"result{suffix}"
    pt.map_patches(np.sqrt, image, GRID, out=place, **options)
    found = pt.files.open_image(place)
    np.testing.assert_array_equal(found[(slice(None),) * 2], wanted)
    again = tmp_path / f"sink{suffix}"
    sinks = {".npy": pt.files.NpySink, ".tif": pt.files.TiffSink, ".zarr": pt.files.ZarrSink}
    sink = sinks.get(suffix, pt.files.PictureSink)(str(again))
    pt.map_patches(np.sqrt, image, GRID, out=pt.files.sink_of(sink), **options)
    np.testing.assert_array_equal(pt.files.open_image(again)[(slice(None),) * 2], wanted)


# functions of more than patches


def test_weights_that_come_with_patches_are_those_given_afterwards() -> None:
    patches = pt.extract(IMAGE, GRID)
    found = pt.map_patches(lambda b: pt.Weighted(b**2, 1 + b.mean((1, 2))), IMAGE, GRID)
    wanted = pt.unpatchify(patches**2, GRID, patch_weights=1 + patches.mean((1, 2)))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("workers", [1, 2])
def test_numbers_of_patches_are_those_of_the_grid(workers: int, tiles_of: Any) -> None:
    where = np.random.default_rng(3).random(GRID.counts) < 0.5
    with tiles_of(300):
        found = pt.map_patches(
            pt.Indexed(lambda _, at: at), IMAGE, GRID, merge=None, where=where, fill=-1, workers=workers
        )  # fmt: skip
    np.testing.assert_array_equal(
        found, np.where(where, np.arange(len(GRID)).reshape(GRID.counts), -1)
    )


def test_a_model_on_tiles_is_the_same_in_any_batches() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Conv2d(1, 2, 3, padding=1)
    image = IMAGE.astype(np.float32)[None]
    model = module("integrations.torch").TileModel(net, tta="flips")
    found = [pt.map_patches(model, image, GRID, channel_axis=0, batch=n) for n in (1, 7, 64)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        cut = torch.from_numpy(pt.extract(image, GRID, channel_axis=0))
        flips = [(), (2,), (3,), (2, 3)]
        each = sum(net(cut.flip(f)).flip(f) for f in flips) / 4  # type: ignore[arg-type]
    wanted = pt.unpatchify(each.numpy(), GRID, channel_axis=0)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-6)


# rows


def test_rows_in_blocks_are_the_rows_at_once() -> None:
    X = pt.PatchMatrix(IMAGE, GRID)
    rows = np.asarray(X)
    for nbytes in (64, 5000, 10**7):
        found = [(part, block.copy()) for part, block in X.blocks(nbytes)]
        np.testing.assert_array_equal(np.concatenate([block for _, block in found]), rows)
        means = pt.integrations.predict_rows(lambda b: b.max(1), X, nbytes=nbytes)
        np.testing.assert_array_equal(means, rows.max(1).astype(np.float32))
    some, where = pt.integrations.labelled_rows(IMAGE, np.where(LABELS, 1, -1), GRID)
    wanted = pt.integrations.labelled_rows(IMAGE, LABELS, GRID)
    np.testing.assert_array_equal(np.asarray(some), np.asarray(wanted[0])[wanted[1] == 1])
    assert (where == 1).all()


def test_rows_for_trainers_are_those_of_the_matrix() -> None:
    pytest.importorskip("lightgbm")
    xgboost = pytest.importorskip("xgboost")
    X = pt.PatchMatrix(IMAGE.astype(np.float32), GRID)
    rows = np.asarray(X)
    sequence = module("integrations.lightgbm").PatchSequence(X, batch_size=7)
    np.testing.assert_array_equal(sequence[3:40], rows[3:40])
    np.testing.assert_array_equal(np.stack([sequence[i] for i in (0, 5, 9)]), rows[[0, 5, 9]])
    data = xgboost.QuantileDMatrix(
        module("integrations.xgboost").PatchDataIter(X, np.arange(len(X)))
    )
    np.testing.assert_array_equal(data.get_label(), np.arange(len(X)))
    assert data.num_row() == len(X)


def test_rows_of_a_data_set_are_those_of_the_matrix() -> None:
    pytest.importorskip("torch")
    integration = module("integrations.torch")
    X = pt.PatchMatrix(IMAGE.astype(np.float32), GRID)
    dataset = integration.PatchDataset(X)
    rows = np.asarray(X).reshape(-1, 8, 8)
    np.testing.assert_array_equal(np.asarray(dataset[[1, 2]]).reshape(-1, 8, 8), rows[[1, 2]])
    np.testing.assert_array_equal(np.asarray(dataset[1]).reshape(8, 8), rows[1])
    sampler = integration.BlockShuffleSampler(50, 7, seed=1)
    assert sorted(row for batch in sampler for row in batch) == list(range(50))


@pytest.mark.parametrize("name", ["dct", "groups"])
def test_denoising_does_not_depend_on_the_workers(name: str) -> None:
    call = getattr(pt.denoise, name)
    np.testing.assert_array_equal(call(IMAGE, 0.1, 4, workers=1), call(IMAGE, 0.1, 4, workers=3))

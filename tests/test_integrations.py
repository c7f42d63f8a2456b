"""Adapters, each with the real library: LightGBM, XGBoost, torch."""

from __future__ import annotations

import builtins
import importlib
import itertools
import pickle
import subprocess
import sys
import time
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from pantile.geometry.limits import Limits
from pantile.integrations import labelled_rows, predict_rows
from pantile.integrations.torch import BlockShuffleSampler
from pantile.matrix.rowwise import apply_rows


def scene(shape=(30, 40), seed=0):
    """A photograph of noise whose labels are what is bright; a part is unlabelled."""
    image = np.random.default_rng(seed).integers(0, 200, (*shape, 3)).astype(np.uint8)
    labels = (image[..., 1] > 100).astype(np.int8)
    labels[:, ::5] = -1
    grid = pt.PatchGrid(shape, 3, pad="same", pad_mode="reflect")
    return image, labels, grid


def rows_of(image, labels, grid):
    """The explicit matrix of labelled patches, and their labels."""
    rows = pt.extract(image, grid, channel_axis=2).reshape(grid.n_patches, -1)
    y = grid.centers(labels).ravel()
    return rows[y >= 0], y[y >= 0]


# --- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("nbytes", [1, 100, 1 << 20])
def test_functions_of_rows(nbytes, workers):
    matrix = pt.PatchMatrix(np.arange(30, dtype=np.int16).reshape(5, 6), 2)
    rows = np.asarray(matrix)
    found = apply_rows(lambda x: x[:, ::2] + 1, matrix, nbytes=nbytes, workers=workers, dtype="f8")
    assert np.array_equal(found, rows[:, ::2] + 1)
    assert found.dtype == np.float64
    some = np.array([7, 3, 3])
    found = apply_rows(lambda x: x.sum(axis=1), matrix, rows=some, nbytes=nbytes, workers=workers)
    assert np.array_equal(found, rows[some].sum(axis=1))
    with pytest.raises(ValueError, match="one result for each"):
        apply_rows(np.sum, matrix, nbytes=nbytes, workers=workers)
    with pytest.raises(ZeroDivisionError):
        apply_rows(lambda x: len(x) // 0, matrix, nbytes=nbytes, workers=workers)


def test_results_that_do_not_fit_are_refused():
    matrix = pt.PatchMatrix(np.zeros(1000, np.float32), 1)
    with (
        mock.patch("pantile.matrix.guard.EXPANSION_LIMIT", 1000),
        pytest.raises(MemoryError, match="1000 results of 8 bytes would take 8 KB"),
    ):
        apply_rows(lambda x: x[:, 0].astype("f8"), matrix, nbytes=400)


def test_labelled_rows_and_their_labels():
    image, labels, grid = scene()
    X, y = labelled_rows(image, labels, grid, channel_axis=2)
    rows, want = rows_of(image, labels, grid)
    assert np.array_equal(np.asarray(X), rows)
    assert np.array_equal(y, want)
    other = image[:20], labels[:20], pt.PatchGrid((20, 40), 3, pad="same", pad_mode="reflect")
    X, y = labelled_rows([image, other[0]], [labels, other[1]], [grid, other[2]], channel_axis=2)
    assert np.array_equal(np.asarray(X), np.concatenate([rows, rows_of(*other)[0]]))
    assert np.array_equal(y, np.concatenate([want, rows_of(*other)[1]]))


def test_labels_of_batches_floats_and_strings():
    image = np.arange(60.0).reshape(3, 4, 5)
    X, y = labelled_rows(image, np.where(image % 7 == 0, image, np.nan), pt.PatchGrid((4, 5), 1))
    assert np.array_equal(y, image[image % 7 == 0])
    assert np.array_equal(X[:, 0], y)
    names = np.where(image > 30, "high", "")
    X, y = labelled_rows(image, names, pt.PatchGrid((4, 5), 1), unlabelled="")
    assert X.shape == (29, 1)
    assert set(y) == {"high"}
    with pytest.raises(ValueError, match=r"shape \(3, 4, 5\)"):
        labelled_rows(image, names[0], pt.PatchGrid((4, 5), 1))
    with pytest.raises(ValueError, match="1 images, 1 labels and 2 grids"):
        labelled_rows(image, names, [pt.PatchGrid((4, 5), 1)] * 2)
    with pytest.raises(TypeError, match="grid must be a PatchGrid"):
        labelled_rows(image, names, 3)


def test_images_without_a_label():
    image, labels, grid = scene()
    nothing = np.full_like(labels, -1)
    X, y = labelled_rows([image, image], [nothing, labels], grid, channel_axis=2)
    rows, want = rows_of(image, labels, grid)
    assert np.array_equal(np.asarray(X), rows)
    assert np.array_equal(y, want)
    with pytest.raises(ValueError, match=r"every pixel is unlabelled \(-1\)"):
        labelled_rows(image, nothing, grid, channel_axis=2)


# --- LightGBM --------------------------------------------------------------------------------------


def test_lightgbm_learns_what_it_learns_from_the_explicit_matrix():
    lightgbm = pytest.importorskip("lightgbm")
    from pantile.integrations.lightgbm import PatchSequence

    image, labels, grid = scene()
    X, y = labelled_rows(image, labels, grid, channel_axis=2)
    rows, _ = rows_of(image, labels, grid)
    options = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    boosters = []
    for data in (PatchSequence(X, batch_size=100), rows.astype(np.float32)):
        dataset = lightgbm.Dataset(data, label=y, params={"verbose": -1})
        boosters.append(lightgbm.train(options, dataset, num_boost_round=5))
    whole = pt.PatchMatrix(image, grid, channel_axis=2)
    found = predict_rows(boosters[0].predict, whole, nbytes=20_000)
    assert np.allclose(found, boosters[1].predict(np.asarray(whole)), rtol=1e-6)
    assert ((found.reshape(grid.counts) > 0.5) == labels)[labels >= 0].mean() > 0.99


def test_lightgbm_sequences_index_as_arrays_do():
    pytest.importorskip("lightgbm")
    from pantile.integrations.lightgbm import PatchSequence

    image, labels, grid = scene()
    X, _ = labelled_rows(image, labels, grid, channel_axis=2)
    rows = np.asarray(X).astype(np.float32)
    sequence = PatchSequence(X)
    for index in (0, -1, np.int32(7), slice(3, 90, 2), slice(950, 2000), [5, 1, -2]):
        assert np.array_equal(sequence[index], rows[index])
    assert (sequence[0].dtype, sequence[:2].dtype) == (np.float64, np.float32)
    assert len(sequence) == len(rows)
    assert sequence.batch_size == (16 << 20) // 27
    with pytest.raises(IndexError, match="out of range"):
        sequence[len(rows)]
    with pytest.raises(ValueError, match="batch_size"):
        PatchSequence(X, 0)
    with pytest.raises(TypeError, match="PatchMatrix"):
        PatchSequence(rows)
    huge = pt.PatchMatrix(np.broadcast_to(np.float32(0), (50_000, 50_000)), 1)
    with pytest.raises(ValueError, match="2500000000 rows"):
        PatchSequence(huge)


# --- XGBoost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("external", [False, True])
def test_xgboost_learns_what_it_learns_from_the_explicit_matrix(external, tmp_path):
    xgboost = pytest.importorskip("xgboost")
    from pantile.integrations.xgboost import PatchDataIter

    image, labels, grid = scene()
    X, y = labelled_rows(image, labels, grid, channel_axis=2)
    rows, _ = rows_of(image, labels, grid)
    weight = np.linspace(1, 2, len(y))
    prefix = str(tmp_path / "pages") if external else None
    blocks = PatchDataIter(X, y, weight=weight, nbytes=30_000, cache_prefix=prefix)
    assert len(blocks) == -(-len(X) * 27 * 4 // 30_000)
    kind = xgboost.ExtMemQuantileDMatrix if external else xgboost.QuantileDMatrix
    datas = kind(blocks), xgboost.QuantileDMatrix(rows.astype(np.float32), y, weight=weight)
    options = {"objective": "binary:logistic", "nthread": 1, "tree_method": "hist"}
    boosters = [xgboost.train(options, data, num_boost_round=5) for data in datas]
    assert datas[0].num_row() == len(y)
    assert np.array_equal(datas[0].get_label(), y)
    whole = pt.PatchMatrix(image, grid, channel_axis=2)
    found = predict_rows(boosters[0].inplace_predict, whole, nbytes=20_000)
    twin = boosters[1].inplace_predict(np.asarray(whole).astype(np.float32))
    assert np.abs(found - twin).max() < 0.02  # bins are sketched block by block
    assert ((found.reshape(grid.counts) > 0.5) == labels)[labels >= 0].mean() > 0.99


def test_xgboost_fields_belong_to_rows():
    pytest.importorskip("xgboost")
    from pantile.integrations.xgboost import PatchDataIter

    X = pt.PatchMatrix(np.arange(9.0), 2)
    with pytest.raises(ValueError, match="base_margin must have one entry for each of 8 rows"):
        PatchDataIter(X, np.zeros(8), base_margin=np.zeros(7))
    blocks, seen = PatchDataIter(X, np.arange(8), nbytes=24), []
    for _ in range(2):
        blocks.reset()
        while blocks.next(lambda data, label: seen.append((data, label))):
            pass
    assert np.array_equal(np.concatenate([d for d, _ in seen]), np.tile(np.asarray(X), (2, 1)))
    assert np.concatenate([label for _, label in seen]).tolist() == [*range(8)] * 2


# --- torch -----------------------------------------------------------------------------------------


def test_torch_datasets_give_patches_channels_first():
    torch = pytest.importorskip("torch")
    from pantile.integrations.torch import PatchDataset

    image, labels, grid = scene()
    X, y = labelled_rows(image, labels, grid, channel_axis=2)
    patches = np.asarray(X).reshape(-1, 3, 3, 3).transpose(0, 3, 1, 2)
    dataset = PatchDataset(X, y)
    for index in ([4, 0, 70], slice(5, 9), np.array([-1, 3])):
        found, targets = dataset[index]
        assert np.array_equal(found.numpy(), patches[index])
        assert np.array_equal(targets.numpy(), y[index])
        assert found.is_contiguous()
    found, target = dataset[-2]
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), patches[-2])
    assert target == y[-2]
    samples = dataset.__getitems__([3, 8])
    for (patch, target), row in zip(samples, (3, 8), strict=True):
        assert np.array_equal(patch.numpy(), patches[row])
        assert target == y[row]
    assert np.array_equal(dataset[y == 1][1].numpy(), y[y == 1])
    with pytest.raises(IndexError, match="out of range"):
        dataset[len(dataset)]
    plain = PatchDataset(X, dtype=torch.float32, transform=lambda batch: batch.flip(-1) / 2)
    assert np.array_equal(plain[[2, 5]].numpy(), patches[[2, 5], ..., ::-1] / np.float32(2))
    assert plain[2].shape == (3, 3, 3)
    assert len(plain.__getitems__([1, 2])) == 2


def test_torch_targets_may_be_patches():
    pytest.importorskip("torch")
    from pantile.integrations.torch import PatchDataset

    image, labels, _ = scene()
    grid = pt.PatchGrid(labels.shape, 8, 4)
    dataset = PatchDataset(
        pt.PatchMatrix(image, grid, channel_axis=2), pt.PatchMatrix(labels, grid)
    )
    found, target = dataset[5]
    assert (found.shape, target.shape) == ((3, 8, 8), (8, 8))
    assert np.array_equal(target.numpy(), labels[grid[5]])
    big = PatchDataset(pt.PatchMatrix(np.arange(4, dtype=">i4"), 2))
    assert big[1].tolist() == [1, 2]
    with pytest.raises(ValueError, match="use one grid for both"):
        PatchDataset(dataset.matrix, pt.PatchMatrix(labels, 8))
    with pytest.raises(ValueError, match="targets must have one entry"):
        PatchDataset(dataset.matrix, np.zeros(3))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_torch_loaders_see_every_patch_once_with_workers(tmp_path):
    torch = pytest.importorskip("torch")
    from pantile.integrations.torch import PatchDataset

    image = np.memmap(tmp_path / "image.raw", np.float32, "w+", shape=(40, 50))
    image[:] = np.arange(2000).reshape(40, 50)
    X = pt.PatchMatrix(image, 3)
    dataset = PatchDataset(X, np.arange(len(X)))
    sampler = BlockShuffleSampler(len(dataset), 64, block=8, pool=256, seed=1)
    load = torch.utils.data.DataLoader
    for loader in (
        load(dataset, batch_sampler=sampler, num_workers=2),
        load(dataset, sampler=sampler, batch_size=None),
    ):
        batches = list(loader)
        assert len(batches) == len(sampler) == len(loader) == 29
        rows = torch.cat([targets for _, targets in batches]).numpy()
        patches = torch.cat([patches for patches, _ in batches]).numpy()
        assert np.array_equal(np.sort(rows), np.arange(len(X)))
        assert np.array_equal(patches.reshape(len(X), 9), X[rows])


def test_torch_datasets_are_small_when_pickled(tmp_path):
    pytest.importorskip("torch")
    from pantile.integrations.torch import PatchDataset

    image = np.memmap(tmp_path / "image.raw", np.float32, "w+", shape=(300, 300))
    image[:] = np.random.default_rng(0).random((300, 300))
    on_disk = PatchDataset(pt.PatchMatrix(image, 9))
    in_memory = PatchDataset(pt.PatchMatrix(np.array(image), 9))
    assert len(pickle.dumps(on_disk)) < 4000
    assert len(pickle.dumps(in_memory)) < image.nbytes + 4000
    assert np.array_equal(pickle.loads(pickle.dumps(on_disk))[[5, 99]], in_memory[[5, 99]])


# --- the sampler -----------------------------------------------------------------------------------


@given(
    n=st.integers(0, 500),
    batch_size=st.integers(1, 70),
    block=st.integers(1, 40),
    pool=st.integers(1, 200),
    drop_last=st.booleans(),
    listed=st.sampled_from([4, 1 << 20]),
)
def test_samplers_give_every_row_once(n, batch_size, block, pool, drop_last, listed):
    sampler = BlockShuffleSampler(n, batch_size, block=block, pool=pool, drop_last=drop_last)
    sampler.limits = Limits(shuffled_rows=listed)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    rows = list(itertools.chain(*batches))
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(n))
    assert n - len(rows) < (batch_size if drop_last else 1)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


def test_samplers_shuffle_by_seed_and_epoch():
    def epochs(seed, k=2):
        sampler = BlockShuffleSampler(10_000, 100, block=16, pool=1000, seed=seed)
        return [list(sampler) for _ in range(k)]

    first = epochs(3)
    assert first == epochs(3)
    assert first[0] != first[1]
    assert first[0] != epochs(4)[0]
    again = BlockShuffleSampler(10_000, 100, block=16, pool=1000, seed=3)
    again.set_epoch(1)
    assert list(again) == first[1]
    batch = np.sort(first[0][0])
    assert batch[-1] - batch[0] > 5000  # blocks from all over
    assert (np.diff(batch) < 16).sum() < 60  # and mixed


def test_samplers_of_huge_datasets_start_at_once():
    sampler = BlockShuffleSampler(10**12, 256)
    assert len(sampler) == 3_906_250_000
    tracemalloc.start()
    began = time.perf_counter()
    batches = list(itertools.islice(sampler, 1000))
    took, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows = np.concatenate(batches)
    assert len(np.unique(rows)) == 256_000
    assert rows.min() >= 0
    assert rows.max() < 10**12
    assert abs(rows.mean() / 1e12 - 0.5) < 0.05  # 4000 blocks: 11 standard deviations
    assert took < 20  # far more than it takes; a list of all rows would not end
    assert peak < 60e6
    for name in ("batch_size", "block", "pool"):
        with pytest.raises(ValueError, match=f"{name} must be 1 or more"):
            BlockShuffleSampler(10, **{"batch_size": 2} | {name: 0})


# --- what is not installed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "use"),
    [
        ("lightgbm", lambda: importlib.import_module("pantile.integrations.lightgbm")),
        ("xgboost", lambda: importlib.import_module("pantile.integrations.xgboost")),
        (
            "torch",
            lambda: importlib.import_module("pantile.integrations.torch").PatchDataset(
                pt.PatchMatrix(np.zeros(4), 2)
            ),
        ),
    ],
)
def test_a_missing_library_names_its_extra(library, use, monkeypatch):
    usual = builtins.__import__

    def without(name, *args, **options):
        if name.split(".")[0] == library:
            raise ImportError(name)
        return usual(name, *args, **options)

    monkeypatch.delitem(sys.modules, f"pantile.integrations.{library}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf'pip install "pantile\[{library}\]"'):
        use()


def test_integrations_import_no_library():
    code = (
        "import sys, pantile.integrations, pantile.integrations.torch\n"
        "print(sorted({'torch', 'lightgbm', 'xgboost', 'sklearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

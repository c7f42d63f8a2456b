"""Chunks of an image in a file are decoded about once, where the budget allows, and the plan says how often."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest

import pantile as pt
from pantile.testing.compare import assert_same_bits

zarr = pytest.importorskip("zarr")
h5py = pytest.importorskip("h5py")
tifffile = pytest.importorskip("tifffile")

from pantile.files import open_image  # noqa: E402
from pantile.stream import chunks as reading  # noqa: E402
from pantile.testing.stores import Recorded, RecordingStore, accesses  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 255, (200, 260)).astype("f4")


def mean(batch):
    return batch - batch.mean(axis=(1, 2), keepdims=True)


@pytest.fixture
def stored(tmp_path):
    """A chunked image whose reads are logged; axes in another order for ``axes``."""

    def make(image=IMAGE, chunks=(64, 64)):
        store = RecordingStore(tmp_path / "image.zarr")
        array = zarr.create_array(store, shape=image.shape, chunks=chunks, dtype=image.dtype)
        array[...] = image
        (tmp_path / "image.zarr.log").unlink()
        return Recorded(array)

    return make


def read_counts(array) -> Counter[str]:
    return Counter(a.key for a in accesses(array.array.store.root) if not a.write)


def chunks_of(array) -> int:
    return int(np.prod([-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)]))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("chunks", [(64, 64), (1, 260), (150, 33), (200, 7), (128, 256)])
def test_a_budget_that_is_half_unused_reads_each_chunk_once(stored, tiles_of, chunks, workers):
    image = stored(chunks=chunks)
    with tiles_of(1500):
        plan = pt.plan(mean, image, 9, 2, memory="100MB", workers=workers)
        assert plan.tasks > 8
        assert plan.reads == 1
        found = plan.run()
        expected = pt.plan(mean, Plain(chunks), 9, 2, memory="100MB", workers=1).run()
    assert_same_bits(found, expected)
    counts = read_counts(image)
    assert len(counts) == chunks_of(image)
    assert sum(counts.values()) == chunks_of(image)


class Plain:
    """The image without a file, as chunked."""

    def __init__(self, chunks):
        self.shape, self.dtype, self.chunks = IMAGE.shape, IMAGE.dtype, chunks

    def __getitem__(self, key):
        return IMAGE[key]


@pytest.mark.parametrize("sharing", [None, 0, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pad": 7, "pad_mode": "reflect"},
        {"pad": 70, "pad_mode": "wrap"},
        {"pad": 5, "pad_mode": "constant"},
        {"pad": 4, "pad_mode": "mean"},
        {"tail": "pad"},
        {"where": "corner"},
        {"where": "scattered"},
    ],
    ids=str,
)
def test_the_plan_says_how_often_chunks_are_read(stored, tiles_of, options, sharing):
    from dataclasses import replace

    options = dict(options)
    image, where = stored(), options.pop("where", None)
    mask = np.zeros(IMAGE.shape, bool)
    mask[:50, 150:] = where == "corner"
    mask[::57, ::63] |= where == "scattered"
    grid = pt.PatchGrid(IMAGE.shape, 9, 4, **options)
    more = {} if where is None else {"where": mask, "fill": 0}
    with tiles_of(1500):
        plan = pt.plan(mean, image, grid, workers=1, **more)
        plan = replace(plan, resources=replace(plan.resources, sharing=sharing))
        found = plan.run()
        told = plan.reads * chunks_of(image)
    assert sum(read_counts(image).values()) == pytest.approx(told)
    with tiles_of(1500):
        expected = pt.map_patches(mean, Plain((64, 64)), grid, workers=1, **more)
    assert_same_bits(found, expected)


def test_channels_volumes_and_turned_axes_are_read_once(stored, tiles_of):
    image = np.random.default_rng(1).random((3, 60, 5, 70)).astype("f4")
    array = stored(image, chunks=(2, 16, 2, 16))
    with tiles_of(400):
        plan = pt.plan(lambda b: b, array, 8, 3, axes=(3, 1), channel_axis=2, workers=2)
        assert plan.tasks > 4
        assert plan.reads == 1
        np.testing.assert_allclose(plan.run(), image, rtol=1e-6)
    assert set(read_counts(array).values()) == {1}
    assert len(read_counts(array)) == chunks_of(array)


def test_a_tight_budget_is_kept_and_reads_more(tiles_of):
    reads = []
    for memory in range(400_000, 12_000_000, 100_000):
        with tiles_of(1500):
            try:
                plan = pt.plan(mean, Plain((100, 100)), 9, 4, memory=memory, workers=1)
            except MemoryError:
                continue
        assert plan.projected_bytes <= memory
        reads.append(plan.reads)
    assert max(reads) > 1.5
    assert reads[-1] == 1


@pytest.mark.parametrize("kind", ["tiff", "hdf5"])
def test_tiffs_and_hdf5_are_decoded_once_too(tmp_path, tiles_of, monkeypatch, kind):
    if kind == "tiff":
        path = tmp_path / "image.tif"
        tifffile.imwrite(path, IMAGE, tile=(64, 64), compression="zlib")
    else:
        path = tmp_path / "image.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=IMAGE, chunks=(64, 64), compression="gzip")
    reader, read = open_image(path), Counter()
    lock = threading.Lock()
    plain = type(reader).__getitem__

    def counted(self, key):
        spans = [range(s.start // 64, -(-s.stop // 64)) for s in key]
        with lock:
            read.update((i, j) for i in spans[0] for j in spans[1])
        return plain(self, key)

    monkeypatch.setattr(type(reader), "__getitem__", counted)
    with tiles_of(1500):
        plan = pt.plan(mean, reader, 9, 4, memory="100MB", workers=2)
        plan.run()
    assert plan.tasks > 8
    assert len(read) == 4 * 5
    assert set(read.values()) == {1}


def test_a_picture_is_decoded_once_and_the_plan_says_so(tmp_path, tiles_of):
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(IMAGE.astype("u1")).save(tmp_path / "image.png")
    with tiles_of(1500):
        plan = pt.plan(mean, tmp_path / "image.png", 9, 4)
    assert plan.tasks > 8
    assert plan.reads == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_a_chunk_that_cannot_be_read_is_one_error(tiles_of, workers):
    class Damaged(Plain):
        def __getitem__(self, key):
            if key[0].start <= 100 < key[0].stop:
                raise OSError("a damaged chunk")
            return IMAGE[key]

    with tiles_of(1500), pytest.raises((OSError, ValueError), match="a damaged chunk"):
        pt.map_patches(mean, Damaged((64, 64)), 9, 4, workers=workers)


def test_chunks_that_are_kept_go_with_the_run(tiles_of):
    import gc
    import weakref

    kept = []

    class Noted(Plain):
        def __getitem__(self, key):
            block = IMAGE[key].copy()
            kept.append(weakref.ref(block))
            return block

    with tiles_of(1500):
        plan = pt.plan(mean, Noted((64, 64)), 9, 4, workers=2)
        gc.disable()
        try:
            plan.run()
            assert kept
            assert not any(ref() is not None for ref in kept)
        finally:
            gc.enable()


@pytest.mark.parametrize("workers", [1, 3])
def test_large_chunks_are_kept_apart_and_read_once(stored, tiles_of, monkeypatch, workers):
    mapped = []
    monkeypatch.setattr(
        reading, "_mapped", lambda v, make=reading._mapped: mapped.append(1) or make(v)
    )
    large = np.random.default_rng(2).random((900, 800)).astype(">f4")
    image = stored(large, (300, 256))
    with tiles_of(20_000):
        plan = pt.plan(mean, image, 40, 25, memory="100MB", workers=workers)
        assert plan.reads == 1
        found = plan.run()
        expected = pt.map_patches(mean, large, 40, 25)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert mapped
    assert sum(read_counts(image).values()) == chunks_of(image)

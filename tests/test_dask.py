"""Dask arrays in, dask arrays out: the same values as in memory, small tasks, few of them, each once."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pantile as pt
from pantile.geometry.limits import Limits, using_limits
from pantile.geometry.tiling import Tiling
from pantile.testing import strategies
from pantile.testing.compare import assert_agrees, assert_same_bits

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

POOL = tuple(np.dtype(d) for d in ("float64", "uint8"))
RNG = np.random.default_rng(4)


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def image():
    return RNG.normal(size=(60, 70))


def same(batch):
    return batch


def chunks_of(draw, shape):
    """Chunks of any sizes, zero among them, along every axis."""
    found = []
    for n in shape:
        cuts = sorted(draw(st.lists(st.integers(0, n), max_size=3)))
        found.append(tuple(np.diff([0, *cuts, n]).tolist()))
    return tuple(found)


@st.composite
def dasks(draw, **options):
    """An image, and the same as a dask array."""
    placed = draw(strategies.placed(pool=POOL, **options))
    return placed, da.from_array(placed.image, chunks=chunks_of(draw, placed.image.shape))


def agrees(lazy, expected):
    """The dask array has the shape, dtype and chunks it says, and the values expected."""
    blocks = lazy.to_delayed()
    found = dask.compute(blocks.ravel().tolist())[0]
    assert lazy.dtype == expected.dtype
    assert lazy.shape == expected.shape
    whole = np.empty(lazy.shape, lazy.dtype)
    ends = [np.cumsum([0, *c]) for c in lazy.chunks]
    for place, block in zip(np.ndindex(*blocks.shape), found, strict=True):
        assert block.dtype == lazy.dtype
        assert block.shape == tuple(c[k] for c, k in zip(lazy.chunks, place, strict=True))
        whole[tuple(slice(*e[k : k + 2]) for e, k in zip(ends, place, strict=True))] = block
    assert_agrees(whole, expected, scale=1e3)


# the same values as in memory


@given(case=dasks(), data=st.data())
def test_merged_as_in_memory(case, data):
    placed, lazy = case
    options = placed.roles | {"fill": 0}
    options["merge"] = data.draw(st.sampled_from(["mean", "sum", "max", "center", "median"]))
    if options["merge"] in ("mean", "sum") and data.draw(st.booleans()):
        options["weights"] = data.draw(strategies.tapers(placed.grid.patch))
    if data.draw(st.booleans()):
        options["where"] = data.draw(strategies.wheres(placed.grid))
    expected = pt.map_patches(same, placed.image, placed.grid, **options)
    agrees(pt.map_patches(same, lazy, placed.grid, **options), expected)


@given(case=dasks(), data=st.data())
def test_on_the_grid_as_in_memory(case, data):
    placed, lazy = case
    options = placed.roles | {"merge": None, "fill": 0}
    if data.draw(st.booleans()):
        options["where"] = data.draw(strategies.wheres(placed.grid))

    def ends(batch):
        return batch.reshape(len(batch), -1)[:, [0, -1]].astype(float)

    expected = pt.map_patches(ends, placed.image, placed.grid, **options)
    agrees(pt.map_patches(ends, lazy, placed.grid, **options), expected)


@pytest.mark.parametrize("merge", ["min", "var", "vote", "first", "last"])
def test_other_merges(image, merge):
    expected = pt.map_patches(same, image, 7, 2, merge=merge)
    lazy = da.from_array(image, chunks=(20, 33))
    agrees(pt.map_patches(same, lazy, 7, 2, merge=merge), expected)


def test_a_merge_of_ones_own(image):
    def accumulate(state, values, weights):
        assert weights is None
        np.maximum(state[0], abs(values), out=state[0])

    largest = pt.Merge(
        init=lambda shape, dtype: (np.zeros(shape, dtype),),
        accumulate=accumulate,
        combine=lambda state, other: np.maximum(state[0], other[0], out=state[0]),
        finalize=lambda state: state[0],
    )
    lazy = pt.map_patches(same, da.from_array(image, chunks=25), 9, 4, merge=largest)
    agrees(lazy, pt.map_patches(same, image, 9, 4, merge=largest))


def test_channels_come_go_and_are_finalized(image):
    colour = np.stack([image, -image, image + 1], axis=1)
    lazy = da.from_array(colour, chunks=(25, 2, 30))
    cases = [
        ({}, lambda b: b * 2),
        ({}, lambda b: b.sum(axis=2)),
        ({}, lambda b: b[:, :, :2]),
        ({"finalize": lambda s: s.argmax(axis=1)}, lambda b: b),
        ({"finalize": lambda s: s[:, :1], "dtype": "float32"}, lambda b: b),
    ]
    for options, func in cases:
        options["channel_axis"] = 1
        expected = pt.map_patches(func, colour, 9, 4, **options)
        agrees(pt.map_patches(func, lazy, 9, 4, **options), expected)
    grey = pt.map_patches(lambda b: b[..., None] * [1, 2], image, 9, 4)
    agrees(pt.map_patches(lambda b: b[..., None] * [1, 2], lazy[:, 0], 9, 4), grey)


def test_several_results_smaller_patches_and_scales(image):
    def func(batch):
        return batch.repeat(2, 1).repeat(2, 2), batch[:, 2:-2, 2:-2].repeat(2, 1)[:, :8], batch > 0

    lazy = da.from_array(image, chunks=(31, 30))
    options = {"scale": 2, "fill": 0, "weights": "hann"}
    found = pt.map_patches(func, lazy, 9, 3, **options)
    expected = pt.map_patches(func, image, 9, 3, **options)
    assert isinstance(found, tuple)
    assert len({r.name for r in found}) == 3
    for a, b in zip(found, expected, strict=True):
        agrees(a, b)
    for a, b in zip(dask.compute(*found), expected, strict=True):
        assert_agrees(a, b)


def test_volumes():
    volume = RNG.integers(0, 255, (20, 24, 22)).astype(np.uint8)
    lazy = da.from_array(volume, chunks=(7, 24, 11))
    options = {"weights": "gaussian", "dtype": "uint8"}
    expected = pt.map_patches(same, volume, (5, 6, 4), 3, **options)
    agrees(pt.map_patches(same, lazy, (5, 6, 4), 3, **options), expected)


@pytest.mark.parametrize("merge", ["mean", "median", None])
def test_the_same_bits_with_the_same_tiles(image, merge):
    func = (lambda b: b.std(axis=(1, 2))) if merge is None else (lambda b: np.sin(b))
    lazy = da.from_array(image, chunks=(20, 25))
    drawn = pt.plan(func, image, 7, merge=merge)
    same_tiles = replace(drawn, tiling=Tiling(drawn.job.frame.axes, (20, 25)))
    found = pt.map_patches(func, lazy, 7, merge=merge)
    assert_same_bits(found.compute(), np.ascontiguousarray(same_tiles.run()))
    assert_same_bits(found.compute(scheduler="threads"), found.compute())


# what is in the graph


def pantile_tasks(array):
    """Numbers of our tasks by kind: tile, read, piece, block and what they share."""
    keys = [k[0] if isinstance(k, tuple) else k for k in dict(array.__dask_graph__())]
    return Counter(str(k).rpartition("-")[0] for k in keys if str(k).startswith("map-patches"))


def test_the_number_of_tasks_is_that_of_tiles_and_pieces(image):
    lazy = pt.map_patches(same, da.from_array(image, chunks=(20, 35)), 7)
    assert pantile_tasks(lazy) == {
        "map-patches": 6,
        "map-patches-tile": 6,
        "map-patches-read": 9,  # strips: 4 below, 3 at the side, 2 at corners
        "map-patches-piece": 15,  # 6 of their own, 4 below, 3 at the side, 2 at corners
        "map-patches-work": 1,
        "map-patches-merge": 1,
    }


class Largest(dask.callbacks.Callback):
    """The most elements of any array in a result of a task."""

    def __init__(self):
        self.size, self.ndim = 0, 0

    def _posttask(self, key, result, dsk, state, worker_id):
        for array in self.arrays(result) if str(key).startswith("('map-patches") else ():
            self.size, self.ndim = max(self.size, array.size), max(self.ndim, array.ndim)

    def arrays(self, result):
        if isinstance(result, np.ndarray):
            return [result]
        if isinstance(result, list | tuple):
            return [a for item in result for a in self.arrays(item)]
        return []


def test_no_task_gives_more_than_a_tile_with_its_halo():
    image = da.ones((200, 300), chunks=(50, 60))
    with Largest() as seen:
        pt.map_patches(same, image, 13).compute(optimize_graph=False)
    assert seen.ndim == 2
    assert 50 * 60 <= seen.size <= (50 + 12) * (60 + 12)
    assert len(pickle.dumps(dict(pt.map_patches(same, image, 13).dask))) < 400_000


def test_chunks_follow_the_image(image):
    def chunks(given, *args, **options):
        return pt.map_patches(same, da.from_array(image, chunks=given), *args, **options).chunks

    padded = pt.PatchGrid(image.shape, 7, pad="same", pad_mode="reflect")
    assert chunks((20, (30, 25, 15)), 7) == ((20, 20, 20), (30, 25, 15))
    assert chunks((20, 35), padded) == ((20, 20, 20), (35, 35))
    assert chunks((20, 35), 7, 3) == ((20, 20, 20), (35, 35))
    assert chunks((4, 70), 11) == ((12,) * 5, (70,))  # chunks thinner than a patch
    lazy = da.from_array(image, chunks=(20, 35))
    grid = pt.map_patches(lambda b: b.mean((1, 2)), lazy, 7, 3, merge=None)
    assert grid.chunks == ((7, 7, 5), (12, 10))
    with using_limits(Limits(graph_state_bytes=8 * 40 * 45)):
        cut = chunks(-1, 7)
    assert cut == ((30, 30), (35, 35))  # a chunk too large for one task


# each patch once, and only when it is asked for


class Counting:
    """A function that notes the patches it has seen."""

    def __init__(self):
        self.seen, self.lock = Counter(), threading.Lock()

    def __call__(self, batch):
        with self.lock:
            self.seen.update(batch[:, 0, 0].tolist())
        return batch


def test_func_sees_each_patch_once_and_nothing_before_compute():
    image = np.arange(60.0 * 70).reshape(60, 70) + 1000
    func = Counting()
    lazy = pt.map_patches(func, da.from_array(image, chunks=20), 7, 2)
    assert set(func.seen) <= {0.0, 1.0, *range(251)}  # made-up patches only
    func.seen.clear()
    lazy.compute(scheduler="threads")
    grid = pt.PatchGrid(image.shape, 7, 2)
    corners = image[np.ix_(*grid.starts)].ravel().tolist()
    assert func.seen == Counter(corners)


def test_a_part_of_the_result_computes_only_its_tiles(image):
    func = Counting()
    lazy = pt.map_patches(func, da.from_array(image, chunks=(10, 10)), 7)
    func.seen.clear()
    part = lazy[12:18, 31:38].compute()
    assert sum(func.seen.values()) == 20 * 20  # 4 of 42 tiles, of 10 x 10 patches each
    assert_agrees(part, pt.map_patches(same, image, 7)[12:18, 31:38])


def test_tiles_without_selected_patches_are_not_in_the_graph(image):
    where = np.zeros(image.shape, bool)
    where[5:8, 5:8] = True
    lazy = pt.map_patches(same, da.from_array(image, chunks=10), 5, where=where, fill=0)
    assert pantile_tasks(lazy)["map-patches-tile"] == 1
    agrees(lazy, pt.map_patches(same, image, 5, where=where, fill=0))


def test_what_is_read_of_a_huge_image_is_little():
    read = []

    def load(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.ones(block_info[None]["chunk-shape"], np.float32)

    image = da.map_blocks(load, chunks=((1000,) * 60, (1000,) * 20), dtype=np.float32)
    grid = pt.PatchGrid(image.shape, 9, 3, pad="same", pad_mode="reflect")
    read.clear()
    lazy = pt.map_patches(same, image, grid)
    np.testing.assert_allclose(lazy[50_500:50_510, 7:9].compute(), 1)
    assert set(read) <= {(49, 0), (50, 0), (50, 1), (51, 0), (51, 1), (49, 1)}


def test_functions_that_are_told_numbers(image):
    from pantile.stream.job import Indexed

    func = Indexed(lambda batch, numbers: numbers + batch[:, 0, 0] * 0)
    lazy = pt.map_patches(func, da.from_array(image, chunks=25), 7, 3, merge=None)
    agrees(lazy, pt.map_patches(func, image, 7, 3, merge=None))


@pytest.mark.parametrize("merge", ["mean", None])
def test_where_that_selects_nothing_gives_fill(image, merge):
    where = np.zeros(image.shape, bool)
    lazy = pt.map_patches(
        smooth, da.from_array(image, chunks=25), 7, where=where, fill=2.0, merge=merge
    )
    assert lazy.dtype == image.dtype
    assert (lazy.compute() == 2).all()


# names


def test_names_are_equal_for_equal_arguments_and_else_differ(image):
    lazy = da.from_array(image, chunks=(20, 35))

    def name(func=same, source=lazy, patch=7, step=1, **options):
        found = pt.map_patches(func, source, patch, step, **options)
        return found.name

    where = image > -9
    variants = [
        {},
        {"func": np.copy},
        {"source": lazy + 1},
        {"source": lazy.rechunk(30)},
        {"patch": 5},
        {"step": 2},
        {"merge": "max"},
        {"weights": "hann"},
        {"weights": np.ones((7, 7))},
        {"dtype": "float32"},
        {"fill": 1.0},
        {"finalize": np.abs},
        {"where": where},
        {"layout": "patch"},
        {"patch": pt.PatchGrid(image.shape, 7, pad=1)},
        {"patch": pt.PatchGrid(image.shape, 7, pad=1, pad_mode="edge")},
        {"batch_bytes": 5000},
    ]
    names = [name(**v) for v in variants]
    assert len(set(names)) == len(names)
    assert [name(**v) for v in variants] == names
    assert name(patch=pt.PatchGrid(image.shape, 7)) == names[0]


def test_grids_have_deterministic_tokens():
    from dask.base import tokenize

    a, b = (pt.PatchGrid((9, 9), 3, pad=1, pad_value=np.nan) for _ in range(2))
    _ = a.counts, a.axis_grids
    assert tokenize(a) == tokenize(b) == tokenize(pickle.loads(pickle.dumps(a)))
    assert tokenize(a) != tokenize(pt.PatchGrid((9, 9), 3, pad=1))


# schedulers


def smooth(batch):
    return batch - batch.mean(axis=(1, 2), keepdims=True)


def test_processes_and_dask_distributed(image):
    distributed = pytest.importorskip("distributed")
    lazy = pt.map_patches(smooth, da.from_array(image, chunks=(20, 35)), 9, 4, weights="hann")
    expected = lazy.compute()
    assert_same_bits(lazy.compute(scheduler="processes", num_workers=1), expected)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    with cluster, distributed.Client(cluster) as client:
        assert_same_bits(client.compute(lazy).result(), expected)
        kept = lazy.persist()
        assert_same_bits(kept[10:30].compute(), expected[10:30])


def test_to_zarr(image, tmp_path):
    zarr = pytest.importorskip("zarr")
    lazy = pt.map_patches(smooth, da.from_array(image, chunks=(20, 35)), 9, 4)
    store = zarr.create_array(str(tmp_path / "a.zarr"), shape=(60, 70), chunks=(20, 35), dtype="f8")
    da.store(lazy, store)
    assert_same_bits(store[:], lazy.compute())
    again = pt.map_patches(smooth, da.from_zarr(str(tmp_path / "a.zarr")), 9, 4)
    assert again.chunks == lazy.chunks


# what is refused, and what func's errors say


@pytest.mark.parametrize(
    "option",
    [{"out": np.zeros((60, 70))}, {"memory": "1GB"}, {"workers": 2}, {"progress": True}],
    ids=lambda option: next(iter(option)),
)
def test_options_of_a_run_are_refused(image, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}.*compute"):
        pt.map_patches(same, da.from_array(image), 7, **option)


def test_images_that_cannot_be_read_are_refused(image):
    lazy = da.from_array(image, chunks=20)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        pt.map_patches(same, lazy[lazy[:, 0] > 0], 7)
    with pytest.raises(TypeError, match="MaskedArray"):
        pt.map_patches(same, da.ma.masked_greater(lazy, 0), 7)
    with pytest.raises(TypeError, match=r"where.*compute"):
        pt.map_patches(same, lazy, 7, where=lazy > 0, fill=0)


def test_padding_that_needs_everything_is_refused_where_it_is_much():
    image = da.zeros((100_000, 100_000), chunks=5000, dtype="u1")
    grid = pt.PatchGrid(image.shape, 9, 4, pad=2, pad_mode="mean")
    with pytest.raises(MemoryError, match="pad_mode='mean'"):
        pt.map_patches(same, image, grid)


def test_errors_of_func_say_where(image):
    def broken(batch):
        if len(batch) > 2:
            raise KeyError("no")
        return batch

    lazy = da.from_array(image, chunks=20)
    with pytest.raises(KeyError) as caught:
        pt.map_patches(broken, lazy, 7).compute()
    assert any("image region [" in note for note in caught.value.__notes__)

    with pytest.raises(ZeroDivisionError) as caught:
        pt.map_patches(lambda b: b // (1 // 0), lazy, 7)
    assert "made-up patches" in caught.value.__notes__[0]

    with pytest.raises(ValueError, match="must have 2 entries"):
        pt.map_patches(lambda b: b.mean(), lazy, 7)

    late = pt.map_patches(lambda b: b if len(b) == 2 else b > 0, lazy, 7)
    with pytest.raises(ValueError, match="same kind of result"):
        late.compute()
    with pytest.raises(ValueError, match="finalize may drop"):
        pt.map_patches(same, lazy, 7, finalize=lambda s: s.ravel()[:0])


def test_func_that_cannot_take_ones_is_shown_a_ramp(image):
    def needs_a_spread(batch):
        flat = batch.reshape(len(batch), -1)
        if (np.ptp(flat, axis=1) == 0).any():
            raise np.linalg.LinAlgError("singular")
        return batch

    lazy = da.from_array(image, chunks=20)
    agrees(pt.map_patches(needs_a_spread, lazy, 7), pt.map_patches(needs_a_spread, image, 7))


def test_verbs_that_need_it_in_memory_refuse_a_dask_array():
    image = pytest.importorskip("dask.array").zeros((20, 20), chunks=10)
    for verb in (pt.patchify, pt.extract):
        with pytest.raises(TypeError, match="map_patches and PatchMatrix take it lazily"):
            verb(image, 4)

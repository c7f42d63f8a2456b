"""Plans: where blocks are cut, what is read and held, and budgets that are kept."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pantile as pt
from pantile.geometry.axis import AxisGrid
from pantile.geometry.rect import shape_of
from pantile.geometry.schedule import Schedule
from pantile.geometry.tiling import Tiling
from pantile.merge import weights
from pantile.merge.assembly import Assembly
from pantile.merge.extrema import Extremum
from pantile.merge.keep_all import KeepAll
from pantile.merge.pieces import join_pieces
from pantile.merge.sums import Sum
from pantile.testing.compare import assert_same_bits

IMAGE = np.random.default_rng(5).normal(size=(67, 75))


def same(batch):
    return batch


def bent(batch):
    return np.sin(batch) * np.arange(1, batch[0].size + 1).reshape(batch.shape[1:])


# blocks: any cut will do, as long as it is known who reaches where


@st.composite
def tilings(draw):
    axes, lengths, units = [], [], []
    ndim = draw(st.integers(1, 3))
    for _ in range(ndim):
        size = draw(st.integers(1, {1: 40, 2: 14, 3: 6}[ndim]))
        patch = draw(st.integers(1, size))
        options = {"tail": draw(st.sampled_from(["shift", "respace", "drop", "center", "pad"]))}
        options["pad"] = draw(st.integers(0, 3))
        options["dilation"] = draw(st.integers(1, 2)) if 2 * patch - 1 <= size else 1
        grid = pt.PatchGrid(size, patch, draw(st.integers(1, patch + 3)), **options)
        axis = grid.axis_grids[0]
        axes.append(axis.resized(draw(st.integers(1, patch)), 1) if draw(st.booleans()) else axis)
        lengths.append(draw(st.integers(1, axis.count)))
        units.append(draw(st.integers(1, size + 3)))
    most = draw(st.sampled_from([None, 1, 20, 200]))
    return Tiling(tuple(axes), tuple(lengths)), draw(st.sampled_from([None, tuple(units)])), most


def test_an_axis_of_one_unit_does_not_keep_the_others_whole():
    axes = pt.PatchGrid((2, 3), (2, 3)).axis_grids
    assert Schedule.of(Tiling(axes, (1, 1)), axes, None, (2, 1), 2).largest == (2, 1)


@given(tilings())
def test_blocks_are_whole_units_and_know_who_reaches_into_them(case):
    tiling, unit, most = case
    blocks = Schedule.of(tiling, tiling.axes, None, unit, most)
    if most is not None:
        assert np.prod(blocks.largest) <= max(most, np.prod(unit or 1))
    seen = np.zeros([axis.size for axis in tiling.axes], int)
    waited = {tile.index: [] for tile in tiling}
    for block in blocks:
        bounds = blocks.bounds(block)
        seen[tuple(slice(*b) for b in bounds)] += 1
        for (begin, end), u, axis in zip(bounds, unit or (1,) * 3, tiling.axes, strict=False):
            assert begin % u == 0
            assert end % u == 0 or end == axis.size
        reaching = [
            tile.index
            for tile in tiling
            if all(b < e and s < end and begin < e for (s, e), (begin, end), (b, _) in zip(
                tile.span(tiling.axes), bounds, tile.span(tiling.axes), strict=True))
        ]  # fmt: skip
        assert set(reaching) <= set(blocks.owners(block))
        assert blocks.owners(block)
        for owner in blocks.owners(block):
            waited[owner].append(block)
    assert (seen == 1).all()
    assert {index: blocks.served(index) for index in waited} == waited
    flat = {tile.index: n for n, tile in enumerate(tiling)}
    late = [flat[blocks.owners(b)[-1]] - flat[blocks.owners(b)[0]] for b in blocks]
    assert max(late) <= blocks.reach


def random_state(reduction, shape, rng):
    """Values that float32 holds, or that it does not; of a median, some of the places taken."""
    values, *used = reduction.init(shape)
    values[...] = rng.normal(size=values.shape).astype(rng.choice(["f4", "f8"]))
    return values, *(rng.integers(0, reduction.depth, size=a.shape, endpoint=True) for a in used)


@given(tilings(), st.sampled_from([Sum, Extremum, KeepAll]), st.integers(0, 99), st.booleans())
def test_pieces_are_held_once_and_give_the_same_bits_whenever_they_come(case, merge, seed, late):
    (tiling, unit, most), rng = case, np.random.default_rng(seed)
    patch = tuple(axis.patch for axis in tiling.axes)
    reduction = merge(tiling.axes, patch, np.dtype("f8"))
    assume(reduction.depth < 50)
    blocks = Schedule.of(tiling, tiling.axes, None, unit, most)
    spans = {tile.index: tile.span(tiling.axes) for tile in tiling}
    states = {t: random_state(reduction, shape_of(r), rng) for t, r in spans.items()}
    states |= {t: None for t in states if rng.random() < 0.2}
    # in copies, since pieces are joined in place
    pieces = {t: state and tuple(a.copy() for a in state) for t, state in states.items()}
    made = {}

    def make(_, block, parts):
        bounds = blocks.bounds(block)
        made[block] = reduction.finalize(join_pieces(reduction, bounds, parts), bounds, "f8").copy()

    assembly = Assembly([blocks], [reduction], make)
    tiles = list(states)
    for tile in [tiles[i] for i in rng.permutation(len(tiles))] if late else tiles:
        for ready in assembly.deliver(tile, [states.pop(tile)]):
            assembly.flush(*ready)
        assembly.settle(tile)
        if not late:
            held = sum(state[-1].size for state in assembly.held)
            assert held <= blocks.front
    assert not assembly.blocks
    for block in blocks:
        bounds = blocks.bounds(block)
        if all(end > begin for begin, end in bounds):
            owners = [(spans[t], pieces[t]) for t in blocks.owners(block)]
            wanted = reduction.finalize(join_pieces(reduction, bounds, owners), bounds, "f8")
            assert_same_bits(made.pop(block), wanted)
    assert not made


class Chunked:
    """A store in chunks that remembers who wrote which, and how many at the same time."""

    def __init__(self, shape, dtype, chunks, pause=0.0):
        self.values, self.pause = np.zeros(shape, dtype), pause
        self.shape, self.dtype, self.chunks = shape, np.dtype(dtype), chunks
        self.written, self.lock, self.together, self.most = {}, threading.Lock(), 0, 0

    def __setitem__(self, key, values):
        with self.lock:
            self.together += 1
            self.most = max(self.most, self.together)
            for chunk in self._chunks(key) if self.chunks else ():
                self.written[chunk] = self.written.get(chunk, 0) + 1
        time.sleep(self.pause)
        self.values[key] = values
        with self.lock:
            self.together -= 1

    def _chunks(self, key):
        rows = zip(key, self.chunks, strict=True)
        return itertools.product(*(range(s.start // c, -(-s.stop // c)) for s, c in rows))


@pytest.mark.parametrize("chunks", [(7, 9), (30, 5), (64, 64)])
@pytest.mark.parametrize("merge", ["mean", "median", "var", None])
def test_aligned_blocks_have_the_same_bits_and_one_writer(merge, chunks, tiles_of):
    grid = pt.PatchGrid(IMAGE.shape, (11, 9), 4, tail="respace")
    options = {"merge": merge, "weights": "hann" if merge == "mean" else None}
    func = bent if merge else (lambda b: b.mean(axis=(1, 2)))
    store = Chunked(IMAGE.shape if merge else grid.counts, np.float64, chunks)
    with tiles_of(500):
        plain = pt.plan(func, IMAGE, grid, batch_bytes=8000, workers=1, **options)
        plan = pt.plan(func, IMAGE, grid, out=store, batch_bytes=8000, workers=2, **options)
    assert plan.tiling == plain.tiling
    assert plan.tasks > 8
    plan.run()
    assert_same_bits(store.values, plain.run())
    assert set(store.written.values()) == {1}


def test_units_of_a_result_whose_channels_finalize_drops(tiles_of):
    def scores(batch):
        return np.stack([batch, -batch, 0 * batch + 0.1], axis=-1)

    with tiles_of(600):
        plain = pt.map_patches(scores, IMAGE, 9, 3, finalize=lambda s: s.argmax(-1))
        for shape, chunks, finalize in (
            (IMAGE.shape, (20, 17), lambda s: s.argmax(-1)),
            ((*IMAGE.shape, 2), (20, 17, 1), lambda s: np.stack([s.argmax(-1)] * 2, -1)),
        ):
            store = Chunked(shape, np.int64, chunks)
            pt.map_patches(scores, IMAGE, 9, 3, finalize=finalize, out=store)
            assert_same_bits(
                store.values if store.values.ndim == 2 else store.values[..., 1], plain
            )
            assert set(store.written.values()) == {1}


def test_chunks_are_written_together_and_stores_without_them_one_by_one(tiles_of):
    with tiles_of(400):
        together = Chunked(IMAGE.shape, np.float64, (8, 8), pause=0.03)
        pt.map_patches(same, IMAGE, 7, 7, out=together, workers=4)
        assert together.most > 1
        single = Chunked(IMAGE.shape, np.float64, None, pause=0.005)
        pt.map_patches(same, IMAGE, 7, 7, out=single, workers=4)
        assert single.most == 1


# what is read


class Counted:
    """An image in chunks that counts how often each is read."""

    def __init__(self, values, chunks):
        self.values, self.chunks = values, chunks
        self.shape, self.dtype = values.shape, values.dtype
        self.reads = np.zeros([-(-n // c) for n, c in zip(values.shape, chunks, strict=True)], int)

    def __getitem__(self, key):
        rows = zip(key, self.chunks, strict=True)
        self.reads[tuple(slice(s.start // c, -(-s.stop // c)) for s, c in rows)] += 1
        return self.values[key]


@pytest.mark.parametrize("chunks", [(16, 16), (10, 75), (67, 5)])
@pytest.mark.parametrize(("patch", "step"), [(9, 1), (8, 8), (5, 7)])
def test_a_plan_says_how_often_a_chunk_is_read(tiles_of, chunks, patch, step):
    source = Counted(IMAGE, chunks)
    with tiles_of(300):
        plan = pt.plan(same, source, patch, step, workers=1, batch_bytes=5000, merge="max", fill=0)
        plan.run()
    size = np.multiply(source.reads.shape, chunks)
    assert plan.reads == pytest.approx(
        source.reads.sum() / source.reads.size if (size == IMAGE.shape).all() else plan.reads
    )
    assert plan.read_bytes == source.reads.sum() * np.prod(chunks) * 8
    assert f"{plan.reads:.2f} times" in str(plan)


def test_tiles_follow_chunks_where_that_spares_reads():
    wide = np.broadcast_to(np.float32(0), (20_000, 20_000))
    plain, chunked = pt.plan(same, wide, 39), pt.plan(same, Counted(wide, (1024, 1024)), 39)
    assert plain.tiling.lengths[1] == 20_000 - 38  # as wide as the rows of memory
    assert chunked.reads < 4
    grid = pt.PatchGrid(wide.shape, 64, 64)
    assert pt.plan(same, Counted(wide, (1024, 1024)), grid).reads < 1.3


def test_a_plan_prints_what_happens():
    text = str(pt.plan(same, IMAGE, 9, memory="1GB", out=np.zeros_like(IMAGE)))
    for word in (
        "patches",
        "expanded",
        "held",
        "1 GB",
        "read",
        "times",
        "written",
        "blocks",
        "tiles",
    ):
        assert word in text


# budgets


@pytest.mark.parametrize("words", ["40 kB", "40000", 40_000, "0.04MB"])
def test_sizes_may_be_words(words):
    assert pt.plan(same, IMAGE, 9, batch_bytes=words).batch_bytes <= 40_000
    with pytest.raises(ValueError, match="batch_bytes must be a number of bytes"):
        pt.plan(same, IMAGE, 9, batch_bytes="8 megs")


@pytest.mark.parametrize("workers", [1, 2, 5, 64])
def test_a_budget_gives_the_same_tiles_to_any_number_of_workers(workers):
    image = np.broadcast_to(np.float64(0), (3000, 3000))
    for memory in ("100MB", "200MB", "1GB"):
        plan = pt.plan(same, image, 39, memory=memory, workers=workers)
        assert plan.projected_bytes <= plan.memory
        assert 1 <= plan.workers <= workers
        one = pt.plan(same, image, 39, memory=memory, workers=1)
        assert (plan.tiling, plan.job.batch) == (one.tiling, one.job.batch)
    assert pt.plan(same, image, 39, memory="200MB", workers=64).workers < 64


def test_what_cannot_fit_is_refused_with_numbers():
    image = np.broadcast_to(np.float64(0), (3000, 3000))
    with pytest.raises(
        MemoryError, match=r"at least [\d.]+ MB .*72 MB of it the result.*memory=60 MB"
    ):
        pt.plan(same, image, 39, memory="60MB")
    assert pt.plan(same, image, 39, memory="60MB", out=Chunked((1, 1), "f8", None)).workers


def never(_batch):
    raise AssertionError("func was called")


def test_a_result_that_memory_cannot_hold_is_refused_before_any_work():
    huge = np.broadcast_to(np.float32(0), (10**7, 10**8))
    with pytest.raises(MemoryError, match="out= a path"):
        pt.plan(never, huge, 39)
    calls = []

    def wide(batch):
        calls.append(len(batch))
        return np.broadcast_to(np.float64(0), (*batch.shape, 10**7))

    image = np.broadcast_to(np.float32(0), (20_000, 20_000))
    with pytest.raises(MemoryError, match="out= a path"):
        pt.map_patches(wide, image, 2, 2, merge=None, batch_bytes=4000, workers=1)
    assert len(calls) == 1


PEAK = """
import sys
import numpy as np
import pantile as pt

def func(batch):
    return batch

def kilobytes(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name))

folder, kind = sys.argv[1:]
image = np.random.default_rng(0).integers(0, 1000, (2200, 2200)).astype(np.float32)
options = {"workers": 2, "batch_bytes": "2MB"}
if kind == "zarr":
    import zarr
    array = zarr.create_array(folder + "/in.zarr", shape=image.shape, dtype="f4", chunks=(256, 256))
    array[...] = image
    small = zarr.create_array(folder + "/small.zarr", shape=(64, 64), dtype="f4", chunks=(32, 32))
    pt.map_patches(func, small, 16, 4, out=folder + "/warm.zarr", **options)
    source, options["out"] = folder + "/in.zarr", folder + "/out.zarr"
    del image
else:
    pt.map_patches(func, image[:64, :64], 16, 4, **options)
    source = image
plan = pt.plan(func, source, 16, 4, memory="90MB", **options)
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")
before = kilobytes("VmRSS:")
out = plan.run()
print((kilobytes("VmHWM:") - before) * 1024, plan.projected_bytes, plan.memory)
if kind == "zarr":
    found, wanted = (zarr.open_array(p)[...] for p in (options["out"], source))
    assert np.array_equal(found, wanted)
else:
    assert np.array_equal(out, image)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["memory", "zarr"])
def test_measured_peak_stays_below_the_plan(tmp_path, kind):
    if kind == "zarr":
        pytest.importorskip("zarr")
    command = [sys.executable, "-c", textwrap.dedent(PEAK), str(tmp_path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    peak, projected, memory = map(int, done.stdout.split())
    assert peak <= projected <= memory


@pytest.mark.parametrize("short", [1, 1 << 16])
def test_weight_sums_take_a_pass_or_two_however_many_tiles(tiles_of, monkeypatch, short):
    """A pass over an axis for each tile would make long signals take quadratic time."""
    made, profile = [], AxisGrid.profile

    def counted(*arguments):
        made.append(len(profile(*arguments)))
        return profile(*arguments)

    monkeypatch.setattr(AxisGrid, "profile", counted)
    monkeypatch.setattr(weights, "_SHORT", short)
    for tiles in (2000, 50):
        made.clear()
        with tiles_of(tiles):
            drawn = pt.plan(lambda b: b, np.arange(4000.0), 8, batch_bytes=640, workers=1)
        np.testing.assert_allclose(drawn.run(), np.arange(4000.0))
        assert 4000 <= sum(made) <= 8000


# What func gets


@given(st.data())
def test_the_plan_says_which_batches_func_gets(tiles_of, data):
    """Not how many patches a batch could hold."""
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    patch = tuple(data.draw(st.integers(1, min(n, 9))) for n in shape)
    step = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    tail = data.draw(st.sampled_from(["drop", "shift", "respace"]))
    grid = pt.PatchGrid(shape, patch, step, tail=tail)
    where = None
    if data.draw(st.booleans()):
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        where = rng.random(grid.counts) < data.draw(st.sampled_from([0.05, 0.6]))
    got = []

    def func(batch):
        got.append(len(batch))
        return batch[:, 0, 0]

    with tiles_of(data.draw(st.integers(20, 2000))):
        drawn = pt.plan(
            func, np.zeros(shape), grid, merge=None, where=where, fill=0, workers=1,
            batch_bytes=data.draw(st.integers(8, 9000)),
        )  # fmt: skip
        drawn.run()
    assert drawn.batches == {n: got.count(n) for n in sorted(set(got), reverse=True)}
    sizes, printed = sorted(got), f"{len(got):,} of "
    if len(sizes) > 1 and sizes[0] < sizes[1] == sizes[-1]:  # all alike but the last one
        printed = f"{len(got) - 1:,} of {sizes[-1]:,} and one of {sizes[0]:,} patches"
    assert printed in str(drawn)


@pytest.mark.parametrize("side", [512, 1024])
def test_batches_of_large_tiles_are_those_that_are_printed(side):
    got = []

    def func(batch):
        got.append(len(batch))
        return batch

    drawn = pt.plan(func, np.zeros((2100, 2100), np.float32), side, side // 2, fill=0, workers=1)
    drawn.run()
    line = next(line for line in str(drawn).splitlines() if line.startswith("batches"))
    size = str(max(got)) if min(got) == max(got) else f"{min(got)} to {max(got)}"
    assert f" {len(got)} of {size} patches" in line

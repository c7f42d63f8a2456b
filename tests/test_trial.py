"""Plans that try `func` first: what it returns is what they are made for."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt
from pantile.geometry.limits import LIMITS
from pantile.geometry.schedule import Schedule
from pantile.geometry.tiling import Tiling
from pantile.testing.compare import assert_same_bits

Array = NDArray[Any]
IMAGE = np.random.default_rng(7).integers(0, 999, (600, 610)).astype(np.uint16)
SMOOTH = np.add.outer(np.arange(200), np.arange(200) * 4).astype(np.uint16)
GRID = pt.PatchGrid(IMAGE.shape, 48, 16, pad=16, pad_mode="reflect")


def middle(batch: Array) -> Array:
    """The 16x16 in the middle of patches: nothing overlaps."""
    return batch[:, 16:-16, 16:-16] // 2


def classes(batch: Array) -> Array:
    """Scores, whole numbers, of which each is the largest somewhere."""
    level = batch.astype(np.float32) // 34
    return np.stack([-((level - k) ** 2) for k in range(30)], axis=-1)


def test_a_job_that_returns_the_middle_of_patches_fits_once_that_was_seen() -> None:
    free = pt.plan(middle, IMAGE, GRID, out=np.empty_like(IMAGE), workers=1, trial=True)
    assert [r.frame.patch for r in free.expected] == [(16, 16)]
    memory = 300_000
    with pytest.raises(MemoryError, match=r"trial=True"):
        pt.map_patches(middle, IMAGE, GRID, memory=memory, out=np.empty_like(IMAGE))
    plan = pt.plan(middle, IMAGE, GRID, memory=memory, out=np.empty_like(IMAGE), trial=True)
    assert plan.projected_bytes <= memory
    np.testing.assert_array_equal(plan.run(), IMAGE // 2)
    with pytest.raises(MemoryError, match=r"allow more$"):
        pt.plan(middle, IMAGE, GRID, memory=1000, out=np.empty_like(IMAGE), trial=True)


def test_a_trial_calls_func_on_a_patch_and_then_on_a_batch() -> None:
    calls: list[int] = []

    def func(batch: Array) -> Array:
        calls.append(len(batch))
        return middle(batch)

    plan = pt.plan(func, IMAGE, GRID, trial=True)
    assert calls == [1, max(plan.batches)]
    del calls[:]
    plan.run()
    assert sum(calls) == len(GRID)


@pytest.mark.parametrize(
    ("func", "merge", "written"),
    [
        (classes, "mean", 30 * 4),
        (lambda b: (b, classes(b)), "mean", 8 + 30 * 4),
        (middle, "max", 2),
        (lambda b: pt.Weighted(classes(b), np.ones(len(b))), "mean", 30 * 4),
        (lambda b: classes(b)[..., 0], "moments", 4 + 4 + 8 + 8),
    ],
)
def test_what_is_written_is_known_after_a_trial(func: Any, merge: Any, written: float) -> None:
    plan = pt.plan(func, IMAGE, GRID, merge=merge, trial=True)
    found = plan.run()
    images = found if isinstance(found, tuple) else (found,)
    assert plan.written_bytes == sum(image.nbytes for image in images)
    if merge != "moments":
        assert plan.written_bytes == IMAGE.size * written


def test_results_on_the_grid_are_known_after_a_trial() -> None:
    def features(batch: Array) -> Array:
        return np.ones((len(batch), 70), np.float32)

    plan = pt.plan(features, IMAGE, GRID, merge=None, trial=True)
    assert plan.written_bytes == plan.run().nbytes == len(GRID) * 70 * 4
    assert plan.projected_bytes > plan.written_bytes


def test_a_trial_looks_at_the_first_patch_that_takes_part() -> None:
    image = np.zeros((40, 40))
    image[20:, 20:] = 7
    seen: list[float] = []

    def func(batch: Array) -> Array:
        seen.append(float(batch.min()))
        return batch

    where = np.zeros(image.shape, bool)
    where[30:, 30:] = True
    pt.plan(func, image, 5, 5, where=where, fill=0, trial=True)
    assert seen
    assert min(seen) == 7
    del seen[:]
    none = pt.plan(func, image, 5, 5, where=np.zeros_like(where), fill=0, trial=True)
    assert none.seconds == 0
    assert not seen


def test_what_func_returns_wrongly_is_said_by_the_trial() -> None:
    with pytest.raises(ValueError, match="larger than the"):
        pt.plan(lambda b: np.repeat(b, 2, axis=1), IMAGE, GRID, trial=True)
    with pytest.raises(TypeError, match="got None"):
        pt.plan(lambda _: None, IMAGE, GRID, trial=True)


@pytest.mark.parametrize("memory", ["100 MB", "30 MB"])
def test_a_plan_that_was_tried_gives_what_a_call_gives(tmp_path: Any, memory: str) -> None:
    out = str(tmp_path / "o.zarr")
    how: dict[str, Any] = {"finalize": "argmax", "memory": memory, "out": out}
    assert pt.plan(classes, SMOOTH, 32, 16, trial=True, **how).run() == out
    found = np.asarray(pt.files.open_image(out)[:, :])
    assert_same_bits(found, pt.map_patches(classes, SMOOTH, 32, 16, finalize="argmax"))
    assert len(np.unique(found)) > 20


PEAK = """
import numpy as np
import pantile as pt

def classes(batch):
    return np.stack([batch * k for k in range(40)], axis=-1)

def kilobytes(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name))

image = np.random.default_rng(0).random((1500, 1500)).astype(np.float32)
options = {"finalize": "argmax", "workers": 2, "batch_bytes": "200kB"}
pt.map_patches(classes, image[:100, :100], 32, 24, **options)
plan = pt.plan(classes, image, 32, 24, memory="90MB", trial=True, **options)
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")
before = kilobytes("VmRSS:")
plan.run()
print((kilobytes("VmHWM:") - before) * 1024, plan.projected_bytes, image.nbytes * 40)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_classes_keep_a_budget_once_they_were_seen() -> None:
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    held, projected, volume = map(int, run.stdout.split())
    assert projected <= 90e6 < volume / 3
    assert held <= 90e6 + 2 * 8e6  # what func makes of a batch, for each worker


# the last two tiles


def test_the_last_two_tiles_come_together_where_they_share_more_than_others() -> None:
    axes = pt.PatchGrid((11, 11), 4, 3).axis_grids  # from 0, 3, 6, 7
    tiling = Tiling(axes, (1, 1))
    order = [tile.index for tile in tiling]
    assert order[:4] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert order[8:12] == [(2, 0), (3, 0), (2, 1), (3, 1)]
    assert order[12:] == [(2, 2), (2, 3), (3, 2), (3, 3)]
    assert [tiling.number(index) for index in order] == list(range(16))
    even = Tiling(pt.PatchGrid((13, 13), 4, 3).axis_grids, (1, 1))
    assert [tile.index for tile in even] == sorted(tile.index for tile in even)


def test_a_shifted_last_patch_does_not_hold_a_layer() -> None:
    axes = pt.PatchGrid((192,) * 3, 64, 48).axis_grids
    front = Schedule.of(Tiling(axes, (1, 1, 1)), axes).front
    assert front < 32 * 192**2 < 2 * front  # what the last two layers share: for them alone


# resumed


def without_halo(batch: Array) -> Array:
    return batch[:, 32:-32, 32:-32]


def test_a_run_in_a_tight_budget_is_resumed_in_the_same_budget(tmp_path: Any) -> None:
    image = np.random.default_rng(1).integers(0, 999, (1300, 1300)).astype(np.uint16)
    grid = pt.PatchGrid(image.shape, 576, 512, pad=32, pad_mode="reflect")
    sink = pt.files.ZarrSink(tmp_path / "o.zarr", chunks=(512, 512))

    def stop(done: int, _: int) -> None:
        if done == 5:
            raise RuntimeError("stopped")

    def run(memory: int, **more: Any) -> Any:
        how: dict[str, Any] = {"memory": memory, "workers": 1, "trial": True, "dtype": np.uint16}
        return pt.plan(without_halo, image, grid, out=sink, **how, **more)

    with pytest.raises(MemoryError, match="at least") as error:
        run(1000)
    least = re.search(r"at least ([\d.]+) MB", str(error.value))
    assert least is not None
    memory = int(float(least[1]) * 1.02e6)
    plan = run(memory, progress=stop)
    assert plan.resources.limits.strip_elements < LIMITS.strip_elements
    with pytest.raises(RuntimeError, match="stopped"):
        plan.run()
    again = run(memory, resume=True)
    assert again.blocks_done > 0
    again.run()
    np.testing.assert_array_equal(np.asarray(pt.files.open_image(tmp_path / "o.zarr")), image)

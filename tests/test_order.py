"""Whatever order tiles finish in: no more pieces are held than the plan says, and the bits are the same."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt
from pantile.geometry.tiling import span_size
from pantile.merge.assembly import Assembly
from pantile.testing.compare import assert_same_bits

Array = NDArray[Any]


class Sunk:
    """A store that keeps nothing of what is written to it, in chunks of many tiles."""

    def __init__(self, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
        self.shape, self.chunks, self.dtype = shape, chunks, np.dtype("f8")

    def __setitem__(self, key: Any, values: Array) -> None:
        assert values.size


class SlowFirst:
    """Returns what it gets; the call that gets the image's first element waits until no other has come for a while."""

    def __init__(self) -> None:
        self.last, self.calls, self.calls_meanwhile = time.monotonic(), 0, 0

    def __call__(self, batch: Array) -> Array:
        self.last = time.monotonic()
        self.calls += 1
        if batch.flat[0] == 1:
            before = self.calls
            while time.monotonic() - self.last < 0.4:
                time.sleep(0.05)
            self.calls_meanwhile = self.calls - before
        return batch


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of pieces that were held whenever one came."""
    found: list[int] = []
    deliver = Assembly.deliver

    def delivered(self: Assembly, *arguments: Any) -> Any:
        ready = deliver(self, *arguments)
        found.append(sum(a.nbytes for state in self.held for a in state))
        return ready

    monkeypatch.setattr(Assembly, "deliver", delivered)
    return found


@pytest.mark.parametrize("workers", [2, 3])
def test_pieces_do_not_pile_up_behind_a_slow_first_tile(
    tiles_of: Any, held: list[int], workers: int
) -> None:
    image = np.zeros((1200, 1200))
    image[0, 0] = 1
    func = SlowFirst()
    with tiles_of(6000):
        plan = pt.plan(
            func,
            image,
            8,
            4,
            out=Sunk(image.shape, (600, 600)),
            workers=workers,
            batch_bytes="50kB",
        )
    plan.run()
    assert func.calls_meanwhile > 0
    assert len(held) == len(plan.tiling) > 100
    piece = span_size(plan.job.frame.axes, plan.tiling.lengths)
    most = plan.blocks.front + plan.window * piece
    assert max(held) <= most * plan.expected[0].state_bytes < plan.projected_bytes
    assert most < 0.7 * image.size


class Shuffled(ThreadPoolExecutor):
    """Begins tasks in an order of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__(6)
        self.random, self.guard = random.Random(seed), threading.Lock()

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        with self.guard:
            pause = self.random.random() * 0.01
        return super().submit(_later, pause, function, *args, **options)


def _later(pause: float, function: Callable[..., Any], *args: Any) -> Any:
    time.sleep(pause)
    return function(*args)


def uneven(shape: tuple[int, ...]) -> Array:
    """Values whose sum depends on the order in which they are added."""
    rng = np.random.default_rng(11)
    return rng.normal(size=shape) * 10.0 ** rng.integers(-12, 12, shape)


def results(image: Array, **options: Any) -> Iterator[Array]:
    for merge, weights in (("mean", "hann"), ("sum", None), ("var", None)):
        yield pt.map_patches(
            lambda b: np.cos(b) * b, image, 9, 2, merge=merge, weights=weights, batch_bytes=3000,
            **options,
        )  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_tiles_that_finish_in_any_order_are_added_in_one(tiles_of: Any, seed: int) -> None:
    image = uneven((60, 66))
    with tiles_of(150), Shuffled(seed) as pool:
        wanted = list(results(image, workers=1))
        found = list(results(image, executor=pool))
    for one, other in zip(found, wanted, strict=True):
        assert_same_bits(one, other)

"""One execution of a plan: tiles are handed out in order, pieces come together, blocks are written."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Tile
from .executors import Inline, Threads
from .outputs import Kind
from .plan import Plan
from .progress import Report
from .targets import Target, make_target
from .tile import Cancelled, TileResult, run_tile

__all__ = ["Run"]

_POLL = 0.1  # seconds between looks at the progress


class Run:
    """Hands out the tiles of a plan and brings together what they give."""

    def __init__(self, plan: Plan, report: Report | None) -> None:
        self.plan, self.job, self.report = plan, plan.job, report
        self.cancelled = threading.Event()
        self.lock = threading.Lock()
        self.done = 0
        self.targets: list[Target] = []
        self.idle: list[Tile] = []  # tiles without patches, from before the first result

    def result(self) -> Any:
        """The image or images, once everything is written."""
        plan, own = self.plan, None
        if plan.executor is None:
            own = Inline() if plan.workers == 1 else Threads(plan.workers)
        try:
            self._hand_out(own or plan.executor, local=own is not None)
        except BaseException:
            self.cancelled.set()
            raise
        finally:
            if own is not None:
                own.close()
        found = tuple(target.out for target in self.targets)
        return found if len(found) > 1 else found[0]

    def _hand_out(self, executor: Any, local: bool) -> None:
        waiting = deque(enumerate(self.plan.tiling))
        at_work: set[int] = set()
        finished: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        while waiting or at_work:
            while waiting and self._may_start(waiting[0][0], at_work):
                number, tile = waiting.popleft()
                future = self._start(executor, tile, local)
                if future is not None:
                    at_work.add(number)
                    future.add_done_callback(lambda f, n=number: finished.put((n, f)))
            if at_work:
                self._take(finished, at_work, local)
            self._tell()

    def _may_start(self, number: int, at_work: set[int]) -> bool:
        """A tile may start when those long before it are done: pieces must not pile up."""
        oldest = min(at_work, default=number)
        return len(at_work) <= self.plan.workers and number - oldest < self.plan.window

    def _take(
        self, finished: queue.SimpleQueue[tuple[int, Any]], at_work: set[int], local: bool
    ) -> None:
        try:
            number, future = finished.get(timeout=_POLL)
        except queue.Empty:
            return
        at_work.remove(number)
        outcome = future.result()
        if not local:
            self._count(_size(outcome.tile, self.plan.selection(outcome.tile)))
            self._deliver(outcome)

    def _start(self, executor: Any, tile: Tile, local: bool) -> Any:
        mask = self.plan.selection(tile)
        if mask is not None and not mask.any():
            self._deliver_idle(tile)
            return None
        if local:
            return executor.submit(self._work, tile, mask)
        return executor.submit(run_tile, self.job, tile, self.plan.block(tile), mask)

    def _work(self, tile: Tile, mask: NDArray[np.bool_] | None) -> None:
        """A tile from cut to written blocks, in one of our own threads."""
        if self.cancelled.is_set():
            raise Cancelled
        block = self.plan.block(tile)
        self._deliver(run_tile(self.job, tile, block, mask, self._count, self.cancelled))

    def _count(self, n: int) -> None:
        with self.lock:
            self.done += n

    def _tell(self) -> None:
        if self.report is not None:
            self.report(self.done, self.plan.n_patches)

    def _deliver(self, outcome: TileResult) -> None:
        self._prepare(outcome.kinds)
        for target, state in zip(self.targets, outcome.states, strict=True):
            target.deliver(outcome.tile, state)

    def _deliver_idle(self, tile: Tile) -> None:
        with self.lock:
            if not self.targets:
                self.idle.append(tile)
                return
        for target in self.targets:
            target.deliver(tile, None)

    def _prepare(self, kinds: list[Kind]) -> None:
        """Make the targets once the first results have told what they are."""
        with self.lock:
            if self.targets:
                if [t.kind for t in self.targets] != kinds:
                    raise ValueError(
                        f"func must return the same kind of result every time: now {kinds},"
                        f" before {[t.kind for t in self.targets]}"
                    )
                return
            outs = _outs(self.plan.out, len(kinds))
            self.targets = [
                make_target(self.plan, kind, out, self.cancelled)
                for kind, out in zip(kinds, outs, strict=True)
            ]
            idle, self.idle = self.idle, []
        for tile in idle:
            for target in self.targets:
                target.deliver(tile, None)


def _size(tile: Tile, mask: NDArray[np.bool_] | None) -> int:
    return tile.n_patches if mask is None else int(mask.sum())


def _outs(out: Any, n: int) -> tuple[Any, ...]:
    outs = out if isinstance(out, tuple) else (out,) if out is not None or n == 1 else (None,) * n
    if len(outs) != n:
        raise ValueError(
            f"func returns {n} results, so out must be a tuple of {n} arrays, got {len(outs)}"
        )
    return outs

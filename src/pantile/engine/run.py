"""One execution of a plan: tiles are handed out in order, pieces come together, blocks are written."""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Tile
from ..kernels.libraries import limit_libraries, limit_thread, share_of
from .executors import PATIENCE, Inline, Threads
from .outputs import Kind
from .plan import Plan
from .progress import Report
from .results import Form, make_result
from .staging import Staging
from .targets import Target
from .tile import Cancelled, TileResult, run_tile

__all__ = ["POLL", "LocalRun", "Run", "check_kinds"]

POLL = 0.1  # seconds between looks at the progress


class Run(ABC):
    """Hands out the tiles of a plan and brings together what they give."""

    patience = PATIENCE

    def __init__(self, plan: Plan, report: Report | None) -> None:
        self.plan, self.job, self.report = plan, plan.job, report
        self.cancelled = threading.Event()
        self.lock = threading.Lock()
        self.failed = False
        self.done = 0  # patches
        self.targets: list[Target] = []
        self.idle: list[Tile] = []  # tiles without patches, from before the first result
        self.at_work: dict[int, Any] = {}  # tile number -> future
        self.finished: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

    def result(self) -> Any:
        """The image or images, once everything is written."""
        self.staging = Staging(self.plan)
        try:
            if self.staging.begin():
                return self.plan.out
            self._open()
            with self.workers():
                self._hand_out()
            self.staging.finish()
        except BaseException as error:
            self.cancelled.set()
            self.staging.abandon(error)
            raise
        return self._given()

    def _given(self) -> Any:
        if self.plan.out is not None:
            return self.plan.out
        found = tuple(self.staging.places)
        return found if len(found) > 1 else found[0]

    @abstractmethod
    def workers(self) -> AbstractContextManager[None]:
        """What must be there while tiles are worked on, as a context."""

    @abstractmethod
    def submit(self, tile: Tile, mask: NDArray[np.bool_] | None) -> Any:
        """Start a tile that has patches; returns a future."""

    @abstractmethod
    def take(self, number: int, future: Any) -> None:
        """What is left to do once a tile is done; raises what went wrong."""

    # handing out

    def _hand_out(self) -> None:
        try:
            waiting = self._waiting()
            following = next(waiting, None)
            if following is None:  # all was done before
                self._tell()
            while following is not None or self.busy:
                while following is not None and self.may_start(following[0]):
                    self.start(*following)
                    following = next(waiting, None)
                if self.busy:
                    self._take()
                self._tell()
        except BaseException as error:
            self._stop(error)
            raise

    def _stop(self, error: BaseException) -> None:
        """Have what is at work come to rest, so that nothing of it works on when ``error`` is raised."""
        self.cancelled.set()
        for future in self.at_work.values():
            future.cancel()
        end = time.monotonic() + self.patience
        while self.at_work and time.monotonic() < end:
            with suppress(queue.Empty):
                self.at_work.pop(self.finished.get(timeout=POLL)[0], None)
        if self.at_work and self.patience >= PATIENCE:
            error.add_note(
                f"pantile: func had not returned in {len(self.at_work)} places {self.patience:.0f} s"
                " after that; nothing is done with what it returns"
            )

    def _waiting(self) -> Iterator[tuple[int, Tile]]:
        """The tiles that a block still needs; the others count as done."""
        for number, tile in enumerate(self.plan.tiling):
            if not self.targets or any(target.awaits(tile) for target in self.targets):
                yield number, tile
            else:
                self.count(self.size(tile))

    @property
    def busy(self) -> bool:
        return bool(self.at_work)

    def may_start(self, number: int) -> bool:
        """A tile may start when those long before it are done: pieces must not pile up."""
        oldest = min(self.at_work, default=number)
        room = len(self.at_work) <= self.plan.workers and number - oldest < self.plan.window
        return room and not self.failed

    def start(self, number: int, tile: Tile) -> None:
        mask = self.plan.selection(tile)
        if mask is not None and not mask.any():
            self._deliver_idle(tile)
            return
        future = self.at_work[number] = self.submit(tile, mask)
        future.add_done_callback(lambda f: self.finished.put((number, f)))

    def _take(self) -> None:
        try:
            number, future = self.finished.get(timeout=POLL)
        except queue.Empty:
            return
        del self.at_work[number]
        self.take(number, future)

    def size(self, tile: Tile) -> int:
        """How many patches of a tile take part."""
        mask = self.plan.selection(tile)
        return tile.n_patches if mask is None else int(mask.sum())

    def count(self, n: int) -> None:
        with self.lock:
            self.done += n

    def _tell(self) -> None:
        if self.report is not None:
            self.report(self.done, self.plan.n_patches)

    # bringing together

    def deliver(self, outcome: TileResult) -> None:
        self.prepare(outcome.kinds, outcome)
        for target, state in zip(self.targets, outcome.states, strict=True):
            target.deliver(outcome.tile, state)

    def _deliver_idle(self, tile: Tile) -> None:
        with self.lock:
            if not self.targets:
                self.idle.append(tile)
                return
        for target in self.targets:
            target.deliver(tile, None)

    def _open(self) -> None:
        """Go on with what is there already; where no patch takes part, func is taken to give what it gets."""
        if self.staging.results:
            self._make_targets()
        elif not self.plan.n_patches:
            self.prepare([assumed_kind(self.plan, k) for k in range(len(self.plan.outs or (0,)))])

    def prepare(self, kinds: list[Kind], outcome: TileResult | None = None) -> None:
        """Make the targets once the first results have told what they are."""
        with self.lock:
            if self.targets:
                check_kinds([target.result.kind for target in self.targets], kinds)
                return
            trials = self._trials(outcome, len(kinds))
            results = [
                make_result(self.plan, kind, self.form(k), trial)
                for k, (kind, trial) in enumerate(zip(kinds, trials, strict=True))
            ]
            self.staging.make(results)
            self._make_targets()
            idle, self.idle = self.idle, []
        for tile in idle:
            for target in self.targets:
                target.deliver(tile, None)

    @staticmethod
    def _trials(outcome: TileResult | None, n: int) -> list[Any]:
        if outcome is None:
            return [None] * n
        return [(outcome.tile, state) for state in outcome.states]

    def _make_targets(self) -> None:
        self.targets = [
            Target(self.plan, k, self.staging, self.cancelled)
            for k in range(len(self.staging.results))
        ]
        self.staging.total = sum(len(target.assembly.blocks) for target in self.targets)

    def form(self, k: int) -> Form | None:
        """Shape and dtype of the place of the ``k``-th result where it is there already."""
        outs = self.plan.outs
        if not outs or k >= len(outs) or not hasattr(outs[k], "shape"):
            return None
        return Form(tuple(outs[k].shape), np.dtype(outs[k].dtype))


def check_kinds(known: list[Kind], kinds: list[Kind]) -> None:
    if known != kinds:
        raise ValueError(
            f"func must return the same kind of result every time: now {kinds}, before {known}"
        )


def assumed_kind(plan: Plan, k: int) -> Kind:
    """What ``func`` would give if it gave what it gets; on the grid, what ``out`` has room for, or a number."""
    if plan.job.rule is not None:
        return Kind(plan.job.dtype, plan.job.frame.patch_shape)
    counts = [n for j, n in enumerate(plan.job.frame.counts) if j != plan.job.frame.channel]
    out = plan.outs[k] if plan.outs else None
    shape = tuple(getattr(out, "shape", counts))
    return Kind(plan.dtype or np.dtype(getattr(out, "dtype", plan.job.dtype)), shape[len(counts) :])


class LocalRun(Run):
    """Tiles in threads of this process, from cut to written blocks."""

    @contextmanager
    def workers(self) -> Iterator[None]:
        at_once = min(self.plan.workers, self.plan.tasks)
        with limit_libraries(at_once):
            if not (self.plan.executor is None or self.plan.executor == "threads"):
                self.executor: Any = self.plan.executor
                yield
                return
            prepare = partial(limit_thread, share_of(at_once))
            own = Inline() if self.plan.workers == 1 else Threads(at_once, prepare)
            self.executor = own
            try:
                yield
            finally:
                own.close(0 if self.at_work else PATIENCE)

    def submit(self, tile: Tile, mask: NDArray[np.bool_] | None) -> Any:
        # in a copy of the caller's context, so that numpy.errstate holds in every thread
        return self.executor.submit(copy_context().run, self._work, tile, mask)

    def take(self, number: int, future: Any) -> None:
        if not isinstance(future.exception(), Cancelled):  # else another's error is on its way
            future.result()

    def _work(self, tile: Tile, mask: NDArray[np.bool_] | None) -> None:
        if self.failed or self.cancelled.is_set():
            raise Cancelled
        told = self.prepare if self.plan.finalize is None else None
        try:
            block, origin = self.plan.block(tile), tuple(b for b, _ in self.plan.reach(tile))
            watched = self.count, self.cancelled, told
            self.deliver(run_tile(self.job, tile, block, mask, *watched, origin))
        except BaseException:
            self.failed = True
            raise

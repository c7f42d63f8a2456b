"""What every runner does: tiles are handed out in order, pieces come together, blocks are written."""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np

from ...geometry.rect import Index, slices
from ...geometry.schedule import Ledger, Schedule
from ...geometry.tiling import Tile
from ...kernels.daemons import PATIENCE, POLL
from ...merge.assembly import Assembly
from ...merge.batch import Area
from ...merge.pieces import Piece
from ...merge.reduction import State
from ..block_task import Form, make_result
from ..chunks import ChunkStore
from ..job import Job, Kind
from ..places import Places
from ..plan import Plan
from ..progress import Report
from ..resume.staging import Staging
from ..source import units_of
from ..tile_task import TileResult, run_tile

__all__ = ["Run", "check_kinds"]


class Run(ABC):
    """Hands out the tiles of a plan and brings together what they give."""

    patience = PATIENCE

    def __init__(self, plan: Plan, report: Report | None) -> None:
        self.plan, self.job, self.report = plan, plan.job, report
        self.cancelled, self.failed = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.done = 0  # patches
        self.assembly: Assembly | None = None
        self.ledger: Ledger | None = None
        self.store: ChunkStore | None = None
        self.spare: list[np.ndarray[Any, Any]] = []  # batch buffers of tiles that are done
        self.final: list[np.ndarray[Any, Any] | None] = []  # images that tiles put values into
        self.idle: list[Tile] = []  # tiles without patches, from before the first result
        self.at_work: dict[Any, Any] = {}  # task -> future
        self.finished: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()

    @classmethod
    def run(cls, plan: Plan, report: Report | None) -> Any:
        """Do what a plan says; returns what `map_patches` returns."""
        return cls(plan, report).result()

    def result(self) -> Any:
        """The image or images, once everything is written."""
        staged = self.plan.destination.staged
        self.staging = Staging(self.plan) if staged else Places(self.plan)
        try:
            if self.staging.begin():
                return self.plan.destination.out
            self._open()
            self.store = self.plan.reading.store()
            with self.workers():
                self.hand_out()
            self.staging.finish()
        except BaseException as error:
            self.cancelled.set()
            self.staging.abandon(error)
            raise
        finally:
            self.store = None  # an error's traceback must not keep its chunks
        if self.plan.destination.out is not None:
            return self.plan.destination.out
        found = tuple(self.staging.places)
        return found if len(found) > 1 else found[0]

    @abstractmethod
    def workers(self) -> AbstractContextManager[None]:
        """What must be there while tiles are worked on, as a context."""

    def submit(self, tile: Tile) -> Any:
        """Start a tile that has patches; returns a future."""
        raise NotImplementedError

    def take(self, number: int, future: Any) -> None:
        """What is left to do once a tile is done; raises what went wrong."""
        raise NotImplementedError

    # handing out

    def hand_out(self) -> None:
        """Start the tiles, a bounded number at a time, and take what they give."""
        try:
            waiting = self.waiting()
            following = next(waiting, None)
            if following is None:  # all was done before
                self.tell()
            while following is not None or self.at_work:
                while following is not None and self.may_start(following[0]):
                    self._start(*following)
                    following = next(waiting, None)
                if self.at_work:
                    self._take()
                self.tell()
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

    def waiting(self) -> Iterator[tuple[int, Tile]]:
        """The tiles that a block still needs; the others count as done."""
        for number, tile in enumerate(self.plan.tiling):
            if self.ledger is None or self.ledger.awaits(tile.index):
                yield number, tile
            else:
                self.count(self.job.size(tile))

    def may_start(self, number: int) -> bool:
        """A tile may start when those long before it are done: pieces must not pile up."""
        oldest = min(self.at_work, default=number)
        room = len(self.at_work) <= self.plan.workers and number - oldest < self.plan.window
        return room and not self.failed.is_set()

    def _start(self, number: int, tile: Tile) -> None:
        mask = self.job.selection(tile)
        if mask is not None and not mask.any():
            self.pass_over(tile)
        else:
            self.watch(number, self.submit(tile))

    def watch(self, task: Any, future: Any) -> None:
        """Hear of it when a task is done."""
        self.at_work[task] = future
        future.add_done_callback(lambda f: self.finished.put((task, f)))

    def _take(self) -> None:
        try:
            task, future = self.finished.get(timeout=POLL)
        except queue.Empty:
            return
        del self.at_work[task]
        self.take(task, future)

    def count(self, n: int) -> None:
        with self.lock:
            self.done += n

    def tell(self) -> None:
        """Report the progress."""
        if self.report is not None:
            self.report(self.done, self.plan.n_patches)

    # bringing together

    def work(self, tile: Tile, progress: Callable[[int], None]) -> None:
        """A tile, from its elements to the blocks that lacked no other."""
        learn = self.prepare if self.job.finalize is None else None
        self.deliver(
            run_tile(
                self.job,
                tile,
                self.job.read(tile, self.store),
                self.job.selection(tile),
                progress,
                self.cancelled,
                learn,
                self.spare,
                self.lasting,
            )
        )

    def lasting(self, k: int, area: Area) -> State | None:
        """What the ``k``-th result's patches reach over, as a state of the image itself, if it may be one."""
        image = self.final[k] if self.final else None
        if image is None:
            return None
        return self.staging.results[k].merged.reduction.lasting(image[slices(area.reach)])

    def deliver(self, outcome: TileResult) -> None:
        """Take a tile's pieces, and make the blocks that lacked no other."""
        self.prepare(outcome.kinds, outcome)
        assert self.assembly is not None
        results, tile = self.staging.results, outcome.tile
        pieces = [
            r.piece(tile, s) if image is None else None
            for r, s, image in zip(results, outcome.states, self.final, strict=True)
        ]
        outcome.states = []
        ready = self.assembly.deliver(tile.index, pieces)
        del pieces
        self._flush(ready)
        self.assembly.settle(tile.index)

    def pass_over(self, tile: Tile) -> None:
        """A tile of which no patch takes part."""
        with self.lock:
            if self.assembly is None:
                self.idle.append(tile)
                return
        self._flush(self.assembly.deliver(tile.index, [None] * len(self.staging.results)))
        self.assembly.settle(tile.index)

    def _flush(self, ready: Sequence[tuple[int, Index]]) -> None:
        assert self.assembly is not None
        for k, block in ready:
            if not self.cancelled.is_set():
                self.assembly.flush(k, block)

    def _open(self) -> None:
        """Go on with what is there already; where no patch takes part, func is taken to give what it gets."""
        if self.staging.results:
            self._assemble()
        elif not self.plan.n_patches:
            places = self.plan.destination.places or (None,)
            n = max(1, len(places) // self.staging.images)
            self.prepare(
                [_assumed_kind(self.job, places[k * self.staging.images]) for k in range(n)]
            )

    def prepare(self, kinds: list[Kind], outcome: TileResult | None = None) -> None:
        """Make the places of results once the first of them have told what they are."""
        with self.lock:
            if self.assembly is not None:
                check_kinds([result.kind for result in self.staging.results], kinds)
                return
            self.staging.make(
                [
                    make_result(
                        self.job,
                        kind,
                        self.forms(k),
                        None if outcome is None else (outcome.tile, outcome.states[k]),
                    )
                    for k, kind in enumerate(kinds)
                ]
            )
            self._assemble()
            idle, self.idle = self.idle, []
        for tile in idle:
            self.pass_over(tile)

    def _assemble(self) -> None:
        staging, limits = self.staging, self.plan.resources.limits
        results = staging.results
        schedules = self.schedules()
        # tiles that are worked on here may put values into images that are ours
        ours = self.plan.resources.in_this_process and self.plan.destination.out is None
        self.final = final = [
            result.final(staging.places[staging.of(k)[0]]) if ours else None
            for k, result in enumerate(results)
        ]

        # no method of this object: a cycle would keep the image until the next collection of garbage
        def make(k: int, block: Index, pieces: Sequence[Piece]) -> None:
            bounds, in_memory = schedules[k].bounds(block), staging.in_memory(k)
            if final[k] is None:
                for part in results[k].strips(bounds, limits) if in_memory else [bounds]:
                    staging.put(k, *results[k].block(part, pieces, limits, ours=True))
            staging.note(k, block)

        reductions = [result.merged.reduction for result in results]
        self.assembly = Assembly(schedules, reductions, make, staging.done)
        self.ledger = self.assembly.ledger
        staging.total = sum(map(len, schedules))

    def schedules(self) -> list[Schedule]:
        """Where each result is cut, for the places it goes to."""
        staging, limits = self.staging, self.plan.resources.limits
        return [
            result.schedule(
                self.plan.tiling,
                [units_of(staging.places[p]) for p in staging.of(k)],
                limits,
            )
            for k, result in enumerate(staging.results)
        ]

    def forms(self, k: int) -> list[Form | None]:
        """Shape and dtype of the places of the ``k``-th result, where they are there already."""
        places = self.plan.destination.places or ()
        return [
            Form(tuple(places[p].shape), np.dtype(places[p].dtype))
            if p < len(places) and hasattr(places[p], "shape")
            else None
            for p in self.staging.of(k)
        ]


def check_kinds(known: list[Kind], kinds: list[Kind]) -> None:
    """Refuse results that are not of the kinds that came before."""
    if known != kinds:
        raise ValueError(
            f"func must return the same kind of result every time: now {kinds}, before {known}"
        )


def _assumed_kind(job: Job, place: Any) -> Kind:
    """What ``func`` would give if it gave what it gets; on the grid, what ``out`` has room for, or a number."""
    if job.rule is not None:
        return Kind(job.dtype, job.frame.patch_shape)
    counts = [n for j, n in enumerate(job.frame.counts) if j != job.frame.channel]
    shape = tuple(getattr(place, "shape", counts))
    dtype = job.result_dtype or np.dtype(getattr(place, "dtype", job.dtype))
    return Kind(dtype, shape[len(counts) :])

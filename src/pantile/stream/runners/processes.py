"""Tiles in other processes: tasks carry a tile's place and the path of what all of them have in common."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import traceback
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ...geometry.limits import Limits
from ...geometry.rect import Index
from ...geometry.tiling import Tile, Tiling
from ...kernels.libraries import limit_process, share_of
from ..chunks import ChunkStore, Reading
from ..job import Job
from ..plan import Plan
from ..progress import Report
from ..source import is_held, place_in
from ..tempdir import shared_tempdir
from ..tile_task import TileResult, run_tile
from .base import Run

__all__ = ["Kit", "ProcessRun", "do_tile", "kit_of", "pack"]


@dataclass(frozen=True)
class Kit:
    """What workers elsewhere need of a plan; nothing that belongs to this process."""

    job: Job
    tiling: Tiling
    limits: Limits

    @cached_property
    def store(self) -> ChunkStore | None:
        """What reads an image in chunks for tiles that would read some of them twice."""
        return Reading(self.job, self.tiling).store()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "store"}


def kit_of(plan: Plan) -> Kit:
    return Kit(plan.job, plan.tiling, plan.resources.limits)


def with_source(kit: Kit, source: Any) -> Kit:
    """The kit with its image elsewhere, or (None) without it."""
    return replace(kit, job=replace(kit.job, source=source))


def pack(kit: Kit, dumps: Any = pickle.dumps) -> bytes:
    """A kit as bytes; a TypeError says which part of it cannot be sent."""
    try:
        return bytes(dumps(kit))
    except Exception as error:
        culprit = _culprit(kit, dumps)
        raise TypeError(
            f"{culprit} cannot be sent to other processes ({error}): define it at the top level of a module"
            " (a lambda or a local function is not), or leave executor= out to work in threads"
        ) from error


def _culprit(kit: Kit, dumps: Any) -> str:
    rule = kit.job.rule
    parts = {"func": kit.job.func, "finalize": kit.job.finalize, "image": kit.job.source}
    if rule is not None:
        parts |= {"merge": rule.merge, "weights": rule.weights}
    for name, part in parts.items():
        try:
            dumps(part)
        except Exception:
            return f"{name}={part!r}"
    return "the job"


@functools.lru_cache(maxsize=2)
def _unpack(job: str | bytes) -> Kit:
    data = job if isinstance(job, bytes) else Path(job).read_bytes()
    try:
        kit: Kit = pickle.loads(data)
    except (AttributeError, ImportError) as error:
        raise TypeError(
            f"worker processes cannot find func, or what belongs to it ({error}): define it in a module"
            " that they can import, not in an interactive session, or leave executor= out to work in threads"
        ) from error
    if _share is not None:
        limit_process(_share)  # of what func has brought with it, too
    return kit


_share: int | None = (
    None  # threads that a library may have in this worker; None where it is not ours
)


def _begin(share: int) -> None:
    """What a worker of ours does first. Ctrl-C is for the process that waits for it."""
    global _share
    _share = share
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Spawn(SpawnContext):
    """Knows the processes it started: a fork would copy locks that threads hold."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *args: Any, **options: Any) -> BaseProcess:  # type: ignore[override]
        process = SpawnContext.Process(*args, **options)
        self.started.append(process)
        return process


def _work(job: str | bytes, index: Index) -> TileResult:
    """A tile of a job, or of the job that lies at a path, in a worker process."""
    kit = _unpack(job)
    try:
        return do_tile(kit, index)
    except Exception as error:
        _check_travels(error)
        raise


def _check_travels(error: Exception) -> None:
    """Raise another error in the place of one that would break the pool: where it arrives, it is unpickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception as why:
        error_sent = RuntimeError(f"{type(error).__name__}: {error}")
        error_sent.add_note(f"pantile: of an exception that cannot be pickled ({why}):\n")
        error_sent.add_note("".join(traceback.format_exception(error)))
        raise error_sent from None


def do_tile(kit: Kit, index: Index) -> TileResult:
    """A tile of a job."""
    tile = kit.tiling.tile(index)
    return run_tile(kit.job, tile, kit.job.read(tile, kit.store), kit.job.selection(tile))


class ProcessRun(Run):
    """Tiles in a pool of processes, or anything alike; blocks are made and written here."""

    def __init__(self, plan: Plan, report: Report | None) -> None:
        super().__init__(plan, report)
        if plan.resources.executor == "processes":  # they write nothing, and can be ended
            self.patience = 1.0

    @contextmanager
    def workers(self) -> Iterator[None]:
        with self._sent() as self.job_sent, self._pool() as self.executor:
            yield

    @contextmanager
    def _sent(self) -> Iterator[str | bytes]:
        """What tasks carry beside a tile's place: a small job itself, so that a crash leaves no file; else its path."""
        kit = kit_of(self.plan)
        held = is_held(kit.job.source)
        data = pack(with_source(kit, None) if held else kit)
        if not held and len(data) <= kit.limits.job_bytes:
            yield data
            return
        with shared_tempdir() as folder:
            if held:
                data = pack(with_source(kit, place_in(folder, kit.job.source)))
            path = os.path.join(folder, "job")
            with open(path, "wb") as file:
                file.write(data)
            yield path

    @contextmanager
    def _pool(self) -> Iterator[Any]:
        if self.plan.resources.executor != "processes":
            yield self.plan.resources.executor
            return
        context = _Spawn()
        at_once = min(self.plan.workers, self.plan.tasks)
        pool = ProcessPoolExecutor(at_once, context, _begin, (share_of(at_once),))
        try:
            yield pool
        finally:
            if self.at_work:  # they did not come to rest
                for process in context.started:
                    process.terminate()
            pool.shutdown(cancel_futures=True)

    def submit(self, tile: Tile) -> Any:
        try:
            return self.executor.submit(_work, self.job_sent, tile.index)
        except BrokenExecutor as error:
            raise self._broken(error) from error

    def take(self, number: int, future: Any) -> None:
        try:
            outcome = future.result()
        except BrokenExecutor as error:
            raise self._broken(error) from error
        self.count(self.job.size(outcome.tile))
        self.deliver(outcome)

    def _broken(self, error: BrokenExecutor) -> BrokenExecutor:
        again = "give out= a path, and resume=True goes on from what is done"
        if self.plan.destination.staged:
            again = "the same call with a new executor and resume=True goes on from what is done"
        return type(error)(
            "a worker process died (killed, out of memory, or started by a script that lacks"
            f" `if __name__ == '__main__':`?): {again}"
        )

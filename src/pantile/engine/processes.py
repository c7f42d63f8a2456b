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
from dataclasses import replace
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Index, Tile
from ..kernels.libraries import limit_process, share_of
from .plan import Plan
from .progress import Report
from .run import Run
from .scratch import scratch_folder
from .sources import placed_in
from .tile import TileResult, run_tile

__all__ = ["ProcessRun", "kit_of", "packed", "work"]

_SMALL = 1 << 14  # bytes of a job that go with each task


def kit_of(plan: Plan) -> Plan:
    """What workers need of a plan; nothing that belongs to this process."""
    return replace(
        plan, executor=None, out=None, outs=None, progress=None, memory=None, resume=False
    )


def packed(kit: Plan, dumps: Any = pickle.dumps) -> bytes:
    """A kit as bytes; a TypeError says which part of it cannot be sent."""
    try:
        return bytes(dumps(kit))
    except Exception as error:
        culprit = _culprit(kit, dumps)
        raise TypeError(
            f"{culprit} cannot be sent to other processes ({error}): define it at the top level of a module"
            " (a lambda or a local function is not), or leave executor= out to work in threads"
        ) from error


def _culprit(kit: Plan, dumps: Any) -> str:
    rule = kit.job.rule
    parts = {"func": kit.job.func, "finalize": kit.finalize, "image": kit.source}
    if rule is not None:
        parts |= {"merge": rule.merge, "weights": rule.weights}
    for name, part in parts.items():
        try:
            dumps(part)
        except Exception:
            return f"{name}={part!r}"
    return "the job"


@functools.lru_cache(maxsize=2)
def _unpacked(job: str | bytes) -> Plan:
    data = job if isinstance(job, bytes) else Path(job).read_bytes()
    try:
        kit: Plan = pickle.loads(data)
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


def work(job: str | bytes, index: Index) -> TileResult:
    """A tile of a job, or of the job that lies at a path, in a worker process."""
    kit = _unpacked(job)
    try:
        return work_on(kit, index)
    except Exception as error:
        _check_travels(error)
        raise


def _check_travels(error: Exception) -> None:
    """Raise another error in the place of one that would break the pool: where it arrives, it is unpickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception as why:
        said = RuntimeError(f"{type(error).__name__}: {error}")
        said.add_note(f"pantile: of an exception that cannot be pickled ({why}):\n")
        said.add_note("".join(traceback.format_exception(error)))
        raise said from None


def work_on(kit: Plan, index: Index) -> TileResult:
    """A tile of a job."""
    tile = kit.tiling.tile(index)
    return run_tile(kit.job, tile, kit.block(tile), kit.selection(tile))


class ProcessRun(Run):
    """Tiles in a pool of processes, or anything alike; blocks are made and written here."""

    def __init__(self, plan: Plan, report: Report | None) -> None:
        super().__init__(plan, report)
        if plan.executor == "processes":  # they write nothing, and can be ended
            self.patience = 1.0

    @contextmanager
    def workers(self) -> Iterator[None]:
        with self._sent() as self.job_sent, self._pool() as self.executor:
            yield

    @contextmanager
    def _sent(self) -> Iterator[str | bytes]:
        """What tasks carry beside a tile's place: a small job itself, so that a crash leaves no file; else its path."""
        kit = kit_of(self.plan)
        held = isinstance(kit.source, np.ndarray)
        data = packed(replace(kit, source=None) if held else kit)
        if not held and len(data) <= _SMALL:
            yield data
            return
        with scratch_folder() as folder:
            if held:
                data = packed(replace(kit, source=placed_in(folder, kit.source)))
            path = os.path.join(folder, "job")
            with open(path, "wb") as file:
                file.write(data)
            yield path

    @contextmanager
    def _pool(self) -> Iterator[Any]:
        if self.plan.executor != "processes":
            yield self.plan.executor
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

    def submit(self, tile: Tile, mask: NDArray[np.bool_] | None) -> Any:
        try:
            return self.executor.submit(work, self.job_sent, tile.index)
        except BrokenExecutor as error:
            raise self._broken(error) from error

    def take(self, number: int, future: Any) -> None:
        try:
            outcome = future.result()
        except BrokenExecutor as error:
            raise self._broken(error) from error
        self.count(self.size(outcome.tile))
        self.deliver(outcome)

    def _broken(self, error: BrokenExecutor) -> BrokenExecutor:
        again = "give out= a path, and resume=True goes on from what is done"
        if self.plan.staged:
            again = "the same call with a new executor and resume=True goes on from what is done"
        return type(error)(
            "a worker process died (killed, out of memory, or started by a script that lacks"
            f" `if __name__ == '__main__':`?): {again}"
        )

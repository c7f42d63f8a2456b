"""Where the results of one run go: arrays, stores, or places beside the final name until they are whole.

A run to paths keeps a journal, ``path + ".journal"``, beside the staging place. Whatever moment a
crash comes in, `Staging.begin` finds one of these: no journal (nothing was begun, or all is done);
a journal with a staging place (a run to go on with); a journal that says *whole* (the last renames
are left to do). A journal is emptied before its staging place is made anew, and written only
when the new one is on disk, so no line of it ever speaks of elements that are not there. An empty
one counts as none.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Index
from .identity import described, differences
from .journal import Journal, Record, journal_path
from .outputs import Kind
from .plan import Plan, readable
from .results import Form, Result, make_result
from .sources import fingerprint, units_of
from .tile import Cancelled

__all__ = ["Staging", "check_same", "identity"]

_INTERVAL = 1.0  # seconds between two lines of the journal
_SHARE = 10  # times as long as seeing blocks to the disk takes, at least


def identity(plan: Plan) -> dict[str, Any]:
    """What makes the bits of a run, but for tiles and batches, which the journal holds too."""
    from .. import __version__

    job, rule = plan.job, plan.job.rule
    return {
        "pantile": __version__,
        "image": fingerprint(plan.source),
        "grid": plan.grid.to_dict(),
        "axes": list(job.frame.order),
        "channel_axis": None if job.frame.channel is None else job.frame.order[job.frame.channel],
        "func": described(job.func),
        "merge": None if rule is None else described(rule.merge),
        "weights": None if rule is None else described(rule.weights),
        "where": described(plan.mask),
        "finalize": described(plan.finalize),
        "fill": described(plan.fill),
        "dtype": described(plan.dtype),
        "scale": list(job.scale),
        "layout": job.layout,
        "out": {f"result {k}": _options(out) for k, out in enumerate(plan.outs or ())},
    }


def _options(sink: Any) -> Any:
    """How a sink writes; where to is known from the place of the journal."""
    found = described(sink)
    return {k: v for k, v in found.items() if k != "path"} if isinstance(found, dict) else found


def check_same(record: Record, plan: Plan, path: str) -> None:
    """Refuse to go on with a run that was another one, saying what differs."""
    found = differences(record.header["run"], _plain(identity(plan)))
    if found:
        raise ValueError(
            f"resume=True, but {path} belongs to another run: {'; '.join(found)}:"
            " call with the same arguments, or with resume=False to begin again"
        )


def _plain(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))


class Staging:
    """The places of a run's results, the journal of what is in them, and the step to their final names."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.results: list[Result] = []
        self.places: list[Any] = []
        self.done: list[set[Index]] = []
        self.total = 0
        self.recorded = 0
        self._journal: Journal | None = None
        self._identity = _plain(identity(plan)) if plan.staged else None
        self._pending: list[tuple[int, ...]] = []
        self._next = 0.0
        self._lock, self._settling = threading.Lock(), threading.Lock()
        self._locks: list[Any] = []
        self._idle = threading.Condition()
        self._putting, self._closed = 0, False

    @property
    def path(self) -> str:
        """Of the journal: beside the first result."""
        assert self.plan.outs is not None
        return journal_path(self.plan.outs[0].path)

    # a run that was cut short

    def begin(self) -> bool:
        """Open what ``resume=True`` goes on with; True where there is nothing left but to call it whole."""
        if not self.plan.staged:
            return False
        self._journal = Journal(self.path)  # nobody else writes here from now on
        record = self._journal.read() if self.plan.resume else None
        if record is None:
            return False
        check_same(record, self.plan, self.path)
        self._check_tiles(record)
        entries = record.header["results"]
        forms = [Form(tuple(e["shape"]), np.dtype(e["dtype"])) for e in entries]
        writers = [_reopened(out, f) for out, f in zip(self._outs(len(forms)), forms, strict=True)]
        if None in writers:
            return self._committed(record, writers)
        kinds = [Kind(np.dtype(e["kind"][0]), tuple(e["kind"][1])) for e in entries]
        self.results = [
            make_result(self.plan, kind, form) for kind, form in zip(kinds, forms, strict=True)
        ]
        for k, writer in enumerate(writers):
            assert _listed(writer.unit) == entries[k]["unit"], "a staging place changed its units"
        self._journal.cut(record.end)
        self.done, self.recorded = record.done, sum(map(len, record.done))
        self._open(writers)
        return False

    def _check_tiles(self, record: Record) -> None:
        """A plan that is older than the run in the journal may have other tiles, whose sums have other bits."""
        mine = _listed(self.plan.tiling.lengths), self.plan.job.batch
        if mine != (record.header["tiles"], record.header["batch"]):
            raise ValueError(
                f"{self.path} was begun after this plan was drawn: draw it again to go on from there"
            )

    def _committed(self, record: Record, writers: list[Any]) -> bool:
        """Whether what is missing from the staging places has its final name already; then so gets the rest."""
        if record.whole is None:
            return False  # someone took them away: begin again
        outs = self._outs(len(writers))
        missing = [k for k, writer in enumerate(writers) if writer is None]
        if any(_stamp(outs[k].path) in (None, record.whole["earlier"][k]) for k in missing):
            return False
        for writer in writers:
            if writer is not None:
                writer.commit()
        assert self._journal is not None
        self._journal.remove()
        return True

    # places

    def make(self, results: list[Result]) -> None:
        """Make the places of results, now that it is known what they are."""
        with self._open_for_writing():  # not once the run is given up: nobody would take them away
            self._make(results)

    def _make(self, results: list[Result]) -> None:
        outs = self._outs(len(results))
        if self._journal is not None:
            self._journal.cut(0)  # of no run, until the header is there
            _sync_folder(self.path)
        self.results = results
        places: list[Any] = []
        try:
            for out, result in zip(outs, results, strict=True):
                places.append(_made(out, result.form))
        finally:
            self._open(places)
        self.done = [set() for _ in results]
        if self._journal is not None:
            self._journal.append(self._header())

    def _outs(self, n: int) -> tuple[Any, ...]:
        outs = self.plan.outs or (None,) * n
        if len(outs) != n:
            raise ValueError(
                f"func returns {n} results, so out must be a tuple of {n} arrays or paths, got {len(outs)}"
            )
        return outs

    def _open(self, places: list[Any]) -> None:
        self.places = places
        self._locks = [
            contextlib.nullcontext() if _parallel(p) else threading.Lock() for p in places
        ]

    def _header(self) -> dict[str, Any]:
        plan = self.plan
        results = [
            {
                "kind": [r.kind.dtype.str, list(r.kind.shape)],
                "shape": list(r.form.shape),
                "dtype": r.form.dtype.str,
                "unit": _listed(units_of(place)),
            }
            for r, place in zip(self.results, self.places, strict=True)
        ]
        tiles = {"tiles": list(plan.tiling.lengths), "batch": plan.job.batch}
        return {"run": self._identity, **tiles, "results": results}

    # blocks

    def put(self, k: int, block: Index, place: tuple[slice, ...], values: NDArray[Any]) -> None:
        """Write a finished block of the ``k``-th result, and note it in the journal when that is due."""
        with self._open_for_writing(), self._locks[k]:
            self.places[k][place] = values
        self.note(k, block)

    @contextlib.contextmanager
    def _open_for_writing(self) -> Iterator[None]:
        with self._idle:
            if self._closed:
                raise Cancelled
            self._putting += 1
        try:
            yield
        finally:
            with self._idle:
                self._putting -= 1
                self._idle.notify_all()

    def note(self, k: int, block: Index) -> None:
        """A block is written; when a line of the journal is due, see it to the disk and say so."""
        if self._journal is None:
            return
        with self._lock:
            self._pending.append((k, *block))
            due = time.monotonic() >= self._next
        if due and self._settling.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._settling.release()

    def _settle(self) -> None:
        assert self._journal is not None
        with self._lock:
            pending, self._pending = self._pending, []
        if not pending:
            return
        begin = time.monotonic()
        for k in sorted({k for k, *_ in pending}):
            self.places[k].sync()
        self._journal.append({"done": pending})
        self.recorded += len(pending)
        end = time.monotonic()
        self._next = end + max(_INTERVAL, _SHARE * (end - begin))

    # the end

    def finish(self) -> None:
        """Give whole results their final names; then nothing else is left of the run."""
        writers = [p for p in self.places if hasattr(p, "commit")]
        if self._journal is not None:
            with self._settling:
                self._settle()
            earlier = [_stamp(out.path) for out in self._outs(len(self.results))]
            self._journal.append({"whole": {"earlier": earlier}})
        for writer in writers:
            writer.commit()
        self._closed = True
        if self._journal is not None:
            self._journal.remove()

    def abandon(self, error: BaseException) -> None:
        """Stop writing. What can be resumed is kept, and ``error`` says so; the rest goes."""
        try:
            with self._idle:
                self._closed = True
                while self._putting:
                    self._idle.wait()
            if self._journal is not None:
                with contextlib.suppress(Exception), self._settling:
                    self._settle()
            if self.recorded:
                error.add_note(
                    f"pantile: {self.recorded} of {self.total or 'all'} blocks are kept beside"
                    f" {self.path.removesuffix('.journal')}; the same call with resume=True goes on from there"
                )
            else:
                self._discard()
        finally:
            if self._journal is not None:
                self._journal.close()

    def _discard(self) -> None:
        """Take away what this run has made; the journal of an earlier one stays while nothing has replaced it."""
        with contextlib.suppress(OSError):
            if self._journal is not None and self.places:
                self._journal.remove()
        for place in self.places:
            if hasattr(place, "discard"):
                with contextlib.suppress(OSError):
                    place.discard()


def _made(out: Any, form: Form) -> Any:
    if out is None:
        try:
            return np.empty(form.shape, dtype=form.dtype)
        except MemoryError as error:
            size = int(np.prod(form.shape, dtype=object)) * form.dtype.itemsize
            raise MemoryError(
                f"the result, {form.shape} {form.dtype}, takes {readable(size)}, more than there is:"
                " give out= a path to write it to, like 'result.zarr'"
            ) from error
    if hasattr(out, "reopen"):
        return out.create(form.shape, form.dtype)
    return out


def _reopened(sink: Any, form: Form) -> Any:
    from ..files.faults import reading
    from ..files.staging import partial_path

    partial = partial_path(sink.path)
    if os.path.islink(partial):  # no run makes one, and what it leads to is not ours
        return None
    try:
        with reading(partial, "is damaged: begin again, with resume=False"):
            return sink.reopen(form.shape, form.dtype)
    except FileNotFoundError:
        return None


def _parallel(place: Any) -> bool:
    """Whether blocks that share no unit may be written at once."""
    if isinstance(place, np.ndarray) or hasattr(place, "commit"):
        return True
    return units_of(place) is not None and type(place).__module__.partition(".")[0] != "h5py"


def _listed(unit: Sequence[int] | None) -> list[int] | None:
    return None if unit is None else [int(n) for n in unit]


def _stamp(path: str) -> list[int] | None:
    """What tells a file or directory from one that takes its name."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return [status.st_ino, status.st_mtime_ns]


def _sync_folder(path: str) -> None:
    """See the names in a directory to the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Places that a run can go on from: beside the final names until they are whole, with a journal of what is there.

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

from ...geometry.rect import Index
from ..block_task import Form, Result, make_result
from ..job import Kind
from ..places import Places
from ..plan import Plan
from ..source import fingerprint, units_of
from .identity import describe, differences
from .journal import Journal, Record, journal_path

__all__ = ["Staging", "check_same", "identity"]


def identity(plan: Plan) -> dict[str, Any]:
    """What makes the bits of a run, but for tiles and batches, which the journal holds too."""
    from ... import __version__

    job, rule = plan.job, plan.job.rule
    return {
        "pantile": __version__,
        "image": fingerprint(job.source),
        "grid": plan.grid.to_dict(),
        "axes": list(job.frame.order),
        "channel_axis": None if job.frame.channel is None else job.frame.order[job.frame.channel],
        "func": describe(job.func),
        "merge": None if rule is None else describe(rule.merge),
        "weights": None if rule is None else describe(rule.weights),
        "where": describe(job.mask),
        "finalize": describe(job.finalize),
        "fill": describe(job.fill),
        "dtype": describe(job.result_dtype),
        "scale": list(job.scale),
        "layout": job.layout,
        "out": {
            f"result {k}": _options(out) for k, out in enumerate(plan.destination.places or ())
        },
    }


def _options(sink: Any) -> Any:
    """How a sink writes; where to is known from the place of the journal."""
    found = describe(sink)
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


class Staging(Places):
    """Places beside final names, the journal of what is in them, and the step to the final names."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.recorded = 0
        self._begun = False
        self._limits = plan.resources.limits
        self._identity = _plain(identity(plan))
        self._pending: list[tuple[int, ...]] = []
        self._next = 0.0
        self._lock, self._settling = threading.Lock(), threading.Lock()
        places = plan.destination.places
        assert places is not None
        self.path = journal_path(places[0].path)  # beside the first image

    # a run that was cut short

    def begin(self) -> bool:
        """Open what ``resume=True`` goes on with; True where there is nothing left but to call it whole."""
        self._journal = Journal(self.path)  # nobody else writes here from now on
        self._begun = True
        record = self._journal.read() if self.plan.destination.resume else None
        if record is None:
            return False
        check_same(record, self.plan, self.path)
        self._check_tiles(record)
        entries = record.header["results"]
        forms = [Form(tuple(e["shape"]), np.dtype(e["dtype"])) for e in entries]
        writers = [
            _reopened(self._labelled(out, f), f)
            for out, f in zip(self._outs(len(forms)), forms, strict=True)
        ]
        if None in writers:
            return self._committed(record, writers)
        kinds = [Kind(np.dtype(e["kind"][0]), tuple(e["kind"][1]), *e["kind"][2:]) for e in entries]
        self.results = [
            make_result(self.plan.job, kinds[p], forms[p : p + self.images])
            for p in range(0, len(forms), self.images)
        ]
        for k, writer in enumerate(writers):
            assert _listed(writer.unit) == entries[k]["unit"], "a staging place changed its units"
        self._journal.cut(record.end)
        self.done = record.done[: len(self.results)]
        self.recorded = sum(map(len, self.done))
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
        self._journal.remove()
        return True

    # places

    def _make(self, results: list[Result]) -> None:
        self._outs(sum([len(result.forms) for result in results]))
        self._journal.cut(0)  # of no run, until the header is there
        _sync_folder(self.path)
        super()._make(results)
        self._journal.append(self._header())

    def _header(self) -> dict[str, Any]:
        plan = self.plan
        results = [
            {
                "kind": [result.kind.dtype.str, list(result.kind.shape), result.kind.weights],
                "shape": list(form.shape),
                "dtype": form.dtype.str,
                "unit": _listed(units_of(place)),
            }
            for (result, form), place in zip(self._forms(), self.places, strict=True)
        ]
        cut = {
            "tiles": list(plan.tiling.lengths),
            "batch": plan.job.batch,
            "blocks": plan.resources.limits.block_elements,
        }
        return {"run": self._identity, **cut, "results": results}

    def _forms(self) -> Iterator[tuple[Result, Form]]:
        """Of every place, in order."""
        for result in self.results:
            for form in result.forms:
                yield result, form

    # blocks

    def note(self, k: int, block: Index) -> None:
        """A block is written; when a line of the journal is due, see it to the disk and say so."""
        with self._lock:
            self._pending.append((k, *block))
            due = time.monotonic() >= self._next
        if due and self._settling.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._settling.release()

    def _settle(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        if not pending:
            return
        begin = time.monotonic()
        for k in sorted({k for k, *_ in pending}):
            for p in self.of(k):
                self.places[p].sync()
        self._journal.append({"done": pending})
        self.recorded += len(pending)
        end = time.monotonic()
        limits = self._limits
        self._next = end + max(limits.journal_seconds, limits.journal_share * (end - begin))

    # the end

    def finish(self) -> None:
        """Give whole results their final names; then nothing else is left of the run."""
        with self._settling:
            self._settle()
        earlier = [_stamp(out.path) for out in self._outs(len(self.places))]
        self._journal.append({"whole": {"earlier": earlier}})
        super().finish()
        self._journal.remove()

    def abandon(self, error: BaseException) -> None:
        """Stop writing. What can be resumed is kept, and ``error`` says so; the rest goes."""
        if not self._begun:  # another run is at it
            return
        try:
            self._close()
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
            self._journal.close()

    def _discard(self) -> None:
        """Take away what this run has made; the journal of an earlier one stays while nothing has replaced it."""
        if self.places:
            with contextlib.suppress(OSError):
                self._journal.remove()
        super()._discard()


def _reopened(sink: Any, form: Form) -> Any:
    from ...files.faults import explain_read_errors
    from ...files.write.staging import partial_path

    partial = partial_path(sink.path)
    if os.path.islink(partial):  # no run makes one, and what it leads to is not ours
        return None
    try:
        with explain_read_errors(partial, "is damaged: begin again, with resume=False"):
            return sink.reopen(form.shape, form.dtype)
    except FileNotFoundError:
        return None


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

"""Where the images of a run go: arrays, stores, sinks; blocks are put there, whole images get their names."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Index
from .block_task import Form, Result
from .plan import Plan, readable_size
from .source import units_of
from .tile_task import Cancelled

__all__ = ["Places"]


class Places:
    """The places of a run's images, made when the first results have told what they are.

    Each result of ``func`` has as many images as the merge makes. What this run made is taken away
    again when it is given up; nothing of it can be resumed (see `resume.staging` for what can).
    """

    def __init__(self, plan: Plan) -> None:
        rule = plan.job.rule
        self.plan = plan
        self.images = 1 if rule is None else rule.images  # of each result of func
        self.results: list[Result] = []
        self.places: list[Any] = []
        self.done: list[set[Index]] = []  # blocks that were there before
        self.total = 0  # blocks
        self._locks: list[Any] = []
        self._idle = threading.Condition()
        self._putting, self._closed = 0, False

    def begin(self) -> bool:
        """Open what is there to go on with; True where there is nothing left but to call it whole."""
        return False

    def make(self, results: list[Result]) -> None:
        """Make the places of results, now that it is known what they are."""
        with self._open_for_writing():  # not once the run is given up: nobody would take them away
            self._make(results)

    def _make(self, results: list[Result]) -> None:
        forms = [form for result in results for form in result.forms]
        outs = self._outs(len(forms))
        self.results, self.done = results, [set() for _ in results]
        places: list[Any] = []
        try:
            for out, form in zip(outs, forms, strict=True):
                places.append(_new_place(self._labelled(out, form), form))
        finally:
            self._open(places)

    def _outs(self, n: int) -> tuple[Any, ...]:
        outs = self.plan.destination.places or (None,) * n
        if len(outs) != n:
            made = "func returns" if self.images == 1 else "func and the merge make"
            raise ValueError(
                f"{made} {n} results, so out must be a tuple of {n} arrays or paths, got {len(outs)}"
            )
        return outs

    def _labelled(self, out: Any, form: Form) -> Any:
        """A sink that knows what its image is beside its elements, if it has room for that."""
        if not hasattr(out, "about"):
            return out
        return out.about(self.plan.destination.labels.about(form.shape))

    def _open(self, places: list[Any]) -> None:
        self.places = places
        self._locks = [_no_lock if _takes_several(p) else threading.Lock() for p in places]

    def of(self, k: int) -> range:
        """Which places the images of the ``k``-th result go to."""
        return range(k * self.images, (k + 1) * self.images)

    def in_memory(self, k: int) -> bool:
        """Whether the images of the ``k``-th result are arrays, to which parts of blocks can be written."""
        return all(isinstance(self.places[p], np.ndarray) for p in self.of(k))

    def put(self, k: int, where: tuple[slice, ...], images: Sequence[NDArray[Any]]) -> None:
        """Write a finished block of the ``k``-th result, or a part of it."""
        with self._open_for_writing():
            for p, values in zip(self.of(k), images, strict=True):
                with self._locks[p]:
                    self.places[p][where] = values

    def note(self, k: int, block: Index) -> None:
        """A block is written."""

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

    def finish(self) -> None:
        """Give whole images their final names."""
        for place in self.places:
            if hasattr(place, "commit"):
                place.commit()
        self._closed = True

    def abandon(self, error: BaseException) -> None:
        """Stop writing, and take away what this run has made."""
        self._close()
        self._discard()

    def _close(self) -> None:
        with self._idle:
            self._closed = True
            while self._putting:
                self._idle.wait()

    def _discard(self) -> None:
        for place in self.places:
            if hasattr(place, "discard"):
                with contextlib.suppress(OSError):
                    place.discard()


_no_lock = contextlib.nullcontext()


def _new_place(out: Any, form: Form) -> Any:
    if out is None:
        try:
            return np.empty(form.shape, dtype=form.dtype)
        except MemoryError as error:
            size = int(np.prod(form.shape, dtype=object)) * form.dtype.itemsize
            raise MemoryError(
                f"the result, {form.shape} {form.dtype}, takes {readable_size(size)}, more than there is:"
                " give out= a path to write it to, like 'result.zarr'"
            ) from error
    if hasattr(out, "reopen"):
        return out.create(form.shape, form.dtype)
    return out


def _takes_several(place: Any) -> bool:
    """Whether blocks that share no unit may be written at once."""
    if isinstance(place, np.ndarray) or hasattr(place, "commit"):
        return True
    return units_of(place) is not None and type(place).__module__.partition(".")[0] != "h5py"

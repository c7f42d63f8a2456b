"""Everything in the caller's thread, one task after the other: no threads, no queues, no futures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .base import Run

__all__ = ["CallerRun"]


class CallerRun(Run):
    """Tiles and blocks in the caller's thread: where one worker is enough, and to debug ``func``."""

    told = 0  # patches that progress has heard of

    @contextmanager
    def workers(self) -> Iterator[None]:
        yield

    def hand_out(self) -> None:
        for _, tile in self.waiting():
            mask = self.job.selection(tile)
            if mask is not None and not mask.any():
                self.pass_over(tile)
            else:
                self.work(tile, self.count_and_tell)
        if self.told < self.done or not self.done:
            self.tell()

    def count_and_tell(self, n: int) -> None:
        self.count(n)
        self.told = self.done
        self.tell()

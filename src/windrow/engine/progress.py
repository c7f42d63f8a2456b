"""Progress: a rich bar, or a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["reporting"]

Report = Callable[[int, int], None]


@contextmanager
def reporting(progress: Any) -> Iterator[Report | None]:
    """A function of (patches done, patches in all), or None where nobody listens."""
    if progress is None or progress is False:
        yield None
    elif callable(progress):
        yield progress
    elif progress is True:
        with _bar() as report:
            yield report
    else:
        raise TypeError(
            f"progress must be True, a function of (done, total), or None, got {progress!r}"
        )


@contextmanager
def _bar() -> Iterator[Report]:
    try:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        raise ImportError(
            'progress=True draws with rich: pip install "windrow[cli]", or give a function of (done, total)'
        ) from None
    columns = (TextColumn("patches"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("patches", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

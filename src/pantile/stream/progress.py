"""Progress: a rich bar, or a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Report", "bar", "reporting"]

Report = Callable[[int, int], None]


@contextmanager
def reporting(progress: Any) -> Iterator[Report | None]:
    """A function of (patches done, patches in all), or None where nobody listens."""
    if progress is None or progress is False:
        yield None
    elif callable(progress):
        yield progress
    elif progress is True:
        with bar() as report:
            yield report
    else:
        raise TypeError(
            f"progress must be True, a function of (done, total), or None, got {progress!r}"
        )


@contextmanager
def bar(name: str = "patches") -> Iterator[Report]:
    """Progress, rate and time left on stderr; nothing where that is no terminal."""
    try:
        from rich import progress as rich
        from rich.console import Console
    except ImportError:
        raise ImportError(
            'progress=True draws with rich: pip install "pantile[cli]", or give a function of (done, total)'
        ) from None
    console = Console(stderr=True)
    columns = (
        rich.TextColumn(name), rich.BarColumn(), rich.TaskProgressColumn(),
        rich.MofNCompleteColumn(), rich.TextColumn("{task.fields[rate]}"), rich.TimeRemainingColumn(),
    )  # fmt: skip
    quiet = not (console.is_terminal or console.is_jupyter)
    with rich.Progress(*columns, console=console, transient=True, disable=quiet) as shown:
        task = shown.add_task(name, total=None, rate="")

        def report(done: int, total: int) -> None:
            speed = shown.tasks[0].speed
            rate = f"{speed:,.0f} a second" if speed else ""
            shown.update(task, completed=done, total=total, rate=rate)

        yield report

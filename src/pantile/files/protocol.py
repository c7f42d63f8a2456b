"""What is asked of images that are read by blocks, and of results that are written by blocks."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Reader", "Sink", "Writer"]


class Reader(Protocol):
    """An image that is read by slices and never whole.

    It pickles as its place (a path, and what to open in it), never as elements, and may be read from
    several threads at once.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """What is decoded at once, per axis; None where any slice costs only itself."""

    def __getitem__(self, key: tuple[slice, ...], /) -> NDArray[Any]: ...

    def fingerprint(self) -> dict[str, Any]:
        """What tells this image from a changed one, as plain JSON values: place, size, time, shape, dtype."""


class Sink(Protocol):
    """A place for a result whose shape and dtype are not known yet; a small value, nothing opened."""

    @property
    def path(self) -> str:
        """The final name of the result, an absolute path."""

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Writer:
        """Make the staging place, replacing what an abandoned run left there."""

    def reopen(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Writer:
        """Open the staging place of a run that was cut short, elements kept."""


class Writer(Protocol):
    """A result being written under a staging name (``path + ".partial"``) until it is whole.

    It pickles as its place. Regions that share no unit may be written from several threads or
    processes at once.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def unit(self) -> tuple[int, ...] | None:
        """What may have only one writer at a time, per axis (a chunk or shard); None where any elements may."""

    def __setitem__(self, key: tuple[slice, ...], values: NDArray[Any], /) -> None: ...

    def sync(self) -> None:
        """Return once everything written so far would survive a power cut."""

    def commit(self) -> None:
        """Give the whole result its final name, replacing an earlier one in one step."""

    def discard(self) -> None:
        """Take the staging place away; an earlier result stays."""

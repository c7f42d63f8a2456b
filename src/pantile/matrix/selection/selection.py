"""The rows that a matrix shows, and blocks of them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...geometry.frame import Frame
from ...geometry.limits import LIMITS, Limits
from ...ops.selection import selected
from .rectangles import Rectangle, rectangles_of_rows
from .stack import Array, Stack
from .standardise import standardise

__all__ = ["Rows", "Selection", "rows_where"]

Rows = range | NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """Rows of a stack of images, in this order; each less its mean and over its norm where asked.

    ``rows`` are their numbers in the stack. ``limits`` are the sizes that all work on them keeps to.
    """

    stack: Stack
    rows: Rows
    center: bool = False
    scale: bool = False
    limits: Limits = LIMITS

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> int:
        return self.stack.features

    @property
    def channel(self) -> int | None:
        """Which axis of a patch is the channel axis; None where there is none."""
        frame = self.stack.images[0].frame
        return None if frame.channel is None else frame.channel - frame.n_batch

    @property
    def plain(self) -> bool:
        """Whether rows are patches as they are, neither centred nor scaled."""
        return not (self.center or self.scale)

    @cached_property
    def work(self) -> np.dtype[Any]:
        """The dtype of sums and products: float64 or complex128."""
        return np.dtype(np.complex128 if self.stack.dtype.kind == "c" else np.float64)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of elements: the image's, but float64 for integers that are centred or scaled."""
        return self.stack.dtype if self.plain or self.stack.dtype.kind in "fc" else self.work

    @property
    def span(self) -> tuple[int, int] | None:
        """First row and end where the rows follow each other without a gap, else None."""
        if isinstance(self.rows, range) and len(self.rows) and self.rows.step == 1:
            return self.rows.start, self.rows.stop
        return None

    @cached_property
    def rectangles(self) -> list[Rectangle]:
        """Rectangles of patches whose rows, one after the other, are these; none where there are gaps.

        Of rows with gaps, `find_rectangles` in `masks` gives rectangles and the rows that are left.
        """
        return [] if self.span is None else rectangles_of_rows(self.stack, *self.span)

    def __getitem__(self, part: slice) -> Selection:
        return replace(self, rows=self.rows[part])

    def row_numbers(self, begin: int, end: int) -> NDArray[np.int64]:
        """The numbers in the stack of rows ``begin`` to ``end``."""
        chosen = self.rows[begin:end]
        if isinstance(chosen, range):
            return np.arange(chosen.start, chosen.stop, chosen.step, dtype=np.int64)
        return chosen.astype(np.int64, copy=False)

    def take_row(self, at: int) -> Array:
        """One row, ``(features,)``, a new array."""
        column = self.stack.cut_row(int(self.rows[at]))[:, None]
        return np.ascontiguousarray(self._standardise(column)[:, 0])

    def take(self, at: NDArray[np.int64], *, by_feature: bool = False) -> Array:
        """Chosen rows, a new array ``(len(at), features)``, C contiguous or ``by_feature`` in Fortran order."""
        rows = self.rows
        numbers = rows.start + at * rows.step if isinstance(rows, range) else np.asarray(rows[at])
        order: Literal["C", "F"] = "C" if by_feature else "F"
        columns = np.empty((self.features, len(at)), self.stack.dtype, order)
        self.stack.cut(numbers.astype(np.int64, copy=False), columns)
        return self._standardise(columns).T

    def _standardise(self, columns: Array) -> Array:
        """Patches (as columns) as the matrix shows them."""
        if self.plain:
            return columns
        working = columns.astype(self.work)
        standardise(working, self.center, self.scale)
        return working.astype(self.dtype, copy=False)

    def blocks(
        self, nbytes: int | None = None, dtype: Any = None, *, by_feature: bool = False
    ) -> Iterator[tuple[slice, Array]]:
        """Consecutive rows as ``(rows, columns)``, ``columns`` of shape ``(features, n)``.

        The buffers are used again: copy what you keep. A block takes at most about ``nbytes`` bytes,
        by default ``limits.row_block_bytes``. Rows lie one after the other (``columns`` is in Fortran
        order) where that is cut faster and not asked for ``by_feature``, else features do.
        """
        nbytes = self.limits.row_block_bytes if nbytes is None else int(nbytes)
        wanted = np.dtype(self.dtype if dtype is None else dtype)
        width = max(self.stack.dtype.itemsize, wanted.itemsize)
        size = min(max(1, nbytes // (width * self.features)), max(1, self.n_rows))
        raw = np.empty(size * self.features, self.stack.dtype)
        as_cut = self.plain and wanted == raw.dtype
        buffers = {d: np.empty(0 if as_cut else raw.size, d) for d in {self.work, wanted}}
        by_row = not by_feature and _cut_by_row(self.stack.images[0].frame)

        def shape(buffer: Array, n: int) -> Array:
            some = buffer[: n * self.features]
            return some.reshape(n, -1).T if by_row else some.reshape(-1, n)

        for begin in range(0, self.n_rows, size):
            end = min(begin + size, self.n_rows)
            block = shape(raw, end - begin)
            self.stack.cut(self.row_numbers(begin, end), block)
            if not as_cut:
                these = {d: shape(b, end - begin) for d, b in buffers.items()}
                block = self._convert(block, these, wanted)
            yield slice(begin, end), block

    def _convert(self, block: Array, buffers: dict[Any, Array], wanted: Any) -> Array:
        """The block as ``wanted``, centred and scaled where asked, in one of the buffers."""
        if self.plain:
            np.copyto(buffers[wanted], block, casting="unsafe")
            return buffers[wanted]
        working = buffers[self.work]
        np.copyto(working, block, casting="unsafe")
        standardise(working, self.center, self.scale)
        if wanted != self.work:
            np.copyto(buffers[wanted], working, casting="unsafe")
        return buffers[wanted]


_LONG = 16  # samples of a line that are copied faster together than one line of patches for each


def _cut_by_row(frame: Frame) -> bool:
    """Whether patches are copied faster one after the other than sample by sample over neighbouring ones."""
    return frame.axes[frame.along].longest_gap > 1 or frame.patch[-1] >= _LONG


def rows_where(stack: Stack, where: Any) -> Rows:
    """The rows that masks select, one mask per image."""
    masks = list(where)
    if len(masks) != len(stack.images):
        raise ValueError(
            f"where has {len(masks)} masks for {len(stack.images)} images: give one for each"
        )
    found = [
        np.flatnonzero(selected(mask, image.frame, empty=True)) + stack.begin(k)
        for k, (mask, image) in enumerate(zip(masks, stack.images, strict=True))
    ]
    rows = np.concatenate(found)
    if not len(rows):
        raise ValueError("where selects no patch")
    small = stack.n_rows <= np.iinfo(np.int32).max
    chosen: NDArray[Any] = rows.astype(np.int32) if small else rows
    return range(stack.n_rows) if len(rows) == stack.n_rows else chosen

"""One axis of a patch grid: every question about many axes is a product of answers from here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .tails import FARTHEST, Spacing, Steps, places_of

__all__ = ["AxisGrid", "resolve_axis", "single_axis", "whole_axis"]


@dataclass(frozen=True, slots=True)
class AxisGrid:
    """Patches along one axis of ``size`` elements, in closed form.

    Patch ``i`` starts at ``spacing.at(i) * scale + offset``, and its sample ``a`` lies ``a *
    dilation`` behind that. Starts may be negative and patches may end past ``size``: that is
    padding. ``scale`` and ``offset`` describe output images that are larger than, or patches that
    are smaller than, what was cut; ``offset`` is also where padding begins.
    """

    size: int
    patch: int
    dilation: int
    spacing: Spacing
    scale: int = 1
    offset: int = 0

    @property
    def count(self) -> int:
        """How many patches."""
        return self.spacing.count

    @property
    def step(self) -> int:
        """The step that was asked for, in elements of the image that is cut."""
        return self.spacing.step

    @property
    def extent(self) -> int:
        return (self.patch - 1) * self.dilation + 1

    def start(self, i: int) -> int:
        """Where patch ``i`` starts (0 <= i < count)."""
        return self.spacing.at(i) * self.scale + self.offset

    def starts(self, begin: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """Starts of patches ``begin`` to ``end``, a new 1-D int64 array."""
        return self.starts_at(np.arange(begin, self.count if end is None else end, dtype=np.int64))

    def starts_at(self, i: NDArray[np.int64]) -> NDArray[np.int64]:
        """Starts of patches ``i``, a new array."""
        return self.spacing.at_each(i) * self.scale + self.offset

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """What patches ``begin`` to ``end`` reach over, from the first element to behind the last."""
        return self.start(begin), self.start(end - 1) + self.extent

    @property
    def uniform(self) -> bool:
        """Whether neighbouring starts are always the same distance apart."""
        return self.spacing.uniform

    def breaks(self, begin: int, end: int) -> list[int]:
        """Patches behind ``begin``, before ``end``, that are not the usual `gap` behind the one before."""
        return self.spacing.breaks(begin, end)

    def part(self, begin: int, end: int) -> AxisGrid:
        """Patches ``begin`` to ``end``, one of the `stretches` of the spacing, as an axis that begins where they do."""
        low, high = self.span(begin, end)
        gap = self.start(begin + 1) - low if end - begin > 1 else 1
        spacing = Steps(end - begin, self.start(end - 1) - low, gap)
        return AxisGrid(high - low, self.patch, self.dilation, spacing)

    @property
    def end(self) -> int:
        """Where the last patch ends."""
        return self.start(self.count - 1) + self.extent

    @property
    def gap(self) -> int:
        """Distance between the first two starts (1 where there is one patch)."""
        return self.start(1) - self.start(0) if self.count > 1 else 1

    @property
    def inside(self) -> bool:
        """Whether no patch leaves the image."""
        return self.start(0) >= 0 and self.end <= self.size

    @property
    def regular(self) -> bool:
        """Whether strides can express the axis: uniform, and inside the image."""
        return self.uniform and self.inside

    @property
    def longest_gap(self) -> int:
        """Largest distance between neighbouring starts (0 where there is one patch)."""
        return self.spacing.longest * self.scale

    @property
    def covers(self) -> bool:
        """Whether every element is touched by a patch."""
        if self.start(0) > 0 or self.end < self.size:
            return False
        if self.dilation > 1:
            return bool(self.coverage().all())
        if self.longest_gap <= self.patch:
            return True
        # what lies between two patches is a hole unless it is all padding
        begin, end = self.starts()[:-1] + self.extent, self.starts()[1:]
        return not bool((np.maximum(begin, 0) < np.minimum(end, self.size)).any())

    def region(self, i: int) -> slice:
        """What of patch ``i`` lies in the image, as a slice that is safe to index with."""
        start, d = self.start(i), self.dilation
        begin = start if start >= 0 else start % d
        stop = min(start + self.extent, self.size)
        return slice(begin, stop, d if d > 1 else None) if begin < stop else slice(0, 0)

    def touching(self, element: int) -> NDArray[np.int64]:
        """Indices of the patches that touch ``element``, ascending."""
        low = self.first_reaching(element - self.extent + 1)
        high = self.first_reaching(element + 1)
        i = np.arange(low, high, dtype=np.int64)
        lag = element - self.starts(low, high)
        hit: NDArray[np.bool_] = (lag >= 0) & (lag % self.dilation == 0) & (lag < self.extent)
        return i[hit]

    def first_reaching(self, position: int) -> int:
        """Smallest patch index whose start is at or behind ``position`` (count when none is)."""
        return self.spacing.first_from(-((self.offset - position) // self.scale))

    def profile(
        self, weights: NDArray[np.float64] | None = None, begin: int = 0, end: int | None = None
    ) -> NDArray[np.float64]:
        """Sum of ``weights`` (one per sample of the patch) over the patches touching elements ``begin`` to ``end``.

        Without weights these are counts, exact integers in float64, in O(end - begin); with them
        O(patch * count). The same bits whatever the part.
        """
        size, d = (self.size if end is None else end) - begin, self.dilation
        starts = self.starts(*self.reaching(begin, begin + size)) - begin
        if not len(starts):
            return np.zeros(size)
        margin = max(0, -int(starts[0]))  # patches reach out of the part
        length = margin + max(size, int(starts[-1]) + self.extent)
        starts += margin
        if weights is None:
            # patches begin and end; counting both along every d-th element is O(size), not O(patch * count)
            change = np.zeros(-(-(length + d) // d) * d)
            change[starts] += 1
            over = starts + self.patch * d
            change[over[over < len(change)]] -= 1
            rows = change.reshape(-1, d)
            np.cumsum(rows, axis=0, out=rows)
            return change[margin : margin + size]
        total = np.zeros(length)
        for a in range(self.patch):
            # within one sample offset no start repeats, so plain fancy addition is exact
            total[starts + a * d] += weights[a]
        return total[margin : margin + size]

    def reaching(self, begin: int, end: int) -> tuple[int, int]:
        """The range of patches that reach into elements ``begin`` to ``end``."""
        low = self.first_reaching(begin - self.extent + 1)
        return low, max(low, self.first_reaching(end))

    @property
    def within(self) -> tuple[int, int]:
        """The range of patches that lie in the image whole."""
        low = self.first_reaching(0)
        return low, max(low, self.first_reaching(self.size - self.extent + 1))

    @property
    def most(self) -> int:
        """How many patches meet at most in one position, padding included."""
        if self.dilation > 1:
            whole = self.profile(None, min(0, self.start(0)), max(self.size, self.end))
            return int(whole.max())
        # as many as meet where one of them starts
        if isinstance(
            self.spacing, Steps
        ):  # at the last, or, where that one is pulled back, at the one before
            last = range(max(0, self.count - 2), self.count)
            return max(i + 1 - self.first_reaching(self.start(i) - self.patch + 1) for i in last)
        starts = self.starts()
        met = np.searchsorted(starts, starts - self.patch, side="right")
        return int((np.arange(self.count) + 1 - met).max())

    def owners(self, by: str, begin: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """Index of the first or last patch that touches each of elements ``begin`` to ``end``, or of the one nearest
        by centre (the first of those as near); -1 for none."""
        end = self.size if end is None else end
        if self.dilation > 1:
            return self._owners_by_sample(by)[begin:end]
        low, high = self.reaching(begin, end)
        if low == high:
            return np.full(end - begin, -1, dtype=np.int64)
        starts, elements = self.starts(low, high), np.arange(begin, end)
        if by == "first":
            found = np.searchsorted(starts, elements - self.patch, side="right")
        elif by == "last":
            found = np.searchsorted(starts, elements, side="right") - 1
        else:
            between = starts[:-1] + starts[1:] + self.patch - 1  # twice the middle of two centres
            found = np.searchsorted(between, 2 * elements)
        found = np.minimum(found, high - low - 1)
        lag = elements - starts[found]
        found += low
        found[(lag < 0) | (lag >= self.patch)] = -1
        return found

    def owned(
        self, by: str, begin: int = 0, end: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which samples of patches ``begin`` to ``end`` are their own, from the first to the one behind the last, where
        elements belong to the ``first`` patch that covers them, the ``last``, or the one whose ``center`` is nearest
        (of two, the first). Without dilation."""
        end = self.count if end is None else end
        low, high = np.zeros(end - begin, dtype=np.int64), np.full(end - begin, self.patch)
        # between the starts, from the patch before to the one behind; at the ends of the axis all is a patch's own
        near = self.starts(max(0, begin - 1), min(end + 1, self.count))
        gaps = np.concatenate(
            [[self.patch] * (begin == 0), np.diff(near), [self.patch] * (end == self.count)]
        ).astype(np.int64)
        if by == "first":
            low = self.patch - gaps[:-1]
        elif by == "last":
            high = gaps[1:]
        else:
            edges = (gaps + self.patch - 1) // 2 + 1
            low, high = edges[:-1] - gaps[:-1], edges[1:]
        return np.clip(low, 0, self.patch), np.clip(high, 0, self.patch)

    def coverage(self) -> NDArray[np.int64]:
        """How many patches touch each element."""
        return self.profile().astype(np.int64)

    def centers(self) -> NDArray[np.int64]:
        """Position of each patch's centre sample, ``patch // 2``."""
        return self.starts() + self.patch // 2 * self.dilation

    def nearest(self) -> NDArray[np.int64]:
        """Index of the patch nearest by centre among those touching each element, -1 for none."""
        return self.owners("center")

    def _owners_by_sample(self, by: str) -> NDArray[np.int64]:
        owner = np.full(self.size, -1, dtype=np.int64)
        best = np.full(self.size, np.iinfo(np.int64).max)
        starts, count = self.starts(), np.arange(self.count)
        middle = (self.patch - 1) * self.dilation
        for a in range(self.patch):
            at = starts + a * self.dilation
            keep = (at >= 0) & (at < self.size)
            i, at = count[keep], at[keep]
            far = abs(2 * a * self.dilation - middle) if by == "center" else 0
            rank = -i if by == "last" else i
            held = -owner[at] if by == "last" else owner[at]
            better = (far < best[at]) | ((far == best[at]) & (rank < held))
            owner[at[better]], best[at[better]] = i[better], far
        return owner

    def resized(self, patch: int, scale: int) -> AxisGrid:
        """The same grid for output patches of ``patch`` samples, on an image ``scale`` times larger.

        A smaller patch lies in the middle of where the scaled one would.
        """
        inner = (self.patch * scale - patch) // 2 * self.dilation
        offset = self.offset * scale + inner
        return replace(self, size=self.size * scale, patch=patch, scale=scale, offset=offset)


def whole_axis(size: int) -> AxisGrid:
    """An axis that is one patch."""
    return AxisGrid(size, size, 1, Steps(1, 0, 1))


def single_axis(size: int) -> AxisGrid:
    """An axis of patches of one element."""
    return AxisGrid(size, 1, 1, Steps(size, size - 1, 1))


_CHANNELS = " (if that axis holds channels, name it: channel_axis=)"


def _that_divide(room: int, step: int, dilation: int, patch: int) -> str:
    """The nearest steps, and patches, with which nothing is left over."""
    lower = next(s for s in range(min(step, room), 0, -1) if room % s == 0)
    upper = next((s for s in range(step + 1, min(room, 4 * step) + 1) if room % s == 0), None)
    steps = " or ".join(str(s) for s in (lower, upper) if s is not None)
    near = (p for k in range(1, step + 1) for p in (patch + k, patch - k))
    fits = (p for p in near if p >= 1 and (room - (p - patch) * dilation) % step == 0)
    found = next((p for p in fits if room - (p - patch) * dilation >= 0), None)
    patches = "" if found is None else f" (or patch={found} with step={step})"
    return f"choose step={steps}{patches}"


def resolve_axis(
    size: int,
    patch: int,
    step: int,
    dilation: int,
    tail: str,
    pad: tuple[int, int] | str,
    axis: int,
) -> AxisGrid:
    """The closed form of one axis from what the caller asked for."""
    dilation = dilation if patch > 1 else 1  # between the samples of one there is nothing
    extent = (patch - 1) * dilation + 1
    width = size + (2 * extent if isinstance(pad, str) else sum(pad) + extent)
    if width >= FARTHEST:
        raise ValueError(
            f"axis {axis} would reach over {width} elements with its padding and a patch, and positions are 64-bit"
            " numbers: at most 2^62"
        )
    if pad == "same":
        step = min(step, size)  # a larger one gives one patch as well, with numbers past int64
        count = -(-size // step)
        spacing = Steps(count, (count - 1) * step, step)
        return AxisGrid(size, patch, dilation, spacing, offset=-(patch // 2 * dilation))
    assert not isinstance(pad, str)
    before, after = pad
    room = before + size + after - extent
    if room < 0 and tail != "pad":
        raise ValueError(
            f"patch spans {extent} elements on axis {axis}, but the image has {before + size + after} there"
            f"{' with its padding' if before + after else ''}: use a smaller patch or dilation, pad=, or tail='pad'"
            f"{_CHANNELS if size <= 4 else ''}"
        )
    if tail == "error" and room % step:
        raise ValueError(
            f"step={step} does not divide the {room} elements a patch can move along axis {axis} (tail='error'):"
            f" {room % step} are left over; {_that_divide(room, step, dilation, patch)}, pad=, or another tail such as"
            " 'shift'"
        )
    if tail == "pad" and step >= FARTHEST - width:
        raise ValueError(f"step={step} with tail='pad' would extend axis {axis} past 2^62 elements")
    return AxisGrid(size, patch, dilation, places_of(tail, room, step), offset=-before)

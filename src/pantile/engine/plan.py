"""The plan: what will be done, held, read and written, as data; then the run."""

from __future__ import annotations

import html
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.tiles import Blocks, Bounds, Tile, Tiling, span_size
from ..verbs.frame import Frame
from .executors import SupportsSubmit
from .progress import reporting
from .sources import in_canonical, read_tile, units_of
from .tile import Job, batch_sizes, reach

__all__ = ["BLOCK", "STRIP", "Plan", "readable", "uncut_unit"]

BLOCK = 1 << 20  # elements of a block that is more than one unit, at most
STRIP = 1 << 18  # elements of a block that are made values at a time, about


@dataclass(frozen=True)
class Plan:
    """What `map_patches` will do: print it, ask it, `run` it (once or again).

    ``projected_bytes`` counts what is held at once beside the image: the result where it is in
    memory, accumulators of tiles that wait for their neighbours, blocks on their way in and out,
    batches; not what ``func`` itself allocates, nor the interpreter and its libraries.
    ``expanded_bytes`` is what the matrix of all patches would have taken.
    """

    job: Job
    source: Any
    tiling: Tiling
    workers: int
    executor: SupportsSubmit | str | None
    state_bytes: float
    out: Any
    outs: tuple[Any, ...] | None
    finalize: Callable[[NDArray[Any]], Any] | None
    mask: NDArray[np.bool_] | None
    fill: Any
    dtype: np.dtype[Any] | None
    progress: Any
    memory: int | None
    resume: bool = False
    blocks_done: int = 0

    @property
    def grid(self) -> PatchGrid:
        return self.job.frame.grid

    @property
    def tasks(self) -> int:
        """How many tiles."""
        return len(self.tiling)

    @cached_property
    def n_patches(self) -> int:
        """How many patches go through ``func``."""
        return self.job.frame.n_patches if self.mask is None else int(self.mask.sum())

    @property
    def expanded_bytes(self) -> int:
        """Bytes of the matrix of all patches."""
        return self.job.frame.n_patches * self.job.frame.features * self.job.dtype.itemsize

    @property
    def batch_bytes(self) -> int:
        return self.job.batch * self.job.frame.features * self.job.dtype.itemsize

    @cached_property
    def batches(self) -> dict[int, int]:
        """How many calls of ``func`` get how many patches: ``{patches: calls}``, largest first."""
        calls: Counter[int] = Counter()
        for tile, times in self._kinds_of_tiles():
            mask = self.selection(tile)
            if mask is None or mask.any():
                for n in batch_sizes(self.job, tile, mask):
                    calls[n] += times
        return dict(sorted(calls.items(), reverse=True))

    def _kinds_of_tiles(self) -> Iterable[tuple[Tile, int]]:
        """Tiles that are not alike, and how often they come; with a mask no two are taken to be alike."""
        if self.mask is not None:
            return ((tile, 1) for tile in self.tiling)
        frame, rows = self.job.frame, []
        for k, n in enumerate(self.tiling.shape):
            first: dict[Any, int] = {}
            times: Counter[int] = Counter()
            for i in range(n):
                begin, end = self.tiling.tile(
                    (0,) * k + (i,) + (0,) * (len(self.tiling.shape) - k - 1)
                ).ranges[k]
                breaks = tuple(frame.breaks(begin, end)) if k == frame.along else ()
                times[first.setdefault((end - begin, breaks), i)] += 1
            rows.append(times.items())
        return (
            (self.tiling.tile(tuple(i for i, _ in row)), math.prod(times for _, times in row))
            for row in itertools.product(*rows)
        )

    @property
    def staged(self) -> bool:
        """Whether every result goes to a path, so that a run that was cut short can be resumed."""
        return bool(self.outs) and all(hasattr(out, "reopen") for out in self.outs or ())

    @cached_property
    def chunks(self) -> tuple[int, ...] | None:
        """What of the image is decoded at once, per canonical axis."""
        plain = isinstance(self.source, np.ndarray)
        return None if plain else in_canonical(units_of(self.source), self.job.frame)

    @cached_property
    def unit(self) -> tuple[int, ...] | None:
        """What of the first result is written at once, per canonical axis of the image, as far as is known."""
        out, frame = self.outs[0] if self.outs else None, self.job.frame
        if out is None or isinstance(out, np.ndarray) or self.job.rule is None:
            return None
        found = units_of(out) if hasattr(out, "shape") else self._unit_of_sink(out)
        if found is None or len(found) != len(frame.order):
            return None
        return in_canonical(found, frame)

    def _unit_of_sink(self, sink: Any) -> tuple[int, ...] | None:
        if not hasattr(sink, "unit"):
            return None
        shape = tuple(int(self._scaled[a]) for a in np.argsort(self.job.frame.order))
        try:
            found: tuple[int, ...] | None = sink.unit(shape, self._result_dtype)
        except ValueError:  # its chunks are for other axes, which func or finalize may well give
            return None
        return found

    @property
    def _scaled(self) -> tuple[int, ...]:
        """The shape of a result that has the image's axes, canonical."""
        scales, frame = iter(self.job.scale), self.job.frame
        plain = [k < frame.n_batch or k == frame.channel for k in range(len(frame.axes))]
        return tuple(
            n if still else n * next(scales) for n, still in zip(frame.shape, plain, strict=True)
        )

    @property
    def _result_dtype(self) -> np.dtype[Any]:
        if self.dtype is not None:
            return self.dtype
        rule, held = self.job.rule, self.job.dtype
        return held if rule is None else rule.result_dtype(held)

    @cached_property
    def blocks(self) -> Blocks:
        """Where the result is cut, if results have the image's shape and dtype."""
        ratio = [b // a for a, b in zip(self.job.frame.shape, self._scaled, strict=True)]
        unit = self.unit and tuple(-(-u // r) for u, r in zip(self.unit, ratio, strict=True))
        uncut = uncut_unit(unit, self.job.frame, self.finalize)
        return self.tiling.blocks(self.job.frame.axes, uncut, BLOCK)

    @property
    def window(self) -> int:
        """How many tiles may be started before the oldest one is done."""
        return min(math.prod(self.tiling.shape[1:]) + 2 * self.workers, 6 * self.workers)

    @property
    def waiting(self) -> int:
        """How many pieces may be held at once: those that a block still waits for, and those at work."""
        return min(len(self.tiling), self.blocks.reach + self.window)

    @property
    def projected_bytes(self) -> int:
        """Bytes held at once beside the image, what ``func`` allocates aside."""
        frame, item = self.job.frame, self.job.dtype.itemsize
        ratio = math.prod(self.job.scale)
        span = span_size(frame.axes, self.tiling.lengths)
        piece = span * ratio * self.state_bytes
        elements = max(math.prod(self.blocks.largest), span) * ratio
        strip = min(elements, 2 * STRIP) * (self.state_bytes + self._finishing + item)
        block = strip + elements * (self._result_dtype.itemsize + (16 if self.finalize else 0))
        if self.outs and not all(isinstance(out, np.ndarray) for out in self.outs):
            block += 3 * elements * self._result_dtype.itemsize  # while it is encoded
        held = self.waiting * piece + self.workers * (
            block + self._read_size() + 2 * self.batch_bytes
        )
        return int(held + self.result_bytes + getattr(self.source, "held", 0))

    @property
    def _finishing(self) -> float:
        """Bytes per element while sums become values: what `Reduction.finalize` and `cast` hold at most."""
        merge = None if self.job.rule is None else self.job.rule.merge
        whole = self._result_dtype.kind in "biu"
        if merge in ("median", "vote"):
            return 5 * self.state_bytes  # values that are sorted, and where they came from
        if merge == "var":
            return 160.0  # products and sums in double-double
        if merge == "mean" and whole and self.job.dtype.kind in "biu":
            return 64.0  # quotient, rest and what rounding compares
        return 32.0 if whole or not isinstance(merge, str) else 16.0  # a divisor and a quotient

    def _read_size(self) -> int:
        """Bytes of a tile's elements on their way in, padding and whole chunks included."""
        frame, item = self.job.frame, self.job.dtype.itemsize
        span = span_size(frame.axes, self.tiling.lengths)
        padded = 0 if frame.inside else 2 * span * item
        if isinstance(self.source, np.ndarray):
            return padded
        spans = [
            span_size((a,), (n,)) for a, n in zip(frame.axes, self.tiling.lengths, strict=True)
        ]
        whole = [
            min(-(-s // c) * c + c, -(-a.size // c) * c)
            for s, c, a in zip(spans, self.chunks or [1] * len(spans), frame.axes, strict=True)
        ]
        return padded + (span + math.prod(whole)) * item

    @property
    def result_bytes(self) -> int:
        """Bytes of the result, as if it had the image's shape and dtype; 0 where it is not held."""
        if self.outs is not None:
            shape = tuple(int(self._scaled[a]) for a in np.argsort(self.job.frame.order))
            return sum(out.held(shape) for out in self.outs if hasattr(out, "held"))
        if self.job.rule is None:
            return math.prod(self.job.frame.counts) * 8
        return math.prod(self._scaled) * self._result_dtype.itemsize

    @cached_property
    def read_bytes(self) -> int:
        """Bytes read in all, halos included; of an image in chunks, whole ones."""
        return math.prod(touched for touched, _ in self._touches()) * self.job.dtype.itemsize

    @cached_property
    def reads(self) -> float:
        """How often an element of the image is read, or a chunk where it has chunks, on average."""
        return math.prod(touched / size for touched, size in self._touches())

    def _touches(self) -> list[tuple[int, int]]:
        """Per axis: elements (of whole chunks) that tiles read in all, and that there are."""
        found = []
        chunks = self.chunks or (1,) * len(self.tiling.shape)
        for k, (axis, c) in enumerate(zip(self.job.frame.axes, chunks, strict=True)):
            inside = (
                (max(b, 0), min(e, axis.size))
                for b, e in zip(*self.tiling.ends(k, axis), strict=True)
            )
            touched = sum(-(-e // c) - b // c for b, e in inside if e > b)
            found.append((touched * c, -(-axis.size // c) * c))
        return found

    @property
    def written_bytes(self) -> int:
        """Bytes of the result, as if it had the image's shape and dtype."""
        return replace(self, outs=None).result_bytes

    def _shown(self, per_axis: tuple[int, ...]) -> str:
        return "x".join(str(n) for k, n in enumerate(per_axis) if k != self.job.frame.channel)

    def __repr__(self) -> str:
        merge = None if self.job.rule is None else self.job.rule.merge
        return (
            f"<Plan {tuple(self.source.shape)} {self.job.dtype}; {self.grid!r}; merge={merge!r};"
            f" {self.tasks:,} tiles, {readable(self.projected_bytes)} held, {self.workers} {self._who}>"
        )

    def _repr_html_(self) -> str:
        style = "style='text-align:left;padding:2px 8px'"
        rows = "".join(
            f"<tr><th {style}>{name}</th><td {style}>{html.escape(value)}</td></tr>"
            for name, value in self._lines().items()
        )
        return f"<div><code>{html.escape(repr(self))}</code><table style='margin-top:6px'>{rows}</table></div>"

    def __str__(self) -> str:
        return "\n".join(f"{name:<9} {value}" for name, value in self._lines().items())

    def _lines(self) -> dict[str, str]:
        """What is printed, a row each."""
        counts = " x ".join(f"{n:,}" for n in self.grid.counts)
        return {
            "patches": f"{counts} = {self.n_patches:,} of {'x'.join(map(str, self.job.frame.patch_shape))}",
            "expanded": f"{readable(self.expanded_bytes)} that are never held",
            "held": f"{readable(self.projected_bytes)} beside the image"
            + (f", of {readable(self.memory)} allowed" if self.memory else ""),
            "read": f"{readable(self.read_bytes)}, each {self._input} {self.reads:.2f} times",
            "written": f"{readable(self.written_bytes)} in {len(self.blocks):,} blocks"
            f" of up to {self._shown(self.blocks.largest)}" + self._done(),
            "tiles": f"{len(self.tiling):,} of {self._shown(self.tiling.lengths)} patches",
            "batches": self._calls,
            "workers": f"{self.workers} {self._who}",
        }

    @property
    def _calls(self) -> str:
        """What ``func`` gets."""
        most, least = max(self.batches, default=0), min(self.batches, default=0)
        size = f"{most:,}" if most == least else f"{least:,} to {most:,}"
        times = sum(self.batches.values())
        nbytes = readable(most * self.job.frame.features * self.job.dtype.itemsize)
        return f"{times:,} of {size} patches, up to {nbytes}, {self.job.layout} layout"

    @property
    def _input(self) -> str:
        return "element" if self.chunks is None else f"chunk of {self._shown(self.chunks)}"

    def _done(self) -> str:
        return f", {self.blocks_done:,} of them done before" if self.resume else ""

    @property
    def _who(self) -> str:
        if self.executor is None or isinstance(self.executor, str):
            return self.executor or "threads"
        return f"at a time, {type(self.executor).__name__}"

    def selection(self, tile: Tile) -> NDArray[np.bool_] | None:
        """Which patches of a tile take part; None for all."""
        return None if self.mask is None else self.mask[tuple(slice(*r) for r in tile.ranges)]

    def block(self, tile: Tile) -> NDArray[Any]:
        """The elements a tile's selected patches reach over, padding included."""
        return read_tile(self.source, self.job.frame, self.reach(tile))

    def reach(self, tile: Tile) -> Bounds:
        """Where `block` begins and ends, per canonical axis."""
        return reach(self.job.frame, tile, self.selection(tile))

    def run(self) -> Any:
        """Do it; returns what `map_patches` returns."""
        from .start import run

        with reporting(self.progress) as report:
            return run(self, report)


def uncut_unit(
    unit: Sequence[int] | None, frame: Frame, finalize: Callable[[NDArray[Any]], Any] | None
) -> tuple[int, ...] | None:
    """What blocks must not cut, per canonical axis: what is written at once, and channels that ``finalize`` reduces."""
    if finalize is None or frame.channel is None:
        return None if unit is None else tuple(unit)
    whole = list(unit or (1,) * len(frame.axes))
    whole[frame.channel] = frame.axes[frame.channel].size
    return tuple(whole)


def readable(size: float) -> str:
    """A number of bytes in decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError

"""The plan: what will be done, where results go and with what means, as data; what it takes, and the run."""

from __future__ import annotations

import html
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..geometry import PatchGrid
from ..geometry.frame import Frame
from ..geometry.limits import LIMITS, Limits
from ..geometry.schedule import Schedule
from ..geometry.tiling import Tile, Tiling, span_size
from .block_task import canonical_unit
from .chunks import Reading
from .expected import Expected, expected_results
from .job import Job
from .labels import Labels
from .progress import Report, reporting
from .tile_task import batch_sizes

__all__ = ["Destination", "Plan", "Resources", "readable_size"]


@dataclass(frozen=True)
class Destination:
    """Where results go: ``out`` as the caller gave it, and the place of each image (None: new arrays)."""

    out: Any = None
    places: tuple[Any, ...] | None = None
    resume: bool = False
    labels: Labels = field(default_factory=Labels)

    @property
    def staged(self) -> bool:
        """Whether every image goes to a path, so that a run that was cut short can be resumed."""
        return bool(self.places) and all(hasattr(p, "reopen") for p in self.places or ())

    @property
    def in_memory(self) -> bool:
        """Whether every image is an array, the caller's or a new one."""
        return all(isinstance(p, np.ndarray) for p in self.places or ())


@dataclass(frozen=True)
class Resources:
    """With what means: who runs the tasks, how many at a time, in how much memory.

    ``runner(plan, report)`` does what the plan says and returns the result.
    """

    workers: int
    executor: Any = None
    memory: int | None = None
    progress: Any = None
    runner: Callable[[Plan, Report | None], Any] | None = None
    limits: Limits = LIMITS
    sharing: int | None = None  # tiles alike in so many first axes share chunks; None: none do

    @property
    def in_this_process(self) -> bool:
        """Whether all tasks run here, in threads."""
        executor = self.executor
        return executor in (None, "threads") or isinstance(executor, ThreadPoolExecutor)

    @property
    def described(self) -> str:
        if self.executor is None or isinstance(self.executor, str):
            return self.executor or "threads"
        return f"at a time, {type(self.executor).__name__}"


@dataclass(frozen=True)
class Plan:
    """What `map_patches` will do: print it, ask it, `run` it (once or again).

    ``projected_bytes`` counts what is held at once beside the image: the result where it is in
    memory, accumulators of tiles that wait for their neighbours, blocks on their way in and out,
    batches; not what ``func`` itself allocates, nor the interpreter and its libraries. Results are
    taken to be as large as patches, unless a trial (or a model) told what they are.
    ``expanded_bytes`` is what the matrix of all patches would have taken.
    """

    job: Job
    tiling: Tiling
    destination: Destination
    resources: Resources
    blocks_done: int = 0
    labels: Labels | None = None
    seconds: float | None = None  # that it will take, where a batch was tried

    @property
    def grid(self) -> PatchGrid:
        return self.job.frame.grid

    @property
    def workers(self) -> int:
        """How many tiles are worked on at a time."""
        return self.resources.workers

    @property
    def memory(self) -> int | None:
        """The budget in bytes, None where there is none."""
        return self.resources.memory

    @property
    def tasks(self) -> int:
        """How many tiles."""
        return len(self.tiling)

    @cached_property
    def n_patches(self) -> int:
        """How many patches go through ``func``."""
        mask = self.job.mask
        return self.job.frame.n_patches if mask is None else int(mask.sum())

    @property
    def expanded_bytes(self) -> int:
        """Bytes of the matrix of all patches."""
        return self.job.frame.n_patches * self.job.frame.features * self.job.dtype.itemsize

    @property
    def batch_bytes(self) -> int:
        return self.job.batch_bytes

    @cached_property
    def batches(self) -> dict[int, int]:
        """How many calls of ``func`` get how many patches: ``{patches: calls}``, largest first."""
        calls: Counter[int] = Counter()
        if self.job.exact and self.resources.in_this_process:
            full, rest = divmod(self.n_patches, self.job.batch)
            return {n: times for n, times in ((self.job.batch, full), (rest, 1)) if n * times}
        for tile, times in self._kinds_of_tiles():
            mask = self.job.selection(tile)
            if mask is None or mask.any():
                for n in batch_sizes(self.job, tile, mask):
                    calls[n] += times
        return dict(sorted(calls.items(), reverse=True))

    def _kinds_of_tiles(self) -> Iterable[tuple[Tile, int]]:
        """Tiles that are not alike, and how often they come; with a mask no two are taken to be alike."""
        if self.job.mask is not None:
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

    @cached_property
    def expected(self) -> tuple[Expected, ...]:
        """What is known of the results, or taken for granted, one for each that ``func`` gives."""
        return expected_results(self.job)

    @cached_property
    def unit(self) -> tuple[int, ...] | None:
        """What of the first result is written at once, per canonical axis of the image, as far as is known."""
        found, result = next(iter(self._units[0]), None), self.expected[0]
        if found is None:
            return None
        mine, frame = canonical_unit(found, result.frame), self.job.frame
        sizes = dict(zip(result.follows, mine, strict=True))
        shape = dict(zip(result.follows, result.frame.shape, strict=True))
        return tuple(
            [-(-sizes.get(k, 1) * n // shape.get(k, n)) for k, n in enumerate(frame.shape)]
        )

    @cached_property
    def _units(self) -> list[list[tuple[int, ...] | None]]:
        """What of each image of each result is written at once, per axis, where that is known."""
        places, found = self.destination.places or (), []
        for k, result in enumerate(self.expected):
            mine = places[k * result.images : (k + 1) * result.images]
            found.append([result.unit_of(place) for place in mine])
        return found

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """Where each result is cut, if it is what is expected."""
        limits = self.resources.limits
        return tuple(
            [
                result.schedule(self.tiling, units, limits)
                for result, units in zip(self.expected, self._units, strict=True)
            ]
        )

    @property
    def blocks(self) -> Schedule:
        """Where the first result is cut, if it is what is expected."""
        return self.schedules[0]

    @property
    def window(self) -> int:
        """How many tiles may be started before the oldest one is done."""
        if self.job.exact and self.resources.in_this_process:
            # as many as the patches of a batch can be of, for each worker
            tile = 1 if self.job.mask is not None else math.prod(self.tiling.lengths)
            return -(-(self.workers * self.job.batch - 1) // tile) + self.workers
        if self.workers == 1 and self.resources.executor in (None, "threads"):
            return 1
        return min(math.prod(self.tiling.shape[1:]) + 2 * self.workers, 6 * self.workers)

    @property
    def waiting(self) -> int:
        """How many pieces may be held at once: those that a block still waits for, and those at work."""
        return min(len(self.tiling), self.blocks.reach + self.window)

    def state_bytes(self, lengths: tuple[int, ...]) -> float:
        """Bytes of accumulators of a tile of ``lengths`` patches."""
        return sum([result.tile_bytes(lengths) for result in self.expected])

    @property
    def projected_bytes(self) -> int:
        """Bytes held at once beside the image, what ``func`` allocates aside."""
        held = min(len(self.tiling), self.window) * self.state_bytes(self.tiling.lengths)
        block = 0.0
        for result, schedule in zip(self.expected, self.schedules, strict=True):
            held += schedule.front * result.state_bytes
            block = max(block, self._block_bytes(result, schedule))
        held += self.workers * (block + self._read_size() + 2 * self.batch_bytes)
        held += self.reading.kept_bytes
        return int(held + self.result_bytes + getattr(self.job.source, "held", 0))

    def _block_bytes(self, result: Expected, schedule: Schedule) -> float:
        """Bytes that the largest block of a result takes while it is made and written."""
        item = result.dtype.itemsize
        elements = max(math.prod(schedule.largest), result.span_size(self.tiling.lengths))
        longest = max(schedule.largest)
        strip = max(1, self.resources.limits.strip_elements * longest // max(1, elements))
        strip = min(elements, strip * -(-elements // max(1, longest)))
        found = strip * (result.state_bytes + result.finishing_bytes + self.job.dtype.itemsize)
        found += elements * (item + (16 if self.job.finalize else 0))
        if not self.destination.in_memory:
            found += 3 * elements // result.reduced * item  # while it is encoded
        return found

    def _read_size(self) -> int:
        """Bytes of a tile's elements on their way in, padding and whole chunks included."""
        frame, item = self.job.frame, self.job.dtype.itemsize
        span = span_size(frame.axes, self.tiling.lengths)
        padded = 0 if frame.inside else 2 * span * item
        if isinstance(self.job.source, np.ndarray):
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
        """Bytes of the result; 0 where it is not held."""
        places = self.destination.places
        if places is None:
            return self.written_bytes
        shapes = [r.frame.image_shape for r in self.expected for _ in range(r.images)]
        shapes += shapes[-1:] * (len(places) - len(shapes))
        return sum([p.held(s) for p, s in zip(places, shapes, strict=False) if hasattr(p, "held")])

    @cached_property
    def reading(self) -> Reading:
        """What of the image is read, how often, and what is kept of it."""
        return Reading(self.job, self.tiling, self.resources.sharing, self.workers)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """What of the image is decoded at once, per canonical axis."""
        return self.reading.chunks

    @property
    def read_bytes(self) -> int:
        """Bytes read in all, halos included; of an image in chunks, whole ones."""
        return self.reading.elements[0] * self.job.dtype.itemsize

    @property
    def reads(self) -> float:
        """How often an element of the image is read, or a chunk where it has chunks, on average."""
        return self.reading.times

    @property
    def written_bytes(self) -> int:
        """Bytes of the result; of one number per patch where nothing is known of what stands on the grid."""
        if self.job.rule is None and not self.job.kinds:
            return math.prod(self.job.frame.counts) * 8
        return sum([result.written_bytes for result in self.expected])

    def _shown(self, per_axis: tuple[int, ...], frame: Frame | None = None) -> str:
        channel = (frame or self.job.frame).channel
        return "x".join(str(n) for k, n in enumerate(per_axis) if k != channel)

    def __repr__(self) -> str:
        merge = None if self.job.rule is None else self.job.rule.merge
        return (
            f"<Plan {tuple(self.job.source.shape)} {self.job.dtype}; {self.grid!r}; merge={merge!r};"
            f" {self.tasks:,} tiles, {readable_size(self.projected_bytes)} held,"
            f" {self.workers} {self.resources.described}>"
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
            "expanded": f"{readable_size(self.expanded_bytes)} that are never held",
            "held": f"{readable_size(self.projected_bytes)} beside the image"
            + (f", of {readable_size(self.memory)} allowed" if self.memory else ""),
            "read": f"{readable_size(self.read_bytes)}, each {self._input} {self.reads:.2f} times",
            "written": f"{readable_size(self.written_bytes)} in {len(self.blocks):,} blocks"
            f" of up to {self._shown(self.blocks.largest, self.expected[0].frame)}" + self._done(),
            "tiles": f"{len(self.tiling):,} of {self._shown(self.tiling.lengths)} patches",
            "batches": self._calls,
            "workers": f"{self.workers} {self.resources.described}",
            **({} if self.seconds is None else {"time": f"about {self._duration}, by a trial"}),
        }

    @property
    def _duration(self) -> str:
        assert self.seconds is not None
        if self.seconds < 100:
            return f"{self.seconds:.2g} s"
        minutes = round(self.seconds / 60)
        return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"

    @property
    def _calls(self) -> str:
        """What ``func`` gets."""
        most, least = max(self.batches, default=0), min(self.batches, default=0)
        size = f"{most:,}" if most == least else f"{least:,} to {most:,}"
        times = sum(self.batches.values())
        if most > least and list(self.batches.values())[1:] == [1]:
            times, size = times - 1, f"{most:,} and one of {least:,}"
        nbytes = readable_size(most * self.job.frame.features * self.job.dtype.itemsize)
        return f"{times:,} of {size} patches, up to {nbytes}, {self.job.layout} layout"

    @property
    def _input(self) -> str:
        return "element" if self.chunks is None else f"chunk of {self._shown(self.chunks)}"

    def _done(self) -> str:
        return f", {self.blocks_done:,} of them done before" if self.destination.resume else ""

    def run(self) -> Any:
        """Do it; returns what `map_patches` returns."""
        assert self.resources.runner is not None
        with reporting(self.resources.progress) as report:
            found = self.resources.runner(self, report)
        return found if self.destination.out is not None else self.destination.labels.put_on(found)

    def with_tiles(self, lengths: tuple[int, ...], batch: int | None = None) -> Plan:
        """The same plan with other tiles, and other batches."""
        job = self.job if batch is None else replace(self.job, batch=batch)
        return replace(self, job=job, tiling=Tiling(self.tiling.axes, lengths))

    def with_workers(self, workers: int) -> Plan:
        return replace(self, resources=replace(self.resources, workers=workers))


def readable_size(size: float) -> str:
    """A number of bytes in decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError

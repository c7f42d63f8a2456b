"""What a plan takes results to be: as ``func`` gave them once, or as large as the patches they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry.frame import Frame
from ..geometry.limits import Limits
from ..geometry.schedule import Schedule, along
from ..geometry.tiling import Tiling, span_size
from .block_task import cut_result, grid_frame
from .job import Job, Kind, result_frame
from .source import units_of

__all__ = ["Expected", "expected_results"]


@dataclass(frozen=True)
class Expected:
    """Results of one kind, as far as a plan needs to know them.

    ``follows`` are the axes of the job that axes of ``frame`` go along with; ``state_bytes`` (and
    ``alone_bytes``, in a tile of one patch) and ``finishing_bytes`` what an element takes while
    patches are merged and while it becomes a value.
    """

    job: Job
    frame: Frame
    follows: tuple[int | None, ...]
    dtype: np.dtype[Any]  # of the images
    state_bytes: float
    alone_bytes: float
    finishing_bytes: float

    def schedule(
        self, tiling: Tiling, units: Sequence[tuple[int, ...] | None], limits: Limits
    ) -> Schedule:
        """Where the images are cut, of which ``units`` are written at once."""
        return cut_result(self.job, self.frame, self.follows, tiling, units, limits)

    def unit_of(self, place: Any) -> tuple[int, ...] | None:
        """What of an image is written at once, per axis of what lies there, as far as is known."""
        if isinstance(place, np.ndarray) or (self.job.rule is None and not self.job.kinds):
            return None
        if hasattr(place, "shape"):
            found = units_of(place)
        else:
            found = self._unit_of_sink(place) if hasattr(place, "unit") else None
        return found if found is not None and len(found) in map(len, self._shapes) else None

    def _unit_of_sink(self, sink: Any) -> tuple[int, ...] | None:
        for shape in self._shapes:
            with suppress(ValueError):  # its chunks are for other axes
                unit: tuple[int, ...] | None = sink.unit(shape, self.dtype)
                return unit
        return None

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        """Shapes that images may have: as they are merged, or without the channels that ``finalize`` reduces."""
        shape, channel = self.frame.image_shape, self.frame.channel
        if self.job.finalize is None or channel is None:
            return [shape]
        at = self.frame.order[channel]
        return [shape, (*shape[:at], *shape[at + 1 :])]

    def span_size(self, lengths: Sequence[int]) -> int:
        """Elements that a tile of ``lengths`` patches gives, at most."""
        return span_size(self.frame.axes, along(self.follows, lengths, 1))

    def tile_bytes(self, lengths: Sequence[int]) -> float:
        """Bytes of what a tile of ``lengths`` patches is merged in."""
        each = self.alone_bytes if math.prod(lengths) == 1 else self.state_bytes
        return self.span_size(lengths) * each

    @property
    def images(self) -> int:
        return 1 if self.job.rule is None else self.job.rule.images

    @property
    def reduced(self) -> int:
        """How many channels ``finalize`` is taken to make one number of."""
        channel = self.frame.channel
        if channel is None or self.job.finalize is None or not self.job.kinds:
            return 1
        return self.frame.shape[channel]

    @property
    def written_bytes(self) -> int:
        """Bytes of the images."""
        rule = self.job.rule
        kinds = [None] if rule is None else [image.dtype for image in rule.spec.images]
        item = sum([(dtype or self.dtype).itemsize for dtype in kinds])
        return math.prod(self.frame.shape) // self.reduced * item


def expected_results(job: Job) -> tuple[Expected, ...]:
    """What is expected of a job, for each result of its func."""
    if not job.kinds:
        return (_assumed(job),)
    return tuple([_known(job, kind) for kind in job.kinds])


def _known(job: Job, kind: Kind) -> Expected:
    if job.rule is None:
        frame, follows = grid_frame(job, kind)
        return _on_grid(job, frame, follows, kind.dtype)
    frame = result_frame(kind, job.frame, job.scale)
    return _merged(job, frame, kind.dtype, kind.weights)


def _assumed(job: Job) -> Expected:
    if job.rule is None:
        # a tile's results may well be as large as what its patches reach over
        return _on_grid(job, job.frame, tuple(range(len(job.frame.axes))), job.dtype)
    patch = [p for p, cut in zip(job.frame.patch, job.frame.patched, strict=True) if cut]
    larger = [p * s for p, s in zip(patch, job.scale, strict=True)]
    channels = None if job.frame.channel is None else job.frame.shape[job.frame.channel]
    frame = job.frame.resized(larger, job.scale, channels)
    return _merged(job, frame, job.dtype, "")


def _merged(job: Job, frame: Frame, dtype: np.dtype[Any], weights: str) -> Expected:
    assert job.rule is not None
    rule = job.rule.with_patch_weights(weights) if weights else job.rule
    wanted = job.result_dtype or rule.result_dtype(dtype)
    held = rule.held_bytes(frame, dtype, job.whole)
    alone = rule.held_alone(frame, dtype, job.whole)
    finishing = rule.finishing_bytes(held, dtype, wanted)
    return Expected(job, frame, frame.follows(job.frame), wanted, held, alone, finishing)


def _on_grid(
    job: Job, frame: Frame, follows: tuple[int | None, ...], dtype: np.dtype[Any]
) -> Expected:
    wanted = job.result_dtype or dtype
    item = float(dtype.itemsize)
    return Expected(job, frame, follows, wanted, item, item, 32.0)

"""How long each way to compute a product would take: the one place where the way is chosen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..geometry.limits import Costs, Limits
from ..kernels.memory import to_native
from .boxes.boxes import Box, split_into_boxes
from .boxes.fourier import plan_blocks, plan_lag_blocks
from .selection.masks import find_rectangles
from .selection.rectangles import Rectangle, whole_images
from .selection.selection import Selection

__all__ = ["Estimate", "Way", "estimate_gram", "estimate_product", "is_native"]


@dataclass(frozen=True)
class Way:
    """How to go about a box, and how many seconds that takes.

    ``name`` is ``"fft"`` or ``"blocks"``; for a Gram matrix ``"lags"`` (by FFT), ``"phases"`` (lags
    by products of phases) or ``"blocks"``.
    """

    box: Box
    name: str
    seconds: float


Pricer = Callable[[Box], Way]


@dataclass(frozen=True)
class Estimate:
    """The ways that were considered and their estimated seconds; prints as a table.

    ``blocks`` and ``direct`` (each patch is multiplied where it lies) are for the whole selection.
    ``boxes`` is for the ``rectangles``, one after the other, each in its boxes, and for the ``rest``:
    rows that are in no rectangle, in blocks.
    """

    what: str
    blocks: float
    boxes: float
    rectangles: tuple[tuple[Rectangle, tuple[Way, ...]], ...]
    rest: Selection | None = None
    direct: float = math.inf

    @property
    def way(self) -> str:
        """The fastest: ``"blocks"``, ``"direct"`` or ``"boxes"``."""
        ways = {"blocks": self.blocks, "direct": self.direct, "boxes": self.boxes}
        return min(ways, key=lambda name: ways[name])

    @property
    def seconds(self) -> float:
        """How long the fastest takes."""
        return min(self.blocks, self.direct, self.boxes)

    def __str__(self) -> str:
        lines = [f"{self.what}: {self.way}", f"  blocks (GEMM)     {self.blocks:10.3g} s"]
        if self.direct < math.inf:
            lines.append(f"  direct            {self.direct:10.3g} s")
        names = Counter(way.name for _, each in self.rectangles for way in each)
        if not names:
            why = "not possible: centred or scaled rows, or too many steps"
            return "\n".join([*lines, f"  boxes             {why}"])
        counts = ", ".join(f"{n} by {name}" for name, n in names.items())
        if self.rest is not None:
            counts += f", {self.rest.n_rows} rows in no box"
        return "\n".join([*lines, f"  boxes             {self.boxes:10.3g} s: {counts}"])


def estimate_product(selection: Selection, columns: int, adjoint: bool = False) -> Estimate:
    """``X @ V`` or ``X.T @ U`` with so many columns."""
    what = f"{'X.T @ U' if adjoint else 'X @ V'}, {columns} column{'s' * (columns != 1)}"
    costs, limits, features = selection.limits.costs, selection.limits, selection.features

    def price(box: Box) -> Way:
        return _fastest(
            box,
            blocks=_time_blocks(costs, box.n_rows, features, columns),
            fft=_time_fft(limits, box, columns),
        )

    blocks = _time_blocks(costs, selection.n_rows, features, columns)
    rectangles = selection.rectangles if selection.plain else []
    if selection.plain and not rectangles:
        rectangles = whole_images(selection.stack)
    found = _estimate(selection, what, blocks, rectangles, price)
    return (
        replace(found, direct=_time_direct(selection, columns)) if is_native(selection) else found
    )


def estimate_gram(selection: Selection) -> Estimate:
    """``X.gram()`` or ``X.cov()``."""
    costs, limits, features = selection.limits.costs, selection.limits, selection.features

    def blocks(rows: int) -> float:
        return _time_blocks(costs, rows, features, features / 2)

    def price(box: Box) -> Way:
        lags, phases = _time_lags(limits, box), _time_phases(costs, box)
        return _fastest(box, blocks=blocks(box.n_rows), lags=lags, phases=phases)

    if selection.plain and selection.span is None:
        return _estimate_rectangles(selection, blocks, price)
    rectangles = selection.rectangles if selection.plain else []
    return _estimate(selection, "X.gram()", blocks(selection.n_rows), rectangles, price)


def _estimate(
    selection: Selection, what: str, blocks: float, rectangles: list[Rectangle], price: Pricer
) -> Estimate:
    """For rectangles that hold the selection, where each can be split into boxes."""
    boxes = [split_into_boxes(each, selection.limits.rectangle_boxes) for each in rectangles]
    if not rectangles or not all(boxes):
        return Estimate(what, blocks, math.inf, ())
    ways = tuple(
        (rectangle, tuple(map(price, each)))
        for rectangle, each in zip(rectangles, boxes, strict=True)
    )
    return Estimate(what, blocks, sum(w.seconds for _, each in ways for w in each), ways)


def _estimate_rectangles(
    selection: Selection, blocks: Callable[[int], float], price: Pricer
) -> Estimate:
    """For a selection with gaps: rectangles of it by lags, and what is left over in blocks."""
    limits = selection.limits
    streamed, each = blocks(selection.n_rows), blocks(2) - blocks(1)
    overhead = _time_overhead(limits.costs, selection.features)
    least = math.ceil(limits.costs.rectangle_gain * overhead / each)
    if selection.n_rows < least:
        return Estimate("X.gram()", streamed, math.inf, ())
    chosen: list[tuple[Rectangle, tuple[Way, ...]]] = []

    def choose(rectangle: Rectangle) -> bool:
        ways = tuple(map(price, split_into_boxes(rectangle, limits.rectangle_boxes)))
        no_blocks = bool(ways) and all(way.name != "blocks" for way in ways)
        wanted = no_blocks and sum(way.seconds for way in ways) < each * rectangle.n_rows
        if wanted:
            chosen.append((rectangle, ways))
        return wanted

    _, rows = find_rectangles(selection, least, choose)
    seconds = sum(way.seconds for _, ways in chosen for way in ways) + blocks(len(rows))
    rest = replace(selection, rows=rows) if len(rows) else None
    return Estimate("X.gram()", streamed, seconds if chosen else math.inf, tuple(chosen), rest)


def _fastest(box: Box, **seconds: float) -> Way:
    name = min(seconds, key=lambda name: seconds[name])
    return Way(box, name, seconds[name])


def is_native(selection: Selection) -> bool:
    """Whether kernels can multiply patches where they lie in the images."""
    dtypes = {image.values.dtype for image in selection.stack.images}
    return selection.plain and all(d.char == "?" or _is_known(d) for d in dtypes)


def _is_known(dtype: np.dtype[Any]) -> bool:
    return to_native(np.empty(0, dtype)).dtype == dtype and dtype.isnative


def _time_blocks(costs: Costs, rows: int, features: int, columns: float) -> float:
    return rows * features * (costs.cut + costs.read + columns * costs.multiply) + costs.call


def _time_direct(selection: Selection, columns: int) -> float:
    costs = selection.limits.costs
    lines = selection.features / selection.stack.images[0].frame.patch[-1]
    each = costs.row + columns * (lines * costs.line + selection.features * costs.dot)
    return selection.n_rows * each + costs.call


def _time_fft(limits: Limits, box: Box, columns: int) -> float:
    if not box.lag_axes:
        return math.inf
    costs, plan = limits.costs, plan_blocks(box, True, limits.fft_points)
    points = plan.block_points
    one = points * math.log2(plan.points) * costs.fft
    each = costs.spectrum if box.depth == 1 else costs.spectrum_phases
    there = box.depth * (one + points * each)
    return plan.n_blocks * (there + columns * (one + box.depth * points * each)) + costs.call


def _time_lags(limits: Limits, box: Box) -> float:
    if not box.lag_axes:
        return math.inf
    costs, plan = limits.costs, plan_lag_blocks(box, True, limits)
    pairs = box.depth**2 * (costs.spectrum if box.depth == 1 else costs.spectrum_phases)
    each = 2 * box.depth * math.log2(plan.points) * costs.fft + pairs
    return plan.n_blocks * plan.block_points * each + _time_faces(costs, box)


def _time_phases(costs: Costs, box: Box) -> float:
    if not box.lag_axes:
        return math.inf
    few = 1 + 40 / box.depth  # BLAS is slower by as much where matrices are thin
    stretch = box.counts[0] * math.prod(box.sizes[1:])
    products = stretch * box.lag_pairs * box.depth**2
    return products * costs.multiply_phases * few + _time_faces(costs, box)


def _time_faces(costs: Costs, box: Box) -> float:
    """What a box takes by lags besides the lags themselves."""
    features = box.depth * math.prod(box.lags)
    face = 0.0
    for place, k in enumerate(box.lag_axes):
        left = features if place == 0 else features / box.lags[box.lag_axes[0]]
        each = left * features * costs.multiply + features * 1e-9
        face += 2 * box.n_rows / box.counts[k] * each
    return face + _time_overhead(costs, features)


def _time_overhead(costs: Costs, features: int) -> float:
    """What a box takes by lags however small it is."""
    return 4e-9 * features**2 + costs.call

"""What each way to compute would take: the one place where it is chosen.

Seconds on two cores that are not idle otherwise. Only their ratios matter: a factor of two in any of
them moves the border between two ways that take about as long there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from .boxes.boxes import Area, Box, areas_of
from .boxes.fourier import plan_of
from .gram.lags import lag_pairs, lag_points
from .product.direct import is_direct
from .selection.masks import mosaic
from .selection.selection import Table
from .selection.stack import Part

__all__ = ["Estimate", "Way", "gram_ways", "product_ways"]

CUT = 2.5e-9  # to cut an element of a patch and convert it to float64
READ = 1.0e-9  # to read it again for a product with few columns
MULTIPLY = 3e-11  # a multiplication and addition in BLAS
DOT = 0.4e-9  # to multiply an element of a patch where it lies
LINE = 4e-9  # whatever a line of a patch takes beside
ROW = 40e-9  # to find a patch
FFT = 1.1e-9  # per point and log2(points), in blocks, two threads
PASS = 1.0e-9  # one pass over a point of a spectrum
PHASE = (
    8.0e-9  # the same where an image is in phases: to sort it into them, or to sum their products
)
CALL = 300e-6  # whatever a box takes beside

_LEAST = 16  # times what a box takes however small it is: what streaming must take for it to be looked for


@dataclass(frozen=True)
class Way:
    """How to go about a box, and its seconds.

    ``"fft"`` or ``"blocks"``; for a Gram matrix ``"lags"`` (by FFT), ``"phases"`` (lags by products
    of phases) or ``"blocks"``.
    """

    box: Box
    name: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The ways considered and their estimated seconds; prints as a table.

    ``blocks`` and ``direct`` (each patch where it lies) stream the selection as a whole. Of
    ``boxes``, ``areas`` are worked on one by one, and the ``rest``, rows in no area, is streamed.
    """

    what: str
    blocks: float
    boxes: float
    areas: tuple[tuple[Area, tuple[Way, ...]], ...]
    rest: Table | None = None
    direct: float = math.inf

    @property
    def way(self) -> str:
        """The cheapest: ``"blocks"``, ``"direct"`` or ``"boxes"``."""
        ways = {"blocks": self.blocks, "direct": self.direct, "boxes": self.boxes}
        return min(ways, key=lambda name: ways[name])

    @property
    def seconds(self) -> float:
        """What the cheapest takes."""
        return min(self.blocks, self.direct, self.boxes)

    def __str__(self) -> str:
        lines = [f"{self.what}: {self.way}", f"  blocks (GEMM)     {self.blocks:10.3g} s"]
        if self.direct < math.inf:
            lines.append(f"  direct            {self.direct:10.3g} s")
        names = Counter(way.name for _, each in self.areas for way in each)
        if not names:
            why = "not possible: centred or scaled rows, or too many steps"
            return "\n".join([*lines, f"  boxes             {why}"])
        said = ", ".join(f"{n} by {name}" for name, n in names.items())
        if self.rest is not None:
            said += f", {self.rest.n_rows} rows in no box"
        return "\n".join([*lines, f"  boxes             {self.boxes:10.3g} s: {said}"])


def product_ways(table: Table, columns: int, adjoint: bool = False) -> Estimate:
    """``X @ V`` or ``X.T @ U`` with so many columns."""
    what = f"{'X.T @ U' if adjoint else 'X @ V'}, {columns} column{'s' * (columns != 1)}"

    def way(box: Box) -> Way:
        return _cheapest(
            box, blocks=_blocks(box.n_rows, table.features, columns), fft=_fft(box, columns)
        )

    found = _estimate(table, what, _blocks(table.n_rows, table.features, columns), way, whole=True)
    return replace(found, direct=_direct(table, columns)) if is_direct(table) else found


def gram_ways(table: Table) -> Estimate:
    """``X.gram()`` or ``X.cov()``."""

    def blocks(rows: int) -> float:
        return _blocks(rows, table.features, table.features / 2)

    def way(box: Box) -> Way:
        return _cheapest(box, blocks=blocks(box.n_rows), lags=_lags(box), phases=_phases(box))

    if table.plain and table.contiguous is None:
        return _in_rectangles(table, blocks, way)
    return _estimate(table, "X.gram()", blocks(table.n_rows), way, whole=False)


def _estimate(table: Table, what: str, blocks: float, way: object, whole: bool) -> Estimate:
    assert callable(way)
    areas = areas_of(table) if table.plain else []
    if whole and table.plain and not areas:
        areas = [_whole(part, table.stack.begin(k)) for k, part in enumerate(table.stack.parts)]
    if not areas or not all(area.boxes for area in areas):
        return Estimate(what, blocks, math.inf, ())
    ways = tuple((area, tuple(way(box) for box in area.boxes)) for area in areas)
    return Estimate(what, blocks, sum(w.seconds for _, each in ways for w in each), ways)


def _in_rectangles(
    table: Table, blocks: Callable[[int], float], way: Callable[[Box], Way]
) -> Estimate:
    """A selection with gaps: rectangles of it by lags, what is left over in blocks."""
    streamed, each = blocks(table.n_rows), blocks(2) - blocks(1)
    least = math.ceil(_LEAST * _box_overhead(table.features) / each)
    if table.n_rows < least:
        return Estimate("X.gram()", streamed, math.inf, ())

    def ways(area: Area) -> tuple[Way, ...]:
        return tuple(way(box) for box in area.boxes)

    def wanted(area: Area) -> bool:
        found = ways(area)
        no_blocks = bool(found) and all(one.name != "blocks" for one in found)
        return no_blocks and sum(one.seconds for one in found) < each * area.n_rows

    areas, rows = mosaic(table, least, wanted)
    chosen = tuple((area, ways(area)) for area in areas)
    seconds = sum(one.seconds for _, found in chosen for one in found) + blocks(len(rows))
    rest = replace(table, rows=rows) if len(rows) else None
    return Estimate("X.gram()", streamed, seconds if areas else math.inf, chosen, rest)


def _whole(part: Part, begin: int) -> Area:
    return Area(part, tuple((0, n) for n in part.frame.counts), 0, begin)


def _cheapest(box: Box, **seconds: float) -> Way:
    name = min(seconds, key=lambda name: seconds[name])
    return Way(box, name, seconds[name])


def _blocks(rows: int, features: int, columns: float) -> float:
    return rows * features * (CUT + READ + columns * MULTIPLY) + CALL


def _direct(table: Table, columns: int) -> float:
    lines = table.features / table.stack.parts[0].frame.patch[-1]
    return table.n_rows * (ROW + columns * (lines * LINE + table.features * DOT)) + CALL


def _fft(box: Box, columns: int) -> float:
    if not box.lag_axes:
        return math.inf
    plan = plan_of(box, True)
    flat = math.prod(n for k, n in enumerate(plan.lengths) if k not in box.lag_axes)
    points = plan.points * flat
    blocks = math.prod(-(-n // m) for n, m in zip(box.counts, plan.lengths, strict=True))
    one = points * math.log2(plan.points) * FFT
    each = PASS if box.depth == 1 else PHASE
    there = box.depth * (one + points * each)
    return blocks * (there + columns * (one + box.depth * points * each)) + CALL


def _lags(box: Box) -> float:
    if not box.lag_axes:
        return math.inf
    plan = plan_of(box, True, 2, lag_points(box))
    blocks = math.prod(-(-n // m) for n, m in zip(box.counts, plan.lengths, strict=True))
    flat = math.prod(n for k, n in enumerate(plan.lengths) if k not in box.lag_axes)
    points = plan.points * flat
    pairs = box.depth**2 * (PASS if box.depth == 1 else PHASE)
    return blocks * points * (2 * box.depth * math.log2(plan.points) * FFT + pairs) + _faces(box)


def _phases(box: Box) -> float:
    if not box.lag_axes:
        return math.inf
    few = 1 + 40 / box.depth  # BLAS is slower by as much where matrices are thin
    stretch = box.counts[0] * math.prod(box.sizes[1:])
    return stretch * lag_pairs(box) * box.depth**2 * MULTIPLY * few + _faces(box)


def _faces(box: Box) -> float:
    """What a box takes by lags beside the lags themselves."""
    features = box.depth * math.prod(box.lags)
    face = 0.0
    for place, k in enumerate(box.lag_axes):
        left = features if place == 0 else features / box.lags[box.lag_axes[0]]
        face += 2 * box.n_rows / box.counts[k] * (left * features * MULTIPLY + features * 1e-9)
    return face + _box_overhead(features)


def _box_overhead(features: int) -> float:
    """What a box takes by lags however small it is."""
    return 4e-9 * features**2 + CALL

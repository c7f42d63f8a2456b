"""What each way to compute would take: the one place where it is chosen.

Seconds on two cores that are not idle otherwise. Only their ratios matter: a factor of two in any of
them moves the border between two ways that take about as long there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from .boxes import Area, Box, areas_of
from .lags import lag_points
from .mosaic import mosaic
from .parts import Part
from .spectra import plan_of
from .table import Table

__all__ = ["Estimate", "Way", "gram_ways", "product_ways"]

CUT = 1.0e-9  # to cut an element of a patch and convert it to float64
READ = 0.5e-9  # to read it again for a product with few columns
MULTIPLY = 4e-11  # a multiplication and addition in BLAS
FFT = 0.9e-9  # per point and log2(points), in blocks, two threads
PASS = 1.0e-9  # one pass over a point of a spectrum
CALL = 300e-6  # whatever a box takes beside

_LEAST = 16  # times what a box takes however small it is: what streaming must take for it to be looked for


@dataclass(frozen=True)
class Way:
    """How to go about a box: ``"fft"`` (``"lags"`` for a Gram matrix) or ``"blocks"``, and its seconds."""

    box: Box
    name: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The ways considered and their estimated seconds; prints as a table.

    ``areas`` and their boxes are worked on one by one, and the ``rest``, rows in no area, is
    streamed; with no areas, the selection is streamed in blocks as a whole.
    """

    what: str
    blocks: float
    boxes: float
    areas: tuple[tuple[Area, tuple[Way, ...]], ...]
    rest: Table | None = None

    @property
    def streamed(self) -> bool:
        """Whether blocks of the whole selection are the cheaper way."""
        return not self.blocks > self.boxes

    def __str__(self) -> str:
        ways = [way for _, each in self.areas for way in each]
        lines = [f"{self.what}: {'blocks' if self.streamed else 'boxes'}"]
        lines.append(f"  blocks (GEMM)     {self.blocks:10.3g} s")
        if not ways:
            return "\n".join(
                [
                    *lines,
                    "  boxes             not possible: centred or scaled rows, or too many steps",
                ]
            )
        names = {name: sum(way.name == name for way in ways) for name in ("fft", "lags", "blocks")}
        said = ", ".join(f"{n} by {name}" for name, n in names.items() if n)
        if self.rest is not None:
            said += f", {self.rest.n_rows} rows in no box"
        return "\n".join([*lines, f"  boxes (FFT)       {self.boxes:10.3g} s: {said}"])


def product_ways(table: Table, columns: int, adjoint: bool = False) -> Estimate:
    """``X @ V`` or ``X.T @ U`` with so many columns."""
    what = f"{'X.T @ U' if adjoint else 'X @ V'}, {columns} column{'s' * (columns != 1)}"

    def way(box: Box) -> Way:
        return _cheaper(
            box, _blocks(box.n_rows, table.features, columns), "fft", _fft(box, columns)
        )

    return _estimate(table, what, _blocks(table.n_rows, table.features, columns), way, whole=True)


def gram_ways(table: Table) -> Estimate:
    """``X.gram()`` or ``X.cov()``."""

    def blocks(rows: int) -> float:
        return _blocks(rows, table.features, table.features / 2)

    def way(box: Box) -> Way:
        return _cheaper(box, blocks(box.n_rows), "lags", _lags(box))

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
        by_lags = bool(found) and all(one.name == "lags" for one in found)
        return by_lags and sum(one.seconds for one in found) < each * area.n_rows

    areas, rows = mosaic(table, least, wanted)
    chosen = tuple((area, ways(area)) for area in areas)
    seconds = sum(one.seconds for _, found in chosen for one in found) + blocks(len(rows))
    rest = replace(table, rows=rows) if len(rows) else None
    return Estimate("X.gram()", streamed, seconds if areas else math.inf, chosen, rest)


def _whole(part: Part, begin: int) -> Area:
    return Area(part, tuple((0, n) for n in part.frame.counts), 0, begin)


def _cheaper(box: Box, blocks: float, name: str, seconds: float) -> Way:
    return Way(box, "blocks", blocks) if blocks <= seconds else Way(box, name, seconds)


def _blocks(rows: int, features: int, columns: float) -> float:
    return rows * features * (CUT + READ + columns * MULTIPLY) + CALL


def _fft(box: Box, columns: int) -> float:
    if not box.lag_axes:
        return math.inf
    plan = plan_of(box, True)
    flat = math.prod(n for k, n in enumerate(plan.lengths) if k not in box.lag_axes)
    points = plan.points * flat
    blocks = math.prod(-(-n // m) for n, m in zip(box.counts, plan.lengths, strict=True))
    one = points * math.log2(plan.points) * FFT
    return blocks * (box.depth * one + columns * (one + box.depth * points * PASS)) + CALL


def _lags(box: Box) -> float:
    if not box.lag_axes:
        return math.inf
    plan = plan_of(box, True, 2, lag_points(box))
    blocks = math.prod(-(-n // m) for n, m in zip(box.counts, plan.lengths, strict=True))
    flat = math.prod(n for k, n in enumerate(plan.lengths) if k not in box.lag_axes)
    points = plan.points * flat
    spectra = blocks * points * (2 * box.depth * math.log2(plan.points) * FFT + box.depth**2 * PASS)
    features = box.depth * math.prod(box.lags)
    face = 0.0
    for place, k in enumerate(box.lag_axes):
        left = features if place == 0 else features / box.lags[box.lag_axes[0]]
        face += 2 * box.n_rows / box.counts[k] * (left * features * MULTIPLY + features * 1e-9)
    return spectra + face + _box_overhead(features)


def _box_overhead(features: int) -> float:
    """What a box takes by lags however small it is."""
    return 4e-9 * features**2 + CALL

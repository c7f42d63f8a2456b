"""The table: all cells, each measured beside its plain ways, and what is printed of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import exp, log
from typing import Any

from benchmarks.plain import cutting, mapping, merging, models, products, statistics
from benchmarks.plain.cell import Cell, agree, regime
from benchmarks.plain.sizes import Size
from benchmarks.report import digits, duration, print_table
from benchmarks.timing import Timing, interleave

__all__ = ["FULL", "QUICK", "TINY", "Row", "cells", "measure", "print_rows", "shorter"]

FULL, QUICK, TINY = Size(1.6e7), Size(2e6), Size(1e4)
PART = 5
"""A short table has one of so many cells."""
SHORT = 100e-6
"""Seconds below which a plain way may be faster: what is around the work is the work there."""

HEAD = ("plain / ours", "ours", "plain", "regime", "cell", "plain way")


@dataclass(frozen=True)
class Row:
    """One cell beside one plain way; without times where the two differ."""

    cell: Cell
    way: str
    ours: Timing | None = None
    plain: Timing | None = None

    @property
    def ratio(self) -> float:
        """How many times as long the plain way takes; 0 where results differ."""
        return self.plain.median / self.ours.median if self.ours and self.plain else 0.0

    @property
    def differs(self) -> bool:
        return self.ours is None

    @property
    def short(self) -> bool:
        """Whether the plain way is so short that nothing is asked of ours."""
        return self.plain is not None and self.plain.median < SHORT

    def cells(self) -> tuple[str, ...]:
        where = regime(self.cell.case), self.cell.name, self.way
        if self.ours is None or self.plain is None:
            return ("DIFFERS", "", "", *where)
        times = duration(self.ours.median), duration(self.plain.median)
        return (digits(self.ratio), *times, *where)

    def as_dict(self) -> dict[str, Any]:
        case, ours, plain = self.cell.case, self.ours, self.plain
        return {
            "cell": self.cell.name,
            "operation": self.cell.operation, "what": self.cell.what, "case": case.code, "regime": regime(case),
            "way": self.way, "agrees": not self.differs, "ratio": self.ratio,
            "ours": ours.seconds if ours else None, "plain": plain.seconds if plain else None,
        }  # fmt: skip


def cells(size: Size, only: str = "") -> Iterator[Cell]:
    """All cells whose name has a substring, of about a size, each once."""
    makers = (cutting, merging, mapping, products, statistics, models)
    seen = set()
    for cell in chain.from_iterable(module.cells(size) for module in makers):
        if only in cell.name and cell.name not in seen:
            seen.add(cell.name)
            yield cell


def shorter(chosen: Iterable[Cell]) -> Iterator[Cell]:
    """A part of the cells: every variation of every operation, each in another few cases."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in chosen:
        groups.setdefault((cell.operation, cell.what), []).append(cell)
    for k, group in enumerate(groups.values()):
        yield from group[k % min(PART, len(group)) :: PART]


def measure(cell: Cell, repeat: int, budget: float) -> list[Row]:
    """A row for each plain way: results are compared first, then all are timed in turns."""
    ours, plain = cell.sides()
    kept: list[Any] = []  # our result, until the last one was compared with it
    differ = set()

    def compare(way: str, result: Any) -> None:
        if not way:
            kept.append(result)
        elif not agree(kept[0], result):
            differ.add(way)
        if way == last:
            kept.clear()

    ours()  # what it compiles is not measured, even where one run is all there is time for
    last = list(plain)[-1]
    times = interleave({"": ours, **plain}, repeat=repeat, budget=budget, inspect=compare)
    return [
        Row(cell, way) if way in differ else Row(cell, way, times[""], times[way]) for way in plain
    ]


def print_rows(rows: Sequence[Row]) -> None:
    """Print what differs and what is slower first, then every operation."""
    wrong = [row for row in rows if row.differs]
    if wrong:
        print_table("Results that differ", HEAD, [row.cells() for row in wrong])
    slow = sorted([row for row in rows if row.ratio < 1 and not row.differs], key=_by_ratio)
    for title, short in (("Below 1.0", False), ("Below 1.0, of less than 100 us", True)):
        found = [row for row in slow if row.short == short]
        print_table(f"{title}: {len(found)} of {len(rows)}", HEAD, [row.cells() for row in found])
    for operation in dict.fromkeys(row.cell.operation for row in rows):
        found = [row for row in rows if row.cell.operation == operation and not row.differs]
        if found:
            middle = exp(sum(log(row.ratio) for row in found) / len(found))
            title = f"{operation}: {digits(middle)} in the (geometric) mean of {len(found)}"
            print_table(title, HEAD, [row.cells() for row in sorted(found, key=_by_ratio)])


def _by_ratio(row: Row) -> float:
    return row.ratio

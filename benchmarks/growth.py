"""How pantile's own cost grows: ``python -m benchmarks.growth [--series NAME] [--only LABEL]``.

Each series varies one thing and keeps the rest. What is timed is `map_patches` with the identity,
cut and merge in one, unless the series says otherwise.
"""

import math
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.cases import Array, Case, Ints
from benchmarks.report import cores, digits, duration, print_table
from benchmarks.timing import Task, Timing, interleave

__all__ = ["SERIES", "Point", "Reading", "main", "measured"]


@dataclass(frozen=True)
class Point:
    """One member of a series: its label, its patches and their elements, and what is timed."""

    label: str
    n_patches: int
    elements: int
    task: Task


@dataclass(frozen=True)
class Reading:
    """A point with its times."""

    point: Point
    timing: Timing
    first: float

    @property
    def ratio(self) -> float:
        """Time per patch element, over that of the first point."""
        return self.timing.median / self.point.elements / self.first

    @property
    def throughput(self) -> float:
        """1e9 patch elements a second."""
        return self.point.elements / self.timing.median / 1e9

    def cells(self) -> tuple[str, ...]:
        spread = f"{duration(self.timing.best)} to {duration(self.timing.worst)}"
        each = f"{digits(1e9 * self.timing.median / self.point.n_patches)} ns"
        return (
            self.point.label,
            digits(self.ratio),
            digits(self.throughput),
            each,
            duration(self.timing.median) + (f" ({self.timing.note})" if self.timing.note else ""),
            spread,
        )


HEAD = ("", "time per element / first", "Gel/s", "per patch", "median", "best to worst")
Series = Callable[[float], Iterator[Point]]


def patch(size: float) -> Iterator[Point]:
    """Patch sizes, step 1, float32."""
    side = _side(1000, size)
    for p in (3, 7, 16, 39, 64, 128):
        if p < side / 2:
            yield _mapped(f"{p}x{p}", (side, side), (p, p))


def step(size: float) -> Iterator[Point]:
    """Steps of 39x39 patches, float32."""
    side = _side(2000, size)
    for s in (1, 2, 4, 10, 20, 39):
        yield _mapped(f"{s}x{s}", (side, side), (39, 39), s)


def dtype(size: float) -> Iterator[Point]:
    """Dtypes, 16x16 patches at step 1."""
    side = _side(1000, size)
    for name in ("float32", "float64", "uint8", "uint16"):
        yield _mapped(name, (side, side), (16, 16), dtype=name)


def axes(size: float) -> Iterator[Point]:
    """Numbers of axes: patches of 64 elements at step 1, about as many of them, float32."""
    n = _side(2000, size) ** 2
    for ndim, p in ((1, 64), (2, 8), (3, 4)):
        side = round(n ** (1 / ndim))
        yield _mapped(f"{ndim}-D, {'x'.join([str(p)] * ndim)}", (side,) * ndim, (p,) * ndim)


def image(size: float) -> Iterator[Point]:
    """Image sizes, 39x39 patches at step 1, float32."""
    for whole in (250, 500, 1000, 2000, 4000):
        side = _side(whole, size)
        yield _mapped(f"{side}x{side}", (side, side), (39, 39))


def workers(size: float) -> Iterator[Point]:
    """Workers, 39x39 patches at step 1, float32."""
    side = _side(2000, size)
    for n in sorted({1, 2, *(2**k for k in range(2, 8) if 2**k <= cores())}):
        yield _mapped(str(n), (side, side), (39, 39), workers=n)


def merge(size: float) -> Iterator[Point]:
    """Merges and weights, 16x16 patches at step 4, float32."""
    side = _side(1000, size)
    for name in ("mean", "sum", "max", "min", "first", "last", "center", "var", "median"):
        yield _mapped(name, (side, side), (16, 16), 4, merge=name)
    yield _mapped("mean, weights hann", (side, side), (16, 16), 4, weights="hann")


def matrix(size: float) -> Iterator[Point]:
    """`PatchMatrix`, 39x39 patches at step 1, float32: products and Gram matrix, never expanded."""
    import numpy as np

    import pantile as pt

    for whole in (500, 1000, 2000):
        side = _side(whole, size)
        X = pt.PatchMatrix(Case((side, side), (39, 39), (1, 1), "float32").image(), 39)
        V, u = np.ones((X.shape[1], 1)), np.ones(X.shape[0])
        tasks: dict[str, Task] = {
            "X @ v": partial(X.__matmul__, V[:, 0]),
            "X.T @ u": partial(X.T.__matmul__, u),
            "X.gram()": X.gram,
        }
        for name, task in tasks.items():
            yield Point(f"{name}, {side}x{side}", len(X), X.size, task)


def merger(size: float) -> Iterator[Point]:
    """`Merger.add` into images of two sizes, float64, and the same loop in NumPy."""
    import numpy as np

    import pantile as pt

    rng = np.random.default_rng(0)
    for n, p in ((8, 64), (16, 8)):
        for whole in (500, 4000):
            side = _side(whole, size)
            grid = pt.PatchGrid((side, side), p)
            patches, rows = rng.normal(size=(n, p, p)), rng.integers(0, len(grid), n)
            total, weight, filled = np.zeros((side, side)), np.zeros((side, side)), pt.Merger(grid)

            def loop(
                patches: Array = patches, rows: Array = rows, grid: Any = grid,
                total: Array = total, weight: Array = weight,
            ) -> None:  # fmt: skip
                for patch, row in zip(patches, rows, strict=True):
                    place = grid[int(row)]
                    total[place] += patch
                    weight[place] += 1

            name = f"{n} of {p}x{p} into {side}x{side}"
            add = partial(filled.add, patches, rows)
            yield Point(f"add {name}", n, n * p * p, add)
            yield Point(f"loop, {name}", n, n * p * p, loop)


def _side(whole: int, size: float) -> int:
    """A side so that the image has ``size`` times as many elements, but room for patches."""
    return max(100, round(whole * math.sqrt(size)))


def _mapped(
    label: str, shape: Ints, patch: Ints, step: int = 1, *, dtype: str = "float32", **options: Any
) -> Point:
    import pantile as pt

    case = Case(shape, patch, (step,) * len(shape), dtype)
    grid = pt.PatchGrid(shape, patch, step)
    few = Case(tuple(2 * p for p in patch), patch, case.step, dtype)
    pt.map_patches(_same, few.image(), few.patch, few.step, **options)  # compiles
    task = partial(pt.map_patches, _same, case.image(), grid, **options)
    return Point(label, grid.n_patches, grid.n_patches * grid.features, task)


def _same(batch: Array) -> Array:
    return batch


SERIES: dict[str, Series] = {
    "patch": patch,
    "step": step,
    "dtype": dtype,
    "axes": axes,
    "image": image,
    "workers": workers,
    "merge": merge,
    "matrix": matrix,
    "merger": merger,
}


def measured(
    series: str, *, size: float = 1.0, only: str = "", repeat: int = 5, budget: float = 6.0
) -> list[Reading]:
    """Time a series in turns; `only` keeps its first point and those whose label has it."""
    points = list({p.label: p for p in SERIES[series](size)}.values())
    points = [p for k, p in enumerate(points) if k == 0 or only in p.label]
    timings = interleave({p.label: p.task for p in points}, repeat=repeat, budget=budget)
    first = timings[points[0].label].median / points[0].elements
    return [Reading(p, timings[p.label], first) for p in points]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the chosen series."""
    parser = ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument(
        "--series", choices=SERIES, action="append", help="repeatable; all by default"
    )
    parser.add_argument("--only", default="", metavar="LABEL", help="the first point, and these")
    parser.add_argument(
        "--size", type=float, default=1.0, help="image elements, over the full size"
    )
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="samples of each point")
    options = parser.parse_args(arguments)
    for name in options.series or SERIES:
        found = measured(name, size=options.size, only=options.only, repeat=options.repeat)
        print_table(f"{name}: {SERIES[name].__doc__}", HEAD, [each.cells() for each in found])
    return 0


if __name__ == "__main__":
    sys.exit(main())

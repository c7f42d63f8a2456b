"""Measure what `PatchMatrix` promises: ``python -m benchmarks.matrix [--part NAME] [--side N]``.

As in `benchmarks.acceptance`, targets are for two cores, and none of this is a test.
"""

import gc
import json
import math
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.acceptance import MB, Figure
from benchmarks.cases import Array
from benchmarks.probes import _memory, _python
from benchmarks.report import digits, duration, machine, print_table
from benchmarks.timing import interleave

__all__ = ["PARTS", "main"]

PATCH = 39
LARGE = 3000
HUGE = 10_038  # 10^8 rows of 39x39: 608 GB in float32


def _image(side: int) -> Array:
    return np.random.default_rng(0).random((side, side), dtype=np.float32)


def gram(side: int | None) -> Iterator[Figure]:
    """`gram()` against the same matrix streamed through GEMM in float32."""
    import pantile as pt

    image = _image(side or LARGE)
    X = pt.PatchMatrix(image, PATCH)
    ours = interleave({"gram": X.gram}, repeat=3, budget=60)["gram"].median
    streamed = _streamed(X, 100_000) * len(X) / min(100_000, len(X))
    yield Figure(f"gram(), {len(X):,} rows of {PATCH}x{PATCH}", "-", duration(ours))
    yield Figure("streaming GEMM, float32, scaled from 100,000 rows", "-", duration(streamed))
    ratio = streamed / ours
    yield Figure("streaming GEMM / gram()", ">= 100", digits(ratio), met=ratio >= 100)
    error = _gram_error(X.gram(), image)
    yield Figure("relative error, sampled entries", "< 1e-10", digits(error), met=error < 1e-10)
    beyond = _ask("gram_memory", side or LARGE)["beyond"] / MB
    yield Figure("MB beyond the image", "< 300", digits(beyond), met=beyond < 300)


def _streamed(X: Any, rows: int) -> float:
    """Seconds of the Gram matrix of so many rows in blocks."""
    total = np.zeros((X.shape[1],) * 2, np.float32)
    start = perf_counter()
    for _, block in X[:rows].blocks():
        total += block.T @ block
    return perf_counter() - start


def _gram_error(gram: Array, image: Array) -> float:
    """Return the largest relative error of 40 entries, against exact products summed in pairs."""
    rng = np.random.default_rng(1)
    worst = 0.0
    for a, b in rng.integers(0, PATCH**2, (40, 2)):
        left, right = _feature(image, int(a)), _feature(image, int(b))
        rows = (np.multiply(p, q, dtype=np.float64).sum() for p, q in zip(left, right, strict=True))
        exact = math.fsum(rows)
        worst = max(worst, abs(gram[a, b] - exact) / abs(exact))
    return worst


def _feature(image: Array, feature: int) -> Array:
    count = image.shape[0] - PATCH + 1
    i, j = divmod(feature, PATCH)
    return image[i : i + count, j : j + count]


def huge(side: int | None) -> Iterator[Figure]:
    """`gram()` of 10^8 rows."""
    probe = _ask("gram_memory", side or HUGE)
    seconds, what = probe["seconds"], f"gram(), {probe['rows']:,} rows of {PATCH}x{PATCH}"
    yield Figure(what, "<= 30 s", duration(seconds), met=seconds <= 30)
    yield Figure("MB beyond the image", "-", digits(probe["beyond"] / MB))


def product(side: int | None) -> Iterator[Figure]:
    """`X @ v` and `X.T @ u` against `scipy.signal.oaconvolve` of the float32 image."""
    from scipy.signal import oaconvolve

    import pantile as pt

    image = _image(side or HUGE)
    kernel = np.random.default_rng(1).standard_normal((PATCH, PATCH)).astype(np.float32)
    X = pt.PatchMatrix(image, PATCH)
    tasks = {
        "X @ v": partial(X.__matmul__, kernel.ravel()),
        "oaconvolve": partial(oaconvolve, image, kernel[::-1, ::-1], mode="valid"),
    }
    timings = interleave(tasks, repeat=3, budget=120)
    ours, theirs = (timings[name].median for name in tasks)
    yield Figure(f"X @ v, {len(X):,} rows of {PATCH}x{PATCH}", "-", duration(ours))
    yield Figure("scipy.signal.oaconvolve, float32", "-", duration(theirs))
    met = ours <= 2 * theirs
    yield Figure("X @ v / oaconvolve", "<= 2", digits(ours / theirs), met=met)
    found = X @ kernel.ravel()
    rows = np.random.default_rng(2).integers(0, len(X), 1000)
    exact = X[rows].astype(np.float64) @ kernel.ravel().astype(np.float64)
    size = np.abs(kernel).sum(dtype=np.float64) * float(image.max())
    error = float(np.abs(found[rows] - exact).max() / size)
    yield Figure("largest error / sum |v| max |x|", "< 1e-14", digits(error), met=error < 1e-14)
    start = perf_counter()
    X.T @ found
    yield Figure("X.T @ u", "-", duration(perf_counter() - start))


def gram_memory(side: int) -> dict[str, Any]:
    """Return the seconds of `gram`, and bytes beyond the image; for a process of its own."""
    import pantile as pt

    pt.PatchMatrix(_image(400), PATCH).gram()
    X = pt.PatchMatrix(_image(side), PATCH)
    gc.collect()
    before = _memory("VmRSS")
    start = perf_counter()
    X.gram()
    seconds = perf_counter() - start
    return {"seconds": seconds, "beyond": _memory("VmHWM") - before, "rows": len(X)}


def _ask(probe: str, side: int) -> Any:
    return json.loads(
        _python(["-m", "benchmarks.matrix", "--probe", probe, "--side", str(side)], {})
    )


PARTS: dict[str, Callable[[int | None], Iterator[Figure]]] = {
    "gram": gram,
    "huge": huge,
    "product": product,
}
PROBES = {"gram_memory": gram_memory}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure of the chosen parts; return 1 if one is not met."""
    parser = ArgumentParser(prog="python -m benchmarks.matrix", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part, repeatable")
    parser.add_argument("--side", type=int, metavar="N", help="side of the image, for a quick look")
    parser.add_argument("--probe", choices=PROBES, help="print a measurement as JSON")
    options = parser.parse_args(arguments)
    if options.probe:
        print(json.dumps(PROBES[options.probe](options.side)))
        return 0
    print_table("Machine", ("what", "which"), machine().items())
    figures = [figure for part in options.part or PARTS for figure in _measured(part, options.side)]
    return int(any(figure.met is False for figure in figures))


def _measured(part: str, side: int | None) -> list[Figure]:
    figures = list(PARTS[part](side))
    marks = {True: "met", False: "NOT MET", None: ""}
    rows = [(each.what, each.target, each.measured, marks[each.met]) for each in figures]
    print_table(f"{part}: {PARTS[part].__doc__}", ("figure", "target", "measured", ""), rows)
    return figures


if __name__ == "__main__":
    sys.exit(main())

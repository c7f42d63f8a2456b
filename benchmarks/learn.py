"""Fit estimators on all windows of a large image: ``python -m benchmarks.learn [--part NAME] [--size N]``.

By default on the 10^8 windows of 39x39 of a 10038x10038 float32 image, which would be 613 GB
expanded. Each fit has a process of its own, which reports its time and its peak memory, image and
labels included. None of this is a test.
"""

import gc
import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.acceptance import MB, Figure
from benchmarks.cases import Array
from benchmarks.probes import _memory, _python
from benchmarks.report import digits, duration, machine, print_table

__all__ = ["PARTS", "main"]

PATCH = 39
SIZE = 10_038
LIMIT = 3000  # MB in all
BLOCK = 256  # side of the squares that the classes lie in
BAND = 128


def image_and_classes(size: int, block: int = BLOCK) -> tuple[Array, Array]:
    """Noise whose level and grain tell the class of a square, float32; and the classes, int8."""
    rng = np.random.default_rng(0)
    image = np.empty((size, size), np.float32)
    classes = np.empty((size, size), np.int8)
    columns = np.arange(size)
    for top in range(0, size, BAND):
        rows = np.arange(top, min(top + BAND, size))
        here = ((rows[:, None] // block + columns // block) % 3).astype(np.int8)
        noise = rng.standard_normal(here.shape, dtype=np.float32)
        noise[:, 1:] += noise[:, :-1] * here[:, 1:] / 2
        image[rows] = noise + np.float32(0.05) * here
        classes[rows] = here
    return image, classes


def neighbours(image: Array) -> Array:
    """What a ridge is to learn: the mean of the pixels at the left and the right, and some noise."""
    rng = np.random.default_rng(1)
    found = np.empty_like(image)
    for top in range(0, len(image), BAND):
        band = slice(top, top + BAND)
        row = np.pad(image[band], ((0, 0), (1, 1)), mode="reflect")
        noise = rng.standard_normal(image[band].shape, dtype=np.float32)
        found[band] = (row[:, 2:] + row[:, :-2]) / 2 + noise / 10
    return found


def pca(image: Array, _: Array) -> tuple[Any, Callable[[], Any]]:
    """`PatchPCA`, 8 components; then the first one's codes of the whole image in float32."""
    from pantile.learn import PatchPCA

    model = PatchPCA(PATCH, n_components=8)
    return lambda: model.fit(image), lambda: _one(model).transform(image, dtype=np.float32)


def _one(model: Any) -> Any:
    model.components_ = model.components_[:1]
    model.n_components_ = 1
    return model


def ridge(image: Array, _: Array) -> tuple[Any, Callable[[], Any]]:
    """`PatchRidge`, one target; then the prediction of the whole image in float32."""
    from pantile.learn import PatchRidge

    target = neighbours(image)
    model = PatchRidge(PATCH)
    return lambda: model.fit(image, target), lambda: model.predict(image, dtype=np.float32)


def lda(image: Array, classes: Array) -> tuple[Any, Callable[[], Any]]:
    """`PatchLDA`, three classes; then the labels of the whole image."""
    from pantile.learn import PatchLDA

    model = PatchLDA(PATCH)
    return lambda: model.fit(image, classes), lambda: model.predict(image)


def logistic(image: Array, classes: Array) -> tuple[Any, Callable[[], Any]]:
    """`PatchLogisticRegression`, three classes; then the labels of the whole image."""
    from pantile.learn import PatchLogisticRegression

    model = PatchLogisticRegression(PATCH)
    return lambda: model.fit(image, classes), lambda: model.predict(image)


PARTS = {"pca": pca, "ridge": ridge, "lda": lda, "logistic": logistic}


def measure(part: str, size: int) -> dict[str, Any]:
    """Fit and predict; for a process of its own."""
    warm = PARTS[part](*image_and_classes(2 * PATCH, PATCH))
    for step in warm:
        step()
    image, classes = image_and_classes(size)
    fit, predict = PARTS[part](image, classes)
    gc.collect()
    held, start = _memory("VmRSS"), perf_counter()
    model = fit()
    fitted, peak = perf_counter() - start, _memory("VmHWM")
    found = {"fit": fitted, "peak": peak, "beyond": peak - held, "rows": image.size}
    found["iterations"] = getattr(model, "n_iter_", None)
    if found["iterations"] is not None:
        found["iterations"] = int(np.max(found["iterations"]))
    start = perf_counter()
    result = predict()
    found |= {"predict": perf_counter() - start, "result": result.nbytes}
    return found | {"predict_peak": _memory("VmHWM")}


def figures(part: str, size: int) -> Iterator[Figure]:
    """What one part measured, as rows."""
    command = ["-m", "benchmarks.learn", "--probe", part, "--size", str(size)]
    found = json.loads(_python(command, {}))
    rows = f"{found['rows']:,} windows of {PATCH}x{PATCH}"
    turns = f", {found['iterations']} iterations" if found["iterations"] else ""
    yield Figure(f"fit on {rows}{turns}", "-", duration(found["fit"]))
    peak = found["peak"] / MB
    yield Figure("peak MB of the process", f"<= {LIMIT}", digits(peak), met=peak <= LIMIT)
    yield Figure("MB beyond image and labels", "-", digits(found["beyond"] / MB))
    yield Figure("predict or transform", "-", duration(found["predict"]))
    what = f"peak MB with it, {digits(found['result'] / MB)} of them the result"
    yield Figure(what, "-", digits(found["predict_peak"] / MB))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure of the chosen parts; return 1 if one is not met."""
    parser = ArgumentParser(prog="python -m benchmarks.learn", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part, repeatable")
    parser.add_argument("--size", type=int, default=SIZE, metavar="N", help="side of the image")
    parser.add_argument("--probe", choices=PARTS, help="print a measurement as JSON")
    options = parser.parse_args(arguments)
    if options.probe:
        print(json.dumps(measure(options.probe, options.size)))
        return 0
    print_table("Machine", ("what", "which"), machine().items())
    missed = [_shown(part, options.size) for part in options.part or PARTS]
    return int(any(missed))


def _shown(part: str, size: int) -> bool:
    found = list(figures(part, size))
    marks = {True: "met", False: "NOT MET", None: ""}
    rows = [(each.what, each.target, each.measured, marks[each.met]) for each in found]
    print_table(f"{part}: {PARTS[part].__doc__}", ("figure", "target", "measured", ""), rows)
    return any(each.met is False for each in found)


if __name__ == "__main__":
    sys.exit(main())

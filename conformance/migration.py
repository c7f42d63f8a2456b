"""Two programs before and after one changed import: what they give, and how long it takes.

``python -m conformance.migration [--quick]``. One cuts a photograph into overlapping tiles with
patchify, works on each and merges them; the other is the denoising of a photograph by a dictionary
learnt from its patches, as in scikit-learn's example.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PROGRAMS", "Program", "compare", "main"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Program:
    """A program whose library is a module: ``before`` and ``after`` the changed import."""

    name: str
    before: str
    after: str
    run: Callable[[Any, Array], tuple[Array, dict[str, float]]]


class Clock:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = function(*args, **options)
        self.seconds[name] = time.perf_counter() - begin
        return result


def photograph(quick: bool) -> Array:
    """A grey photograph in [0, 1] that scikit-learn brings."""
    from sklearn.datasets import load_sample_image

    grey = load_sample_image("china.jpg").mean(axis=2)[:416:2, ::2] / 255
    return grey[:64, :96] if quick else grey


def tiles(library: Any, image: Array) -> tuple[Array, dict[str, float]]:
    """Overlapping tiles, each stretched a little, merged again."""
    clock = Clock()
    patches = clock.time("patchify", library.patchify, image, (32, 32), step=16)
    worked = np.sqrt(patches)
    back = clock.time("unpatchify", library.unpatchify, worked, image.shape)
    return back, clock.seconds


def dictionary(library: Any, image: Array) -> tuple[Array, dict[str, float]]:
    """Noise on the right half, a dictionary from the left, sparse codes of the noisy patches."""
    from sklearn.decomposition import MiniBatchDictionaryLearning

    clock, size = Clock(), (7, 7)
    half = image.shape[1] // 2
    noisy = image.copy()
    noisy[:, half:] += 0.075 * np.random.RandomState(0).standard_normal(noisy[:, half:].shape)
    data = clock.time("extract", library.extract_patches_2d, noisy[:, :half], size)
    data = data.reshape(len(data), -1)
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    learner = MiniBatchDictionaryLearning(
        n_components=50, batch_size=200, alpha=1.0, max_iter=1, random_state=0
    )
    clock.time("learn", learner.fit, data[::10])
    patches = clock.time("extract noisy", library.extract_patches_2d, noisy[:, half:], size)
    rows = patches.reshape(len(patches), -1)
    intercept = rows.mean(axis=0)
    learner.set_params(transform_algorithm="omp", transform_n_nonzero_coefs=2)
    code = clock.time("code", learner.transform, rows - intercept)
    clean = (code @ learner.components_ + intercept).reshape(patches.shape)
    shape = noisy[:, half:].shape
    back = clock.time("reconstruct", library.reconstruct_from_patches_2d, clean, shape)
    return back, clock.seconds


PROGRAMS = (
    Program("tiles with patchify", "patchify", "pantile.compat.patchify", tiles),
    Program(
        "dictionary denoising with scikit-learn",
        "sklearn.feature_extraction.image",
        "pantile.compat.sklearn",
        dictionary,
    ),
)


def compare(program: Program, image: Array, repeats: int) -> list[str]:
    """Run a program with both imports in turns; return lines of times, and fail if results differ."""
    before, after = import_module(program.before), import_module(program.after)
    program.run(after, image[:48, :64])  # kernels compile once, and are cached on disk
    times: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeats):
        (wanted, old), (found, new) = program.run(before, image), program.run(after, image)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        assert found.dtype == wanted.dtype
        for step in old:
            times.setdefault(step, []).append((old[step], new[step]))
    largest = float(np.abs(found - wanted).max())
    head = f"{program.name}: import {program.before} -> import {program.after}"
    return [f"{head}; largest difference {largest:.1e}", *_lines(times)]


def _lines(times: dict[str, list[tuple[float, float]]]) -> list[str]:
    lines = []
    for step, pairs in times.items():
        old, new = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
        lines.append(f"  {step:14} {old:10.2f} ms -> {new:10.2f} ms   {old / new:6.1f}x")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance.migration", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small part of the photograph, once")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    image = photograph(options.quick)
    for program in PROGRAMS:
        try:
            print("\n".join(compare(program, image, 1 if options.quick else 3)), flush=True)
        except ModuleNotFoundError as error:
            print(f"{program.name}: left out, {error}")


if __name__ == "__main__":
    main()

"""How long the search for similar patches takes, beside scikit-image's and stumpy's: ``python -m benchmarks.similar``.

Rates are pairs of patches a nanosecond and core. A pair of one series that is searched in itself counts
once, as both sides learn of it at once, here and in stumpy.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import pantile as pt
from pantile.kernels.parallel import cores

__all__ = ["compare", "main", "measure_denoising", "measure_windows"]

Row = dict[str, Any]


def compare(rivals: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The least seconds of each of several calls, taken in turns after one call of each."""
    for call in rivals.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, call in rivals.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    return {name: min(found) for name, found in seconds.items()}


def photograph(side: int) -> np.ndarray[Any, Any]:
    """A photograph with some noise, repeated to ``side`` pixels along both axes: floats in 0 to 255."""
    from sklearn.datasets import load_sample_image

    plane = load_sample_image("china.jpg").mean(axis=-1)
    reps = [-(-side // n) for n in plane.shape]
    noise = np.random.default_rng(0).normal(0, 10, (side, side))
    return np.clip(np.tile(plane, reps)[:side, :side] + noise, 0, 255)


def measure_windows(side: int, rounds: int) -> Iterator[Row]:
    """7x7, a window of 21 x 21, 16 matches; and scikit-image's filter of the same windows, which is all it offers."""
    from skimage.restoration import denoise_nl_means

    image = photograph(side)
    bytes_ = image.astype(np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = compare(
        {
            "uint8, k=16": lambda: pt.similar(bytes_, 7, 16, radius=10),
            "float64, k=16": lambda: pt.similar(image, 7, 16, radius=10),
            "uint8, k=1": lambda: pt.similar(bytes_, 7, 1, radius=10),
            "scikit-image nl_means, fast": lambda: denoise_nl_means(
                image, patch_size=7, patch_distance=10, h=10.0, fast_mode=True
            ),
            # with this h nearly all distances are beyond what gets a weight, and nothing is done with them
            "scikit-image nl_means, fast, distances alone": lambda: denoise_nl_means(
                image, patch_size=7, patch_distance=10, h=1e-4, fast_mode=True
            ),
        },
        rounds,
    )
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for name, seconds in found.items():
        yield {
            "search": f"{side}x{side}, 7x7, 21x21",
            "call": name,
            "seconds": seconds,
            "peak MB": held / 1e3,
        }


def measure_series(length: int, patch: int, rounds: int) -> Iterator[Row]:
    """The matrix profile of a random walk, plain and normalised (three times as long), per core."""
    import numba

    near = -(-patch // 4)
    for normalize, theirs in ((False, "aamp"), (True, "stump")):
        n = length * (3 if normalize else 1)
        walk = np.random.default_rng(0).normal(size=n).cumsum()
        pairs = (n - patch + 1) ** 2 / 2
        rivals: dict[str, Callable[[], Any]] = {
            "pantile": lambda walk=walk, normalize=normalize: pt.similar(
                walk, patch, exclude=near, normalize=normalize
            )
        }
        if importlib.util.find_spec("stumpy"):
            import stumpy

            numba.set_num_threads(cores())
            profile = getattr(stumpy, theirs)
            rivals[f"stumpy.{theirs}"] = lambda f=profile, walk=walk: f(walk, patch)
        for name, seconds in compare(rivals, rounds).items():
            rate = pairs / seconds / cores() / 1e9
            yield {
                "search": f"series of {n}, {patch}, {theirs}",
                "call": name,
                "seconds": seconds,
                "rate": rate,
            }


def measure_denoising(crop: int | None) -> Iterator[Row]:
    """PSNR of the demonstration's photographs, noise of 25."""
    from pantile.cli.demonstration import photograph as load
    from pantile.cli.demonstration import psnr

    for name in ("china", "flower"):
        clean = load(name)[:crop, :crop]
        noisy = (clean + np.random.default_rng(0).normal(0, 25, clean.shape)).astype(np.float32)
        for method in ("dct", "groups"):
            begin = time.perf_counter()
            result = getattr(pt.denoise, method)(noisy, 25, channel_axis=-1)
            seconds = time.perf_counter() - begin
            yield {"search": name, "call": method, "seconds": seconds, "PSNR": psnr(result, clean)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each measurement, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.similar", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--only", choices=["windows", "series", "denoising"])
    given = parser.parse_args(arguments)
    small = given.small
    parts = {
        "windows": lambda: measure_windows(96 if small else 1024, 1 if small else 3),
        "series": lambda: measure_series(2000 if small else 20_000, 100, 1),
        "denoising": lambda: measure_denoising(64 if small else None),
    }
    for name, part in parts.items():
        if given.only in (None, name):
            for row in part():
                print(
                    json.dumps(
                        {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()

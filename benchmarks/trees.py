"""Trees on all windows beside LightGBM and scikit-learn: ``python -m benchmarks.trees [--part NAME]``.

Each part has a process of its own. ``speed`` and ``predict`` take turns with the other library, on two
threads each, on the 10^6 windows of 15x15 of a picture; ``memory`` fits under a limit of the address
space; ``forest`` grows 20 trees on the 10^7 windows of 9x9 of a 3200x3200 picture, and scikit-learn's
forest on as many of them as fit into 4 GB. None of this is a test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.cases import Array
from benchmarks.probes import _memory
from benchmarks.report import digits, machine, print_table

__all__ = ["PARTS", "main", "textures"]

MB = 1 << 20
ROUNDS = 3
LIMITED = """
import resource, sys
sys.argv = ["benchmarks.trees", "--probe", "limited", "--size", "{size}", "--kind", "{kind}"]
import benchmarks.trees as t
t.warm()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
windows = {size} * {size}
resource.setrlimit(resource.RLIMIT_AS, (used + 25 * windows + 2 * windows + 256 * 2**20,) * 2)
t.main()
"""


def textures(size: int, seed: int = 0) -> tuple[Array, Array]:
    """A smooth uint8 picture whose grain tells two classes of blobs apart, and the classes, int8."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    blobs = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), 12)
    picture = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), 3) * 600 + 128
    picture += rng.standard_normal((size, size), dtype=np.float32) * np.where(blobs > 0, 12, 5)
    return picture.clip(0, 255).astype(np.uint8), (blobs > 0).astype(np.int8)


def warm() -> None:
    """Compile what is measured."""
    from pantile.learn import PatchBoostingClassifier, PatchForestClassifier

    picture, classes = textures(300)
    for model in (PatchForestClassifier(3, n_estimators=1), PatchBoostingClassifier(3, max_iter=1)):
        model.fit(picture, classes).predict(picture)


def _expanded(picture: Array, patch: int) -> Array:
    padded = np.pad(picture, patch // 2, mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(padded, (patch, patch))
    return view.reshape(-1, patch * patch)


def _seconds(call: Callable[[], Any]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def speed(size: int) -> dict[str, Any]:
    """LightGBM's rf and gbdt on the expanded uint8 matrix, and the same kind of trees here."""
    import lightgbm

    from pantile.learn import PatchBoostingClassifier, PatchForestClassifier

    warm()
    picture, classes = textures(size)
    rows, labels = _expanded(picture, 15), classes.ravel()
    common = {"num_threads": 2, "verbose": -1, "objective": "binary", "feature_pre_filter": False}
    data = lightgbm.Dataset(rows, labels, params={"max_bin": 255, **common})
    found: dict[str, Any] = {"construct": _seconds(data.construct)}
    rf = {
        "boosting": "rf", "bagging_fraction": 0.632, "bagging_freq": 1, "max_depth": 15,
        "feature_fraction_bynode": 15 / 225, "num_leaves": 8192, "min_data_in_leaf": 5,
    }  # fmt: skip
    forest = PatchForestClassifier(
        15, n_estimators=2, max_depth=15, min_samples_leaf=5, random_state=0
    )
    boosted = PatchBoostingClassifier(15, max_iter=10, random_state=0)
    calls: dict[str, Callable[[], Any]] = {
        "rf: LightGBM": lambda: lightgbm.train({**common, **rf}, data, num_boost_round=2),
        "rf: here": lambda: forest.fit(picture, classes),
        "gbdt: LightGBM": lambda: lightgbm.train(common, data, num_boost_round=10),
        "gbdt: here": lambda: boosted.fit(picture, classes),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            if not (turn and name == "rf: LightGBM"):  # half a minute, once
                times[name].append(_seconds(calls[name]))
    return found | {name: median(each) for name, each in times.items()}


def predict(size: int) -> dict[str, Any]:
    """scikit-learn's forest and this one, of the same trees, on one thread each."""
    from pantile.kernels import parallel
    from pantile.learn import PatchForestClassifier

    warm()
    picture, classes = textures(size)
    model = PatchForestClassifier(15, n_estimators=10, max_depth=15, random_state=0)
    other = model.fit(picture, classes).to_sklearn()
    rows = _expanded(picture, 15)[: 200 * size].astype(np.float32)
    parallel.cores = lambda: 1  # type: ignore[assignment]
    mine, theirs = [], []
    for _ in range(ROUNDS):
        mine.append(_seconds(lambda: model.predict_proba(picture)) / picture.size)
        theirs.append(_seconds(lambda: other.predict_proba(rows)) / len(rows))
    same = np.abs(
        model.predict_proba(picture)[:200].reshape(-1, 2) - other.predict_proba(rows)
    ).max()
    return {"here": median(mine), "scikit-learn": median(theirs), "largest difference": float(same)}


def limited(size: int, kind: str) -> dict[str, Any]:
    """A fit within the address space that is allowed, and what it held."""
    from pantile.learn import PatchBoostingClassifier, PatchForestClassifier

    picture, classes = textures_by_bands(size)
    models = {
        "forest": PatchForestClassifier(9, n_estimators=2, max_depth=12, random_state=0),
        "boosting": PatchBoostingClassifier(9, max_iter=2, random_state=0),
    }
    held = _memory("VmRSS")
    seconds = _seconds(lambda: models[kind].fit(picture, classes))
    return {"bytes a window": (_memory("VmHWM") - held) / picture.size, "seconds": seconds}


def textures_by_bands(size: int) -> tuple[Array, Array]:
    """Like `textures`, a band at a time, so that making it takes no memory."""
    picture, classes = np.empty((size, size), np.uint8), np.empty((size, size), np.int8)
    for top in range(0, size, 256):
        part, own = textures(256, top)
        repeats = -(-size // 256)
        rows = slice(top, min(top + 256, size))
        picture[rows] = np.tile(part, (1, repeats))[: rows.stop - top, :size]
        classes[rows] = np.tile(own, (1, repeats))[: rows.stop - top, :size]
    return picture, classes


def forest(size: int) -> dict[str, Any]:
    """20 trees of depth 15 on all windows of 9x9, and scikit-learn's on the sample that fits into 4 GB."""
    from sklearn.ensemble import RandomForestClassifier

    from pantile.learn import PatchForestClassifier

    warm()
    picture, classes = textures(size)
    held = np.zeros((size, size), bool)
    held[:, size // 2 : size // 2 + size // 40] = True
    labels = np.where(held, -1, classes)
    found: dict[str, Any] = {"windows": int((~held).sum())}
    before = _memory("VmRSS")
    for name, features in FAMILIES.items():
        model = PatchForestClassifier(
            9, n_estimators=20, max_depth=15, min_samples_leaf=5, random_state=0, **features
        )
        found[f"{name}: fit"] = _seconds(lambda fit=model.fit: fit(picture, labels))
        found[f"{name}: MB beyond the image"] = (_memory("VmHWM") - before) / MB
        start = perf_counter()
        predicted = model.predict(picture)
        found[f"{name}: predict"] = perf_counter() - start
        found[f"{name}: right, held out"] = float((predicted == classes)[held].mean())
    rows, flat = _expanded(picture, 9), labels.ravel()
    n = min(int((4 << 30) / (81 * 4 * 2 + 100)), int((flat >= 0).sum()))
    n = min(n, SAMPLE)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(flat >= 0), n, replace=False)
    other = RandomForestClassifier(20, max_depth=15, min_samples_leaf=5, n_jobs=2, random_state=0)
    sample = rows[chosen].astype(np.float32)
    found["scikit-learn: windows"] = n
    found["scikit-learn: fit"] = _seconds(lambda: other.fit(sample, flat[chosen]))
    sample = np.zeros(0, np.float32)
    where = np.flatnonzero(held.ravel())
    right = other.predict(rows[where].astype(np.float32)) == classes.ravel()[where]
    found["scikit-learn: right, held out"] = float(right.mean())
    return found


FAMILIES: dict[str, dict[str, Any]] = {
    "samples": {},
    "samples and differences": {"features": ("samples", "differences"), "max_features": 25},
}
SAMPLE = 5_700_000  # windows of which float32 rows, a copy and what trees hold fit into 4 GB
PARTS: dict[str, tuple[Callable[..., dict[str, Any]], int]] = {
    "speed": (speed, 1000), "predict": (predict, 1000), "forest": (forest, 3200),
}  # fmt: skip


def memory() -> Iterator[tuple[str, ...]]:
    """Fits at 10^6 and 10^7 windows under 25 bytes a window, the image and its labels, and 256 MB."""
    for kind in ("forest", "boosting"):
        for size in (1000, 3163):
            done = subprocess.run(
                [sys.executable, "-c", LIMITED.format(size=size, kind=kind)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            last = (
                done.stdout.strip().splitlines()[-1:]
                if done.returncode == 0
                else done.stderr.splitlines()[-1:]
            )
            yield f"{kind}, {size}x{size}", *last


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the chosen parts measure."""
    parser = ArgumentParser(prog="python -m benchmarks.trees", description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "memory"], action="append")
    parser.add_argument("--size", type=int, help="side of the picture")
    parser.add_argument("--probe", choices=[*PARTS, "limited"])
    parser.add_argument("--kind", default="forest")
    options = parser.parse_args(arguments)
    if options.probe == "limited":
        print(json.dumps(limited(options.size, options.kind)))
        return 0
    if options.probe:
        part, size = PARTS[options.probe]
        print(json.dumps(part(options.size or size)))
        return 0
    print_table("Machine", ("what", "which"), machine().items())
    for name in options.part or [*PARTS, "memory"]:
        if name == "memory":
            print_table("memory", ("fit", "found"), list(memory()))
            continue
        size = options.size or PARTS[name][1]
        command = [sys.executable, "-m", "benchmarks.trees", "--probe", name, "--size", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        rows = [(key, digits(value)) for key, value in found.items()]
        print_table(f"{name}: {PARTS[name][0].__doc__}", ("figure", "measured"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure what pantile promises: ``python -m benchmarks.acceptance [--part NAME]``.

For each figure: the target, what was measured, and whether it is met. The targets are for two
cores; times depend on what else the machine does, so none of this is a test.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case, Layout
from benchmarks.jobs import measure, peers_of
from benchmarks.peers import BASELINE
from benchmarks.probes import ask, import_seconds
from benchmarks.report import digits, duration, machine, print_table, write_json
from benchmarks.timing import Task, Timing, interleave

__all__ = ["PARTS", "Figure", "Part", "main"]

MB = 1_000_000
COPIED = "numpy.ascontiguousarray, in bands"
LARGE = Case((400, 400), (39, 39), (1, 1), "float32")
FINE = Case((1024, 1024), (7, 7), (1, 1), "float32")


@dataclass(frozen=True)
class Figure:
    """One promise and what came of it; `met` is None where there is only a report."""

    what: str
    target: str
    measured: str
    met: bool | None = None


Part = Callable[[], Iterator[Figure]]


def merge() -> Iterator[Figure]:
    """Merge 39x39 patches of 400x400, against one read of them and against the peers."""
    slower = {"torch": 4, "scikit-learn": 10, "MONAI": 50, "tiler": 50}
    ours, others = _merges(LARGE, slower)
    read = others["numpy.sum"].median
    yield Figure(f"unpatchify, {LARGE}", "-", duration(ours))
    yield Figure("numpy.sum over the same patches", "-", duration(read))
    yield _at_most("unpatchify / numpy.sum", 1.0, ours / read)
    for library, times in slower.items():
        yield _faster(library, LARGE, times, ours, others)
    ours, others = _merges(FINE, ["scikit-learn"])
    yield _faster("scikit-learn", FINE, 100, ours, others)


def _merges(case: Case, libraries: Collection[str]) -> tuple[float, dict[str, Timing]]:
    """Return seconds of `unpatchify`, and the times of `libraries` and of numpy.sum."""
    wanted = [BASELINE["merge"], *(p for p in peers_of("merge") if p.library in libraries)]
    rows, sums = measure(case, "merge", wanted, extra={"numpy.sum": np.sum}, budget=10)
    assert all(row.agrees for row in rows if row.timing), "a peer's answer differs"
    timings = {row.peer.library: row.timing for row in rows if row.timing}
    return timings.pop("pantile").median, timings | sums


def _faster(
    library: str, case: Case, times: float, ours: float, others: dict[str, Timing]
) -> Figure:
    what = f"{library}, {case}: its time / unpatchify's"
    if library not in others:
        return Figure(what, f">= {times}", "not installed")
    return _at_least(what, times, others[library].median / ours)


def copy() -> Iterator[Figure]:
    """Pass every window of 2000x2000 through `map_patches`, against NumPy copying them out."""
    import pantile as pt

    case = Case((2000, 2000), (39, 39), (1, 1), "float32")
    image = case.image()
    tasks = {
        "map_patches": partial(pt.map_patches, _same, image, 39),
        COPIED: partial(_copy_in_bands, case, image),
        "numpy.copyto, one band used again": partial(_copy_into_one_band, case, image),
    }
    timings = interleave(tasks, repeat=3, budget=60)
    ours = timings.pop("map_patches").median
    yield Figure("map_patches(identity)", "-", duration(ours))
    for name, timing in timings.items():
        figure = _at_most(f"map_patches / {name}", 0.3, ours / timing.median)
        yield figure if name == COPIED else Figure(figure.what, "-", figure.measured)


def _bands(case: Case, view: Array) -> Iterator[Array]:
    """Yield bands of `view`, each of some 64 MB when it is copied."""
    rows = max(1, 64 * MB // (view.itemsize * case.counts[1] * case.features))
    return (view[at : at + rows] for at in range(0, len(view), rows))


def _copy_in_bands(case: Case, image: Array) -> None:
    for band in _bands(case, case.view(image)):
        np.ascontiguousarray(band)


def _copy_into_one_band(case: Case, image: Array) -> None:
    buffer = None
    for band in _bands(case, case.view(image)):
        buffer = np.empty(band.shape, band.dtype) if buffer is None else buffer
        np.copyto(buffer[: len(band)], band)


def memory() -> Iterator[Figure]:
    """Hold `map_patches` to 256 MB beyond image and result, however many patches there are."""
    jobs = [(2000, 39, 1), (2000, 39, 4), (2000, 7, 1), (1000, 39, 1), (4000, 39, 1)]
    found = []
    for side, patch, step in jobs:
        probe = ask("map_memory", side=side, patch=patch, step=step)
        found.append(probe["beyond"])
        what = f"MB beyond image and result, {patch}x{patch} step {step} of {side}x{side}"
        yield _at_most(what, 256, probe["beyond"] / MB)
    yield _at_most("MB between the most and the least of these", 64, (max(found) - min(found)) / MB)


def workers() -> Iterator[Figure]:
    """Two workers against one."""
    import pantile as pt

    image = Case((2000, 2000), (39, 39), (1, 1), "float32").image()
    tasks = {
        str(count): partial(pt.map_patches, _same, image, 39, workers=count) for count in (1, 2)
    }
    timings = interleave(tasks, repeat=5, budget=60)
    yield _at_least("time of one worker / two", 1.6, timings["1"].median / timings["2"].median)


def huge() -> Iterator[Figure]:
    """10^8 patches of 39x39, which are 608 GB when they are written out."""
    probe = ask("map_memory", side=10_038, patch=39, step=1)
    yield Figure("map_patches(identity), 10^8 patches of 39x39", "-", duration(probe["seconds"]))
    yield _at_most("MB beyond image and result", 512, probe["beyond"] / MB)
    yield _at_most("largest difference from the image", 1e-6, probe["error"])


def view() -> Iterator[Figure]:
    """`patchify` on arrays of any strides."""
    import pantile as pt

    cube = np.zeros((3, 4, 40, 50, 60), np.float32)
    tasks = {
        "C order": partial(pt.patchify, np.zeros((400, 400), np.float32), 39),
        "Fortran order": partial(pt.patchify, np.zeros((400, 400), np.float32, order="F"), 39),
        "negative strides": partial(pt.patchify, np.zeros((400, 400), np.uint8)[::-1, ::-2], 39, 3),
        "5-D, 2-D patch": partial(pt.patchify, cube, (7, 9), (1, 2)),
        "5-D, 5-D patch": partial(pt.patchify, cube[::-1, ..., ::2], (2, 2, 5, 5, 5)),
    }
    for name, timing in interleave(tasks, repeat=25).items():
        yield _within(f"patchify, {name}", 20e-6, timing.median)


def imports() -> Iterator[Figure]:
    """`import pantile` over `import numpy`, medians of new processes taken in turns."""
    pairs = [(import_seconds("pantile"), import_seconds("numpy")) for _ in range(11)]
    pantile, numpy = (median(each) for each in zip(*pairs[1:], strict=True))
    yield _within("import pantile - import numpy", 60e-3, pantile - numpy)


def first() -> Iterator[Figure]:
    """The first `unpatchify` of a process, without and with compiled kernels on disk."""
    with TemporaryDirectory() as folder:
        environment = {"NUMBA_CACHE_DIR": folder}
        cold, *warm = (_first(environment)["seconds"] for _ in range(6))
    yield _within("first unpatchify, nothing compiled", 5, cold)
    yield _within("first unpatchify, compiled kernels cached", 1, median(warm))


def cache() -> Iterator[Figure]:
    """A cache folder that cannot be used is no error."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "file").touch()
        yield _survives("below a file", f"{folder}/file/cache")
        yield _survives("that does not exist", f"{folder}/missing")
        for file in Path(folder, "missing").rglob("*.nb?"):
            file.write_bytes(file.read_bytes()[:50])
        yield _survives("whose files are cut short", f"{folder}/missing")
        Path(folder, "closed").mkdir(mode=0o500)
        yield _survives("that is read-only (not for root)", f"{folder}/closed")


def _survives(name: str, folder: str) -> Figure:
    what, target = f"first unpatchify, cache in a folder {name}", "right, no error or warning"
    try:
        found = _first({"NUMBA_CACHE_DIR": folder})
    except RuntimeError as error:
        return Figure(what, target, str(error).strip().splitlines()[-1], met=False)
    measured = f"{'right' if found['right'] else 'wrong'}, {duration(found['seconds'])}"
    return Figure(what, target, measured, met=found["right"])


def _first(environment: dict[str, str]) -> Any:
    return ask("first_call", environment, side=100, patch=39)


def small() -> Iterator[Figure]:
    """`extract` and `unpatchify` of one 100x100 image, together, warm."""
    import pantile as pt

    image = Case((100, 100), (39, 39), (1, 1), "float32").image()
    grid = pt.PatchGrid(image.shape, 39)

    def there_and_back(layout: Layout) -> Any:
        return pt.unpatchify(pt.extract(image, grid, layout=layout), grid)

    layouts: tuple[Layout, ...] = ("patch", "feature")
    tasks: dict[str, Task] = {layout: partial(there_and_back, layout) for layout in layouts}
    for layout, timing in interleave(tasks, repeat=51).items():
        yield _within(f"extract + unpatchify, layout={layout!r}", 2e-3, timing.median)


def grid() -> Iterator[Figure]:
    """A grid of 10^12 patches is made, asked and indexed in microseconds."""
    import pantile as pt

    make = partial(pt.PatchGrid, (1_000_038, 1_000_038), 39)
    made = make()
    tasks: dict[str, Task] = {
        "made": make,
        "made and asked": lambda: _asked(make()),
        "indexed, flat": lambda: made[made.n_patches // 3],
        "indexed, by tuple": lambda: made[123_456, 654_321],
    }
    for name, timing in interleave(tasks, repeat=25).items():
        yield _within(f"grid of 10^12 patches, {name}", 100e-6, timing.median)


def _asked(grid: Any) -> tuple[Any, ...]:
    numbers = (grid.counts, grid.n_patches, grid.features, grid.extent, grid.overlap)
    return (*numbers, grid.regular, grid.covers, grid.nbytes("float32"))


def _same(batch: Array) -> Array:
    return batch


def _at_most(what: str, target: float, measured: float) -> Figure:
    return Figure(what, f"<= {target}", digits(measured), met=measured <= target)


def _at_least(what: str, target: float, measured: float) -> Figure:
    return Figure(what, f">= {target}", digits(measured), met=measured >= target)


def _within(what: str, target: float, seconds: float) -> Figure:
    return Figure(what, f"<= {duration(target)}", duration(seconds), met=seconds <= target)


PARTS: dict[str, Part] = {
    "grid": grid,
    "view": view,
    "imports": imports,
    "first": first,
    "cache": cache,
    "small": small,
    "merge": merge,
    "copy": copy,
    "workers": workers,
    "memory": memory,
    "huge": huge,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure of the chosen parts; return 1 if one is not met."""
    parser = ArgumentParser(prog="python -m benchmarks.acceptance", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part, repeatable")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there, too")
    options = parser.parse_args(arguments)
    print_table("Machine", ("what", "which"), machine().items())
    figures = {part: _measure(part) for part in options.part or PARTS}
    if options.json:
        write_json(options.json, {part: list(map(asdict, each)) for part, each in figures.items()})
    return int(any(figure.met is False for each in figures.values() for figure in each))


def _measure(part: str) -> list[Figure]:
    figures = list(PARTS[part]())
    marks = {True: "met", False: "NOT MET", None: ""}
    rows = [(each.what, each.target, each.measured, marks[each.met]) for each in figures]
    head = ("figure", "target", "measured", "")
    print_table(f"{part}: {PARTS[part].__doc__}", head, rows)
    return figures


if __name__ == "__main__":
    sys.exit(main())

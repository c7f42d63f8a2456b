"""The report: every figure of `docs/performance.md`, measured where it runs, within a time budget."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks import growth
from benchmarks.cases import Case
from benchmarks.jobs import Row, inputs_of, measure, peers_of
from benchmarks.peers import JOBS, Job, missing, refusal
from benchmarks.probes import ask, import_seconds
from benchmarks.report import PACKAGES, cores, digits, duration, total_memory
from benchmarks.roofline import roofline

__all__ = ["PARTS", "Report", "write_report"]

MB = 1_000_000


def _square(side: int, patch: int, step: int, dtype: str = "float32") -> Case:
    return Case((side, side), (patch, patch), (step, step), dtype)


# the most telling first: what the time budget leaves out is at the end
CASES = (
    _square(400, 39, 1),
    _square(1024, 7, 1),
    _square(2048, 64, 16),
    _square(400, 39, 1, "uint8"),
    Case((65, 65, 65), (9, 9, 9), (2, 2, 2), "float32"),
    _square(1024, 16, 4),
    _square(300, 39, 1, "float64"),
    _square(2048, 32, 32),
    Case((128, 128, 128), (32, 32, 32), (16, 16, 16), "uint16"),
)
SIZES = (250, 500, 1000, 2000, 4000)  # sides of the images that get ever larger
HUGE = 10_038  # and of the one with 10^8 patches
SMALL_CASES = (_square(48, 9, 1), Case((16, 16, 16), (4, 4, 4), (2, 2, 2), "float32"))
HEADS = {
    "peers": ("time / pantile's", "library", "call", "median", "best to worst", "Gel/s", "same answer", "repeat"),
    "growth": (*growth.HEAD, "repeat"),
}  # fmt: skip


@dataclass
class Report:
    """A report in the making: how large, how long it may take, and what it says so far."""

    small: bool = False
    minutes: float = 15.0
    huge: bool | None = None
    start: float = field(default_factory=perf_counter)
    rate: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return perf_counter() - self.start

    def over(self, share: float) -> bool:
        """Whether so much of the budget is spent."""
        return self.seconds > 60 * self.minutes * share

    @property
    def size(self) -> float:
        """Image elements of the growth series, over the full ones."""
        return 0.01 if self.small else 1.0


def machine(report: Report) -> Iterator[str]:  # noqa: ARG001
    """The machine"""
    facts = {
        "system": f"{platform.system()}, {platform.machine()}",
        "cores": str(cores()),
        "memory": f"{total_memory() / 1e9:.0f} GB",
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{name} {_version(name)}" for name in PACKAGES if _version(name)),
    }
    yield from _table(("what", "which"), facts.items())
    left = ", ".join(missing())
    yield f"Not installed, so not compared: {left}." if left else "All peers are installed."


def memory(report: Report) -> Iterator[str]:
    """The memory roofline"""
    found = roofline(8 if report.small else 256, 3 if report.small else 7)
    yield (
        "NumPy's own loops over arrays far larger than the caches. Read and written bytes are both counted."
        " `map_patches` is below: the bytes of the patches that pass through, which are never in memory."
    )
    read = max(each.gigabytes for each in found if each.move == "read")
    rows = [
        (digits(b.gigabytes / read), b.move, str(b.threads), digits(b.gigabytes), duration(b.timing.median),
         f"{duration(b.timing.best)} to {duration(b.timing.worst)}")
        for b in found
    ]  # fmt: skip
    reading = growth.measured("workers", size=report.size, repeat=3)[-1]
    report.rate = reading.throughput * 1e9
    rate, timing = 4 * reading.throughput, reading.timing
    through = f"patches through map_patches, {reading.point.label} workers"
    rows.append((digits(rate / read), through, str(cores()), digits(rate), duration(timing.median),
                 f"{duration(timing.best)} to {duration(timing.worst)}"))  # fmt: skip
    yield from _table(
        ("over the best read", "what", "threads", "GB/s", "median", "best to worst"), rows
    )
    yield "Repeat: `python -m benchmarks --report --part memory`."


def peers(report: Report) -> Iterator[str]:
    """Side by side"""
    yield (
        "The same work on the same array, in turns; the median of up to five samples. A time over pantile's of 10"
        " means that pantile is ten times as fast. Gel/s: 10⁹ patch elements a second. `map` passes every patch"
        " through and merges it again, unchanged; products and Gram matrices are pantile's in float64, the others'"
        " in the image's precision."
    )
    cases, left = SMALL_CASES if report.small else CASES, []
    for case in cases:
        if report.over(0.55):
            left.append(str(case))
            continue
        _compile(case)
        for job in JOBS:
            rows, _ = measure(case, job, peers_of(job), repeat=1 if report.small else 5, budget=3)
            timed = sorted((r for r in rows if r.timing), key=lambda r: r.ratio or 0)
            yield f"### {case}: {JOBS[job]}"
            yield from _table(HEADS["peers"], [_peer_cells(row, job) for row in timed])
            yield from _refusals(rows)
    if left:
        yield f"Left out, for the time budget: {'; '.join(left)}."


def sizes(report: Report) -> Iterator[str]:
    """Larger and larger images"""
    yield (
        "39x39 patches at step 1, float32: time over pantile's, and pantile's own time. Who makes the patches runs out"
        " of memory; who does not is still there at the end."
    )
    jobs: tuple[Job, ...] = ("map", "product", "gram")
    for job in jobs:
        names = [f"{peer.library} {peer.call}" for peer in peers_of(job)[1:]]
        rows, left = [], []
        sides = SIZES[:2] if report.small else SIZES
        if report.huge and job != "map":  # what passes them through is measured below
            sides = (*sides, HUGE)
        for side in sides:
            case = _square(side, 39, 1)
            if report.over(0.75):
                left.append(f"{side}x{side}")
                continue
            found, _ = measure(case, job, peers_of(job), repeat=1 if report.small else 3, budget=6)
            rows.append((f"{side}x{side}", *_sized(case, found)))
        yield f"### {JOBS[job]}"
        yield from _table(("image", "expanded", "pantile", *names), rows)
        if left:
            yield f"Left out, for the time budget: {', '.join(left)}."
        yield f"Repeat: `python -m benchmarks --case {_square(1000, 39, 1).code} --job {job}`, and so on."


def _sized(case: Case, rows: Sequence[Row]) -> tuple[str, ...]:
    expanded = f"{4 * case.elements / 1e9:.3g} GB"
    ours, *others = rows
    assert ours.timing is not None, "pantile takes every size"
    ratios = [digits(row.ratio) if row.ratio else row.reason for row in others]
    return expanded, duration(ours.timing.median), *ratios


def _compile(case: Case) -> None:
    """Call what pantile would compile on a few patches, so that no compilation is timed."""
    few = tuple(p + 3 * s for p, s in zip(case.patch, case.step, strict=True))
    small = Case(few, case.patch, case.step, case.dtype)
    for job in JOBS:
        for peer in (p for p in peers_of(job, ": pantile") if not refusal(p, case)):
            peer.make(small)(inputs_of(small, job, {peer.layout})[peer.layout])


def _peer_cells(row: Row, job: Job) -> tuple[str, ...]:
    assert row.timing is not None, "only what was timed is shown"
    timing = row.timing
    note = f" ({timing.note})" if timing.note else ""
    command = f"`--case {row.case.code} --job {job} --only {row.peer.library}`"
    return (
        digits(row.ratio or 0),
        row.peer.library,
        row.peer.call,
        duration(timing.median) + note,
        f"{duration(timing.best)} to {duration(timing.worst)}",
        digits(row.throughput or 0),
        "yes" if row.agrees else "no",
        command,
    )


def _refusals(rows: Sequence[Row]) -> Iterator[str]:
    refused: dict[str, list[str]] = {}
    for row in rows:
        if row.reason and row.reason != "not installed":
            refused.setdefault(row.reason, []).append(f"{row.peer.library} {row.peer.call}")
    if refused:
        told = (f"{', '.join(names)} ({reason})" for reason, names in refused.items())
        yield f"Not here: {'; '.join(told)}."


def grown(report: Report) -> Iterator[str]:
    """How cost grows"""
    yield "`map_patches` with the identity, unless it says otherwise; each series in turns."
    left = []
    for name, series in growth.SERIES.items():
        if report.over(0.9):
            left.append(name)
            continue
        readings = growth.measured(name, size=report.size, repeat=2 if report.small else 5)
        yield f"### {(series.__doc__ or name).rstrip('.')}"
        command = f"python -m benchmarks.growth --series {name} --only"
        rows = [(*each.cells(), f"`{command} '{each.point.label}'`") for each in readings]
        yield from _table(HEADS["growth"], rows)
    if left:
        yield f"Left out, for the time budget: {', '.join(left)}."


def largest(report: Report) -> Iterator[str]:
    """The largest image"""
    side = 500 if report.small else HUGE
    elements = (side - 38) ** 2 * 39**2
    expected = elements / report.rate if report.rate else 0.0
    room = 60 * report.minutes - report.seconds
    if report.huge is False or (report.huge is None and expected > room):
        yield (
            f"Left out: {(side - 38) ** 2:,} patches would have taken about {duration(expected)}."
            " `python -m benchmarks --report --huge` measures them."
        )
        return
    probe = ask("map_memory", side=side, patch=39, step=1)
    yield (
        f"Every 39x39 patch of a {side}x{side} float32 image, {(side - 38) ** 2:,} of them and"
        f" {4 * elements / 1e9:.3g} GB if they were written out, once through `map_patches`, in a process of its own."
    )
    rows = [
        (digits(4 * elements / probe["beyond"]), "expanded size / memory used"),
        (duration(probe["seconds"]), "time, one run"),
        (digits(elements / probe["seconds"] / 1e9), "Gel/s"),
        (f"{probe['beyond'] / MB:.0f} MB", "memory beyond image and result"),
        (digits(probe["error"]), "largest difference from the image"),
    ]
    yield from _table(("measured", "what"), rows)
    yield "Repeat: `python -m benchmarks.acceptance --part huge`."


def first(report: Report) -> Iterator[str]:
    """The first call"""
    yield (
        "Kernels are compiled at their first call and cached on disk. Each figure is a new process; a call on a"
        " 100x100 float32 image with 39x39 patches, lazy imports included."
    )
    verbs = ("unpatchify",) if report.small else ("extract", "unpatchify", "map_patches", "gram")
    repeat, rows = (2 if report.small else 4), []
    for verb in verbs:
        with TemporaryDirectory() as folder:
            environment = {"NUMBA_CACHE_DIR": folder}
            cold, *warm = (
                ask("first_call", environment, side=100, patch=39, verb=verb)["seconds"]
                for _ in range(repeat)
            )
        best, worst = min(warm), max(warm)
        ratio = digits(cold / median(warm))
        rows.append(
            (
                ratio,
                verb,
                duration(cold),
                duration(median(warm)),
                f"{duration(best)} to {duration(worst)}",
            )
        )
    yield from _table(
        ("compiled / cached", "call", "nothing cached, one run", "cached, median", "best to worst"),
        rows,
    )
    modules = ("numpy", "pantile", "pantile.stream")
    seconds = [[import_seconds(name) for name in modules] for _ in range(3 if report.small else 7)]
    numpy, ours, engine = (duration(median(each)) for each in zip(*seconds, strict=True))
    yield (
        f"`import pantile` takes {ours}, for its names are loaded at their first use; with `map_patches` and NumPy it"
        f" is {engine}, of which `import numpy` is {numpy} (medians of new processes)."
    )
    yield "Repeat: `python -m benchmarks --report --part first`."


Part = Callable[[Report], Iterator[str]]
PARTS: dict[str, Part] = {
    "machine": machine,
    "memory": memory,
    "peers": peers,
    "sizes": sizes,
    "growth": grown,
    "first": first,
    "largest": largest,
}


def write_report(report: Report, parts: Sequence[str], path: Path) -> None:
    """Measure the parts and write each to `path` when it is done; what else stands there stays."""
    sections = _sections(path)
    for name in parts:
        print(f"{report.seconds:6.0f} s  {name}", flush=True)
        part, begin = PARTS[name], report.seconds
        lines = [f"## {part.__doc__}", *part(report)]
        minutes = (report.seconds - begin) / 60
        if minutes >= 0.1:
            lines.append(f"Measured in {minutes:.1f} minutes.")
        sections[lines[0]] = "\n\n".join(lines)
        _write(path, sections, "python -m benchmarks --report" + " --small" * report.small)
    print(f"{report.seconds:6.0f} s  written: {path}")


def _sections(path: Path) -> dict[str, str]:
    """The sections of an earlier report, by their headings."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = (section.strip() for section in text.split("\n## ")[1:])
    return {f"## {section.partition(chr(10))[0]}": f"## {section}" for section in found}


def _write(path: Path, sections: Mapping[str, str], command: str) -> None:
    head = (
        "# Performance",
        f"Written by `{command}`; every figure was measured by it on the machine below. Times depend on what else a"
        " machine does, so ratios come first. Commands in the column *repeat* that begin with `--` follow"
        " `python -m benchmarks`; `--part` measures one section anew.",
    )
    titles = (f"## {part.__doc__}" for part in PARTS.values())
    lines = [*head, *(sections[title] for title in titles if title in sections)]
    temporary = path.with_suffix(".part")
    temporary.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def _table(head: Sequence[str], rows: object) -> Iterator[str]:
    """A Markdown table as one paragraph."""
    assert hasattr(rows, "__iter__")
    lines = [head, ["---"] * len(head), *rows]
    yield "\n".join(
        f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return ""

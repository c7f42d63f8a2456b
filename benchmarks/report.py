"""What the benchmarks print: the machine, tables (with rich where it is installed) and JSON."""

import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = [
    "PACKAGES",
    "cores",
    "digits",
    "duration",
    "machine",
    "print_table",
    "total_memory",
    "write_json",
]

PACKAGES = (
    "pantile",
    "numpy",
    "numba",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "patchify",
    "tiler",
    "torch",
    "monai",
    "kornia",
)


def machine() -> dict[str, str]:
    """Return what a time depends on: processor, cores, system and library versions."""
    found = {"processor": _processor(), "cores": str(cores()), "system": platform.platform()}
    versions = {name: _version(name) for name in PACKAGES}
    return {**found, "python": platform.python_version(), **versions}


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, drawn by rich where that is installed and a terminal reads it."""
    rich = find_spec("rich") is not None and sys.stdout.isatty()
    (_print_rich if rich else _print_plain)(title, head, [list(row) for row in rows])


def duration(seconds: float) -> str:
    """Return `seconds` with three digits in the unit that suits: ``12.3 ms``."""
    units = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
    unit = next((name for name, size in units.items() if seconds >= 0.9995 * size), "us")
    return f"{digits(seconds / units[unit])} {unit}"


def digits(value: float) -> str:
    """Return `value` with three digits and no exponent from 0.001 on."""
    return f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def write_json(path: Path, results: Any) -> None:
    """Write the machine and `results` to `path`."""
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")


def _print_rich(title: str, head: Sequence[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print_plain(title: str, head: Sequence[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print(f"\n{title}")
    for row in [list(head), ["-" * width for width in widths], *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int:
    """Return the bytes of memory of this machine, 0 where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "source tree" if find_spec(name) else "not installed"

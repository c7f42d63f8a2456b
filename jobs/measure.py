"""One way of one job in a process of its own: its seconds, and its peak of memory beyond the start.

The start is after imports, after the small version of the same way (which compiles what is compiled)
and after the data were made. ``python -m jobs.measure NAME WAY SIZE FOLDER`` is that process.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from jobs import load

__all__ = ["Run", "at_rest", "measured"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Run:
    """What a process measured."""

    seconds: float
    busy: float  # seconds of all processors
    nbytes: int


def measured(name: str, way: str, size: str, folder: Path) -> tuple[Run, Any]:
    """Run a way of a job in a new process; also returns its answer."""
    command = [sys.executable, "-m", "jobs.measure", name, way, size, str(folder)]
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.decode()}")
    answer = folder / "answer.pickle"
    run, found = pickle.loads(answer.read_bytes())
    answer.unlink()
    return run, found


def at_rest() -> int:
    """Return the resident bytes of this process, once what is free has gone back to the system."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def _status(name: str) -> int:
    """Return ``VmRSS`` or its peak ``VmHWM`` in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def _peak_begins() -> None:
    """The peak is counted from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def main(name: str, way: str, size: str, folder: Path) -> None:
    """Measure, and leave what was found in the folder."""
    job = load(name)
    call = job.WAYS[way]
    with tempfile.TemporaryDirectory() as other:
        call(**job.make(Path(other), **job.SIZES["small"]))
    data = job.make(folder, **job.SIZES[size])
    before = at_rest()
    _peak_begins()
    start, idle = perf_counter(), process_time()
    answer = call(**data)
    seconds, busy = perf_counter() - start, process_time() - idle
    run = Run(seconds, busy, _status("VmHWM") - before)
    (folder / "answer.pickle").write_bytes(pickle.dumps((run, answer)))


if __name__ == "__main__":
    from jobs.measure import main as run_main  # so that what is pickled is of jobs.measure

    run_main(*sys.argv[1:4], Path(sys.argv[4]))

"""Measurements that need a process of their own: first calls, imports and peak memory.

`ask` starts the process; in it, ``python -m benchmarks.probes NAME ARGUMENTS`` prints JSON.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

__all__ = ["PROBES", "ask", "import_seconds"]

ROOT = Path(__file__).resolve().parents[1]
IMPORT = "from time import perf_counter as c; s = c(); import {}; print(c() - s)"


def ask(probe: str, environment: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """Return what `probe` measures in a new process, in which a warning is an error."""
    command = ["-W", "error", "-m", "benchmarks.probes", probe, json.dumps(arguments)]
    return json.loads(_python(command, environment or {}))


def import_seconds(module: str) -> float:
    """Return the seconds that importing `module` takes in a new process."""
    return float(_python(["-c", IMPORT.format(module)], {}))


def _python(arguments: list[str], environment: Mapping[str, str]) -> str:
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def first_call(side: int, patch: int, verb: str = "unpatchify") -> dict[str, Any]:
    """Return the seconds of the first call of `verb` in this process, lazy imports included."""
    import numpy as np

    import pantile as pt

    image = np.random.default_rng(0).random((side, side), dtype=np.float32)
    patches = np.ascontiguousarray(pt.patchify(image, patch))
    calls: dict[str, tuple[Callable[[], Any], Any]] = {
        "extract": (lambda: pt.extract(image, patch), patches.reshape(-1, patch, patch)),
        "unpatchify": (lambda: pt.unpatchify(patches, image.shape), image),
        "map_patches": (lambda: pt.map_patches(_same, image, patch), image),
        "gram": (lambda: pt.PatchMatrix(image, patch).gram(), None),
    }
    call, expected = calls[verb]
    start = perf_counter()
    found = call()
    seconds = perf_counter() - start
    if expected is None:
        rows = patches.reshape(-1, patch * patch).astype(float)
        expected = rows.T @ rows
    return {"seconds": seconds, "right": bool(np.allclose(found, expected, rtol=1e-5))}


def map_memory(side: int, patch: int, step: int, workers: int | None = None) -> dict[str, Any]:
    """Return seconds of `map_patches` with the identity, and bytes beyond image and result.

    What counts starts after imports, a warm-up on a small image and the image itself.
    """
    import numpy as np

    import pantile as pt

    options: dict[str, Any] = {"step": step, "workers": workers}
    pt.map_patches(_same, np.zeros((2 * patch, 2 * patch), np.float32), patch, **options)
    image = np.random.default_rng(0).random((side, side), dtype=np.float32)
    gc.collect()
    before = _memory("VmRSS")
    start = perf_counter()
    result = pt.map_patches(_same, image, patch, **options)
    seconds, beyond = perf_counter() - start, _memory("VmHWM") - before - result.nbytes
    error = max(float(np.abs(mine - its).max()) for mine, its in _bands(result, image))
    return {"seconds": seconds, "beyond": beyond, "error": error}


def _same(batch: Any) -> Any:
    return batch


def _bands(result: Any, image: Any) -> Any:
    """Yield pairs of bands of rows, so that comparing large images takes little memory."""
    return ((result[at : at + 64], image[at : at + 64]) for at in range(0, len(image), 64))


def _memory(name: str) -> int:
    """Return ``VmRSS`` (resident now) or ``VmHWM`` (its peak) of this process in bytes.

    ``ru_maxrss`` is only the fallback: on Linux it starts at the parent's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines[name].split()[0]) * 1024
    if name == "VmRSS":
        import psutil

        return int(psutil.Process().memory_info().rss)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    "first_call": first_call,
    "map_memory": map_memory,
}


if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]](**json.loads(sys.argv[2]))))

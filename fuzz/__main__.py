"""The command line of the fuzzer; it starts itself again with numba's bounds checks on."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hunt import Hunt

__all__ = ["main"]

EVERY = 30.0  # seconds between two lines of progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt, print what fails, and return 1 if anything did."""
    options = _parse(arguments)
    if os.environ.get("NUMBA_BOUNDSCHECK") != "1":
        return _checked_process(list(sys.argv[1:] if arguments is None else arguments))
    faulthandler.enable()
    return _hunt(options)


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to hunt")
    parser.add_argument("--seed", type=int, help="repeat a hunt; by default another every time")
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="checks, with commas between them"
    )
    parser.add_argument("--dtypes", default="", metavar="NAMES", help="like f4,u1; all by default")
    return parser.parse_args(arguments)


def _checked_process(arguments: list[str]) -> int:
    """Run again with bounds checks, which numba reads when it is imported; a cache of their own."""
    home = os.environ.get("NUMBA_CACHE_DIR") or Path(tempfile.gettempdir(), "pantile-numba")
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": f"{home}-boundscheck"}
    command = [sys.executable, "-m", "fuzz", *arguments]
    if os.name == "posix":  # in place of this process, so that signals reach the hunt
        os.execve(command[0], command, environment)
    return subprocess.run(command, env=environment, check=False).returncode


def _hunt(options: Namespace) -> int:
    import numpy as np

    from .cases import trials
    from .hunt import hunt

    number = options.seed if options.seed is not None else int.from_bytes(os.urandom(3), "big")
    pool = [np.dtype(name) for name in options.dtypes.split(",") if name]
    found = trials(pool) if pool else trials()
    names = [name for name in options.only.split(",") if name] or list(found)
    unknown = sorted(set(names) - set(found))
    if unknown:
        raise SystemExit(f"--only: no check {unknown[0]!r}; there are {', '.join(found)}")
    print(f"seed {number}, checks: {', '.join(names)}", flush=True)
    start = monotonic()
    watch = _Watch(start)
    done = hunt(60 * options.minutes, number, {name: found[name] for name in names}, watch)
    print(_summary(done, monotonic() - start), flush=True)
    return int(bool(done.failures))


class _Watch:
    """Prints what fails as soon as it is small, and now and then how far the hunt is."""

    def __init__(self, start: float) -> None:
        self.start, self.last, self.shown = start, start, 0

    def __call__(self, hunt: Hunt) -> None:
        for failure in hunt.failures[self.shown :]:
            print(f"\n{failure}", flush=True)
        self.shown = len(hunt.failures)
        if monotonic() - self.last >= EVERY:
            self.last = monotonic()
            print(_summary(hunt, self.last - self.start), flush=True)


def _summary(hunt: Hunt, seconds: float) -> str:
    rate = hunt.cases / seconds if seconds else 0.0
    return (
        f"{seconds:.0f} s: {hunt.cases} cases, {rate:.1f} a second, {len(hunt.failures)} failures"
    )


if __name__ == "__main__":
    sys.exit(main())

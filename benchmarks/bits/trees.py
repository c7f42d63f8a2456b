"""Source trees at work: a process for each, which is started again where it ends or hangs."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Answer", "Tree", "environment_of"]

Answer = dict[str, Any]

HOME = Path(__file__).resolve().parents[2]
"""Where the package `benchmarks` lies: every tree is measured with this one."""


class Tree:
    """A worker of one tree: ``module`` run by its Python, asked a line at a time.

    ``place`` is a folder that holds the package (a checkout, or its ``src``), or a Python executable of
    an environment in which it is installed.
    """

    def __init__(self, place: str, module: str, *, patience: float = 180.0) -> None:
        self.place, self.module, self.patience = place, module, patience
        self.python, self.environment = environment_of(place)
        self.process: subprocess.Popen[str] | None = None
        self.told = self.said = ""

    def ask(self, line: str) -> Answer:
        """The answer to a line; ``{"died": why}`` where there was none, and a new worker for the next one."""
        if self.process is None:
            self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # its end shows below
        return self._answer()

    def close(self) -> None:
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self._end()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [self.python, "-m", self.module], cwd=HOME, env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(self.process, self._lines), daemon=True).start()
        first = self._answer()
        if "pantile" not in first:
            raise RuntimeError(f"no worker can be started with {self.place}: {first['died']}")
        self.told = first["pantile"]
        if "PYTHONPATH" in self.environment and not _within(
            self.told, self.environment["PYTHONPATH"]
        ):
            raise RuntimeError(f"{self.place} was asked for, but pantile came from {self.told}")

    def _answer(self) -> Answer:
        try:
            line = self._lines.get(timeout=self.patience)
        except queue.Empty:
            return self._died(f"no answer in {self.patience:.0f} s")
        return json.loads(line) if line else self._died("the process ended")

    def _died(self, why: str) -> Answer:
        self._end(hard=True)
        return {"died": f"{why}: {self.said}"}

    def _end(self, hard: bool = False) -> None:
        """Have the process end, and keep the end of what it had to say."""
        assert self.process is not None
        if hard:
            self.process.kill()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        self.process = None
        self._errors.seek(0)
        self.said = self._errors.read()[-800:].strip()
        self._errors.close()


def _read(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _within(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def environment_of(place: str) -> tuple[str, dict[str, str]]:
    """Which Python runs a tree, and with what in its environment."""
    path = Path(place).resolve()
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    plain |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    if path.is_file():
        return str(Path(place).absolute()), plain | _cache(str(path).encode())
    for folder in (path, path / "src"):
        if (folder / "pantile" / "__init__.py").is_file():
            return sys.executable, plain | {"PYTHONPATH": str(folder)} | _cache(_kernels(folder))
    raise ValueError(
        f"{place!r} is neither a Python executable nor a folder that holds pantile/ or src/pantile/"
    )


def _kernels(folder: Path) -> bytes:
    """The text of all that is compiled: numba does not see where what a kernel calls has changed."""
    files = sorted((folder / "pantile").rglob("*.py"))
    texts = [file.read_bytes() for file in files]
    return str(folder).encode() + b"".join(
        text for text in texts if b"numba" in text or b"compiled" in text
    )


def _cache(key: bytes) -> dict[str, str]:
    home = os.environ.get("NUMBA_CACHE_DIR") or str(Path(tempfile.gettempdir(), "pantile-trees"))
    return {"NUMBA_CACHE_DIR": str(Path(home, hashlib.blake2b(key, digest_size=6).hexdigest()))}

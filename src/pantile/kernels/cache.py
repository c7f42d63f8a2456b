"""What is compiled, kept on disk for the next process: a file of its own for each signature of a loop.

numba keeps one index of signatures per function beside numbered files. It is read, changed and
written without a lock, so two processes that compile a function for two types at the same time give
both the same number, and later processes may run the loop of one type on the memory of the other;
the same after a process that was killed between both writes. Here the name of a file follows from
the signature, the file says what it is for, and it comes into its place whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import uuid
from pathlib import Path
from typing import Any

__all__ = ["keep_on_disk"]

_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    ImportError,
    AttributeError,
    KeyError,
    pickle.PickleError,
)


def keep_on_disk(dispatcher: Any) -> None:
    """Let a function of numba be compiled once for all processes, in the folder that numba chooses.

    Raises RuntimeError where there is no such folder, with nothing changed.
    """
    dispatcher.enable_caching()
    cache = dispatcher._cache
    of = cache._impl
    cache._cache_file = _Entries(cache.cache_path, of.filename_base, of.locator.get_source_stamp())


class _Entries:
    """Stands in for numba's index: `load` and `save` what ``key`` (signature, machine, code) compiles to."""

    def __init__(self, folder: str, base: str, stamp: Any) -> None:
        import numba

        self.folder, self.base = Path(folder), base
        self.head = numba.__version__, stamp

    def load(self, key: Any) -> Any:
        """None where there is nothing, or what is there was made from another source, or is damaged."""
        try:
            with self._path(key).open("rb") as file:
                if pickle.load(file) != self.head:
                    return None
                there, data = pickle.load(file)
        except _DAMAGED:
            return None
        return data if there == key else None

    def save(self, key: Any, data: Any) -> None:
        from numba.core.serialize import dumps

        path = self._path(key)
        beside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            beside.write_bytes(dumps(self.head) + dumps((key, data)))
            beside.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    def flush(self) -> None:
        for path in self.folder.glob(self.base + ".*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:20]
        return self.folder / f"{self.base}.{digest}.nbc"

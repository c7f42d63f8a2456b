"""A folder for what processes share, which goes with the run; one that a killed run left goes with the next."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["shared_tempdir"]

_PREFIX = "pantile-"
_LOCK = "lock"  # held by the run whose folder it is: the system lets go of it when that is killed


@contextmanager
def shared_tempdir() -> Iterator[str]:
    """A new folder under the system's temporary one."""
    _tidy(Path(tempfile.gettempdir()))
    prefix = f"{_PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        lock = os.path.join(folder, _LOCK)
        with open(lock + ".new", "wb") as file:
            if _hold(file):
                os.rename(lock + ".new", lock)  # nobody sees it before it is held
            yield folder


def _tidy(temporary: Path) -> None:
    """Remove what killed runs of this user left."""
    for folder in temporary.glob(f"{_PREFIX}*-*"):
        if folder.name.startswith(f"{_PREFIX}{os.getpid()}-"):
            continue  # of another run here: locks are between processes
        with contextlib.suppress(OSError):
            if not folder.is_symlink() and folder.stat().st_uid == os.getuid():
                with open(folder / _LOCK, "r+b") as file:
                    if _hold(file):
                        shutil.rmtree(folder)


def _hold(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; False where another process has it, or the system has no locks."""
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True

"""Errors of other libraries, turned into one that names the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["check_index", "explain_read_errors", "explain_write_errors"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explain_read_errors(
    path: str, what: str = "cannot be read, it is damaged or not supported"
) -> Iterator[None]:
    """A context that turns any error of a library into one that begins with ``path``.

    What the system refuses stays an `OSError` with its number; what a decoder refuses is a
    ValueError.
    """
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if path in str(error):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror or str(error), path) from error
        raise ValueError(f"{path}: {what}: {error or type(error).__name__}") from error


@contextmanager
def explain_write_errors(path: str, partial: str) -> Iterator[None]:
    """A context that turns a failed write into an OSError that names ``path`` and says how to resume."""
    try:
        yield
    except OSError as error:
        # NumPy gives no number where fewer bytes were written than asked for
        number = errno.ENOSPC if error.errno is None else error.errno
        if number not in _FULL:
            raise OSError(number, f"{error.strerror} (writing {partial})", path) from error
        raise OSError(
            number,
            f"{os.strerror(number)}: free some space and resume, what is written so far is in {partial}",
            path,
        ) from error


def check_index(path: str, name: str, index: int, count: int) -> None:
    """Raise a ValueError where ``index``, the argument ``name``, is not below ``count``."""
    if not count:
        raise ValueError(f"{path} holds no image")
    if not 0 <= index < count:
        raise ValueError(f"{name}={index} must be from 0 to {count - 1}, all that {path} holds")

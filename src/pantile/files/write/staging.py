"""Results that appear whole: a staging name beside the final one, and the step from one to the other."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from typing import Any

import numpy as np

__all__ = [
    "check_directory",
    "check_dtype",
    "check_space",
    "describe_foreign",
    "final_path",
    "finish_swap",
    "fsync",
    "fsync_tree",
    "partial_path",
    "remove",
    "swap",
]


def final_path(path: str | os.PathLike[str]) -> str:
    """The absolute path of a result; a link stays, what it points to is replaced."""
    return os.path.realpath(os.fspath(path))


def partial_path(path: str) -> str:
    """The staging name of a result."""
    return path + ".partial"


def describe_foreign(path: str) -> str:
    """What is wrong where the staging name is taken by what no run has left there."""
    partial = partial_path(path)
    return f"out={path!r} would be written by way of {partial}, which is there and not of a run: move it away"


def _previous_path(path: str) -> str:
    """Where an earlier directory stands for the moment in which it is replaced."""
    return path + ".pantile-previous"  # no name that someone keeps a copy under


def check_directory(path: str) -> None:
    """Raise where nothing can be made in the directory of ``path``, before any work is done."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"out={path!r}: there is no directory {folder}: make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):  # only trying tells: root, quotas, mounts
            pass
    except OSError as error:
        raise type(error)(
            error.errno, f"out cannot be written to this directory ({error.strerror})", folder
        ) from error


def check_dtype(path: str, dtype: np.dtype[Any], kinds: str, largest: int, advice: str) -> None:
    """Raise a TypeError where the format has no place for ``dtype``."""
    limit = 2 * largest if dtype.kind == "c" else largest
    if dtype.kind not in kinds or dtype.itemsize > limit:
        raise TypeError(f"out={path!r} cannot hold dtype {dtype}: {advice}")


def check_space(path: str, needed: int, what: str) -> None:
    """Raise where the file system of ``path`` has fewer than ``needed`` bytes left."""
    free = shutil.disk_usage(os.path.dirname(path)).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{what} needs {needed:,} bytes, {free:,} are free: free some or choose another place",
            path,
        )


def fsync(path: str) -> None:
    """Return once the file or directory at ``path`` would survive a power cut."""
    with contextlib.suppress(PermissionError) if os.path.isdir(path) else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY)  # Windows opens no directories
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def fsync_tree(path: str) -> None:
    """`fsync` for everything in a directory, and itself."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            fsync(os.path.join(folder, name))
        fsync(folder)


def remove(path: str) -> None:
    """Make sure that there is nothing at ``path``."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def swap(partial: str, path: str) -> None:
    """Give ``partial`` the name ``path``.

    A file replaces an earlier one in one step. No system call does that for directories
    everywhere, so an earlier one stands aside for a moment: whoever comes after a crash in that
    moment calls `finish_swap` first.
    """
    earlier = os.path.isdir(path)
    if earlier:
        os.rename(path, _previous_path(path))
    os.replace(partial, path)
    fsync(os.path.dirname(path))
    if earlier:
        remove(_previous_path(path))


def finish_swap(path: str) -> None:
    """Finish what a crash in `swap` left: the earlier result comes back, or goes for good."""
    if os.path.isdir(_previous_path(path)):
        if os.path.lexists(path):
            remove(_previous_path(path))
        else:
            os.rename(_previous_path(path), path)

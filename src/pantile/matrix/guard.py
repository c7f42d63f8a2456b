"""Refusing an allocation that would not fit, before it is made."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

__all__ = ["EXPANSION_LIMIT", "check_fits", "format_bytes", "free_bytes"]

EXPANSION_LIMIT: int | None = None
"""Bytes that an array made from a `PatchMatrix` may take; None: half of the memory that is free."""


def check_fits(nbytes: int, what: str, instead: str) -> None:
    """Raise `MemoryError` where ``nbytes`` for ``what`` are more than may be allocated."""
    limit = free_bytes() // 2 if EXPANSION_LIMIT is None else EXPANSION_LIMIT
    if nbytes > limit:
        bound = (
            "pantile.matrix.guard.EXPANSION_LIMIT"
            if EXPANSION_LIMIT is not None
            else "half of what is free"
        )
        raise MemoryError(
            f"{what} would take {format_bytes(nbytes)}, and {bound} is {format_bytes(limit)}: {instead}"
        )


def free_bytes() -> int:
    """Bytes this process may still allocate: free memory, or less where its address space is limited."""
    return min(_free_memory(), _free_addresses())


def _free_memory() -> int:
    with suppress(OSError, ValueError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 << 30


def _free_addresses() -> int:
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm") as file:
                return max(0, limit - int(file.read().split()[0]) * resource.getpagesize())
    return 1 << 62


def format_bytes(nbytes: Any) -> str:
    """``nbytes`` with three digits in the unit that suits.

    >>> format_bytes(608_400_000_000)
    '608 GB'
    """
    value, unit = float(nbytes), "B"
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):  # noqa: B007
        if value < 999.5:
            break
        value /= 1000
    return f"{value:.3g} {unit}"

"""Hypothesis profiles: quick by default, repeatable in CI, `PANTILE_EXAMPLES` for more."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from fuzz.tiles import tiles_of as cut_into_tiles

EXAMPLES = int(os.environ.get("PANTILE_EXAMPLES", "30"))
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

settings.register_profile(
    "pantile",
    max_examples=EXAMPLES,
    deadline=None,  # the first call of a kernel compiles it
    derandomize=IN_CI,
    print_blob=not IN_CI,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("pantile")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell script
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def earlier_modules_are_settled() -> None:
    """Collections go over what this module makes, and not over all that was imported and compiled before it.

    (That took 1 to 3 seconds each time in a process with many tests behind it, and some tests collect four times.)
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiles_of() -> Callable[[int | None], contextlib.AbstractContextManager[None]]:
    """Cut even small arrays into tiles of about as many elements (None: as pantile chooses)."""
    return cut_into_tiles

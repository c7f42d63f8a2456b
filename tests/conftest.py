"""Hypothesis profiles: quick by default, repeatable in CI, `WINDROW_EXAMPLES` for more."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("WINDROW_EXAMPLES", "30"))
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

settings.register_profile(
    "windrow",
    max_examples=EXAMPLES,
    deadline=None,  # the first call of a kernel compiles it
    derandomize=IN_CI,
    print_blob=not IN_CI,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("windrow")

# what keeps small arrays in one tile, one block, one thread: elements, bytes, batches
_SIZES = {
    "windrow.engine.sizing": {"_STATE": 8, "_LEAST": 0},
    "windrow.verbs.extract": {"_LEAF": 1, "_BLOCK": 8},
    "windrow.verbs.unpatchify": {"_LEAF": 1, "_STATE": 8},
}


@contextlib.contextmanager
def _tiles_of(elements: int | None) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name, sizes in _SIZES.items() if elements else ():
            module = importlib.import_module(name)
            changed = {key: elements * each for key, each in sizes.items()}
            stack.enter_context(mock.patch.multiple(module, **changed))
        yield


@pytest.fixture(scope="session")
def tiles_of() -> Callable[[int | None], contextlib.AbstractContextManager[None]]:
    """Cut even small arrays into tiles of about as many elements (None: as windrow chooses)."""
    return _tiles_of

"""A Zarr store that keeps a log of who read and wrote which key: two writers in one chunk show."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

try:
    from zarr.storage import LocalStore
except ImportError as error:  # pragma: no cover
    raise ImportError('pantile.testing.stores needs zarr: pip install "pantile[io]"') from error

__all__ = ["Access", "Recorded", "RecordingStore", "accesses", "assert_one_writer", "writers"]

_WHO: ContextVar[str] = ContextVar("who", default="nobody named")


class Access(NamedTuple):
    """One read or write of one key."""

    key: str
    write: bool
    who: str
    time: float


class RecordingStore(LocalStore):  # type: ignore[misc]  # of a package that need not be there
    """A local Zarr store that logs every access to a chunk beside it, in ``<root>.log``.

    It pickles as its place, and processes append to the same log, so that a run on any executor
    can be judged afterwards. Who is at work is known where the array is wrapped in `Recorded`.

    >>> import tempfile, zarr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = RecordingStore(folder + "/a.zarr")
    ...     array = Recorded(zarr.create_array(store, shape=(4, 4), chunks=(2, 4), dtype="u1"))
    ...     array[0:2, 0:4], array[2:4, 0:4] = 1, 2
    ...     assert_one_writer(store.root)
    ...     sorted(writers(store.root))
    ['c/0/0', 'c/1/0']
    """

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """What `zarr.storage.LocalStore` gives, logged."""
        found = await super().get(key, *args, **kwargs)
        if found is not None:
            self._note(key, False)
        return found

    async def set(self, key: str, value: Any) -> None:
        """Store and log."""
        self._note(key, True)
        await super().set(key, value)

    async def delete(self, key: str) -> None:
        """Delete and log, as a write: a chunk that becomes all fill value is deleted."""
        self._note(key, True)
        await super().delete(key)

    def _note(self, key: str, write: bool) -> None:
        if not key.endswith(("zarr.json", ".zarray", ".zattrs", ".zgroup")):
            line = json.dumps(Access(key, write, _WHO.get(), time.time())) + "\n"
            with open(f"{self.root}.log", "ab", buffering=0) as file:
                file.write(line.encode())  # in one piece, whoever else appends


class Recorded:
    """A Zarr array whose accesses are logged under the name of the operation that made them.

    Every ``array[key] = values`` is a writer of its own: process, thread, number and region.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.chunks, self.shards = array.chunks, array.shards

    def __getitem__(self, key: Any) -> Any:
        with _in_the_name_of(key):
            return self.array[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        with _in_the_name_of(key):
            self.array[key] = values


def accesses(root: str | os.PathLike[str]) -> list[Access]:
    """What was logged beside the store at ``root``, in order."""
    with open(f"{os.fspath(root)}.log", encoding="utf-8") as file:
        return [Access(*json.loads(line)) for line in file]


def writers(root: str | os.PathLike[str]) -> dict[str, set[str]]:
    """Who wrote each key of the store at ``root``."""
    found = defaultdict(set)
    for access in accesses(root):
        if access.write:
            found[access.key].add(access.who)
    return dict(found)


def assert_one_writer(root: str | os.PathLike[str]) -> None:
    """Assert that something was written at ``root``, and no key by two writers."""
    found = writers(root)
    assert found, f"nothing was written to {os.fspath(root)}"
    shared = {key: sorted(names) for key, names in found.items() if len(names) > 1}
    assert not shared, f"chunks with more than one writer: {shared}"


@contextmanager
def _in_the_name_of(key: Any) -> Iterator[None]:
    # Zarr copies the context of the caller to the thread in which its store works
    name = f"process {os.getpid()} thread {threading.get_ident()} at {time.monotonic_ns()}: {key}"
    token = _WHO.set(name)
    try:
        yield
    finally:
        _WHO.reset(token)

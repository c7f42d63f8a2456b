"""Results written by blocks, and a disk that fills up."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pantile.files import sink_of

SINKS: dict[str, tuple[str, dict[str, Any]]] = {
    "npy": ("out.npy", {}),
    "zarr": ("out.zarr", {"chunks": (16, 24)}),
    "zarr sharded": ("out.zarr", {"chunks": (8, 16), "shards": (24, 32), "compressors": None}),
    "tiff": ("out.tif", {"tile": (16, 32)}),
    "tiff zlib": ("out.tiff", {"compression": "zlib"}),
}
SHAPE = (37, 53)
FLOAT = np.dtype("float32")


def blocks(shape: tuple[int, ...], unit: tuple[int, ...] | None) -> list[tuple[slice, ...]]:
    """Regions that cut ``shape`` along ``unit``, in no order of the file."""
    unit = unit or tuple(min(n, 11) for n in shape)
    starts = product(*(range(0, n, u) for n, u in zip(shape, unit, strict=True)))
    cut = [
        tuple(slice(b, min(b + u, n)) for b, u, n in zip(at, unit, shape, strict=True))
        for at in starts
    ]
    return [cut[k] for k in np.random.default_rng(1).permutation(len(cut))]


def write(writer: Any, x: NDArray[Any]) -> None:
    for place in blocks(writer.shape, writer.unit):
        writer[place] = x[place]


def result(path: Path, x: NDArray[Any], **options: Any) -> None:
    """``x`` as a finished result."""
    writer = sink_of(path, **options).create(x.shape, x.dtype)
    write(writer, x)
    writer.commit()


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@contextmanager
def limit(nbytes: int) -> Iterator[None]:
    """No file may grow beyond ``nbytes``: to a program, a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Killed(BaseException):
    """What stands for `kill -9` at that moment: nothing is caught or cleaned after it."""

"""The fuzzer's check of runs that leave memory: from and to files, cut short and resumed, or as a dask graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

import pantile as pt
from pantile import PatchGrid
from pantile.geometry.limits import current_limits, using_limits
from pantile.testing import slow

from .checks import FUNCTIONS, Roles, assert_mapped, filled, refused
from .tiles import tiles_of

__all__ = ["check_lazy", "check_stored"]

Array = npt.NDArray[Any]


class Stopped(Exception):
    """What cuts a run short."""


class Calls:
    """The named functions as one, which gives a tuple where they are several, and fails at a call."""

    def __init__(self, names: Sequence[str], limit: int | None = None) -> None:
        self.names = tuple(names)
        self._left = limit  # not a parameter of the run

    def __call__(self, batch: Array) -> Any:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Stopped
        # each sees the patches as they were cut, though one may write to them
        found = tuple(FUNCTIONS[name](batch.copy()) for name in self.names)
        return found if len(found) > 1 else found[0]


def twice(slab: Array) -> Any:
    """A function for ``finalize``."""
    return slab + slab


def check_stored(
    image: Array,
    grid: PatchGrid,
    roles: Roles,
    functions: Sequence[str],
    options: Mapping[str, Any],
    source: str,
    target: str,
    chunks: Sequence[int],
    batch_bytes: int | None = None,
    stop: int | None = None,
    doubled: bool = False,
    tiles: int | None = None,
) -> None:
    """`map_patches` is its slow twin from any source to any target, and where it goes on after a stop."""
    settings = {**roles, **options, "finalize": twice if doubled else None}
    with np.errstate(all="ignore"), TemporaryDirectory() as name, _recorded(), tiles_of(tiles):
        folder = Path(name)
        twins = _twins(functions, image, grid, roles, options, doubled)
        given = _stored(image, source, chunks, folder)
        outs = [_place(twin, target, folder / f"result{k}") for k, twin in enumerate(twins or ())]
        out = _out(outs)
        if twins is None:
            with refused(ValueError, "fill"):
                pt.map_patches(Calls(functions), given, grid, **settings)
            return
        settings |= {"out": out, "batch_bytes": batch_bytes}
        found = _run(functions, stop, given, grid, settings)
        results = found if isinstance(found, tuple) else (found,)
        for twin, result in zip(twins, results, strict=True):
            assert_mapped(_held(result), twin, image, options, grid)
        left = sorted(path.name for path in folder.iterdir())
        made = {f"result{k}{target}" for k in range(len(outs))} if target.startswith(".") else set()
        assert set(left) - {f"image{source}"} == made, f"left behind: {left}"


def check_lazy(
    image: Array,
    grid: PatchGrid,
    roles: Roles,
    functions: Sequence[str],
    options: Mapping[str, Any],
    chunks: Sequence[int],
    doubled: bool = False,
) -> None:
    """`map_patches` of a dask array is the slow twin of its elements."""
    import dask.array as da

    settings = {**roles, **options, "finalize": twice if doubled else None}
    with np.errstate(all="ignore"):
        twins = _twins(functions, image, grid, roles, options, doubled)
        lazy = da.from_array(image, chunks=tuple(chunks))
        if twins is None:
            with refused(ValueError, "fill"):
                pt.map_patches(Calls(functions), lazy, grid, **settings)
            return
        found = pt.map_patches(Calls(functions), lazy, grid, **settings)
        for twin, one in zip(twins, found if isinstance(found, tuple) else (found,), strict=True):
            assert one.shape == twin.shape, f"shape {one.shape}, expected {twin.shape}"
            assert one.dtype == twin.dtype, f"dtype {one.dtype}, expected {twin.dtype}"
            assert_mapped(one.compute(scheduler="threads"), twin, image, options, grid)


def _twins(
    functions: Sequence[str],
    image: Array,
    grid: PatchGrid,
    roles: Roles,
    options: Mapping[str, Any],
    doubled: bool,
) -> list[Array] | None:
    """What the slow twin makes with each function; None where it finds a hole and no fill."""
    found = []
    for name in functions:
        twin = filled(partial(slow.map_patches, FUNCTIONS[name], image, grid, **roles, **options))
        if twin is None:
            return None
        found.append(twice(twin) if doubled else twin)
    return found


def _run(
    functions: Sequence[str],
    stop: int | None,
    given: Any,
    grid: PatchGrid,
    settings: Mapping[str, Any],
) -> Any:
    try:
        return pt.map_patches(Calls(functions, stop), given, grid, **settings)
    except Stopped:
        on_disk = settings["out"] is not None and not isinstance(
            _first(settings["out"]), np.ndarray
        )
        return pt.map_patches(Calls(functions), given, grid, **settings, resume=on_disk)


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def _stored(image: Array, source: str, chunks: Sequence[int], folder: Path) -> Any:
    """The image in memory (``""``), or the path of a file that holds it."""
    path = folder / f"image{source}"
    if source == ".npy":
        np.save(path, image)
    elif source == ".zarr":
        import zarr

        native = np.asarray(image, image.dtype.newbyteorder("="))
        made = zarr.create_array(path, shape=image.shape, dtype=native.dtype, chunks=tuple(chunks))
        made[...] = native
    return path if source else image


def _place(twin: Array, target: str, path: Path) -> Any:
    """Where a result goes: nowhere in particular (``""``), an array, or a path."""
    if target == "array":
        return np.empty(twin.shape, twin.dtype)
    return path.with_suffix(target) if target else None


def _out(outs: list[Any]) -> Any:
    if not outs or outs[0] is None:
        return None
    return tuple(outs) if len(outs) > 1 else outs[0]


def _held(result: Any) -> Array:
    if isinstance(result, np.ndarray):
        return result
    from pantile.files import open_image

    return np.asarray(open_image(result))


@contextlib.contextmanager
def _recorded() -> Iterator[None]:
    """Every block is recorded as soon as it is written."""
    with using_limits(replace(current_limits(), journal_seconds=0.0, journal_share=0)):
        yield

"""What `map_patches` and `plan` are given: the options in one value, checked and made canonical at the door."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry.arguments import as_count, as_per_axis
from ..geometry.frame import Frame
from ..kernels.parallel import cores
from ..merge.casts import check_fill, check_holes
from ..merge.spec import MergeRule, resolve_rule
from ..ops.arrays import check_apart, unlabelled
from ..ops.chunked import is_dask
from ..ops.selection import touched

__all__ = [
    "Options",
    "as_bytes",
    "as_places",
    "as_rule",
    "as_scales",
    "check_callers",
    "check_dtypes",
    "check_filling",
    "check_lazy_options",
    "check_room",
    "default_workers",
]

_EXECUTORS = ("threads", "processes")

_DIGITS = 30  # of a number of bytes


@dataclass(frozen=True)
class Options:
    """The options of `map_patches`, which documents them; the same for `plan` (which has one more), the command line
    and dask graphs."""

    axes: int | Sequence[int] | None = None
    channel_axis: int | None = None
    merge: Any = "mean"
    weights: Any = None
    where: Any = None
    finalize: Any = None
    out: Any = None
    dtype: Any = None
    fill: Any = None
    layout: Any = None
    batch_bytes: int | str | None = None
    memory: int | str | None = None
    workers: int | None = None
    executor: Any = None
    progress: Any = None
    resume: bool = False
    scale: int | Sequence[int] = 1
    batch: int | None = None
    trial: bool = False  # of `plan` alone


def check_callers(func: Any, image: Any, executor: Any) -> None:
    if not callable(func):
        order = ", the function first: map_patches(func, image, patch)" if callable(image) else ""
        got = f"an array of shape {func.shape}" if isinstance(func, np.ndarray) else repr(func)
        raise TypeError(f"func must be a function of a batch of patches, got {got}{order}")
    if isinstance(executor, str):
        if executor not in _EXECUTORS:
            raise ValueError(
                f"executor must be one of {', '.join(_EXECUTORS)}, a pool or a client, got {executor!r}"
            )
    elif isinstance(executor, type):
        raise TypeError(
            f"executor is the class {executor.__name__}: make one, {executor.__name__}()"
        )
    elif executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must have a submit method, got {type(executor).__name__}")


def as_places(out: Any, source: Any, resume: bool) -> tuple[Any, ...] | None:
    """The places of results: paths as sinks, arrays checked to be writeable and apart from each other."""
    outs = None if out is None else tuple(map(_as_out, out if isinstance(out, tuple) else (out,)))
    if outs == ():
        raise ValueError("out is an empty tuple: give one place per result, or leave it out")
    if resume and not (outs and all(hasattr(o, "reopen") for o in outs)):
        raise ValueError(
            "resume=True needs a result on disk: an array has nothing to resume;"
            " give out= a path, like 'result.zarr' or 'result.npy'"
        )
    _check_arrays([o for o in outs or () if isinstance(o, np.ndarray)], source)
    _check_places(outs or (), source)
    return outs


def check_dtypes(
    outs: tuple[Any, ...] | None,
    rule: MergeRule | None,
    finalize: Any,
    wanted: np.dtype[Any] | None,
) -> None:
    """Refuse too few places, and a dtype that one cannot hold: what was asked for, or what such a merge always has."""
    if outs and rule is not None and len(outs) % rule.images:
        raise ValueError(
            f"merge={rule.merge!r} makes {rule.images} images, so out must be a tuple of {rule.images} places"
            f" for each result of func, got {len(outs)}"
        )
    known = wanted
    if known is not None and known.kind not in "biufc" and rule is not None:
        raise TypeError(f"dtype must be a number's, got {known}")
    if known is None and rule is not None and finalize is None and not rule.spec.any_dtype:
        known = rule.natural_dtype(np.dtype(np.uint8))
    for out in outs or ():
        if known is not None and hasattr(out, "check_dtype"):
            out.check_dtype(known)


def _as_out(out: Any) -> Any:
    if isinstance(out, str | os.PathLike) or hasattr(out, "reopen"):
        from ..files import sink_of

        return sink_of(out)
    out = unlabelled(out)  # what a DataArray holds: its labels stay as they are
    if is_dask(out) or not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        raise TypeError(
            "out must be a path, a sink, or have shape, dtype and slice assignment in place,"
            f" got {type(out).__name__}"
        )
    if _is_read_only(out):
        raise ValueError("out is read-only: open it for writing")
    return out


def _is_read_only(store: Any) -> bool:
    """Whether a Zarr array or an HDF5 dataset was opened to be read."""
    if getattr(getattr(store, "file", None), "mode", None) == "r":
        return True
    return getattr(store, "read_only", False) is True


def _check_arrays(arrays: list[np.ndarray[Any, Any]], source: Any) -> None:
    """Refuse arrays that cannot be written to, or that overlap the image or each other."""
    for k, array in enumerate(arrays):
        if not array.flags.writeable:
            raise ValueError("out is read-only: give an array that can be written to")
        check_apart(array)
        if isinstance(source, np.ndarray) and np.may_share_memory(array, source):
            raise ValueError("out shares memory with the image: give another array")
        if any(np.may_share_memory(array, other) for other in arrays[:k]):
            raise ValueError("two results would go to the same memory: give each an out of its own")


def _check_places(outs: tuple[Any, ...], source: Any) -> None:
    """Refuse to write where the image is read, or to one place twice."""
    from ..files.places import meet, spot_of

    image, spots = spot_of(source), [spot_of(out) for out in outs]
    for k, spot in enumerate(spots):
        if spot is None:
            continue
        if meet(spot, image):
            raise ValueError(
                f"out={spot.path!r} is the image itself, or they lie in each other:"
                " give the result another name"
            )
        if any(meet(spot, other) for other in spots[:k]):
            raise ValueError(f"two results would go to the same path: {spot.path}")
        _check_beside(
            spot, outs[k], [("the image", image), *(("another result", s) for s in spots)]
        )


def _check_beside(spot: Any, out: Any, others: list[tuple[str, Any]]) -> None:
    """Refuse a path beside which an image or result lies under a name that the run needs for itself."""
    from ..files.places import meet, spots_beside

    if not hasattr(out, "reopen"):
        return
    for name in spots_beside(spot):
        for what, other in others:
            if other is not spot and meet(name, other):
                raise ValueError(
                    f"out={spot.path!r} is written by way of {name.path!r}, which is {what}:"
                    " give the result another name"
                )


def default_workers(executor: Any) -> int:
    """How many tiles to keep at work: one per core, or per worker of an executor that tells."""
    if hasattr(executor, "ncores"):  # a dask.distributed client
        return max(1, int(sum(executor.ncores().values())))
    return int(getattr(executor, "_max_workers", None) or cores())


def as_scales(scale: Any, frame: Frame) -> tuple[int, ...]:
    scales = as_per_axis(scale, frame.grid.ndim, "scale")
    if any(s > 1 and d > 1 for s, d in zip(scales, frame.grid.dilation, strict=True)):
        raise ValueError(
            "scale and dilation cannot be combined: samples of a dilated patch have no place between them"
        )
    return scales


def as_rule(
    merge: Any, weights: Any, fill: Any, finalize: Any, dtype: np.dtype[Any] | None
) -> MergeRule | None:
    """How results merge; None where they stand on the grid."""
    if not (finalize is None or callable(finalize) or finalize == "argmax"):
        raise TypeError(
            f"finalize must be a function of a piece of the image, or 'argmax', got {finalize!r}"
        )
    if merge is None:
        if finalize is not None:
            raise ValueError(
                "finalize= reduces merged pieces: with merge=None let func return what you want"
            )
        if weights is not None:
            raise ValueError(
                "weights= goes with a merge; with merge=None results stand on the grid as they are"
            )
        return None
    rule = resolve_rule(merge, weights, False, fill, None if finalize is not None else dtype)
    if finalize is not None and rule.images > 1:
        raise ValueError(
            f"finalize= reduces one image, and merge={merge!r} makes {rule.images}: leave finalize= out"
        )
    return rule


def check_filling(
    frame: Frame, mask: Any, rule: MergeRule | None, fill: Any, dtype: np.dtype[Any] | None
) -> None:
    """Refuse now what would turn out to be uncovered; results of other shapes, and of a dtype that
    only ``func`` tells (None), are checked when they are known."""
    if fill is not None:
        if np.ndim(fill):
            raise ValueError(f"fill must be one number, got {fill!r}")
        if rule is None and dtype is not None:
            check_fill(fill, dtype)
        return
    if mask is not None and not mask.any():
        raise ValueError("where selects no patch: give fill= a value for all of the result")
    if rule is None:
        if mask is not None and not mask.all():
            raise ValueError(
                "where leaves patches out, and merge=None keeps a place for each: give fill= a value"
            )
        return
    if mask is None:
        check_holes(frame, fill)
    elif not touched(mask, frame.axes).all():
        raise ValueError(
            "where leaves elements of the image that no selected patch touches: give fill= a value for them"
        )


def check_room(frame: Frame, rule: MergeRule | None, scales: tuple[int, ...], item: int) -> None:
    """Refuse a result in memory that cannot be there, whatever ``func`` gives, before it is called."""
    counts = [
        n for k, n in enumerate(frame.counts if rule is None else frame.shape) if k != frame.channel
    ]
    size = math.prod(counts) * item * (1 if rule is None else math.prod(scales))
    try:
        np.empty(size, dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        raise MemoryError(
            f"the result takes {size:,} bytes or more, which memory cannot hold:"
            " give out= a path to write it to, like 'result.zarr'"
        ) from error


def as_bytes(size: int | str, name: str = "memory") -> int:
    """A number of bytes from an int or from words like ``"2GB"`` and ``"512 MiB"``."""
    if not isinstance(size, str):
        return as_count(size, name)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kKMGT]?)(i?)[bB]?\s*", size)
    if not found or len(found[1]) > _DIGITS:
        raise ValueError(
            f"{name} must be a number of bytes, like 2_000_000_000 or '2GB', got {size!r}"
        )
    number, unit, binary = found.groups()
    power = " kMGT".index(unit.replace("K", "k")) if unit else 0
    return as_count(int(float(number) * (1024 if binary else 1000) ** power), name)


def check_lazy_options(where: Any, options: Options) -> None:
    """Refuse, for a dask array, the options of a run that is here and now."""
    if is_dask(unlabelled(where)):
        raise TypeError(
            "where must be in memory, because it decides which tasks there are: where=where.compute()"
        )
    eager = ("out", "memory", "workers", "executor", "progress", "resume")
    given = [name for name in eager if (v := getattr(options, name)) is not None and v is not False]
    if given:
        them = "them" if len(given) > 1 else "it"
        raise ValueError(
            f"{', '.join(given)}: of a dask array comes a dask array, and dask runs it. Leave {them} out, and call"
            " compute(), to_zarr() or store() on the result"
        )

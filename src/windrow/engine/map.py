"""The door of the engine: arguments checked and made canonical, the plan drawn up."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_count, as_per_axis
from ..geometry.tiles import Tiling, choose_lengths, span_size
from ..kernels.flat import as_bits
from ..kernels.parallel import cores
from ..verbs.custom import Merge
from ..verbs.extract import Layout, check_layout, check_pad_value
from ..verbs.frame import Frame, frame_of
from ..verbs.merges import MergeName, Rule, check_fill, check_holes, resolve_rule
from ..verbs.selection import selected, touched
from .executors import SupportsSubmit
from .plan import Plan, readable
from .sources import Sink, as_source
from .tile import Job

__all__ = ["map_patches", "plan"]

_BATCH = 8 << 20  # bytes of a batch: near enough to stay in cache, and worth a call of func
_STATE = 16 << 20  # bytes of a tile's accumulators
_TILES = 16  # as many at least where the work is worth it, so that workers end together
_LEAST = 2  # batches that make a tile worth its overhead

Array = NDArray[Any]


def map_patches(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | None = None,
    out: Sink | tuple[Sink, ...] | None = None,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
) -> Any:
    """The image that ``func`` makes of an image, patch by patch: cut, call, merge, never expanded.

    Parameters
    ----------
    func : callable
        ``func(batch) -> result``. ``batch`` is an array ``(n, *patch)``, with the channel axis
        among the patch axes where the image has it; a buffer that is used again, so write to it and
        return it, but copy what you keep. The result has one patch per patch: of the same shape or
        smaller (it stands in the middle), of any dtype, with other channels, with none, or with a
        new last axis; or a tuple of such arrays, for several images. Called exactly once per patch.
    image : array_like
        An array, or anything with ``shape``, ``dtype`` and slice access.
    patch, step
        The shape of a patch and the elements between patches, or a `PatchGrid`.
    axes, channel_axis : optional
        The patched axes (by default the last ones), and one that travels inside each patch. All
        others are batch axes.
    merge : str, Merge or None
        As in `unpatchify`. With None the results stand on the grid: ``(n,)`` gives ``(*counts,)``,
        ``(n, k)`` gives ``(*counts, k)``.
    weights : optional
        As in `unpatchify`, for the shape of the patches that ``func`` returns.
    where : array of bool, optional
        Of the image's shape (patches that touch a True) or of the counts (exactly those).
    finalize : callable, optional
        ``finalize(slab) -> array`` reduces a finished piece of the image before it is written, for
        example ``lambda s: s.argmax(-1)``. It may drop or resize the channel axis.
    out : array or tuple of arrays, optional
        Where to put the result: anything with ``shape``, ``dtype`` and slice assignment. Its dtype
        is the result's.
    dtype : dtype, optional
        Of the result. Integers are rounded half to even and saturated.
    fill : number, optional
        What elements (or, with ``merge=None``, patches) hold that no selected patch touches;
        without it they are an error.
    layout : {"patch", "feature"}, optional
        How the batch lies in memory; by default the faster one for the step.
    batch_bytes : int, optional
        Size of a batch, 8 MiB by default.
    memory : int or str, optional
        A budget beside the image, like ``"2GB"``; a job that cannot fit is refused before it
        starts.
    workers : int, optional
        How many threads, or tiles that an executor works on at a time; by default one per core. The
        result does not depend on it.
    executor : optional
        Anything with ``submit`` instead of threads. ``func`` must then be picklable.
    progress : bool or callable, optional
        True for a bar, or a function of (patches done, patches in all).
    resume : bool
        For results on disk; an array in memory has nothing to resume.
    scale : int or one per axis
        How many times larger the output is than the image.

    Returns
    -------
    ndarray, or ``out``, or a tuple of them.

    Raises
    ------
    ValueError, TypeError, MemoryError
        Before any work where it can be known then. An exception of ``func`` stops the run and is
        raised with the region in its notes.

    Notes
    -----
    ``map_patches(lambda b: b, x, p) == x``. Each tile of the grid sums its patches in float64, by
    ascending index; each block of the image is the sum of the few tiles that reach into it, in a
    fixed order: the same bits for any number of workers.

    Examples
    --------
    >>> import numpy as np
    >>> import windrow as wr
    >>> image = np.arange(20.0).reshape(4, 5)
    >>> smooth = wr.map_patches(lambda b: b - b.mean((1, 2), keepdims=True), image, 3)
    >>> smooth.shape
    (4, 5)
    >>> wr.map_patches(lambda b: b.max(axis=(1, 2)), image, 3, merge=None)
    array([[12., 13., 14.],
           [17., 18., 19.]])
    """
    return plan(
        func, image, patch, step, axes=axes, channel_axis=channel_axis, merge=merge, weights=weights,
        where=where, finalize=finalize, out=out, dtype=dtype, fill=fill, layout=layout,
        batch_bytes=batch_bytes, memory=memory, workers=workers, executor=executor,
        progress=progress, resume=resume, scale=scale,
    ).run()  # fmt: skip


def plan(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | None = None,
    out: Sink | tuple[Sink, ...] | None = None,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
) -> Plan:
    """What `map_patches` would do with these arguments, as a `Plan` to print, ask and run.

    Examples
    --------
    >>> import numpy as np
    >>> import windrow as wr
    >>> p = wr.plan(lambda b: b, np.zeros((100, 100), np.float32), 39)
    >>> p.n_patches, p.expanded_bytes
    (3844, 23386896)
    """
    _check_callers(func, executor, resume)
    source = as_source(image)
    held = np.dtype(source.dtype)
    frame = frame_of(tuple(source.shape), patch, step, axes=axes, channel_axis=channel_axis)
    check_pad_value(frame, held)
    wanted = _wanted_dtype(dtype, out)
    _check_out(out, source)
    rule = _rule(merge, weights, fill, finalize, wanted)
    mask = None if where is None else selected(where, frame)
    _check_fill(frame, mask, rule, fill, wanted or held)
    threads = _slots(executor) if workers is None else as_count(workers, "workers")
    chosen = _faster_layout(frame) if layout is None else check_layout(layout)
    batch = _batch_size(frame, held, batch_bytes)
    job = Job(func, frame, rule, held, chosen, batch, _scales(scale, frame), mask is None)
    tiling = Tiling(frame.axes, frame.counts)
    budget = None if memory is None else as_bytes(memory)
    drawn = Plan(
        job, source, tiling, threads, executor, _state_bytes(job), out, finalize, mask, fill, wanted,
        progress, budget,
    )  # fmt: skip
    return _fitted(drawn)


def _check_callers(func: Any, executor: Any, resume: bool) -> None:
    if not callable(func):
        raise TypeError(f"func must be a function of a batch of patches, got {func!r}")
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(f"executor must have a submit method, got {type(executor).__name__}")
    if resume:
        raise ValueError(
            "resume=True needs a result on disk; an array in memory has nothing to resume"
        )


def _check_out(out: Any, source: Any) -> None:
    """Refuse arrays that cannot be written to, or that overlap the image or each other."""
    outs = out if isinstance(out, tuple) else (out,)
    arrays = [o for o in outs if isinstance(o, np.ndarray)]
    for k, array in enumerate(arrays):
        if not array.flags.writeable:
            raise ValueError("out is read-only: give an array that can be written to")
        if isinstance(source, np.ndarray) and np.may_share_memory(array, source):
            raise ValueError("out shares memory with the image: give another array")
        if any(np.may_share_memory(array, other) for other in arrays[:k]):
            raise ValueError("two results would go to the same memory: give each an out of its own")


def _slots(executor: Any) -> int:
    """How many tiles to keep at work: one per core, or per worker of an executor that tells."""
    if hasattr(executor, "ncores"):  # a dask.distributed client
        return max(1, int(sum(executor.ncores().values())))
    return int(getattr(executor, "_max_workers", None) or cores())


def _batch_size(frame: Frame, dtype: np.dtype[Any], batch_bytes: int | None) -> int:
    """How many patches a batch holds, at least one."""
    if as_bits(dtype) is None:
        raise TypeError(f"image must hold numbers, got dtype {dtype}")
    size = _BATCH if batch_bytes is None else as_count(batch_bytes, "batch_bytes")
    return min(frame.n_patches, max(1, size // (frame.features * dtype.itemsize)))


def _scales(scale: Any, frame: Frame) -> tuple[int, ...]:
    scales = as_per_axis(scale, frame.grid.ndim, "scale")
    if any(s > 1 and d > 1 for s, d in zip(scales, frame.grid.dilation, strict=True)):
        raise ValueError(
            "scale and dilation cannot be combined: samples of a dilated patch have no place between them"
        )
    return scales


def _wanted_dtype(dtype: Any, out: Any) -> np.dtype[Any] | None:
    if dtype is not None or out is None:
        return None if dtype is None else np.dtype(dtype)
    first: Any = out[0] if isinstance(out, tuple) else out
    if not all(hasattr(first, name) for name in ("shape", "dtype", "__setitem__")):
        raise TypeError(
            f"out must have shape, dtype and slice assignment, got {type(first).__name__}"
        )
    found: np.dtype[Any] = np.dtype(first.dtype)
    return found


def _rule(
    merge: Any, weights: Any, fill: Any, finalize: Any, dtype: np.dtype[Any] | None
) -> Rule | None:
    if finalize is not None and not callable(finalize):
        raise TypeError(f"finalize must be a function of a piece of the image, got {finalize!r}")
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
    return resolve_rule(merge, weights, False, fill, None if finalize is not None else dtype)


def _check_fill(
    frame: Frame, mask: Any, rule: Rule | None, fill: Any, dtype: np.dtype[Any]
) -> None:
    """Refuse now what would turn out to be uncovered; results of other shapes are checked when they are known."""
    if fill is not None:
        if rule is None:
            check_fill(fill, dtype)
        return
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


def _faster_layout(frame: Frame) -> str:
    """Feature layout where a run of patches lies on neighbouring elements; measured in decision 0004."""
    last = frame.along == len(frame.axes) - 1
    return "feature" if last and frame.axes[frame.along].longest_gap == 1 else "patch"


def _state_bytes(job: Job) -> float:
    """Bytes of accumulators per element, as if results had the image's dtype."""
    if job.rule is None:
        return float(job.dtype.itemsize)
    if job.dtype.kind == "c" and not isinstance(job.rule.merge, Merge):
        return 16.0
    weights = None if job.rule.trims else job.rule.weights
    plain = replace(job.rule, weights=weights if isinstance(weights, str) else None)
    return plain.reduction(job.frame, job.dtype, job.whole).itemsize


def _fitted(drawn: Plan) -> Plan:
    """The plan with tiles, and where there is a budget, batches, that keep within it."""
    state = float(_STATE)
    while True:
        fitted = replace(drawn, tiling=Tiling(drawn.job.frame.axes, _lengths(drawn, state)))
        budget = fitted.memory
        if budget is None or fitted.projected_bytes <= budget:
            return fitted
        if fitted.job.batch > 1 and fitted.batch_bytes * 8 * fitted.workers > budget:
            drawn = replace(drawn, job=replace(drawn.job, batch=max(1, drawn.job.batch // 2)))
        elif max(fitted.tiling.lengths) > 1 and state > 1:
            state /= 2
        else:
            raise MemoryError(
                f"this needs at least {readable(fitted.projected_bytes)} beside the image"
                f" ({readable(fitted.result_bytes)} of it the result), but memory={readable(budget)}:"
                " allow more, use fewer workers, or give out= an array on disk"
            )


def _lengths(drawn: Plan, state: float) -> tuple[int, ...]:
    """Patches per tile: enough tiles to share out, none with more than ``state`` bytes of accumulators."""
    frame = drawn.job.frame
    least = _LEAST * drawn.job.batch * frame.features
    share = max(least, frame.n_patches * frame.features / _TILES)
    return choose_lengths(
        frame.axes,
        lambda n: math.prod(n) * frame.features / share,
        lambda n: span_size(frame.axes, n) * drawn.state_bytes / state,
    )


def as_bytes(size: int | str) -> int:
    """A number of bytes from an int or from words like ``"2GB"`` and ``"512 MiB"``."""
    if not isinstance(size, str):
        return as_count(size, "memory")
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kKMGT]?)(i?)[bB]?\s*", size)
    if not found:
        raise ValueError(
            f"memory must be a number of bytes, like 2_000_000_000 or '2GB', got {size!r}"
        )
    number, unit, binary = found.groups()
    power = " kMGT".index(unit.replace("K", "k")) if unit else 0
    return as_count(int(float(number) * (1024 if binary else 1000) ** power), "memory")

"""A plan drawn up from what the caller gave: what is done, where results go, with what means."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arguments import as_count
from ..geometry.arrays import as_dtype
from ..geometry.frame import Frame, frame_of
from ..geometry.limits import current_limits
from ..geometry.tiling import Tiling
from ..ops.arrays import unlabelled
from ..ops.chunked import is_dask
from ..ops.extract import check_layout, check_pad_value
from ..ops.selection import selected
from .chosen import Chooser
from .job import Job, calls_at_once, for_frame, kinds_of_model, threads_for
from .labels import Labels
from .options import (
    Options,
    as_bytes,
    as_places,
    as_rule,
    as_scales,
    check_callers,
    check_dtypes,
    check_filling,
    check_room,
    default_workers,
)
from .plan import Destination, Plan, Resources
from .resume.journal import journal_path, read_journal
from .resume.staging import check_same
from .runners.caller import CallerRun
from .runners.filled import FilledRun
from .runners.threads import ThreadRun
from .sizing import batch_size, faster_layout, fit_plan, with_fitting_strips
from .source import as_source
from .trial import timed, with_kinds

__all__ = ["draw_plan"]

AHEAD = 2  # batches beside those in func: one that is cut, one whose results are merged


def draw_plan(func: Any, image: Any, patch: Any, step: Any, options: Options) -> Plan:
    """The plan that options ask for; raises all that can be known to be wrong before any work."""
    check_callers(func, image, options.executor)
    source = as_source(image)
    labels = Labels.of(image, source)
    axes = labels.numbers(options.axes, "axes")
    channel_axis = labels.number(options.channel_axis, "channel_axis")
    frame = frame_of(tuple(source.shape), patch, step, axes=axes, channel_axis=channel_axis)
    check_pad_value(frame, np.dtype(source.dtype))
    places = as_places(options.out, source, options.resume)
    func = for_frame(func, frame)
    where = labels.aligned(options.where)
    if callable(where) and not hasattr(where, "shape"):
        where = _choose(where, image, (patch, step), options)
    job = _draw_job(func, source, frame, where, places, options)
    if places is None and not is_dask(unlabelled(image)):
        wanted = job.result_dtype
        check_room(frame, job.rule, job.scale, 1 if wanted is None else wanted.itemsize)
    labels = labels.framed(frame, job.scale, job.rule is None)
    _warn_of_lost(labels, places)
    destination = Destination(options.out, places, options.resume, labels)
    tiling = Tiling(frame.axes, frame.counts)
    drawn = Plan(job, tiling, destination, _draw_resources(options, func))
    if not options.trial:
        return _with_runner(_resumed(drawn) or fit_plan(drawn))
    learned = with_kinds(drawn)
    return timed(_with_runner(_resumed(learned) or fit_plan(learned)))


def _choose(where: Any, image: Any, grid: tuple[Any, Any], options: Options) -> NDArray[np.bool_]:
    """Which patches a function of a batch wants: a run of its own, so that batches are filled and plans are exact."""
    if is_dask(unlabelled(image)):
        raise TypeError(
            "where= as a function looks at the image now, and a dask array is read when it is computed: give an array"
            " of bool, one per patch or one per element"
        )
    mine = Options(
        axes=options.axes,
        channel_axis=options.channel_axis,
        merge=None,
        batch_bytes=options.batch_bytes,
        batch=options.batch,
        memory=options.memory,
        workers=options.workers,
    )
    found: NDArray[np.bool_] = np.asarray(draw_plan(Chooser(where), image, *grid, mine).run())
    if not found.any() and options.fill is None:
        raise ValueError("where selects no patch: give fill= a value for all of the result")
    return found


def _draw_job(
    func: Any,
    source: Any,
    frame: Frame,
    where: Any,
    places: tuple[Any, ...] | None,
    options: Options,
) -> Job:
    """What is done to the image."""
    wanted = None if options.dtype is None else as_dtype(options.dtype)
    known = wanted
    if known is None and places and len(places) == 1 and hasattr(places[0], "dtype"):
        known = np.dtype(places[0].dtype)
    rule = as_rule(options.merge, options.weights, options.fill, options.finalize, known)
    check_dtypes(places, rule, options.finalize, wanted)
    mask: NDArray[np.bool_] | None = None
    if where is not None:
        mask = selected(where, frame, empty=True)
    check_filling(frame, mask, rule, options.fill, known)
    dtype, scale = np.dtype(source.dtype), as_scales(options.scale, frame)
    return Job(
        func=func,
        source=source,
        frame=frame,
        rule=rule,
        dtype=dtype,
        layout=faster_layout(frame) if options.layout is None else check_layout(options.layout),
        batch=_batch_of(frame, dtype, options),
        scale=scale,
        mask=mask,
        whole=mask is None,
        finalize=options.finalize,
        fill=options.fill,
        result_dtype=wanted,
        kinds=() if rule is None else kinds_of_model(func, frame, dtype, scale),
        exact=options.batch is not None or calls_at_once(func) is not None,
    )


def _batch_of(frame: Frame, dtype: np.dtype[Any], options: Options) -> int:
    """How many patches a batch holds."""
    if options.batch is None:
        limits, nbytes = current_limits(), options.batch_bytes
        usual = limits.grid_batch_bytes if options.merge is None else limits.batch_bytes
        size = usual if nbytes is None else as_bytes(nbytes, "batch_bytes")
        return batch_size(frame, dtype, size)
    if options.batch_bytes is not None:
        raise ValueError(
            f"batch={options.batch!r} and batch_bytes={options.batch_bytes!r} both say how large a batch is:"
            " leave one out"
        )
    batch_size(frame, dtype, 0)  # refuses what cannot be cut
    return min(frame.n_patches, as_count(options.batch, "batch"))


def _draw_resources(options: Options, func: Any) -> Resources:
    """With what means it is done."""
    workers, calls = options.workers, calls_at_once(func)
    ours = options.executor in (None, "threads")
    if workers is None:
        workers = default_workers(options.executor) if calls is None or not ours else calls + AHEAD
    workers = as_count(workers, "workers")
    return Resources(
        threads_for(func, workers) if ours else workers,
        options.executor,
        None if options.memory is None else as_bytes(options.memory),
        options.progress,
        limits=current_limits(),
    )


def _with_runner(drawn: Plan) -> Plan:
    """The plan with who runs it: the caller, threads of this process, other processes, or a cluster."""
    executor = drawn.resources.executor
    runner: Any = ThreadRun
    if not drawn.resources.in_this_process:
        if all(hasattr(executor, name) for name in ("submit", "scatter", "ncores")):
            from .runners.distributed import ClusterRun as runner
        else:
            from .runners.processes import ProcessRun as runner
    elif drawn.job.exact:
        runner = FilledRun
    elif isinstance(executor, str | None):
        unwatched = not drawn.resources.progress  # else it is told while func works
        if drawn.workers == 1 or (drawn.tasks == 1 and unwatched):
            runner = CallerRun
    return replace(drawn, resources=replace(drawn.resources, runner=runner.run))


def _warn_of_lost(labels: Labels, places: tuple[Any, ...] | None) -> None:
    """Say before any work which results will not know where on Earth their pixels lie."""
    lost = labels.lost(places)
    if lost:
        why = (
            "only a TIFF has room for them"
            if labels.stays
            else "its rows and columns are not those of the image"
        )
        warnings.warn(
            f"the GeoTIFF tags of the image are lost in {', '.join(lost)}: {why}", stacklevel=4
        )


def _resumed(drawn: Plan) -> Plan | None:
    """The plan as the journal of the run to be resumed has it; None where there is none."""
    places = drawn.destination.places
    if not drawn.destination.resume or not places:
        return None
    path = journal_path(places[0].path)
    record = read_journal(path)
    if record is None:
        return None
    check_same(record, drawn, path)
    tiles = tuple(record.header["tiles"])
    if len(tiles) != len(drawn.job.frame.axes):
        raise ValueError(
            f"{path} is damaged, its tiles have {len(tiles)} axes: begin again with resume=False"
        )
    # what is done was cut by the limits of that run
    limits = replace(drawn.resources.limits, block_elements=record.header["blocks"])
    resources = replace(drawn.resources, limits=limits)
    found = replace(drawn, resources=resources).with_tiles(tiles, record.header["batch"])
    return with_fitting_strips(replace(found, blocks_done=sum(map(len, record.done))))

"""`map_patches` on a dask array: the same tiles, pieces and blocks as tasks of a lazy dask array."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.limits import Limits
from ...geometry.rect import Index, Rect, intersect, shape_of, slices, whole
from ...geometry.schedule import Schedule, along
from ...merge.casts import cast, check_fill
from ...merge.compiled import CompiledMerge
from ...merge.pieces import Piece
from ...merge.reduction import State
from ...ops.chunked import Bits, Chunked, Tasks, chunked, new_array
from ...ops.selection import touched
from ..block_task import finalized, turned_mask
from ..job import Indexed, Job, Kind, as_results, kind_of
from ..plan import Plan
from ..tile_task import run_tile

__all__ = ["lazy_map"]

_FIRST = 2  # patches that func is shown to learn what it returns

Array = NDArray[Any]
Made = tuple[Tasks, list[Sequence[int]], Any]  # tasks, chunks, dtype


def lazy_map(plan: Plan, image: Any) -> Any:
    """The dask array, or tuple of them, that computes what ``plan`` would.

    One task per tile of patches, which follow the chunks of the image; one per piece of a tile that
    falls into a block of the result; one per block, which sums its pieces in the order in which
    `map_patches` does.
    """
    job, limits = replace(plan.job, source=None), plan.resources.limits
    kinds = _kinds_of(job)
    merges = [None if job.rule is None else job.merged(kind) for kind in kinds]
    layout = chunked(image, job.frame, _fits(job, merges, limits), limits.graph_read_bytes)
    token = _token(job, image, layout, kinds)
    tiles = _Tiles.of(job, image, layout, kinds, token)
    found = []
    for number, (kind, merged) in enumerate(zip(kinds, merges, strict=True)):
        name = f"map-patches-{number}-{token}" if len(kinds) > 1 else f"map-patches-{token}"
        made = (
            [_on_grid(tiles, name, number, kind)]
            if merged is None
            else _merged(tiles, name, number, merged)
        )
        for k, (tasks, chunks, dtype) in enumerate(made):
            image_name = name if len(made) == 1 else f"{name}-{k}"
            below = {tiles.name: tiles.tasks}
            found.append(new_array(tasks, image_name, chunks, dtype, below, image))
    return tuple(found) if len(found) > 1 else found[0]


def _fits(
    job: Job, merges: Sequence[CompiledMerge | None], limits: Limits
) -> Callable[[Sequence[int]], bool]:
    """Whether the accumulators of a tile that owns a block of so many elements are small enough."""
    ratio = math.prod(job.scale)
    sizes = sum([1.0 if m is None else m.reduction.itemsize * ratio for m in merges])

    def fits(lengths: Sequence[int]) -> bool:
        rows = zip(lengths, job.frame.axes, strict=True)
        reach = [n + axis.extent - 1 for n, axis in rows]
        return math.prod(reach) * sizes <= limits.graph_state_bytes

    return fits


def _token(job: Job, image: Any, layout: Chunked, kinds: list[Kind]) -> str:
    from dask.base import tokenize

    found: str = tokenize(job, image, layout.cuts, kinds)
    return found


# What func returns, before any patch is read


def _kinds_of(job: Job) -> list[Kind]:
    """The kinds of results that ``func`` returns, from a call on made-up patches: ones, else a ramp."""
    shape = (_FIRST, *job.frame.patch_shape)
    size = int(np.prod(shape))
    ramp = (np.arange(size) % 251).reshape(shape)
    first: Exception | None = None
    for patches in (np.ones(shape, job.dtype), ramp.astype(job.dtype)):
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return [kind_of(r) for r in as_results(_call(job.func, patches), _FIRST)]
        except Exception as error:
            first = first or error
    assert first is not None
    first.add_note(
        f"pantile: in func, called on {_FIRST} made-up patches {shape} of {job.dtype} to learn what it returns,"
        " as a dask array is only read when it is computed"
    )
    raise first


def _call(func: Any, patches: Array) -> Any:
    return func.func(patches, np.arange(_FIRST)) if isinstance(func, Indexed) else func(patches)


# One task per tile


@dataclass(frozen=True)
class _Work:
    """What the tasks of all tiles share; in the graph once."""

    job: Job
    layout: Chunked
    kinds: list[Kind]


@dataclass(frozen=True)
class _Tiles:
    """The layer of tiles: task ``(name, *index)`` makes a tile's states."""

    job: Job
    layout: Chunked
    name: str
    tasks: Tasks
    present: set[Index]  # tiles with patches to work on

    @classmethod
    def of(cls, job: Job, image: Any, layout: Chunked, kinds: list[Kind], token: str) -> _Tiles:
        name, work = f"map-patches-tile-{token}", f"map-patches-work-{token}"
        tasks = Tasks()
        tasks.keep(work, _Work(replace(job, mask=None), layout, kinds))
        shared = tasks.ref(work)
        reads = layout.read_tasks(tasks, image, f"map-patches-read-{token}")
        present = set()
        for index in layout.indices():
            mask = job.selection(layout.tile(index))
            if mask is None or mask.any():
                bits = None if mask is None else Bits.of(mask)
                tasks.put((name, *index), _run_tile, shared, index, bits, *reads(index))
                present.add(index)
        return cls(job, layout, name, tasks, present)


def _run_tile(work: _Work, index: Index, mask: Bits | None, *arrays: Array) -> list[State]:
    """The states of a tile, one for each result of ``func``."""
    layout = work.layout
    selection = None if mask is None else mask.array
    outcome = run_tile(work.job, layout.tile(index), layout.block(index, arrays), selection)
    if outcome.kinds != work.kinds:
        raise ValueError(
            f"func must return the same kind of result every time: now {outcome.kinds},"
            f" on made-up patches {work.kinds}"
        )
    return outcome.states


# Results on the grid: a block is what the patches of a tile gave


def _on_grid(tiles: _Tiles, name: str, number: int, kind: Kind) -> Made:
    job, frame = tiles.job, tiles.job.frame
    dtype = job.result_dtype or kind.dtype
    if kind.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"dtype={dtype} cannot hold complex results: use complex64 or complex128")
    if job.mask is not None and job.fill is not None:
        check_fill(job.fill, dtype)
    kept = [k for k in range(len(frame.axes)) if k != frame.channel]
    tasks, inner = Tasks(), (0,) * len(kind.shape)
    for index in tiles.layout.indices():
        tile = tiles.layout.tile(index)
        shape = (*along(kept, tile.counts, 1), *kind.shape)
        key = (name, *along(kept, index, 0), *inner)
        if index in tiles.present:
            mask = job.selection(tile)
            bits = None if mask is None else Bits.of(mask)
            states = tasks.ref((tiles.name, *index))
            tasks.put(key, _grid_block, states, number, shape, dtype, bits, job.fill)
        else:
            tasks.put(key, np.full, shape, job.fill, dtype)
    chunks = [[end - begin for begin, end in tiles.layout.tiles[k]] for k in kept]
    return tasks, [*chunks, *([n] for n in kind.shape)], dtype


def _grid_block(
    states: list[State], number: int, shape: Index, dtype: Any, mask: Bits | None, fill: Any
) -> Array:
    values = cast(states[number][0], dtype)
    if mask is None:
        return values.reshape(shape)
    found = np.full(shape, fill, dtype)
    found[mask.array.reshape(shape[: found.ndim - values.ndim + 1])] = values
    return found


# Merged results: a block is the sum of the pieces of the tiles that reach into it


@dataclass(frozen=True)
class _Finish:
    """What the tasks of all blocks share; in the graph once. Axes are canonical ones of the result."""

    merged: CompiledMerge
    schedule: Schedule
    finalize: Callable[[Array], Any] | None
    dtype: np.dtype[Any] | None  # what finalize's result is cast to; None for as it is

    @classmethod
    def of(cls, job: Job, layout: Chunked, merged: CompiledMerge) -> _Finish:
        frame = merged.frame
        follows = frame.follows(job.frame)
        spans: list[Rect] = []
        cuts: list[tuple[int, ...]] = []
        for k, axis in zip(follows, frame.axes, strict=True):
            if k is None or k == job.frame.channel:
                spans.append((axis.span(0, axis.count),))
                cuts.append((0, axis.size))
            else:
                spans.append(tuple([axis.span(*tile) for tile in layout.tiles[k]]))
                cuts.append(tuple([c * axis.scale for c in layout.cuts[k]]))
        alone = (False,) * len(spans)  # dask has an order of its own
        schedule = Schedule(tuple(spans), tuple(cuts), follows, len(job.frame.axes), alone)
        return cls(merged, schedule, job.finalize, job.result_dtype)

    def present(self, values: tuple[Array, ...], bounds: Rect) -> tuple[Array, ...]:
        """A finished block as the caller sees it: axes of the image, ``finalize`` called."""
        frame = self.merged.frame
        images = tuple([frame.restored(image) for image in values])
        if self.finalize is None:
            return images
        channel = None if frame.channel is None else frame.order[frame.channel]
        place = list(slices(tuple([bounds[k] for k in frame.back])))
        found = finalized(self.finalize, images[0], place, list(frame.image_shape), channel)
        return (found if self.dtype is None else cast(found, self.dtype),)


def _merged(tiles: _Tiles, name: str, number: int, merged: CompiledMerge) -> list[Made]:
    finish = _Finish.of(tiles.job, tiles.layout, merged)
    chunks, kept, dtypes = _arrange(finish)
    schedule, shared = finish.schedule, name.replace("map-patches", "map-patches-merge", 1)
    piece = name.replace("map-patches", "map-patches-piece", 1)
    below = Tasks()
    below.keep(shared, finish)
    covered = _covered(tiles.job, merged)
    several = len(dtypes) > 1
    made = [Tasks() for _ in dtypes]
    for block in schedule:
        pieces = []
        for tile in schedule.owners(block):
            if tile in tiles.present:
                key, states = (piece, *tile, *block), below.ref((tiles.name, *tile))
                below.put(key, _cut_piece, below.ref(shared), states, number, tile, block)
                pieces.append(below.ref(key))
        known = (
            None if covered is None else Bits.of(covered[slices(schedule.bounds(block))]) or True
        )
        at = (name, *(block[k] for k in kept))
        made_of = (_make_block, below.ref(shared), block, known, *pieces)
        if several:
            images = (f"{name}-images", *at[1:])
            below.put(images, *made_of)
            for k, tasks in enumerate(made):
                tasks.put((f"{name}-{k}", *at[1:]), _nth, below.ref(images), k)
        else:
            below.put(at, _first_of, *made_of[1:])
    if not several:
        return [(below, chunks, dtypes[0])]
    for tasks in made:
        tasks.update(below)
    return [(tasks, chunks, dtype) for tasks, dtype in zip(made, dtypes, strict=True)]


def _arrange(finish: _Finish) -> tuple[list[Sequence[int]], list[int], list[Any]]:
    """Chunks of the images, their axes as canonical ones, and their dtypes.

    ``finalize`` is called on a made-up slab of zeros to learn what it returns.
    """
    frame = finish.merged.frame
    kept = list(frame.back)
    chunks: list[Sequence[int]] = [np.diff(finish.schedule.cuts[k]).tolist() for k in kept]
    if finish.finalize is None:
        return chunks, kept, list(finish.merged.dtypes)
    shape = [axis.size if k == frame.channel else 1 for k, axis in enumerate(frame.axes)]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = finish.present((np.zeros(shape, finish.merged.dtype),), whole(shape))
    except Exception as error:
        error.add_note("pantile: in finalize, called on made-up zeros to learn what it returns")
        raise
    if frame.channel is not None:
        at = frame.order[frame.channel]
        if found.ndim < len(chunks):
            del chunks[at], kept[at]
        else:
            chunks[at] = [found.shape[at]]
    return chunks, kept, [found.dtype]


def _covered(job: Job, merged: CompiledMerge) -> NDArray[np.bool_] | None:
    """Which elements the selected patches touch; None where no patch is left out."""
    if job.mask is None:
        return None
    return touched(turned_mask(job, merged.frame), merged.frame.axes)


def _cut_piece(
    finish: _Finish, states: list[State], number: int, tile: Index, block: Index
) -> Piece:
    """What a tile has for a block: a view of most of its state, or a copy of the little that it is."""
    span = finish.schedule.span(tile)
    bounds = intersect(span, finish.schedule.bounds(block))
    if bounds is None:
        return span, None
    found = tuple([a[slices(bounds, span)] for a in states[number]])
    most = all(2 * part.size > a.size for part, a in zip(found, states[number], strict=True))
    return bounds, found if most else tuple([part.copy() for part in found])


def _make_block(
    finish: _Finish, block: Index, covered: Bits | bool | None, *pieces: Piece
) -> tuple[Array, ...]:
    """A block of the images, from its pieces in C order of their tiles."""
    bounds = finish.schedule.bounds(block)
    mask = None
    if covered is not None:
        mask = covered.array if isinstance(covered, Bits) else np.ones(shape_of(bounds), bool)
    return finish.present(finish.merged.block(bounds, pieces, mask), bounds)


def _first_of(*args: Any) -> Array:
    return _make_block(*args)[0]


def _nth(images: tuple[Array, ...], k: int) -> Array:
    return images[k]

"""`map_patches` on a dask array: the same tiles, pieces and blocks as tasks of a lazy dask array."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from ..geometry.tiles import Blocks, Bounds
from ..verbs.assembly import Joiner, Piece
from ..verbs.chunked import (
    Bits,
    Chunked,
    Tasks,
    check_chunks,
    chunked,
    is_dask,
    new_array,
    reaching,
)
from ..verbs.frame import Frame, exchanged
from ..verbs.merges import cast, check_fill
from ..verbs.reductions import State
from ..verbs.selection import touched
from .numbered import Numbered
from .outputs import FILLED, Kind, Output, as_results, kind_of
from .plan import Plan
from .tile import Job, run_tile

__all__ = ["check_lazy", "lazy_map"]

_STATE = 64 << 20  # bytes of a tile's accumulators; larger chunks are cut into several tiles
_FIRST = 2  # patches that func is shown to learn what it returns

Array = NDArray[Any]
Index = tuple[int, ...]


def check_lazy(image: Any, where: Any, **eager: Any) -> None:
    """Raise for a dask array whose blocks cannot be found, and for options of a run that is here and now."""
    check_chunks(image)
    if is_dask(where):
        raise TypeError(
            "where must be in memory, because it decides which tasks there are: where=where.compute()"
        )
    given = [name for name, value in eager.items() if value is not None and value is not False]
    if given:
        them = "them" if len(given) > 1 else "it"
        raise ValueError(
            f"{', '.join(given)}: of a dask array comes a dask array, and dask runs it. Leave {them} out, and call"
            " compute(), to_zarr() or store() on the result"
        )


def lazy_map(plan: Plan, image: Any) -> Any:
    """The dask array, or tuple of them, that computes what ``plan`` would.

    One task per tile of patches, which follow the chunks of the image; one per piece of a tile that
    falls into a block of the result; one per block, which sums its pieces in the order in which
    `map_patches` does.
    """
    job = plan.job
    kinds = _kinds_of(job)
    outputs = [None if job.rule is None else job.output(kind) for kind in kinds]
    layout = chunked(image, job.frame, _fits(job, outputs))
    token = _token(plan, image, layout, kinds)
    tiles = _Tiles.of(plan, image, layout, kinds, token)
    found = []
    for number, (kind, output) in enumerate(zip(kinds, outputs, strict=True)):
        name = f"map-patches-{number}-{token}" if len(kinds) > 1 else f"map-patches-{token}"
        made = (
            _listed(tiles, name, number, kind)
            if output is None
            else _merged(tiles, name, number, output)
        )
        found.append(new_array(made[0], name, *made[1:], {tiles.name: tiles.tasks}, image))
    return tuple(found) if len(found) > 1 else found[0]


def _fits(job: Job, outputs: Sequence[Output | None]) -> Callable[[Sequence[int]], bool]:
    """Whether the accumulators of a tile that owns a block of so many elements are small enough."""
    sizes = [1.0 if o is None else o.reduction.itemsize * math.prod(job.scale) for o in outputs]

    def fits(lengths: Sequence[int]) -> bool:
        rows = zip(lengths, job.frame.axes, strict=True)
        return math.prod(n + axis.extent - 1 for n, axis in rows) * sum(sizes) <= _STATE

    return fits


def _token(plan: Plan, image: Any, layout: Chunked, kinds: list[Kind]) -> str:
    from dask.base import tokenize

    asked = plan.mask, plan.finalize, plan.fill, plan.dtype
    found: str = tokenize(plan.job, image, layout.cuts, kinds, *asked)
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
                return [kind_of(r) for r in as_results(_made(job.func, patches), _FIRST)]
        except Exception as error:
            first = first or error
    assert first is not None
    first.add_note(
        f"pantile: in func, called on {_FIRST} made-up patches {shape} of {job.dtype} to learn what it returns,"
        " as a dask array is only read when it is computed"
    )
    raise first


def _made(func: Any, patches: Array) -> Any:
    return func.func(patches, np.arange(_FIRST)) if isinstance(func, Numbered) else func(patches)


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

    plan: Plan
    layout: Chunked
    name: str
    tasks: Tasks
    present: set[Index] | None  # tiles with patches to work on, None for all

    @classmethod
    def of(cls, plan: Plan, image: Any, layout: Chunked, kinds: list[Kind], token: str) -> _Tiles:
        name, work = f"map-patches-tile-{token}", f"map-patches-work-{token}"
        tasks = Tasks()
        tasks.keep(work, _Work(plan.job, layout, kinds))
        shared = tasks.ref(work)
        reads = layout.read_tasks(tasks, image, f"map-patches-read-{token}")
        present = set()
        for index in layout.indices():
            mask = plan.selection(layout.tile(index))
            if mask is None or mask.any():
                bits = None if mask is None else Bits.of(mask)
                tasks.put((name, *index), _run, shared, index, bits, *reads(index))
                present.add(index)
        return cls(plan, layout, name, tasks, None if plan.mask is None else present)

    def selection(self, index: Index) -> Bits | None:
        mask = self.plan.selection(self.layout.tile(index))
        return None if mask is None else Bits.of(mask)


def _run(work: _Work, index: Index, mask: Bits | None, *arrays: Array) -> list[State]:
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


Made = tuple[Tasks, list[Sequence[int]], Any]  # tasks, chunks, dtype


# Results on the grid: a block is what the patches of a tile gave


def _listed(tiles: _Tiles, name: str, number: int, kind: Kind) -> Made:
    plan, frame = tiles.plan, tiles.plan.job.frame
    dtype = plan.dtype or kind.dtype
    if kind.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"dtype={dtype} cannot hold complex results: use complex64 or complex128")
    if plan.mask is not None and plan.fill is not None:
        check_fill(plan.fill, dtype)
    kept = [k for k in range(len(frame.axes)) if k != frame.channel]
    tasks, inner = Tasks(), (0,) * len(kind.shape)
    for index in tiles.layout.indices():
        counts = tiles.layout.tile(index).counts
        shape = (*(counts[k] for k in kept), *kind.shape)
        key = (name, *(index[k] for k in kept), *inner)
        if tiles.present is None or index in tiles.present:
            states = tasks.ref((tiles.name, *index))
            mask = tiles.selection(index)
            tasks.put(key, _on_grid, states, number, shape, dtype, mask, plan.fill)
        else:
            tasks.put(key, np.full, shape, plan.fill, dtype)
    chunks = [[end - begin for begin, end in tiles.layout.tiles[k]] for k in kept]
    return tasks, [*chunks, *([n] for n in kind.shape)], dtype


def _on_grid(
    states: list[State], number: int, shape: Index, dtype: Any, mask: Bits | None, fill: Any
) -> Array:
    values = cast(states[number][0], dtype)
    if mask is None:
        return values.reshape(shape)
    whole = np.full(shape, fill, dtype)
    whole[mask.array.reshape(shape[: whole.ndim - values.ndim + 1])] = values
    return whole


# Merged results: a block is the sum of the pieces of the tiles that reach into it


@dataclass(frozen=True)
class _Finish:
    """What the tasks of all blocks share; in the graph once. Axes are canonical ones of the result."""

    joiner: Joiner
    blocks: Blocks
    spans: tuple[Bounds, ...]  # of tiles, per axis
    finalize: Callable[[Array], Any] | None
    dtype: np.dtype[Any] | None  # of the result; None while it is what finalize makes

    @classmethod
    def of(cls, plan: Plan, layout: Chunked, output: Output) -> _Finish:
        rule, frame, result = plan.job.rule, plan.job.frame, output.frame
        assert rule is not None
        channels = 0 if result.channel is None else result.axes[result.channel].size
        tiles = exchanged(layout.tiles, frame, result, ((0, 1),))
        rows = zip(result.axes, exchanged(layout.cuts, frame, result, (0, channels)), strict=True)
        cuts = tuple(tuple(c * axis.scale for c in cut) for axis, cut in rows)
        spans = tuple(
            tuple((axis.start(b), axis.start(e - 1) + axis.extent) for b, e in ranges)
            for axis, ranges in zip(result.axes, tiles, strict=True)
        )
        needs = tuple(
            tuple(reaching(reach, begin, end) for begin, end in itertools.pairwise(cut))
            for reach, cut in zip(spans, cuts, strict=True)
        )
        plain = plan.finalize is None
        natural = output.dtype if plain else rule.natural_dtype(output.kind.dtype)
        joiner = Joiner(result, rule, output.reduction, natural)
        dtype = natural if plain else plan.dtype
        return cls(joiner, Blocks(cuts, needs, tuple(map(len, spans))), spans, plan.finalize, dtype)

    @property
    def frame(self) -> Frame:
        return self.joiner.frame

    def span(self, tile: Index) -> Bounds:
        return tuple(axis[t] for axis, t in zip(self.spans, tile, strict=True))

    def shown(self, values: Array) -> Array:
        """A finished block as the caller sees it: axes of the image, ``finalize`` called."""
        slab = self.frame.restored(values)
        if self.finalize is None:
            return slab
        found = to_array(self.finalize(slab), "what finalize returned", FILLED)
        if found.dtype == object:
            raise TypeError("finalize must return an array of numbers, got objects or None")
        expected = [slab.shape]
        channel = self.frame.channel
        if channel is not None:
            at = self.frame.order[channel]
            before, after = slab.shape[:at], slab.shape[at + 1 :]
            expected = [before + after, before + found.shape[at : at + 1] + after]
        if found.shape not in expected:
            raise ValueError(
                f"finalize may drop or resize the channel axis only: it made {found.shape} of a slab {slab.shape}"
            )
        return found if self.dtype is None else cast(found, self.dtype)


def _merged(tiles: _Tiles, name: str, number: int, output: Output) -> Made:
    finish = _Finish.of(tiles.plan, tiles.layout, output)
    finish, chunks, kept = _arranged(finish)
    tasks, shared = Tasks(), name.replace("map-patches", "map-patches-merge", 1)
    piece = name.replace("map-patches", "map-patches-piece", 1)
    tasks.keep(shared, finish)
    covered = _covered(tiles.plan, output)
    for block in finish.blocks:
        pieces = []
        for tile, index in _reaching(tiles, finish, block):
            key, states = (piece, *tile, *block), tasks.ref((tiles.name, *index))
            tasks.put(key, _piece, tasks.ref(shared), states, number, tile, block)
            pieces.append(tasks.ref(key))
        known = None if covered is None else covered(finish.blocks.bounds(block))
        at = (name, *(block[k] for k in kept))
        tasks.put(at, _block, tasks.ref(shared), block, known, *pieces)
    return tasks, chunks, finish.dtype


def _arranged(finish: _Finish) -> tuple[_Finish, list[Sequence[int]], list[int]]:
    """``finish`` with its dtype known, chunks of the result, and its axes as canonical ones.

    ``finalize`` is called on a made-up slab of zeros to learn what it returns.
    """
    frame = finish.frame
    kept = [int(k) for k in np.argsort(frame.order)]
    chunks: list[Sequence[int]] = [np.diff(finish.blocks.cuts[k]).tolist() for k in kept]
    if finish.finalize is None:
        return finish, chunks, kept
    shape = [axis.size if k == frame.channel else 1 for k, axis in enumerate(frame.axes)]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = finish.shown(np.zeros(shape, finish.joiner.dtype))
    except Exception as error:
        error.add_note("pantile: in finalize, called on made-up zeros to learn what it returns")
        raise
    if frame.channel is not None:
        at = frame.order[frame.channel]
        if found.ndim < len(chunks):
            del chunks[at], kept[at]
        else:
            chunks[at] = [found.shape[at]]
    return replace(finish, dtype=found.dtype), chunks, kept


def _reaching(tiles: _Tiles, finish: _Finish, block: Index) -> Iterator[tuple[Index, Index]]:
    """The tiles that reach into a block, as indices on the result's axes and on the image's."""
    frame, result = tiles.plan.job.frame, finish.frame
    for tile in finish.blocks.owners(block):
        index = exchanged(tile, result, frame, 0)
        if tiles.present is None or index in tiles.present:
            yield tile, index


def _covered(plan: Plan, output: Output) -> Callable[[Bounds], Bits | bool] | None:
    """Which elements of a block the selected patches touch (True for all); None where no patch is left out."""
    if plan.mask is None:
        return None
    old, new = plan.job.frame.channel, output.frame.channel
    mask = plan.mask if old is None else plan.mask.squeeze(old)
    whole = touched(mask if new is None else np.expand_dims(mask, new), output.frame.axes)
    return lambda bounds: Bits.of(whole[tuple(slice(*b) for b in bounds)]) or True


def _piece(finish: _Finish, states: list[State], number: int, tile: Index, block: Index) -> Piece:
    """What a tile has for a block: a view of most of its state, or a copy of the little that it is."""
    span = finish.span(tile)
    rows = zip(span, finish.blocks.bounds(block), strict=True)
    bounds = tuple((max(s[0], b[0]), min(s[1], b[1])) for s, b in rows)
    place = tuple(slice(b - o, e - o) for (b, e), (o, _) in zip(bounds, span, strict=True))
    found = tuple(a[place] for a in states[number])
    most = all(2 * part.size > a.size for part, a in zip(found, states[number], strict=True))
    return bounds, found if most else tuple(part.copy() for part in found)


def _block(finish: _Finish, block: Index, covered: Bits | bool | None, *pieces: Piece) -> Array:
    """A block of the result, from its pieces in C order of their tiles."""
    bounds, joiner = finish.blocks.bounds(block), finish.joiner
    if covered is not None:
        shape = tuple(end - begin for begin, end in bounds)
        mask = covered.array if isinstance(covered, Bits) else np.ones(shape, bool)
        joiner = replace(joiner, touched=_here(mask))
    return finish.shown(joiner.values(bounds, pieces))


def _here(mask: NDArray[np.bool_]) -> Any:
    """A block's own part of the touched elements, in the place of all of them."""

    class Here:
        def __getitem__(self, _: Any) -> NDArray[np.bool_]:
            return mask

    return Here()

"""What is done: the function, the image it is given, and what its results merge into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from ..geometry.frame import Frame
from ..geometry.rect import Rect, slices
from ..geometry.tiling import Tile
from ..merge.casts import check_holes
from ..merge.compiled import CompiledMerge
from ..merge.spec import MergeRule
from ..merge.weighted import Weighted
from .chunks import ChunkStore
from .source import read_padded, read_region

FILLED = "return it filled, .filled(numpy.nan)"

__all__ = [
    "FILLED",
    "Indexed",
    "Job",
    "Kind",
    "Result",
    "as_results",
    "calls_at_once",
    "describe_kinds",
    "for_frame",
    "kind_of",
    "kinds_of_model",
    "result_frame",
    "threads_for",
]


Result: TypeAlias = NDArray[Any] | Weighted


class Kind(NamedTuple):
    """What must be the same in every call of ``func``: dtype and shape of a result, the number of patches aside."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    weights: str = ""  # of what it has weights: "patch", "sample" or nothing


class Indexed:
    """As ``func`` of `pantile.map_patches`: a function that also gets the number of each patch.

    ``func(batch, indices)``: ``indices`` are int64, ``(n,)``, and count in C order over ``(*batch axes,
    *counts)`` of the grid, as `pantile.PatchGrid` does.

    Examples
    --------
    >>> import numpy as np
    >>> import pantile as pt
    >>> pt.map_patches(pt.Indexed(lambda batch, indices: indices), np.zeros((3, 4)), 2, merge=None)
    array([[0, 1, 2],
           [3, 4, 5]])
    """

    def __init__(self, func: Callable[[NDArray[Any], NDArray[np.int64]], Any]) -> None:
        self.func = func

    def __call__(self, batch: NDArray[Any]) -> Any:
        raise AssertionError("the indices are missing: a tile calls func with them")


def calls_at_once(func: Any) -> int | None:
    """How many calls of ``func`` may run at a time, where it has a number of its own."""
    found = getattr(func, "calls_at_once", None)
    return None if found is None else int(found)


def kinds_of_model(
    func: Any, frame: Frame, dtype: np.dtype[Any], scale: tuple[int, ...]
) -> tuple[Kind, ...]:
    """The kinds of results of a func that bounds its calls (a model), by one call on a made-up patch.

    What is wrong with them is said by the first real ones; then, and of other functions, there are none.
    """
    if calls_at_once(func) is None:
        return ()
    try:
        results = as_results(func(np.ones((1, *frame.patch_shape), dtype)), 1)
        kinds = tuple([kind_of(result) for result in results])
        for kind in kinds:
            result_frame(kind, frame, scale)
    except Exception:
        return ()
    return kinds


def threads_for(func: Any, workers: int) -> int:
    """How many of ``workers`` threads are of use to ``func``.

    Of one that works on the cores, no more than its calls: what the others do meanwhile it would
    wait for (decision 0024).
    """
    calls = calls_at_once(func)
    return workers if calls is None or not func.on_cores else min(workers, calls)


def for_frame(func: Any, frame: Frame) -> Any:
    """``func``, told where the channel axis of a patch is, if it wants to know."""
    if not hasattr(func, "with_channel"):
        return func
    return func.with_channel(None if frame.channel is None else frame.channel - frame.n_batch)


@dataclass(frozen=True)
class Job:
    """What all tiles have in common; picklable if ``func``, ``finalize`` and the source are."""

    func: Callable[[NDArray[Any]], Any]
    source: Any
    frame: Frame
    rule: MergeRule | None  # None: results stand on the grid
    dtype: np.dtype[Any]  # of the image
    layout: str
    batch: int  # patches
    scale: tuple[int, ...]
    mask: (
        NDArray[np.bool_] | None
    )  # which patches take part; None for all, or where tasks are given theirs
    whole: bool  # every patch takes part
    finalize: Callable[[NDArray[Any]], Any] | None
    fill: Any
    result_dtype: np.dtype[Any] | None  # what the caller asked for
    kinds: tuple[Kind, ...] = ()  # of results, where they are known before func is called for good
    exact: bool = False  # batches hold exactly so many patches, but for the last

    @property
    def batch_bytes(self) -> int:
        return self.batch * self.frame.features * self.dtype.itemsize

    def selection(self, tile: Tile) -> NDArray[np.bool_] | None:
        """Which patches of a tile take part; None for all."""
        return None if self.mask is None else self.mask[slices(tile.ranges)]

    def size(self, tile: Tile) -> int:
        """How many patches of a tile take part."""
        mask = self.selection(tile)
        return tile.n_patches if mask is None else int(mask.sum())

    def read(self, tile: Tile, store: ChunkStore | None = None) -> NDArray[Any]:
        """The elements of what a tile's patches `reach` over; by way of ``store`` where there is one."""
        bounds = self.reach(tile)
        if store is None:
            return read_region(self.source, self.frame, bounds)
        with store.reading(tile) as source:
            return read_padded(source, self.frame, bounds)

    def reach(self, tile: Tile) -> Rect:
        """What a tile's selected patches reach over, halo and padding included; all of its span without a mask."""
        mask = self.selection(tile)
        if mask is None or mask.all() or not mask.any():
            return tile.span(self.frame.axes)
        found = []
        for k, (axis, (begin, _)) in enumerate(zip(self.frame.axes, tile.ranges, strict=True)):
            taken = np.flatnonzero(mask.any(tuple(j for j in range(mask.ndim) if j != k)))
            found.append(axis.span(begin + int(taken[0]), begin + int(taken[-1]) + 1))
        return tuple(found)

    def calling(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Job:
        """The same with ``wrap`` of ``func`` in its place, and its merges, compiled or yet to be, in common."""
        func = self.func
        wrapped = Indexed(wrap(func.func)) if isinstance(func, Indexed) else wrap(func)
        found = replace(self, func=wrapped)
        found.__dict__["_compiled"] = self._compiled
        return found

    def merged(self, kind: Kind) -> CompiledMerge:
        """The merge of results of ``kind``, compiled once; raises what is wrong with them."""
        if kind not in self._compiled:
            assert self.rule is not None
            frame = result_frame(kind, self.frame, self.scale)
            rule = self.rule.with_patch_weights(kind.weights) if kind.weights else self.rule
            found = rule.compile(frame, kind.dtype, self.whole)
            if self.whole:
                _check_cover(kind, self.frame, frame, self.scale, self.rule.fill)
            self._compiled[kind] = found
        return self._compiled[kind]

    @cached_property
    def _compiled(self) -> dict[Kind, CompiledMerge]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_compiled"}


def as_results(value: Any, n: int) -> list[Result]:
    """The results of one call as arrays of ``n`` patches each, with weights where they have some."""
    results: list[Result] = []
    for k, item in enumerate(value if isinstance(value, tuple) else (value,)):
        which = f"result {k} of func" if isinstance(value, tuple) else "what func returned"
        if isinstance(item, Weighted):
            item.check(n)
        array = to_array(item.patches if isinstance(item, Weighted) else item, which, FILLED)
        if item is None or array.dtype == object:
            found = type(item).__name__ if item is None else "objects"
            raise TypeError(
                f"{which} must be an array of numbers, one result per patch, got {found}"
            )
        if array.ndim < 1 or array.shape[0] != n:
            several = isinstance(item, list) and all(np.shape(each)[:1] == (n,) for each in item)
            raise ValueError(
                f"{which} must have {n} entries on its first axis, one per patch, got shape {array.shape}"
                + ": return a tuple, not a list, for several results" * several
            )
        results.append(item if isinstance(item, Weighted) else array)
    if not results:
        raise TypeError("func returned an empty tuple")
    return results


def kind_of(result: Result) -> Kind:
    if isinstance(result, Weighted):
        return Kind(result.patches.dtype, result.patches.shape[1:], result.per)
    return Kind(result.dtype, result.shape[1:])


def describe_kinds(kinds: list[Kind]) -> str:
    """Kinds of results as a message names them."""
    weights = {"": "", "patch": " with a weight each", "sample": " with weights of samples"}
    return ", ".join(
        f"(n, {', '.join(map(str, k.shape))}) {k.dtype}{weights[k.weights]}" for k in kinds
    )


def result_frame(kind: Kind, frame: Frame, scale: tuple[int, ...]) -> Frame:
    """The frame of the image that results of ``kind`` merge into."""
    if kind.shape == frame.patch_shape and all(s == 1 for s in scale):
        return frame
    n = frame.grid.ndim
    beside = 0 if frame.channel is None else frame.channel - frame.n_batch
    if len(kind.shape) == n:
        sizes, channels = kind.shape, 0
    elif len(kind.shape) == n + 1:
        at = n if frame.channel is None else beside
        sizes, channels = kind.shape[:at] + kind.shape[at + 1 :], kind.shape[at]
    else:
        raise ValueError(
            f"func must return patches (n, {', '.join('p' * n)}) with or without a channel axis,"
            f" got {_describe_shape(kind)}; for results that are no patches, say merge=None"
        )
    largest = tuple(p * s for p, s in zip(frame.grid.patch, scale, strict=True))
    if any(q > p or q < 1 for q, p in zip(sizes, largest, strict=True)) or 0 in kind.shape:
        raise ValueError(
            f"func returned patches of shape {sizes}, larger than the {largest} they stand for:"
            " return that shape or a smaller one (it is centred), or set scale="
        )
    return frame.resized(sizes, scale, channels)


def _describe_shape(kind: Kind) -> str:
    return f"(n, {', '.join(map(str, kind.shape))})" if kind.shape else "one number per patch, (n,)"


def _check_cover(
    kind: Kind, frame: Frame, result: Frame, scale: tuple[int, ...], fill: Any
) -> None:
    """Refuse holes, and say where they come from: patches that ``func`` has made smaller, maybe by mistake."""
    try:
        check_holes(result, fill)
    except ValueError as error:
        whole = tuple(p * s for p, s in zip(frame.grid.patch, scale, strict=True))
        found = tuple(p for p, cut in zip(result.patch, result.patched, strict=True) if cut)
        if found == whole:
            raise
        got, gave = (f"(n, {', '.join(map(str, p))})" for p in (frame.patch_shape, kind.shape))
        raise ValueError(
            f"func returned {gave} for {got}, which is taken for smaller patches, {found} of {whole},"
            f" that stand in the middle; then {error}"
        ) from None

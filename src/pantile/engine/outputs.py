"""What ``func`` gives, read off its first result: the frame, reduction and dtype of each output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from ..geometry.tiles import Bounds
from ..verbs.deposit import Deposit
from ..verbs.frame import Frame, single_axis, whole_axis
from ..verbs.merges import Rule, check_holes
from ..verbs.reductions import Reduction, State

__all__ = [
    "FILLED",
    "Kind",
    "Output",
    "Placed",
    "as_results",
    "kind_of",
    "listed_frame",
    "output_of",
]


FILLED = "return it filled, .filled(numpy.nan)"


class Kind(NamedTuple):
    """What must be the same in every call of ``func``: dtype and shape of a result, the number of patches aside."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Output:
    """One image that results merge into."""

    kind: Kind
    frame: Frame
    reduction: Reduction
    dtype: np.dtype[Any]


def as_results(value: Any, n: int) -> list[NDArray[Any]]:
    """The results of one call as arrays of ``n`` patches each."""
    results = []
    for k, item in enumerate(value if isinstance(value, tuple) else (value,)):
        which = f"result {k} of func" if isinstance(value, tuple) else "what func returned"
        array = to_array(item, which, FILLED)
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
        results.append(array)
    if not results:
        raise TypeError("func returned an empty tuple")
    return results


def kind_of(result: NDArray[Any]) -> Kind:
    return Kind(result.dtype, result.shape[1:])


def output_of(kind: Kind, frame: Frame, rule: Rule, scale: tuple[int, ...], whole: bool) -> Output:
    """The output that results of ``kind`` merge into; raises what is wrong with them."""
    result = _result_frame(kind, frame, scale)
    rule.check(result, kind.dtype)
    if whole:
        _check_cover(kind, frame, result, scale, rule.fill)
    return Output(
        kind, result, rule.reduction(result, kind.dtype, whole), rule.result_dtype(kind.dtype)
    )


def _check_cover(
    kind: Kind, frame: Frame, result: Frame, scale: tuple[int, ...], fill: Any
) -> None:
    """Refuse holes, and say where they come from: patches that ``func`` has made smaller, maybe by mistake."""
    try:
        check_holes(result, fill)
    except ValueError as error:
        whole = tuple(p * s for p, s in zip(frame.grid.patch, scale, strict=True))
        plain = [k >= result.n_batch and k != result.channel for k in range(len(result.axes))]
        found = tuple(p for p, patched in zip(result.patch, plain, strict=True) if patched)
        if found == whole:
            raise
        got, gave = (f"(n, {', '.join(map(str, p))})" for p in (frame.patch_shape, kind.shape))
        raise ValueError(
            f"func returned {gave} for {got}, which is taken for smaller patches, {found} of {whole},"
            f" that stand in the middle; then {error}"
        ) from None


def _result_frame(kind: Kind, frame: Frame, scale: tuple[int, ...]) -> Frame:
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
            f" got {_said(kind)}; for results that are no patches, say merge=None"
        )
    largest = tuple(p * s for p, s in zip(frame.grid.patch, scale, strict=True))
    if any(q > p or q < 1 for q, p in zip(sizes, largest, strict=True)) or 0 in kind.shape:
        raise ValueError(
            f"func returned patches of shape {sizes}, larger than the {largest} they stand for:"
            " return that shape or a smaller one (it is centred), or set scale="
        )
    return frame.resized(sizes, scale, channels)


def _said(kind: Kind) -> str:
    return f"(n, {', '.join(map(str, kind.shape))})" if kind.shape else "one number per patch, (n,)"


@dataclass(frozen=True)
class Placed(Reduction):
    """Results that stand on the grid: every entry comes from one tile, the others hold ``fill``."""

    fill: Any = None

    def init(self, shape: tuple[int, ...]) -> State:
        return (np.full(shape, 0 if self.fill is None else self.fill, dtype=self.dtype),)

    def add(self, state: State, deposit: Deposit) -> None:
        raise AssertionError("results on the grid are not merged")

    def combine(self, states: Sequence[State]) -> State:
        return (states[-1][0].copy(),)

    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]


def listed_frame(frame: Frame, kind: Kind) -> Frame:
    """The frame of an array that has one entry of ``kind`` for each patch."""
    counts = [n for k, n in enumerate(frame.counts) if k != frame.channel]
    axes = (*map(single_axis, counts), *map(whole_axis, kind.shape))
    return Frame(frame.grid, tuple(range(len(axes))), axes, len(counts), None)

"""A merge of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from ..geometry.rect import Rect, shape_of
from .batch import PatchBatch
from .reduction import Reduction, State

__all__ = ["Custom", "Merge", "check_state"]


@dataclass(frozen=True)
class Merge:
    """A merge as four functions on arrays; `map_patches`, `unpatchify` and `Merger` take it as ``merge=``.

    Parameters
    ----------
    init : ``init(shape, dtype) -> tuple of arrays``
        The state before anything was added: arrays of that shape (more axes may follow), for
        patches of that dtype.
    accumulate : ``accumulate(state, values, weights)``
        Adds one patch in place: ``state`` are views of the state where the patch lies, ``values``
        the patch, ``weights`` an array of its shape or None.
    combine : ``combine(state, other)``
        Adds another state of the same region, in place.
    finalize : ``finalize(state) -> array``
        The values, of the state's shape.

    Examples
    --------
    The root of the mean square:

    >>> import numpy as np
    >>> import pantile as pt
    >>> def accumulate(state, values, weights):
    ...     state[0][...] += values**2
    ...     state[1][...] += 1
    >>> def combine(state, other):
    ...     for mine, theirs in zip(state, other):
    ...         mine += theirs
    >>> rms = pt.Merge(
    ...     init=lambda shape, dtype: (np.zeros(shape), np.zeros(shape)),
    ...     accumulate=accumulate,
    ...     combine=combine,
    ...     finalize=lambda state: np.sqrt(state[0] / state[1]),
    ... )
    >>> patches = pt.patchify(np.full(4, -2.0), 2)
    >>> pt.unpatchify(patches, 4, merge=rms)
    array([2., 2., 2., 2.])
    """

    init: Callable[[tuple[int, ...], np.dtype[Any]], Sequence[NDArray[Any]]]
    accumulate: Callable[[State, NDArray[Any], NDArray[Any] | None], None]
    combine: Callable[[State, State], None]
    finalize: Callable[[State], NDArray[Any]]

    def __post_init__(self) -> None:
        for name in ("init", "accumulate", "combine", "finalize"):
            if not callable(getattr(self, name)):
                raise TypeError(f"Merge needs a function for {name}, got {getattr(self, name)!r}")

    def __repr__(self) -> str:
        said = (f"{f.name}={_name(getattr(self, f.name))}" for f in fields(self))
        return f"Merge({', '.join(said)})"

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """The dtype of the values, found by finalizing an empty state of one element."""
        with np.errstate(all="ignore"):
            return _values(self.finalize(check_state(self.init((1,), dtype), (1,))), (1,)).dtype


def check_state(made: Any, shape: tuple[int, ...]) -> State:
    """What ``init`` made, if it is the arrays that it should be."""
    arrays = made if isinstance(made, tuple | list) else ()
    if not arrays or not all(
        isinstance(a, np.ndarray) and a.shape[: len(shape)] == shape for a in arrays
    ):
        said = ", ".join(str(getattr(a, "shape", type(a).__name__)) for a in arrays)
        raise TypeError(
            f"Merge.init must return a tuple of arrays that begin with the shape {shape} it is asked for, got"
            f" {f'({said})' if arrays else type(made).__name__}"
        )
    return tuple(arrays)


def _values(found: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """What ``finalize`` returned, if it is one number per element."""
    values = to_array(found, "what Merge.finalize returned", "return it .filled(numpy.nan)")
    if values.shape != shape or values.dtype.kind not in "biufc":
        raise TypeError(
            f"Merge.finalize must return numbers of shape {shape}, got {values.dtype} of shape {values.shape}"
        )
    return values


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


@dataclass(frozen=True)
class Custom(Reduction):
    """A `Merge` as a reduction: one call per patch."""

    merge: Merge
    taper: NDArray[np.float64] | None = None
    elementwise = False
    undone: bool = False  # put the state back as it was where ``accumulate`` raises

    def init(self, shape: tuple[int, ...]) -> State:
        return check_state(self.merge.init(shape, self.dtype), shape)

    def add(self, state: State, batch: PatchBatch) -> None:
        area = batch.area
        patches = batch.gathered()
        taper, votes, _ = batch.all_weights(self.taper)
        weighted = self.taper is not None or batch.patch_weights is not None
        each = batch.runs.each()
        before: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for k, at in enumerate(zip(*each.at, strict=True)):
            rows = zip(area.axes, at, area.ranges, area.origin, strict=True)
            starts = [axis.start(int(i) + r[0]) - o for axis, i, r, o in rows]
            place = tuple(
                slice(s, s + a.extent, a.dilation) for s, a in zip(starts, area.axes, strict=True)
            )
            weights = (
                votes[each.sequence[k] - batch.first] * taper.reshape(self.patch)
                if weighted
                else None
            )
            parts = tuple(a[place] for a in state)
            if self.undone:
                before.extend((part, part.copy()) for part in parts)
            try:
                self.merge.accumulate(parts, patches[k], weights)
            except BaseException:
                for part, values in reversed(before):
                    part[...] = values
                raise

    def piecemeal(self) -> Reduction:
        return replace(self, undone=True)

    def combine(self, states: Sequence[State]) -> State:
        total = tuple(a.copy() for a in states[0])
        for other in states[1:]:
            self.merge.combine(total, other)
        return total

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return _values(self.merge.finalize(state), shape_of(bounds))

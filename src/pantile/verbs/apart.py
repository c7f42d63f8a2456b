"""Patches that lie apart: no two meet, so that merging is to put each in its place."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..kernels.flat import as_bits, flat
from ..kernels.parallel import each_in_parallel
from ..kernels.walk import Runs, gridded, line_tables, placed
from .extract import whole_runs
from .forms import PatchStack
from .merges import Rule

__all__ = ["lie_apart", "put"]

_UNCHANGED = frozenset({"mean", "sum", "max", "min", "median", "first", "last", "center"})
_LEAF = 1 << 20  # elements below which a second thread costs more than it brings


def lie_apart(stack: PatchStack, rule: Rule, view: NDArray[Any]) -> bool:
    """Whether the merge of these patches holds their elements as they are, each of one patch."""
    plain = rule.merge in _UNCHANGED if isinstance(rule.merge, str) else False
    arrays = (stack.patches, view)
    return (
        plain
        and rule.weights is None
        and not rule.patch_weights
        and stack.patches.dtype == view.dtype
        and as_bits(view.dtype) is not None
        and all(s >= 0 and s % a.itemsize == 0 for a in arrays for s in a.strides)
        and all(a.regular and (a.count < 2 or a.gap >= a.extent) for a in stack.frame.axes)
    )


def put(stack: PatchStack, view: NDArray[Any], fill: Any) -> None:
    """Write the patches to the image, and ``fill`` to what they leave."""
    from ..kernels.loops import copy_by_patch

    frame, bits = stack.frame, as_bits(view.dtype)
    if not all(axis.covers for axis in frame.axes):
        view[...] = fill
    ranges = tuple((0, n) for n in frame.counts)
    origin = (0,) * view.ndim
    goal = placed(flat(view, bits), frame.axes, origin, ranges, frame.gap, frame.along)
    source = gridded(flat(stack.patches, bits), ranges, frame.n_batch, frame.along)

    def move(runs: Runs) -> None:
        copy_by_patch(goal.memory, source.memory, *line_tables((goal, source), runs, frame.patch))

    each_in_parallel(move, whole_runs(frame).leaves(frame.features, _LEAF))

"""Patches that lie side by side, or farther apart: no two meet, so that merging is to put each in its place."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..geometry.limits import current_limits
from ..geometry.rect import whole
from ..kernels.loops import copy_by_patch
from ..kernels.memory import as_bits, flatten
from ..kernels.offsets import Runs, place_on_grid, place_on_image
from ..kernels.parallel import each_in_parallel
from ..merge.spec import MergeRule
from .extract import whole_runs
from .forms import PatchStack

__all__ = ["lie_side_by_side", "put"]


def lie_side_by_side(stack: PatchStack, rule: MergeRule, view: NDArray[Any]) -> bool:
    """Whether the merge of these patches holds their elements as they are, each of one patch."""
    arrays = (stack.patches, view)
    return (
        rule.keeps_alone()
        and stack.patches.dtype == view.dtype
        and as_bits(view.dtype) is not None
        and all(s >= 0 and s % a.itemsize == 0 for a in arrays for s in a.strides)
        and all(a.regular and (a.count < 2 or a.gap >= a.extent) for a in stack.frame.axes)
    )


def put(stack: PatchStack, view: NDArray[Any], fill: Any) -> None:
    """Write the patches to the image, and ``fill`` to what they leave."""
    frame, bits = stack.frame, as_bits(view.dtype)
    if not frame.covers:
        view[...] = fill
    ranges = whole(frame.counts)
    origin = (0,) * view.ndim
    goal = place_on_image(flatten(view, bits), frame.axes, origin, ranges, frame.gap, frame.along)
    source = place_on_grid(flatten(stack.patches, bits), ranges, frame.n_batch, frame.along)

    def move(runs: Runs) -> None:
        copy_by_patch(goal, source, runs, frame.patch)

    each_in_parallel(
        move, whole_runs(frame).leaves(frame.features, current_limits().cut_leaf_elements)
    )

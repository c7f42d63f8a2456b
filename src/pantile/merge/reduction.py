"""What a merge does: accumulate, combine, finalize, once for memory, streams and clusters.

A state is a tuple of arrays whose first axes are those of a region of the image. `Reduction.add`
puts patches into it, `combine` joins the states that pieces of the same block have, in a fixed
order, `finalize` makes values of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.rect import Rect
from ..kernels.collect import Kept
from ..kernels.memory import Flat, flatten, to_native
from .batch import PatchBatch, State
from .weights import Profile

__all__ = ["Collecting", "Meeting", "Reduction", "State"]


class Meeting(NamedTuple):
    """How values meet in a row of sums, where a merge can be made by gathering: by which body of `kernels.gather`,
    in which dtype, from what on; and whether sums are divided by weights. ``taper`` holds a weight per sample,
    ``vectors`` one vector per axis where it is their product, ``profiles`` the sums of weights along each axis
    where weight sums are a product."""

    body: str
    accumulator: np.dtype[Any]
    start: Any = 0
    divides: bool = False
    taper: NDArray[np.float64] | None = None
    vectors: tuple[NDArray[np.float64], ...] | None = None
    profiles: tuple[Profile, ...] | None = None


class Collecting(NamedTuple):
    """What the values of an element ``become``, where these are collected: an array for each image of the merge.
    ``taper`` holds a weight per sample."""

    become: Callable[[Kept], State]
    taper: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Reduction(ABC):
    """A merge of patches of one dtype into a region."""

    axes: tuple[AxisGrid, ...]
    patch: tuple[int, ...]
    dtype: np.dtype[Any]

    counted = False  # whether finalize wants the number of patches behind the state
    elementwise = True  # whether finalize looks at each element by itself

    def memory(self, patches: NDArray[Any]) -> Flat:
        """Patches as the loops of this merge read them."""
        return flatten(patches)

    def readable(self, patches: NDArray[Any]) -> NDArray[Any]:
        """Patches in a dtype the loops know."""
        return to_native(patches)

    @abstractmethod
    def init(self, shape: tuple[int, ...]) -> State:
        """A state into which nothing has been added."""

    @abstractmethod
    def add(self, state: State, batch: PatchBatch) -> None:
        """Add patches to a state, in place."""

    def of_one(self, patch: NDArray[Any]) -> State | None:
        """The state of a region that one patch fills, not weighted, in a dtype of fewer bytes that holds it as well;
        None where there is no such dtype."""
        return None

    def lasting(self, image: NDArray[Any]) -> State | None:
        """A state whose values are ``image``, where each is put once and stays; None where values of patches meet."""
        return None

    @abstractmethod
    def combine(self, states: Sequence[State]) -> State:
        """One new state from several of the same region, in the order given."""

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        """``state`` with another state joined into a part of its region, in place where it can be."""
        views = tuple(a[place] for a in state)
        for view, joined in zip(views, self.combine([views, part]), strict=True):
            view[...] = joined
        return state

    @abstractmethod
    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The merged values of a region whose elements lie in ``bounds``, on the way to ``dtype``."""

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        """Where weights add up to 0, so that there is no value; None for nowhere."""
        return None

    def finished(
        self, state: State, bounds: Rect, dtype: np.dtype[Any], fill: Any, untouched: bool
    ) -> NDArray[Any] | None:
        """The values of a region in ``dtype``, holes filled, in one pass; None where that takes several.

        ``untouched`` says whether there are elements that no patch touches.
        """
        return None

    def meeting(self) -> Meeting | None:
        """How this merge is made by gathering, where every patch takes part once; None where it cannot be."""
        return None

    def collecting(self) -> Collecting | None:
        """How this merge is made of the values of each element, where all patches are there; None where it is not."""
        return None

    def piecemeal(self) -> Reduction:
        """This merge for patches that come a few at a time, in any order, and may be taken back: a `Merger`'s."""
        return self

    def grown(self, state: State, most: int) -> State:
        """A state with room for ``most`` patches in one element."""
        return state

    def check(self, patches: NDArray[Any], times: int | None = None, known: int = 0) -> int:
        """Refuse patches of which ``times`` (by default, what the grid allows) cannot meet in one element.

        ``known`` is what this returned for those that came before.
        """
        return known

    def images(self, state: State, bounds: Rect, dtypes: Sequence[np.dtype[Any]]) -> State:
        """What the merge makes of a region, an array for each of its images."""
        return (self.finalize(state, bounds, dtypes[0]),)

    @cached_property
    def depth(self) -> int:
        """How often patches can meet in one position, padding included."""
        return math.prod(axis.most for axis in self.axes)

    @cached_property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """Of the arrays of a state."""
        return tuple([a.dtype for a in self.init((1,) * len(self.axes))])

    @property
    def itemsize(self) -> float:
        """Bytes of state per element."""
        return float(sum(a.nbytes for a in self.init((1,) * len(self.axes))))

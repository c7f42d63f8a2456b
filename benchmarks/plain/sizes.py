"""Which cases: each value of each dimension is met, not every combination of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cases import Case

__all__ = ["COVERING", "REGIMES", "Kind", "Size", "sized"]


@dataclass(frozen=True)
class Size:
    """How much work a cell is: elements of all patches together, and how many patches at most."""

    elements: float
    patches: float = 2e6

    def at_most(self, patches: float) -> Size:
        return Size(self.elements, min(self.patches, patches))


@dataclass(frozen=True)
class Kind:
    """A case without its size; patch and step are those of every axis."""

    ndim: int
    patch: int
    step: int
    dtype: str = "float32"

    @property
    def features(self) -> int:
        return int(self.patch**self.ndim)


def sized(kind: Kind, size: Size) -> Case:
    """The case of a kind whose patches hold about so many elements; two patches along each axis at least."""
    n = min(size.elements / kind.features, size.patches)
    count = max(2, round(n ** (1 / kind.ndim)))
    side = (count - 1) * kind.step + kind.patch
    return Case(*((each,) * kind.ndim for each in (side, kind.patch, kind.step)), kind.dtype)


COVERING: Sequence[Kind] = (
    Kind(2, 64, 32),
    Kind(2, 39, 39, "uint8"),
    Kind(2, 8, 1, "float64"),
    Kind(3, 8, 4, "uint16"),
    Kind(2, 39, 4),
    Kind(1, 256, 128),
    Kind(2, 256, 256, "uint16"),
    Kind(3, 3, 1),
    Kind(1, 64, 1, "float64"),
    Kind(2, 3, 3, "uint8"),
    Kind(2, 256, 128),
    Kind(3, 64, 64),
)
"""Every patch, regime, dtype and number of axes."""

REGIMES: Sequence[Kind] = (
    *(Kind(2, 3, step) for step in (3, 2, 1)),
    *(Kind(2, 8, step) for step in (8, 4, 1)),
    *(Kind(2, 39, step) for step in (39, 20, 4, 1)),
    *(Kind(2, 64, step) for step in (64, 32, 4, 1)),
    *(Kind(2, 256, step) for step in (256, 128, 4, 1)),
    *(Kind(1, patch, step) for patch, step in ((8, 4), (39, 39), (256, 1), (256, 4))),
    *(Kind(3, patch, step) for patch, step in ((8, 8), (39, 20), (8, 1), (64, 32), (39, 4))),
    *(Kind(2, 64, 32, dtype) for dtype in ("float64", "uint8", "uint16")),
    *(Kind(2, 8, 1, dtype) for dtype in ("uint8", "uint16")),
    *(Kind(2, 39, 39, dtype) for dtype in ("float64", "uint16")),
    *(Kind(2, 8, 4, dtype) for dtype in ("uint8",)),
)
"""All of each patch and step in two dimensions, and some of the others: for the main operations."""

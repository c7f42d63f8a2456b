"""Slow twins and Hypothesis strategies: what pantile is tested with, for tests around it to use.

`pantile.testing.slow` says every result again in plain loops, `pantile.testing.compare` asserts
that arrays agree, `pantile.testing.strategies` draws grids, images and weights (extra:
`pantile[testing]`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from . import compare, slow, slow_trees, strategies

__all__ = ["compare", "slow", "slow_trees", "strategies"]

if not TYPE_CHECKING:  # Hypothesis is imported by nobody who does not ask for it
    __getattr__, __dir__ = lazy_names(__name__, modules=__all__)

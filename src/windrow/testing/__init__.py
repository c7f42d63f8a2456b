"""Slow twins and Hypothesis strategies: what windrow is tested with, for tests around it to use.

`windrow.testing.slow` says every result again in plain loops, `windrow.testing.compare` asserts
that arrays agree, `windrow.testing.strategies` draws grids, images and weights (extra:
`windrow[testing]`).
"""

from . import compare, slow

__all__ = ["compare", "slow"]

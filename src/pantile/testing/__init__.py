"""Slow twins and Hypothesis strategies: what pantile is tested with, for tests around it to use.

`pantile.testing.slow` says every result again in plain loops, `pantile.testing.compare` asserts
that arrays agree, `pantile.testing.strategies` draws grids, images and weights (extra:
`pantile[testing]`).
"""

from . import compare, slow

__all__ = ["compare", "slow"]

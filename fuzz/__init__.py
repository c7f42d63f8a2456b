"""A differential fuzzer over the public API: ``python -m fuzz --minutes 5``.

Hypothesis draws grids, arrays and options; every result is held to the slow twins of
`pantile.testing.slow` or to the explicit matrix, with bounds checks in the compiled kernels. What
fails is made small and printed as a script that repeats it (extra: `pantile[testing]`).
"""

from .hunt import Failure, Hunt, hunt

__all__ = ["Failure", "Hunt", "hunt"]

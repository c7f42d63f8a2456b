"""Random calls of everything public, each made again from its name alone: what `benchmarks.same_bits` compares.

Only public names of pantile are used, so that the inside may be moved without a change here.
"""

__all__: list[str] = []

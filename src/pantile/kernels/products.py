"""The loops of products: patches times a vector, and numbers times patches."""

from __future__ import annotations

from functools import partial
from typing import Any

from numpy.typing import NDArray

from .compile import compiled
from .offsets import Operand, Runs, tabulate_lines

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["backproject", "project"]


def project(
    vector: Operand, src: Operand, runs: Runs, patch: tuple[int, ...], sums: NDArray[Any]
) -> None:
    """Add the product of each patch with the vector to the patch's place among the sums."""
    _project(vector.memory, src.memory, *tabulate_lines(vector, src, runs, patch), sums)


def backproject(
    vector: Operand, src: Operand, runs: Runs, patch: tuple[int, ...], numbers: NDArray[Any]
) -> None:
    """Add each patch times its number to the vector."""
    _backproject(vector.memory, src.memory, *tabulate_lines(vector, src, runs, patch), numbers)


# the order in which a patch's products are summed is free, so that they are summed several at a time
@partial(compiled, fastmath={"reassoc", "nsz", "contract"})
def _project(
    vector, src, places, src_runs, lengths, _, src_along, vector_lines, src_lines, length, vector_step,
    src_step, sums,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            of = src_runs[r] + k * src_along
            total = sums[places[r] + k]
            for m in range(src_lines.size):
                v = vector[vector_lines[m] :][: (length - 1) * vector_step + 1]
                s = src[of + src_lines[m] :][: (length - 1) * src_step + 1]
                if src_step == vector_step == 1:
                    for j in range(length):
                        total += v[j] * s[j]
                else:
                    for j in range(length):
                        total += v[j * vector_step] * s[j * src_step]
            sums[places[r] + k] = total


@compiled
def _backproject(
    vector, src, places, src_runs, lengths, _, src_along, vector_lines, src_lines, length, vector_step,
    src_step, numbers,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            of = src_runs[r] + k * src_along
            number = numbers[places[r] + k]
            for m in range(src_lines.size):
                v = vector[vector_lines[m] :][: (length - 1) * vector_step + 1]
                s = src[of + src_lines[m] :][: (length - 1) * src_step + 1]
                if src_step == vector_step == 1:
                    for j in range(length):
                        v[j] += number * s[j]
                else:
                    for j in range(length):
                        v[j * vector_step] += number * s[j * src_step]

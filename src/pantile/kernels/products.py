"""The loops of products and sums: patches times a vector, numbers times patches, sums over patches and images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compile import compiled
from .memory import flatten, sum_outer
from .offsets import Operand, Runs, tabulate_lines, tabulate_target

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = [
    "backproject",
    "project",
    "spread_rows",
    "square_columns",
    "square_rows",
    "sum_image",
    "sum_rows",
]


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


def sum_rows(src: Operand, runs: Runs, patch: tuple[int, ...], sums: NDArray[Any]) -> None:
    """Put the sum of each patch in the patch's place among the sums."""
    _sum_rows(sums, src.memory, runs.sequence, *_in_lines(src, runs, patch))


def square_rows(
    src: Operand, runs: Runs, patch: tuple[int, ...], sums: NDArray[Any], shift: float = 0.0
) -> None:
    """Put the sum of the squared distances of a patch's samples from ``shift`` in the patch's place."""
    _square_rows(sums, src.memory, runs.sequence, *_in_lines(src, runs, patch), shift)


def square_columns(
    src: Operand,
    runs: Runs,
    patch: tuple[int, ...],
    shift: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Add each sample less its ``shift`` to its place in ``found[0]``, and the square of that in ``found[1]``."""
    _square_columns(*found, shift, src.memory, *_in_lines(src, runs, patch))


def spread_rows(src: Operand, runs: Runs, patch: tuple[int, ...], sums: NDArray[Any]) -> None:
    """Put the sum of the squared distances from a patch's mean in the patch's place; of equal samples it is 0."""
    _spread_rows(sums, src.memory, runs.sequence, *_in_lines(src, runs, patch))


def _in_lines(src: Operand, runs: Runs, patch: tuple[int, ...]) -> tuple[Any, ...]:
    """Where the loops find the samples of patches; a step of 1 is None."""
    *found, step = tabulate_target(src, runs, patch)
    return (*found, None if step == 1 else step)


def sum_image(image: NDArray[Any], weights: Sequence[NDArray[np.float64]]) -> Any:
    """The sum of all elements, each times its weights, one along each axis."""
    memory, strides = flatten(image)
    leads = np.ones(1)
    for each in weights[:-1]:
        leads = np.multiply.outer(leads, each).ravel()
    steps = zip(image.shape[:-1], strides[:-1], strict=True)
    lines = sum_outer([np.arange(n, dtype=np.int64) * s for n, s in steps])
    step = None if strides[-1] == 1 else strides[-1]
    return _sum_lines(memory, lines, leads, weights[-1], step)


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


@partial(compiled, fastmath={"reassoc", "nsz", "contract"})
def _sum_rows(sums, src, places, src_runs, lengths, along, src_lines, length, step):
    size = length if step is None else (length - 1) * step + 1
    for r in range(lengths.size):
        for k in range(lengths[r]):
            of = src_runs[r] + k * along
            total = sums[places[r] + k]
            for m in range(src_lines.size):
                s = src[of + src_lines[m] :][:size]
                for j in range(length):
                    total += s[j if step is None else j * step]
            sums[places[r] + k] = total


@partial(compiled, fastmath={"reassoc", "nsz", "contract"})
def _square_rows(sums, src, places, src_runs, lengths, along, src_lines, length, step, shift):
    size = length if step is None else (length - 1) * step + 1
    for r in range(lengths.size):
        for k in range(lengths[r]):
            of = src_runs[r] + k * along
            total = 0.0
            for m in range(src_lines.size):
                s = src[of + src_lines[m] :][:size]
                for j in range(length):
                    x = s[j if step is None else j * step] - shift
                    total += x * x
            sums[places[r] + k] = total


@compiled
def _square_columns(total, squares, shift, src, src_runs, lengths, along, src_lines, length, step):
    size = length if step is None else (length - 1) * step + 1
    for r in range(lengths.size):
        for k in range(lengths[r]):
            of = src_runs[r] + k * along
            for m in range(src_lines.size):
                s = src[of + src_lines[m] :][:size]
                t = total[m * length :][:length]
                q = squares[m * length :][:length]
                c = shift[m * length :][:length]
                for j in range(length):
                    x = s[j if step is None else j * step] - c[j]
                    t[j] += x
                    q[j] += x * x


@partial(compiled, fastmath={"reassoc", "nsz", "contract"})
def _spread_rows(sums, src, places, src_runs, lengths, along, src_lines, length, step):
    size = length if step is None else (length - 1) * step + 1
    for r in range(lengths.size):
        for k in range(lengths[r]):
            of = src_runs[r] + k * along
            first = src[of + src_lines[0]] * 1.0
            mean = 0.0
            for m in range(src_lines.size):
                s = src[of + src_lines[m] :][:size]
                for j in range(length):
                    mean += s[j if step is None else j * step] - first
            mean /= src_lines.size * length
            total = 0.0
            for m in range(src_lines.size):
                s = src[of + src_lines[m] :][:size]
                for j in range(length):
                    x = (s[j if step is None else j * step] - first) - mean
                    total += x * x
            sums[places[r] + k] = total


@partial(compiled, fastmath={"reassoc", "nsz", "contract"})
def _sum_lines(src, lines, leads, weights, step):
    n = weights.size
    size = n if step is None else (n - 1) * step + 1
    total = 0.0
    for m in range(lines.size):
        s = src[lines[m] :][:size]
        part = 0.0
        for j in range(n):
            part += weights[j] * s[j if step is None else j * step]
        total += leads[m] * part
    return total

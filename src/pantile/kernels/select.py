"""Loops that put a value where it belongs, and those that count: one patch, or every patch, per element."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compile import compiled
from .offsets import LineTables, Operand, Runs, TargetLines, Weights

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["count", "keep_all", "pick", "put_owned"]

Memory = NDArray[Any]


def pick(
    dst: Memory,
    distance: Memory,
    owner: Memory,
    src: Memory,
    tables: LineTables,
    rank: Memory,
    sign: int,
    reach: Memory,
) -> None:
    """Give each element to the patch of least (reach of the sample, signed rank of the patch)."""
    _pick(dst, distance, owner, src, *tables, rank, sign, reach)


def put_owned(
    dst: Operand,
    owned: Operand | None,
    src: Operand,
    runs: Runs,
    at: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> None:
    """Put of each patch the box of samples ``low`` to ``high``, and mark in ``owned``, if given, where.

    A row of ``at`` says where among ``low`` and ``high`` the numbers of an axis stand for the first patch of
    each run.
    """
    steps = np.asarray([dst.strides, src.strides], dtype=np.int64)
    along = None if src.strides[-1] == dst.strides[-1] == 1 else 1
    _put_owned(
        dst.memory, None if owned is None else owned.memory, src.memory, dst.table(runs), src.table(runs), runs.lengths,
        dst.along, src.along, steps, runs.along, at, low, high, along,
    )  # fmt: skip


def keep_all(
    values: Memory,
    value_weights: Memory | None,
    used: Memory,
    src: Memory,
    tables: LineTables,
    weights: Weights,
) -> None:
    """Put every value, and its weight, in the next free place of its element."""
    _keep_all(values, value_weights, used, src, *tables, *weights)


def count(dst: Memory, tables: TargetLines, change: int) -> int:
    """Add ``change`` to every element of every patch; returns the largest number that is there then."""
    return int(_count(dst, *tables, change))


@compiled
def _pick(
    dst, distance, owner, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines,
    src_lines, length, dst_step, src_step, rank, sign, reach,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            mine = sign * (rank[r] + k)
            for m in range(dst_lines.size):
                for j in range(length):
                    i = at + dst_lines[m] + j * dst_step
                    q = reach[m * length + j]
                    if q < distance[i] or (q == distance[i] and mine < owner[i]):
                        distance[i] = q
                        owner[i] = mine
                        dst[i] = src[of + src_lines[m] + j * src_step]


@compiled
def _put_owned(
    dst, owned, src, dst_runs, src_runs, lengths, dst_along, src_along, steps, axis, at, low, high,
    strided,
):  # fmt: skip
    n_axes = at.shape[0]
    last = n_axes - 1
    sizes = np.empty(n_axes, np.int64)
    line = np.empty(n_axes, np.int64)
    dst_step = steps[0, last]
    src_step = steps[1, last]
    for r in range(lengths.size):
        for k in range(lengths[r]):
            to = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            lines = 1
            for a in range(n_axes):
                i = at[a, r] + (k if a == axis else 0)
                sizes[a] = high[i] - low[i]
                to += low[i] * steps[0, a]
                of += low[i] * steps[1, a]
                line[a] = 0
                if a < last:
                    lines *= sizes[a]
            n = sizes[last]
            for _ in range(lines if n > 0 else 0):
                if strided is None:
                    d = dst[to:][:n]
                    s = src[of:][:n]
                    for j in range(n):
                        d[j] = s[j]
                    if owned is not None:
                        o = owned[to:][:n]
                        for j in range(n):
                            o[j] = 1
                else:
                    for j in range(n):
                        dst[to + j * dst_step] = src[of + j * src_step]
                        if owned is not None:
                            owned[to + j * dst_step] = 1
                for b in range(last):
                    a = last - 1 - b
                    line[a] += 1
                    to += steps[0, a]
                    of += steps[1, a]
                    if line[a] < sizes[a]:
                        break
                    to -= sizes[a] * steps[0, a]
                    of -= sizes[a] * steps[1, a]
                    line[a] = 0


@compiled
def _keep_all(
    values, value_weights, used, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines,
    src_lines, length, dst_step, src_step, taper, patch_weights, first,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                for j in range(length):
                    i = at + dst_lines[m] + j * dst_step
                    values[i, used[i]] = src[of + src_lines[m] + j * src_step]
                    if value_weights is not None:
                        value_weights[i, used[i]] = (
                            patch_weights[first[r] + k] * taper[m * length + j]
                        )
                    used[i] += 1


@compiled
def _count(dst, runs, lengths, along, lines, length, step, change):
    most = 0
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = runs[r] + k * along
            for m in range(lines.size):
                d = dst[at + lines[m] :][: (length - 1) * step + 1]
                if step == 1:
                    for j in range(length):
                        d[j] += change
                        most = max(most, d[j])
                else:
                    for j in range(length):
                        d[j * step] += change
                        most = max(most, d[j * step])
    return most

"""Loops that put a value where it belongs, and those that count: one patch, or every patch, per element."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .compile import compiled
from .offsets import LineTables, TargetLines, Weights

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["count", "keep_all", "pick"]

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

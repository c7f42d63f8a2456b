"""The loops that operations share: each nest is written once, around the body of an operation.

*Feature order*: for each sample (the last first), for each run, a line over the patches of the run.
*Patch order*: for each run, for each of its patches, lines of neighbouring samples. In both, the
contributions to one element arrive by ascending patch index, so sums have the same bits.

Slices make indices start at 0, which spares the check for negative ones (measured: 3x). Steps that
are 1 are passed as None, and numba compiles a loop of its own for them (measured: 2x).
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .compile import compiled, compiled_with
from .offsets import (
    AtTables,
    FeatureTables,
    LineTables,
    Operand,
    Runs,
    Weights,
    lies_by_feature,
    tabulate_features,
    tabulate_lines,
)

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = [
    "UNWEIGHTED",
    "add_by_feature",
    "add_by_patch",
    "copy_by_feature",
    "copy_by_patch",
    "copy_runs",
    "keep_largest",
    "keep_smallest",
    "line_steps",
    "merge_at",
]

Memory = NDArray[Any]


def copy_runs(dst: Operand, src: Operand, runs: Runs, patch: tuple[int, ...]) -> None:
    """Copy patches in the order in which they lie where they go to."""
    copy = copy_by_feature if lies_by_feature(dst, patch) else copy_by_patch
    copy(dst, src, runs, patch)


def copy_by_feature(
    dst: Operand, src: Operand, runs: Runs, patch: tuple[int, ...], some: slice = slice(None)
) -> None:
    """Copy samples (``some`` of them, the last first), one line over the patches of each run at a time."""
    tables = tabulate_features(dst, src, runs, patch)
    steps, (goals, sources, *rest) = _feature_steps(tables), tables[:5]
    _copy_by_feature(dst.memory, src.memory, goals[some], sources[some], *rest, *steps, *UNWEIGHTED)


def copy_by_patch(dst: Operand, src: Operand, runs: Runs, patch: tuple[int, ...]) -> None:
    """Copy patches, one line of neighbouring samples at a time."""
    tables = tabulate_lines(dst, src, runs, patch)
    _copy_by_patch(dst.memory, src.memory, *tables[:8], *line_steps(tables), *UNWEIGHTED)


def add_by_feature(
    dst: Memory, src: Memory, tables: FeatureTables, weights: Weights | None
) -> None:
    """Add samples, weighted or not, one line over the patches of each run at a time."""
    if weights is None and tables.dst_along == tables.src_along == 1:
        _add_four_by_feature(dst, src, *tables[:5])
    else:
        _add_by_feature(dst, src, *tables[:5], *_feature_steps(tables), *(weights or UNWEIGHTED))


def add_by_patch(dst: Memory, src: Memory, tables: LineTables, weights: Weights | None) -> None:
    """Add patches, weighted or not, one line of neighbouring samples at a time."""
    _add_by_patch(dst, src, *tables[:8], *line_steps(tables), *(weights or UNWEIGHTED))


def keep_largest(dst: Memory, src: Memory, tables: LineTables) -> None:
    """Keep the largest value of each element; NaN wins."""
    _keep_largest(dst, src, *tables[:8], *line_steps(tables), *UNWEIGHTED)


def keep_smallest(dst: Memory, src: Memory, tables: LineTables) -> None:
    """Keep the smallest value of each element; NaN wins."""
    _keep_smallest(dst, src, *tables[:8], *line_steps(tables), *UNWEIGHTED)


def merge_at(
    how: str, counts: Memory, dst: Memory, src: Memory, rows: Memory, tables: AtTables
) -> bool:
    """``add`` patches given by flat index, or keep the ``larger`` or ``smaller`` values, and count them, in one call.

    Returns False, with nothing done, where an index is none of the grid's.
    """
    return bool(_MERGES_AT[how](counts, dst, src, rows, *tables[:3]))


UNWEIGHTED = None, None, None


def _feature_steps(tables: FeatureTables) -> tuple[int | None, int | None]:
    """How far the next patch of a run is, None for 1."""
    dst, src = tables.dst_along, tables.src_along
    return None if dst == 1 else dst, None if src == 1 else src


def line_steps(tables: LineTables) -> tuple[int | None, int | None]:
    """How far the next sample of a line is, None for 1."""
    dst, src = tables.dst_step, tables.src_step
    return None if dst == 1 else dst, None if src == 1 else src


# Bodies: what is there and what comes in; what is there then.


def _take(_, x):
    return x


def _add(there, x):
    return there + x


def _larger(there, x):
    return x if x > there or x != x else there


def _smaller(there, x):
    return x if x < there or x != x else there


# Nests


def _by_feature(body):
    def loop(
        dst, src, dst_samples, src_samples, dst_runs, src_runs, lengths, dst_step, src_step,
        taper, patch_weights, first,
    ):  # fmt: skip
        for f in range(dst_samples.size):
            for r in range(lengths.size):
                n = lengths[r]
                dst_size = n if dst_step is None else (n - 1) * dst_step + 1
                src_size = n if src_step is None else (n - 1) * src_step + 1
                d = dst[dst_samples[f] + dst_runs[r] :][:dst_size]
                s = src[src_samples[f] + src_runs[r] :][:src_size]
                if taper is None:
                    for k in range(n):
                        i = k if dst_step is None else k * dst_step
                        d[i] = body(d[i], s[k if src_step is None else k * src_step])
                else:
                    u = taper[f]
                    v = patch_weights[first[r] :][:n]
                    for k in range(n):
                        i = k if dst_step is None else k * dst_step
                        x = s[k if src_step is None else k * src_step]
                        d[i] = body(d[i], x * (u * v[k]))

    return loop


def _by_patch(body):
    def loop(
        dst, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length,
        dst_step, src_step, taper, patch_weights, first,
    ):  # fmt: skip
        dst_size = length if dst_step is None else (length - 1) * dst_step + 1
        src_size = length if src_step is None else (length - 1) * src_step + 1
        for r in range(lengths.size):
            for k in range(lengths[r]):
                at = dst_runs[r] + k * dst_along
                of = src_runs[r] + k * src_along
                for m in range(dst_lines.size):
                    d = dst[at + dst_lines[m] :][:dst_size]
                    s = src[of + src_lines[m] :][:src_size]
                    if taper is None:
                        for j in range(length):
                            i = j if dst_step is None else j * dst_step
                            d[i] = body(d[i], s[j if src_step is None else j * src_step])
                    else:
                        u = patch_weights[first[r] + k]
                        v = taper[m * length :][:length]
                        for j in range(length):
                            i = j if dst_step is None else j * dst_step
                            x = s[j if src_step is None else j * src_step]
                            d[i] = body(d[i], x * (u * v[j]))

    return loop


def _at(body):
    def loop(counts, dst, src, rows, axes, lines, length):
        n = 1
        for a in range(axes.shape[0]):
            n *= axes[a, 0]
        for k in range(rows.size):
            if not -n <= rows[k] < n:
                return False
        for k in range(rows.size):
            row = rows[k] if rows[k] >= 0 else rows[k] + n
            at = 0
            for q in range(axes.shape[0]):
                many, first, gap, last = axes[axes.shape[0] - 1 - q]
                at += min(first + row % many * gap, last)
                row //= many
            for m in range(lines.size):
                c = counts[at + lines[m] :][:length]
                d = dst[at + lines[m] :][:length]
                s = src[(k * lines.size + m) * length :][:length]
                for j in range(length):
                    c[j] += 1
                for j in range(length):
                    d[j] = body(d[j], s[j])
        return True

    return loop


_copy_by_feature = compiled_with(_by_feature, _take)
_copy_by_patch = compiled_with(_by_patch, _take)
_add_by_feature = compiled_with(_by_feature, _add)
_add_by_patch = compiled_with(_by_patch, _add)
_keep_largest = compiled_with(_by_patch, _larger)
_keep_smallest = compiled_with(_by_patch, _smaller)
_MERGES_AT = {
    "add": compiled_with(_at, _add),
    "larger": compiled_with(_at, _larger),
    "smaller": compiled_with(_at, _smaller),
}


@compiled
def _add_four_by_feature(dst, src, dst_samples, src_samples, dst_runs, src_runs, lengths):
    # Four neighbouring samples at once read and write each sum once instead of four times
    # (measured: 1.2 to 1.4x). At every element they still arrive in the order of the samples.
    f = 0
    while f < dst_samples.size:
        four = f + 3 < dst_samples.size and dst_samples[f] - dst_samples[f + 3] == 3
        for r in range(lengths.size):
            n = lengths[r]
            if four and n > 3:
                d = dst[dst_samples[f + 3] + dst_runs[r] :][: n + 3]
                s0 = src[src_samples[f] + src_runs[r] :][:n]
                s1 = src[src_samples[f + 1] + src_runs[r] :][:n]
                s2 = src[src_samples[f + 2] + src_runs[r] :][:n]
                s3 = src[src_samples[f + 3] + src_runs[r] :][:n]
                middle = d[3:]
                t1 = s1[1:]
                t2 = s2[2:]
                t3 = s3[3:]
                for k in range(n - 3):
                    middle[k] = (((middle[k] + s0[k]) + t1[k]) + t2[k]) + t3[k]
                d[1] += s2[0]
                d[2] = (d[2] + s1[0]) + s2[1]
                for k in range(3):
                    d[k] += s3[k]
                    d[n + k] += s0[n - 3 + k]
                d[n] = (d[n] + s1[n - 2]) + s2[n - 1]
                d[n + 1] += s1[n - 1]
                continue
            for g in range(f, f + 4 if four else f + 1):
                d = dst[dst_samples[g] + dst_runs[r] :][:n]
                s = src[src_samples[g] + src_runs[r] :][:n]
                for k in range(n):
                    d[k] += s[k]
        f += 4 if four else 1

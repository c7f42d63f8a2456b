"""Sums that do not depend on the order: a float64, and in 32 bits what rounding takes from it.

The pair (*sum*, *rest*) stands for ``sum + rest * unit(sum)``, where ``unit`` is 2^-31 times the last
place of the sum. The sum is always the float64 nearest to the pair, so it is the result, and the rest
is at most half of its last place. That is exact while the first place of the largest partial sum and
the last place of the smallest value added lie within 84 bits: float64 values may add up to 2^31 times
the smallest. Twelve bytes per sum; two float64 (double-double) would take sixteen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compile import compiled_with, known_to_numba
from .loops import UNWEIGHTED, line_steps
from .offsets import AtTables, LineTables, Weights

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

__all__ = ["add_exactly", "add_exactly_at", "rests_of"]

Memory = NDArray[Any]


def rests_of(accumulator: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of what rounding takes from sums of float64 or complex128: 32 bits for each number."""
    return np.dtype(np.int64 if accumulator.kind == "c" else np.int32)


def add_exactly(
    sums: Memory, rests: Memory, src: Memory, tables: LineTables, weights: Weights | None
) -> None:
    """Add patches, weighted or not, keeping in ``rests`` what rounding takes from ``sums``."""
    loop = _add_complex if sums.dtype.kind == "c" else _add_real
    loop(sums, rests, src, *tables[:8], *line_steps(tables), *(weights or UNWEIGHTED))


def add_exactly_at(
    counts: Memory, sums: Sequence[Memory], src: Memory, rows: Memory, tables: AtTables, limits: tuple[float, float],
    patch_weights: Memory,
) -> bool:  # fmt: skip
    """Add patches given by flat index, and count them, in one call.

    ``sums`` are the sums, their rests, and the same of the weights: empty where no
    weights are summed, as ``patch_weights`` where all patches weigh the same. Returns False, with
    nothing added, where an index is none of the grid's, or a weight is neither 0 nor within
    ``limits``.
    """
    loop = _add_complex_at if sums[0].dtype.kind == "c" else _add_real_at
    seen = np.zeros(1)  # what was read ahead, or the compiler would leave that out
    return bool(loop(counts, *sums, src, rows, *tables, *limits, patch_weights, seen))


# Bodies: a sum, its rest, and what comes in; the new sum and its rest.

_PLACE = np.int64(
    0x7FF << 52
)  # the exponent of a float64: alone, it is the first place of the number
_INVERSE = np.int64(2046 << 52)  # less the exponent of a power of two: that of its inverse
_UNIT, _UNITS, _MOST = (
    2.0**-83,
    2.0**83,
    2.0**30,
)  # a rest counts 2^-31 of the last place, up to half of it
_CACHED, _LINE = 1 << 18, 8  # sums that a cache holds, and in a line of it
_TO_WHOLE = 1.5 * 2.0**52  # added and taken away again, it leaves a whole number


def _two_sum(there, rest, x):
    # what rounding takes from there + x: Knuth, TAOCP 2, 4.2.2
    first = there + x
    part = first - there
    place = np.int64(np.float64(there).view(np.int64) & _PLACE).view(np.float64)
    low = ((there - (first - part)) + (x - part)) + rest * _UNIT * place
    total = first + low
    exponent = np.float64(total).view(np.int64) & _PLACE
    inverse = np.int64(_INVERSE - exponent).view(np.float64)
    left = (low - (total - first)) * _UNITS * inverse
    if not abs(left) <= _MOST:  # past the finite numbers there is nothing to make up for
        total, left = first, 0.0
    return total, np.int32((left + _TO_WHOLE) - _TO_WHOLE)


def _two_sums(there, rests, x):
    # of real and imaginary parts; a rest of 32 bits each
    real, low = _two_sum(there.real, np.int32(rests), x.real)
    imag, high = _two_sum(there.imag, np.int32(rests >> 32), x.imag)
    return complex(real, imag), (np.int64(high) << 32) | (np.int64(low) & 0xFFFFFFFF)


# Nests


def _pairs_by_patch(body):
    known_to_numba(_two_sum)  # a body of complex sums calls it

    def loop(
        sums, rests, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines,
        length, dst_step, src_step, taper, patch_weights, first,
    ):  # fmt: skip
        dst_size = length if dst_step is None else (length - 1) * dst_step + 1
        src_size = length if src_step is None else (length - 1) * src_step + 1
        for r in range(lengths.size):
            for k in range(lengths[r]):
                at = dst_runs[r] + k * dst_along
                of = src_runs[r] + k * src_along
                for m in range(dst_lines.size):
                    h = sums[at + dst_lines[m] :][:dst_size]
                    e = rests[at + dst_lines[m] :][:dst_size]
                    s = src[of + src_lines[m] :][:src_size]
                    if taper is None:
                        for j in range(length):
                            i = j if dst_step is None else j * dst_step
                            x = s[j if src_step is None else j * src_step]
                            h[i], e[i] = body(h[i], e[i], x * 1.0)
                    else:
                        u = patch_weights[first[r] + k]
                        v = taper[m * length :][:length]
                        for j in range(length):
                            i = j if dst_step is None else j * dst_step
                            x = s[j if src_step is None else j * src_step]
                            h[i], e[i] = body(h[i], e[i], x * (u * v[j]))

    return loop


def _pairs_at(body, weight_body):
    known_to_numba(_two_sum)  # a body of complex sums calls it

    def loop(
        counts, sums, rests, weight, weight_rests, src, rows, axes, lines, length, taper, least, most,
        patch_weights, seen,
    ):  # fmt: skip
        n = 1
        for a in range(axes.shape[0]):
            n *= axes[a, 0]
        for k in range(rows.size):
            if not -n <= rows[k] < n:
                return False
        for k in range(patch_weights.size):
            if not (patch_weights[k] == 0 or least <= patch_weights[k] <= most):
                return False
        for k in range(rows.size):
            row = rows[k] if rows[k] >= 0 else rows[k] + n
            at = 0
            for q in range(axes.shape[0]):
                many, first, gap, last = axes[axes.shape[0] - 1 - q]
                at += min(first + row % many * gap, last)
                row //= many
            if sums.size > _CACHED:
                # all lines of memory at once: one after the other, each would wait for the main memory
                for m in range(lines.size):
                    c = counts[at + lines[m] :][:length]
                    h = sums[at + lines[m] :][:length]
                    e = rests[at + lines[m] :][:length]
                    for j in range(0, length, _LINE):
                        seen[0] += c[j] + h[j].real + e[j]
                    seen[0] += c[length - 1] + h[length - 1].real + e[length - 1]
                    if weight.size:
                        g = weight[at + lines[m] :][:length]
                        f = weight_rests[at + lines[m] :][:length]
                        for j in range(0, length, _LINE):
                            seen[0] += g[j] + f[j]
                        seen[0] += g[length - 1] + f[length - 1]
            u = patch_weights[k] if patch_weights.size else 1.0
            for m in range(lines.size):
                c = counts[at + lines[m] :][:length]
                for j in range(length):
                    c[j] += 1
                h = sums[at + lines[m] :][:length]
                e = rests[at + lines[m] :][:length]
                s = src[(k * lines.size + m) * length :][:length]
                if taper.size:
                    v = taper[m * length :][:length]
                    for j in range(length):
                        h[j], e[j] = body(h[j], e[j], s[j] * (u * v[j]))
                else:
                    for j in range(length):
                        h[j], e[j] = body(h[j], e[j], s[j] * 1.0)
                if weight.size:
                    v = taper[m * length :][:length]
                    g = weight[at + lines[m] :][:length]
                    f = weight_rests[at + lines[m] :][:length]
                    for j in range(length):
                        g[j], f[j] = weight_body(g[j], f[j], u * v[j])
        return True

    return loop


_add_real = compiled_with(_pairs_by_patch, _two_sum)
_add_real_at = compiled_with(_pairs_at, _two_sum, _two_sum)
_add_complex = compiled_with(_pairs_by_patch, _two_sums)
_add_complex_at = compiled_with(_pairs_at, _two_sums, _two_sum)

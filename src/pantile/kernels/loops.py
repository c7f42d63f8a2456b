"""The loops. Each goes over runs of patches and the samples of a patch, in one of two orders.

*Feature order*: for each sample (the last first), for each run, a line over the patches of the run.
*Patch order*: for each run, for each of its patches, lines of neighbouring samples. In both, the
contributions to one element arrive by ascending patch index, so sums have the same bits.

Of every operand a loop knows where the first patch of each run lies (``_runs``), how far its
neighbour is (``_along``), and where samples (``_samples``) or lines of samples (``_lines``) lie in
a patch. Slices make indices start at 0, which spares the check for negative ones (measured: 3x);
steps known to be 1 are loops of their own (measured: 2x).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .compiled import compiled

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = [
    "add_by_feature",
    "add_by_patch",
    "add_exactly",
    "backproject",
    "claim",
    "copy_by_feature",
    "copy_by_patch",
    "count",
    "keep",
    "maximum",
    "minimum",
    "moments",
    "project",
    "scatter_exactly",
]


def copy_by_feature(dst: Any, src: Any, *args: Any) -> None:
    """Copy samples, one line over the patches of each run at a time."""
    *tables, dst_along, src_along = args
    if dst_along == src_along == 1:
        _copy_by_feature(dst, src, *tables)
    else:
        _copy_by_feature_strided(dst, src, *tables, dst_along, src_along)


def copy_by_patch(dst: Any, src: Any, *args: Any) -> None:
    """Copy patches, one line of neighbouring samples at a time."""
    *tables, dst_step, src_step = args
    if dst_step == src_step == 1:
        _copy_by_patch(dst, src, *tables)
    else:
        _copy_by_patch_strided(dst, src, *tables, dst_step, src_step)


def add_by_feature(dst: Any, src: Any, *args: Any) -> None:
    """Add samples, weighted by ``taper`` (per sample, last first) and ``votes`` (per patch), or neither."""
    *tables, dst_along, src_along, taper, votes, first = args
    if dst_along == src_along == 1 and taper is None:
        _add_unweighted(dst, src, *tables)
    elif dst_along == src_along == 1:
        _add_by_feature(dst, src, *tables, taper, votes, first)
    else:
        _add_by_feature_strided(dst, src, *tables, dst_along, src_along, taper, votes, first)


def add_by_patch(dst: Any, src: Any, *args: Any) -> None:
    """Add patches, weighted by ``taper`` (per sample) and ``votes`` (per patch), or neither."""
    *tables, dst_step, src_step, taper, votes, first = args
    if dst_step == src_step == 1:
        _add_by_patch(dst, src, *tables, taper, votes, first)
    else:
        _add_by_patch_strided(dst, src, *tables, dst_step, src_step, taper, votes, first)


@compiled
def _copy_by_feature(dst, src, dst_samples, src_samples, dst_runs, src_runs, lengths):
    for f in range(dst_samples.size):
        for r in range(lengths.size):
            n = lengths[r]
            d = dst[dst_samples[f] + dst_runs[r] :][:n]
            s = src[src_samples[f] + src_runs[r] :][:n]
            for k in range(n):
                d[k] = s[k]


@compiled
def _copy_by_feature_strided(
    dst, src, dst_samples, src_samples, dst_runs, src_runs, lengths, dst_along, src_along
):
    for f in range(dst_samples.size):
        for r in range(lengths.size):
            n = lengths[r]
            d = dst[dst_samples[f] + dst_runs[r] :][: (n - 1) * dst_along + 1]
            s = src[src_samples[f] + src_runs[r] :][: (n - 1) * src_along + 1]
            if dst_along == 1:
                for k in range(n):
                    d[k] = s[k * src_along]
            else:
                for k in range(n):
                    d[k * dst_along] = s[k * src_along]


@compiled
def _copy_by_patch(
    dst, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length
):
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                d = dst[at + dst_lines[m] :][:length]
                s = src[of + src_lines[m] :][:length]
                for j in range(length):
                    d[j] = s[j]


@compiled
def _copy_by_patch_strided(
    dst, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length,
    dst_step, src_step,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                d = dst[at + dst_lines[m] :][: (length - 1) * dst_step + 1]
                s = src[of + src_lines[m] :][: (length - 1) * src_step + 1]
                for j in range(length):
                    d[j * dst_step] = s[j * src_step]


@compiled
def _add_unweighted(dst, src, dst_samples, src_samples, dst_runs, src_runs, lengths):
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


@compiled
def _add_by_feature(
    dst, src, dst_samples, src_samples, dst_runs, src_runs, lengths, taper, votes, first
):
    for f in range(dst_samples.size):
        for r in range(lengths.size):
            n = lengths[r]
            d = dst[dst_samples[f] + dst_runs[r] :][:n]
            s = src[src_samples[f] + src_runs[r] :][:n]
            v = votes[first[r] :][:n]
            u = taper[f]
            for k in range(n):
                d[k] += s[k] * (u * v[k])


@compiled
def _add_by_feature_strided(
    dst, src, dst_samples, src_samples, dst_runs, src_runs, lengths, dst_along, src_along, taper,
    votes, first,
):  # fmt: skip
    for f in range(dst_samples.size):
        for r in range(lengths.size):
            n = lengths[r]
            d = dst[dst_samples[f] + dst_runs[r] :][: (n - 1) * dst_along + 1]
            s = src[src_samples[f] + src_runs[r] :][: (n - 1) * src_along + 1]
            if taper is not None:
                v = votes[first[r] :][:n]
                u = taper[f]
                for k in range(n):
                    d[k * dst_along] += s[k * src_along] * (u * v[k])
            else:
                for k in range(n):
                    d[k * dst_along] += s[k * src_along]


@compiled
def _add_by_patch(
    dst, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length,
    taper, votes, first,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                d = dst[at + dst_lines[m] :][:length]
                s = src[of + src_lines[m] :][:length]
                if taper is not None:
                    v = taper[m * length :][:length]
                    u = votes[first[r] + k]
                    for j in range(length):
                        d[j] += s[j] * (u * v[j])
                else:
                    for j in range(length):
                        d[j] += s[j]


@compiled
def _add_by_patch_strided(
    dst, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length,
    dst_step, src_step, taper, votes, first,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                d = dst[at + dst_lines[m] :][: (length - 1) * dst_step + 1]
                s = src[of + src_lines[m] :][: (length - 1) * src_step + 1]
                if taper is not None:
                    v = taper[m * length :][:length]
                    u = votes[first[r] + k]
                    for j in range(length):
                        d[j * dst_step] += s[j * src_step] * (u * v[j])
                else:
                    for j in range(length):
                        d[j * dst_step] += s[j * src_step]


@compiled
def count(dst, dst_runs, lengths, dst_along, dst_lines, length, dst_step, change):
    """Add ``change`` to every element of every patch; returns the largest number that is there then."""
    most = 0
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            for m in range(dst_lines.size):
                d = dst[at + dst_lines[m] :][: (length - 1) * dst_step + 1]
                if dst_step == 1:
                    for j in range(length):
                        d[j] += change
                        most = max(most, d[j])
                else:
                    for j in range(length):
                        d[j * dst_step] += change
                        most = max(most, d[j * dst_step])
    return most


def add_exactly(high: Any, low: Any, src: Any, *args: Any) -> None:
    """Add patches, keeping in ``low`` what rounding takes from ``high`` (Knuth's two-sum).

    Weighted by ``taper`` (per sample) and ``votes`` (per patch), or neither.
    """
    *tables, dst_step, src_step, taper, votes, first = args
    if dst_step != 1 or src_step != 1:
        _add_exactly_strided(high, low, src, *tables, dst_step, src_step, taper, votes, first)
    elif taper is None:
        _add_exactly(high, low, src, *tables)
    else:
        _add_exactly_weighted(high, low, src, *tables, taper, votes, first)


@compiled
def _add_exactly(
    high, low, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length
):
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                h = high[at + dst_lines[m] :][:length]
                e = low[at + dst_lines[m] :][:length]
                s = src[of + src_lines[m] :][:length]
                for j in range(length):
                    x = s[j] * 1.0
                    a = h[j]
                    total = a + x
                    part = total - a
                    e[j] += (a - (total - part)) + (x - part)
                    h[j] = total


@compiled
def _add_exactly_weighted(
    high, low, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines,
    length, taper, votes, first,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            vote = votes[first[r] + k]
            for m in range(dst_lines.size):
                h = high[at + dst_lines[m] :][:length]
                e = low[at + dst_lines[m] :][:length]
                s = src[of + src_lines[m] :][:length]
                w = taper[m * length :][:length]
                for j in range(length):
                    x = s[j] * (vote * w[j])
                    a = h[j]
                    total = a + x
                    part = total - a
                    e[j] += (a - (total - part)) + (x - part)
                    h[j] = total


@compiled
def _add_exactly_strided(
    high, low, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines,
    length, dst_step, src_step, taper, votes, first,
):  # fmt: skip
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                h = high[at + dst_lines[m] :][: (length - 1) * dst_step + 1]
                e = low[at + dst_lines[m] :][: (length - 1) * dst_step + 1]
                s = src[of + src_lines[m] :][: (length - 1) * src_step + 1]
                for j in range(length):
                    x = s[j * src_step] * 1.0
                    if taper is not None:
                        x *= votes[first[r] + k] * taper[m * length + j]
                    a = h[j * dst_step]
                    total = a + x
                    part = total - a
                    e[j * dst_step] += (a - (total - part)) + (x - part)
                    h[j * dst_step] = total


@compiled
def scatter_exactly(
    counts, high, low, weight, weight_low, src, rows, axes, lines, length, taper, votes, least, most
):  # fmt: skip
    """Add patches given by flat index, and count them, as `add_exactly` and `count` do, in one call.

    A row of ``axes`` is the number of patches along an axis and, in elements of memory, where the
    first one starts, the distance between two, and where the last one starts. ``weight`` is empty
    where no weights are summed, ``taper`` where nothing weighs, ``votes`` where all patches weigh
    the same. Returns False, with nothing added, where an index is none of the grid's, or a vote is
    neither 0 nor between ``least`` and ``most``.
    """
    n = 1
    for a in range(axes.shape[0]):
        n *= axes[a, 0]
    for k in range(rows.size):
        if not -n <= rows[k] < n:
            return False
    for k in range(votes.size):
        if not (votes[k] == 0 or least <= votes[k] <= most):
            return False
    for k in range(rows.size):
        row = rows[k] if rows[k] >= 0 else rows[k] + n
        at = 0
        for q in range(axes.shape[0]):
            count, first, gap, last = axes[axes.shape[0] - 1 - q]
            at += min(first + row % count * gap, last)
            row //= count
        vote = votes[k] if votes.size else 1.0
        for m in range(lines.size):
            s = src[(k * lines.size + m) * length :][:length]
            h = high[at + lines[m] :][:length]
            e = low[at + lines[m] :][:length]
            if taper.size:
                w = taper[m * length :][:length]
                for j in range(length):
                    x = s[j] * (vote * w[j])
                    a = h[j]
                    total = a + x
                    part = total - a
                    e[j] += (a - (total - part)) + (x - part)
                    h[j] = total
            else:
                for j in range(length):
                    x = s[j] * 1.0
                    a = h[j]
                    total = a + x
                    part = total - a
                    e[j] += (a - (total - part)) + (x - part)
                    h[j] = total
            if weight.size:
                w = taper[m * length :][:length]
                g = weight[at + lines[m] :][:length]
                f = weight_low[at + lines[m] :][:length]
                for j in range(length):
                    y = vote * w[j]
                    b = g[j]
                    added = b + y
                    rest = added - b
                    f[j] += (b - (added - rest)) + (y - rest)
                    g[j] = added
            c = counts[at + lines[m] :][:length]
            for j in range(length):
                c[j] += 1
    return True


@compiled
def maximum(
    dst, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length,
    dst_step, src_step,
):  # fmt: skip
    """Keep the largest value; NaN wins."""
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                d = dst[at + dst_lines[m] :][: (length - 1) * dst_step + 1]
                s = src[of + src_lines[m] :][: (length - 1) * src_step + 1]
                for j in range(length):
                    x = s[j * src_step]
                    if x > d[j * dst_step] or x != x:
                        d[j * dst_step] = x


@compiled
def minimum(
    dst, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines, src_lines, length,
    dst_step, src_step,
):  # fmt: skip
    """Keep the smallest value; NaN wins."""
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                d = dst[at + dst_lines[m] :][: (length - 1) * dst_step + 1]
                s = src[of + src_lines[m] :][: (length - 1) * src_step + 1]
                for j in range(length):
                    x = s[j * src_step]
                    if x < d[j * dst_step] or x != x:
                        d[j * dst_step] = x


@compiled
def claim(
    dst, distance, owner, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines,
    src_lines, length, dst_step, src_step, rank, sign, reach,
):  # fmt: skip
    """Give each element to the patch of least (reach of the sample, signed rank of the patch)."""
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
def keep(
    slots, slot_weights, used, src, dst_runs, src_runs, lengths, dst_along, src_along, dst_lines,
    src_lines, length, dst_step, src_step, taper, votes, first,
):  # fmt: skip
    """Put every value in the next free slot of its element."""
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                for j in range(length):
                    i = at + dst_lines[m] + j * dst_step
                    slots[i, used[i]] = src[of + src_lines[m] + j * src_step]
                    if slot_weights is not None:
                        slot_weights[i, used[i]] = votes[first[r] + k] * taper[m * length + j]
                    used[i] += 1


@compiled
def moments(
    total, total_low, square, square_low, weight, weight_low, src, dst_runs, src_runs, lengths,
    dst_along, src_along, dst_lines, src_lines, length, dst_step, src_step, taper, votes, first,
):  # fmt: skip
    """Add w, w x and w x^2 in double-double, the products split exactly (Dekker 1971)."""
    splitter = 134217729.0
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                for j in range(length):
                    i = at + dst_lines[m] + j * dst_step
                    x = float(src[of + src_lines[m] + j * src_step])
                    w = votes[first[r] + k] * taper[m * length + j]
                    a = weight[i] + w
                    b = a - weight[i]
                    weight_low[i] += (weight[i] - (a - b)) + (w - b)
                    weight[i] = a
                    # p + p_low == w x exactly
                    p = w * x
                    c = splitter * w
                    w_high = c - (c - w)
                    c = splitter * x
                    x_high = c - (c - x)
                    w_rest = w - w_high
                    x_rest = x - x_high
                    p_low = w_rest * x_rest - (
                        ((p - w_high * x_high) - w_rest * x_high) - w_high * x_rest
                    )
                    a = total[i] + p
                    b = a - total[i]
                    total_low[i] += ((total[i] - (a - b)) + (p - b)) + p_low
                    total[i] = a
                    # q + q_low == p x exactly
                    q = p * x
                    c = splitter * p
                    p_high = c - (c - p)
                    p_rest = p - p_high
                    q_low = p_rest * x_rest - (
                        ((q - p_high * x_high) - p_rest * x_high) - p_high * x_rest
                    )
                    a = square[i] + q
                    b = a - square[i]
                    square_low[i] += ((square[i] - (a - b)) + (q - b)) + (q_low + p_low * x)
                    square[i] = a


# the order in which a patch's products are summed is free, so that they are summed several at a time
@partial(compiled, fastmath={"reassoc", "nsz", "contract"})
def project(
    vector, src, places, src_runs, lengths, _, src_along, vector_lines, src_lines, length, vector_step,
    src_step, sums,
):  # fmt: skip
    """Add the product of each patch with the vector to the patch's place among the sums."""
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
def backproject(
    vector, src, places, src_runs, lengths, _, src_along, vector_lines, src_lines, length, vector_step,
    src_step, numbers,
):  # fmt: skip
    """Add each patch times its number to the vector."""
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

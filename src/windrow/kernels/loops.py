"""The loops. All have one shape: for each ``o`` of a table, for each ``m`` of another, one line.

Element ``j`` of line ``(o, m)`` lies at ``outer[o] + inner[m] + j * stride`` of each operand's flat
memory. In *feature order* ``o`` runs over the samples of a patch and a line over neighbouring patches; in *patch order* ``o`` runs
over patches and a line over neighbouring samples. Samples run backwards in feature order, so in both orders the
contributions to one element arrive by ascending patch index, and sums have the same bits.

A weight is ``scalar[o] * vector[weight_at[m] + j]``; either may be None. Slices make indices start at 0, which spares
the check for negative ones (measured: 3x).
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def"
from .compiled import compiled

__all__ = [
    "add_exactly",
    "add_lines",
    "claim_lines",
    "copy_lines",
    "max_lines",
    "min_lines",
    "moment_lines",
    "slot_lines",
]


def copy_lines(
    dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step, src_step
):
    """Copy every line."""
    tables = (dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths)
    if dst_step == src_step == 1:
        _copy_unit(*tables)
    elif dst_step == 1:
        _copy_gather(*tables, src_step)
    else:
        _copy_strided(*tables, dst_step, src_step)


def add_lines(
    dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step, src_step,
    scalar, vector, weight_at,
):  # fmt: skip
    """Add every line, weighted."""
    tables = (dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths)
    if dst_step == src_step == 1:
        _add_unit(*tables, scalar, vector, weight_at)
    else:
        _add_strided(*tables, dst_step, src_step, scalar, vector, weight_at)


# With the steps known to be 1 the loops run twice as fast at 39 samples a line (measured).


@compiled
def _copy_unit(dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths):
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            d = dst[dst_outer[o] + dst_inner[m] :][:n]
            s = src[src_outer[o] + src_inner[m] :][:n]
            for j in range(n):
                d[j] = s[j]


@compiled
def _copy_gather(dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, src_step):
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            d = dst[dst_outer[o] + dst_inner[m] :][:n]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            for j in range(n):
                d[j] = s[j * src_step]


@compiled
def _copy_strided(
    dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step, src_step
):
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            d = dst[dst_outer[o] + dst_inner[m] :][: (n - 1) * dst_step + 1]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            for j in range(n):
                d[j * dst_step] = s[j * src_step]


@compiled
def _add_unit(
    dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, scalar, vector, weight_at
):
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            d = dst[dst_outer[o] + dst_inner[m] :][:n]
            s = src[src_outer[o] + src_inner[m] :][:n]
            if vector is not None:
                u = scalar[o]
                v = vector[weight_at[m] :][:n]
                for j in range(n):
                    d[j] += s[j] * (u * v[j])
            elif scalar is not None:
                u = scalar[o]
                for j in range(n):
                    d[j] += s[j] * u
            else:
                for j in range(n):
                    d[j] += s[j]


@compiled
def _add_strided(
    dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step, src_step,
    scalar, vector, weight_at,
):  # fmt: skip
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            d = dst[dst_outer[o] + dst_inner[m] :][: (n - 1) * dst_step + 1]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            if vector is not None:
                u = scalar[o]
                v = vector[weight_at[m] :][:n]
                for j in range(n):
                    d[j * dst_step] += s[j * src_step] * (u * v[j])
            elif scalar is not None:
                u = scalar[o]
                for j in range(n):
                    d[j * dst_step] += s[j * src_step] * u
            else:
                for j in range(n):
                    d[j * dst_step] += s[j * src_step]


@compiled
def add_exactly(
    high, low, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step, src_step,
    scalar, vector, weight_at,
):  # fmt: skip
    # Knuth's two-sum: what rounding takes from high is kept in low
    for o in range(dst_outer.size):
        u = 1.0
        if scalar is not None:
            u = scalar[o]
        for m in range(lengths.size):
            n = lengths[m]
            at = dst_outer[o] + dst_inner[m]
            h = high[at:][: (n - 1) * dst_step + 1]
            e = low[at:][: (n - 1) * dst_step + 1]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            for j in range(n):
                w = u
                if vector is not None:
                    w = u * vector[weight_at[m] + j]
                x = s[j * src_step] * w
                a = h[j * dst_step]
                total = a + x
                part = total - a
                e[j * dst_step] += (a - (total - part)) + (x - part)
                h[j * dst_step] = total


@compiled
def max_lines(dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step, src_step):
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            d = dst[dst_outer[o] + dst_inner[m] :][: (n - 1) * dst_step + 1]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            for j in range(n):
                x = s[j * src_step]
                if x > d[j * dst_step] or x != x:
                    d[j * dst_step] = x


@compiled
def min_lines(dst, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step, src_step):
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            d = dst[dst_outer[o] + dst_inner[m] :][: (n - 1) * dst_step + 1]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            for j in range(n):
                x = s[j * src_step]
                if x < d[j * dst_step] or x != x:
                    d[j * dst_step] = x


@compiled
def claim_lines(
    dst, distance, owner, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step,
    src_step, rank, reach,
):  # fmt: skip
    # patch order: the least (reach of the sample, rank of the patch) keeps the element
    for o in range(dst_outer.size):
        r = rank[o]
        for m in range(lengths.size):
            n = lengths[m]
            at = dst_outer[o] + dst_inner[m]
            d = dst[at:][: (n - 1) * dst_step + 1]
            best = distance[at:][: (n - 1) * dst_step + 1]
            holder = owner[at:][: (n - 1) * dst_step + 1]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            q = reach[m * n :][:n]
            for j in range(n):
                k = j * dst_step
                if q[j] < best[k] or (q[j] == best[k] and r < holder[k]):
                    best[k] = q[j]
                    holder[k] = r
                    d[k] = s[j * src_step]


@compiled
def slot_lines(
    slots, slot_weights, used, src, dst_outer, src_outer, dst_inner, src_inner, lengths, dst_step,
    src_step, scalar, vector,
):  # fmt: skip
    # patch order: every value is kept, in the next free slot of its element
    for o in range(dst_outer.size):
        for m in range(lengths.size):
            n = lengths[m]
            at = dst_outer[o] + dst_inner[m]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            for j in range(n):
                k = at + j * dst_step
                slots[k, used[k]] = s[j * src_step]
                if slot_weights is not None:
                    slot_weights[k, used[k]] = scalar[o] * vector[m * n + j]
                used[k] += 1


@compiled
def moment_lines(
    total, total_low, square, square_low, weight, weight_low, src, dst_outer, src_outer, dst_inner,
    src_inner, lengths, dst_step, src_step, scalar, vector,
):  # fmt: skip
    # patch order: sums of w, w x and w x^2 in double-double, products by Dekker's splitting
    splitter = 134217729.0
    for o in range(dst_outer.size):
        u = scalar[o]
        for m in range(lengths.size):
            n = lengths[m]
            at = dst_outer[o] + dst_inner[m]
            s = src[src_outer[o] + src_inner[m] :][: (n - 1) * src_step + 1]
            for j in range(n):
                k = at + j * dst_step
                x = float(s[j * src_step])
                w = u * vector[m * n + j]
                a = weight[k] + w
                b = a - weight[k]
                weight_low[k] += (weight[k] - (a - b)) + (w - b)
                weight[k] = a
                # p + p_low == w x exactly
                p = w * x
                c = splitter * w
                w_high = c - (c - w)
                c = splitter * x
                x_high = c - (c - x)
                w_rest = w - w_high
                x_rest = x - x_high
                p_low = w_rest * x_rest - (((p - w_high * x_high) - w_rest * x_high) - w_high * x_rest)
                a = total[k] + p
                b = a - total[k]
                total_low[k] += ((total[k] - (a - b)) + (p - b)) + p_low
                total[k] = a
                # q + q_low == p x exactly
                q = p * x
                c = splitter * p
                p_high = c - (c - p)
                p_rest = p - p_high
                q_low = p_rest * x_rest - (((q - p_high * x_high) - p_rest * x_high) - p_high * x_rest)
                a = square[k] + q
                b = a - square[k]
                square_low[k] += ((square[k] - (a - b)) + (q - b)) + (q_low + p_low * x)
                square[k] = a

"""The most similar patches of a tile of patches: one box sum of squared differences for each displacement.

For a displacement t, the distance of patch x to patch x + t is the sum over a box of
(q[x] - c[x + t])^2. A box is summed one axis after the other, four widths at a time: s4[x] = s1[x] +
s1[x + 1] + s1[x + 2] + s1[x + 3], s16[x] = s4[x] + s4[x + 4] + ... So nothing is ever subtracted:
sums do not drift, equal patches have distance 0, and the bits depend on the two patches alone.

The best of a query lie worst first, ``dist[0] >= dist[1] >= ...``, before one entry of -1; the worst
distance of each query lies in ``worst`` as well, so that a row of distances meets a row of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compile import compiled_with

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, assignment"

__all__ = ["PLACE_BITS", "best_in_boxes", "best_in_lines"]

# Of a key: 24 bits of a distance, then as many of a place.
PLACE_BITS = 39

# Distances that are looked at together, so that few are looked at twice.
CHUNK = 256


def best_in_boxes(packed: bool, *tables: Any) -> None:
    """Offer every patch of a candidate block to every patch of a query block that a displacement pairs it with.

    ``packed``: the best are kept as keys.
    """
    (_boxes_by_key if packed else _boxes_by_pair)(*tables)


def best_in_lines(packed: bool, *tables: Any) -> None:
    """The same along one axis, at step 1: two squared differences for each pair, however long patches are.

    Where ``both``, the queries are offered to the candidates too.
    """
    (_lines_by_key if packed else _lines_by_pair)(*tables)


# Bodies


def _offer_key(keys, _, query, value, place):
    """Put a candidate among the best, whose worst goes: distance and place are one number. Returns the worst distance.

    Each key is moved by comparing it with its neighbour, all at once: a third of the time of a loop
    that ends where the candidate belongs.
    """
    key = (np.int64(value) << PLACE_BITS) | place
    for t in range(keys.shape[1] - 1):
        keys[query, t] = min(keys[query, t], max(keys[query, t + 1], key))
    return np.float32(keys[query, 0] >> PLACE_BITS)


def _offer_pair(dist, index, query, value, place):
    """The same where a distance fills a number of its own."""
    mine = index[
        query, 0
    ]  # places are numbers of the same kind as distances, so that both move by one mask
    if value == dist[query, 0] and place > mine:
        return value
    mine = place
    for t in range(dist.shape[1] - 1):
        a, b = dist[query, t], dist[query, t + 1]
        i, j = index[query, t], index[query, t + 1]
        first = (a > value) | ((a == value) & (i > mine))
        second = (b > value) | ((b == value) & (j > mine))
        dist[query, t] = b if second else (value if first else a)
        index[query, t] = j if second else (mine if first else i)
    return dist[query, 0]


def _sum_along(buffers, at, n, apart, samples):
    """The buffer with sums over ``samples`` elements, ``apart`` from each other, of the ``n`` in buffer ``at``.

    By the digits of ``samples`` to the base 4: sums over 4 w + r elements are four of those over w and
    r single ones.
    """
    scale = 1
    while 4 * scale <= samples:
        scale *= 4
    width = samples // scale
    one = buffers[at]
    now, wide = at, one
    if width > 1:
        now = (at + 1) % 3
        size = n - (width - 1) * apart
        out = buffers[now][:size]
        a, b = one[:size], one[apart:][:size]
        if width == 2:
            for i in range(size):
                out[i] = a[i] + b[i]
        else:
            c = one[2 * apart :][:size]
            for i in range(size):
                out[i] = a[i] + b[i] + c[i]
    while scale > 1:
        scale //= 4
        rest = samples // scale % 4
        size = n - (4 * width + rest - 1) * apart
        goal = 3 - at - now if now != at else (at + 1) % 3
        out = buffers[goal][:size]
        far = width * apart
        wide = buffers[now]
        a, b = wide[:size], wide[far:][:size]
        c, d = wide[2 * far :][:size], wide[3 * far :][:size]
        e = one[4 * far :][:size]
        if rest == 0:
            for i in range(size):
                out[i] = (a[i] + b[i]) + (c[i] + d[i])
        elif rest == 1:
            for i in range(size):
                out[i] = (a[i] + b[i]) + (c[i] + d[i]) + e[i]
        elif rest == 2:
            f = one[4 * far + apart :][:size]
            for i in range(size):
                out[i] = (a[i] + b[i]) + (c[i] + d[i]) + (e[i] + f[i])
        else:
            f = one[4 * far + apart :][:size]
            g = one[4 * far + 2 * apart :][:size]
            for i in range(size):
                out[i] = (a[i] + b[i]) + (c[i] + d[i]) + ((e[i] + f[i]) + g[i])
        now = goal
        width = 4 * width + rest
    return now


def _squares(out, q, c, q_at, c_at, q_strides, c_strides, spans):
    """Squared differences of two boxes of ``spans`` elements, summed over channels, as one compact box."""
    last = spans.size - 1
    n = spans[last]
    rows = 1
    for a in range(last):
        rows *= spans[a]
    for row in range(rows):
        rest, q_row, c_row = row, q_at, c_at
        for k in range(last):
            a = last - 1 - k
            i = rest % spans[a]
            rest //= spans[a]
            q_row += i * q_strides[a]
            c_row += i * c_strides[a]
        o = out[row * n :][:n]
        for channel in range(q.shape[0]):
            x = q[channel][q_row:][:n]
            y = c[channel][c_row:][:n]
            if channel == 0:
                for i in range(n):
                    o[i] = (x[i] - y[i]) * (x[i] - y[i])
            else:
                for i in range(n):
                    o[i] += (x[i] - y[i]) * (x[i] - y[i])


def _normalise(out, values, n, features, q, c):
    """Distances of patches without their mean and norm, from those of the patches themselves.

    Rows of ``q`` and ``c`` are root(features) * mean, root(features) * deviation, 1 over that (0 where the
    patch is constant), and whether it is constant: such a patch is 0 everywhere once it is normalised.
    """
    o = out[:n]
    d = values[:n]
    q_mean, c_mean = q[0][:n], c[0][:n]
    q_norm, c_norm = q[1][:n], c[1][:n]
    q_over, c_over = q[2][:n], c[2][:n]
    q_flat, c_flat = q[3][:n], c[3][:n]
    for i in range(n):
        mean = q_mean[i] - c_mean[i]
        norm = q_norm[i] - c_norm[i]
        rest = (d[i] - mean * mean - norm * norm) * (q_over[i] * c_over[i])
        rest = rest if rest > 0 or rest != rest else rest * 0
        o[i] = features * (rest + abs(q_flat[i] - c_flat[i]))


def _boxes(offer, sum_along, squares, normalise):
    def loop(
        q, c, q_strides, c_strides, patch, dilation, runs, first_run, exclude, q_counts,
        c_strides_grid, c_place, c_counts, q_norm, c_norm, among, dist, index, worst, buffers, line, hits, none,
    ):  # fmt: skip
        # A run is (displacement, query, candidate, how many, apart in elements, element of the query,
        # element of the candidate); the odometer ``at`` takes one run of each axis.
        n_axes = patch.size
        last = n_axes - 1
        features = q.shape[0]
        for a in range(n_axes):
            features *= patch[a]
        at = first_run[:n_axes].copy()
        counts = at.copy()
        gaps = at.copy()
        spans = at.copy()
        strides = at.copy()
        while True:
            left_out = True
            q_at, c_at = 0, 0
            for a in range(n_axes):
                run = runs[at[a]]
                left_out &= abs(run[0]) <= exclude[a]
                counts[a] = run[3]
                gaps[a] = run[4]
                spans[a] = (run[3] - 1) * run[4] + (patch[a] - 1) * dilation[a] + 1
                q_at += run[5] * q_strides[a]
                c_at += run[6] * c_strides[a]
            if not left_out:
                size, rows = 1, 1
                for k in range(n_axes):
                    strides[last - k] = size
                    size *= spans[last - k]
                    if k:
                        rows *= counts[last - k]
                squares(buffers[0], q, c, q_at, c_at, q_strides, c_strides, spans)
                held = 0
                for a in range(n_axes):
                    apart = strides[a] * dilation[a]
                    held = sum_along(buffers, held, size, apart, patch[a])
                    size -= (patch[a] - 1) * apart
                n = counts[last]
                apart = c_strides_grid[last]
                for row in range(rows):
                    # where the row of distances, its queries and its candidates begin
                    rest, begin, query, place, other = row, 0, 0, 0, 0
                    wide, wide_other = 1, 1
                    for k in range(n_axes):
                        a = last - k
                        i = 0
                        if k:
                            i = rest % counts[a]
                            rest //= counts[a]
                        begin += i * gaps[a] * strides[a]
                        query += (runs[at[a], 1] + i) * wide
                        other += (runs[at[a], 2] + i) * wide_other
                        place += (runs[at[a], 2] + i + c_place[a]) * c_strides_grid[a]
                        wide *= q_counts[a]
                        wide_other *= c_counts[a]
                    values = buffers[held][begin:]
                    if gaps[last] > 1:
                        gap = gaps[last]
                        for i in range(n):
                            line[i] = values[i * gap]
                        values = line
                    if q_norm.size:
                        normalise(
                            line, values, n, features,
                            q_norm[:, query:], c_norm[:, other:],
                        )  # fmt: skip
                        values = line
                    if among.size:
                        allowed = among[other:][:n]
                        for i in range(n):
                            line[i] = values[i] if allowed[i] else none
                        values = line
                    step = 0
                    while step < n:
                        some = min(32, n - step)
                        d = values[step:][:some]
                        w = worst[query + step :][:some]
                        hit = 0
                        for i in range(some):
                            hit += np.int32(d[i] <= w[i])  # a sum runs 4 times as fast as an or
                        if hit:
                            found = 0
                            for i in range(some):
                                hits[found] = i
                                found += d[i] <= w[i]
                            for h in range(found):
                                i = hits[h]
                                mine = query + step + i
                                w[i] = offer(dist, index, mine, d[i], place + (step + i) * apart)
                        step += some
            # the next displacement: the last axis turns fastest
            a = last
            while a >= 0:
                at[a] += 1
                if at[a] < first_run[a + 1]:
                    break
                at[a] = first_run[a]
                a -= 1
            if a < 0:
                return

    return loop


_boxes_by_key = compiled_with(_boxes, _offer_key, _sum_along, _squares, _normalise)
_boxes_by_pair = compiled_with(_boxes, _offer_pair, _sum_along, _squares, _normalise)


def _add_squares(out, before, q, c, element, at):
    """Squared differences of element ``element`` and those from ``at`` on, over what was there before."""
    n = out.size
    b = before[:n]
    for channel in range(q.shape[0]):
        x = q[channel, element]
        y = c[channel][at:][:n]
        if channel == 0:
            for i in range(n):
                out[i] = b[i] + (x - y[i]) * (x - y[i])
        else:
            for i in range(n):
                out[i] += (x - y[i]) * (x - y[i])


def _add_two(out, next_out, before, q, c, element, turn, shift):
    """The same for two neighbouring elements at once, whose first sums pass through a register."""
    n = out.size
    b = before[:n]
    o = next_out[:n]
    x, z = q[element], q[element + turn]
    y = c[element + shift :][:n]
    v = c[element + turn + shift :][:n]
    for i in range(n):
        first = b[i] + (x - y[i]) * (x - y[i])
        out[i] = first
        o[i] = first + (z - v[i]) * (z - v[i])


def _lines(offer, add_squares, add_two):
    def loop(
        q, c, m, rows, columns, apart, q_norm, c_norm, q_place, c_place, both, q_among, c_among,
        q_dist, q_index, q_worst, c_dist, c_index, c_worst, ahead, behind, line, hits, bound, shut, beyond,
    ):  # fmt: skip
        # Row i against candidates i + d. With b the first row of a block of at most m rows, the sum over
        # [i, i + m) is one over [i, b + m), added up from behind, and one over [b + m, i + m), added up on
        # the way: two squares for each pair, whatever m is. ``c`` begins m - 1 elements before candidate 0.
        # The last two rows of ``behind`` are where sums begin; ``shut`` and ``beyond`` let
        # no candidate in. ``bound`` is what the worst distance of a candidate's own means for the filter below.
        width = ahead.shape[1]
        most = behind.shape[0] - 2
        samples = m * q.shape[0]
        normal = q_norm.shape[1] > 0
        for b in range(rows[0], rows[1], most):
            n = min(most, rows[1] - b)
            for d in range(
                max(columns[0] - (b + n - 1), apart[0]), min(columns[1] - b, apart[1] + 1), width
            ):
                w = min(width, columns[1] - b - d, apart[1] + 1 - d)
                at = n
                behind[at, :w] = 0
                for t in range(m - 1, n - 1, -1):
                    other = most + 1 if at == n else n
                    add_squares(behind[other][:w], behind[at], q, c, b + t, b + t + d + m - 1)
                    at = other
                t = n - 1
                while t >= 0:
                    if t and q.shape[0] == 1:
                        add_two(
                            behind[t][:w],
                            behind[t - 1],
                            behind[at],
                            q[0],
                            c[0],
                            b + t,
                            -1,
                            d + m - 1,
                        )
                        at = t - 1
                        t -= 2
                    else:
                        add_squares(behind[t][:w], behind[at], q, c, b + t, b + t + d + m - 1)
                        at = t
                        t -= 1
                ahead[0, :w] = 0
                for t in range(n):
                    row = b + t
                    query = row - rows[0]
                    # candidates [first, first + size) of this row
                    begin = max(columns[0] - row - d, 0)
                    size = min(w, columns[1] - row - d) - begin
                    element = row + m - 1
                    if t % 2 and q.shape[0] == 1 and t + 1 < n:
                        add_two(
                            ahead[t % 3][:w],
                            ahead[(t + 1) % 3],
                            ahead[(t - 1) % 3],
                            q[0],
                            c[0],
                            element,
                            1,
                            d + m - 1,
                        )
                    elif t % 2 or (t and q.shape[0] > 1):
                        add_squares(
                            ahead[t % 3][:w], ahead[(t - 1) % 3], q, c, element, element + d + m - 1
                        )
                    if size <= 0:
                        continue
                    first = row + d + begin - columns[0]
                    ours = not q_among.size or q_among[query]
                    if normal:
                        mean, norm, over, flat = (
                            q_norm[0, query],
                            q_norm[1, query],
                            q_norm[2, query],
                            q_norm[3, query],
                        )
                        enough = norm * norm * (1 + 1e-14)
                    mine = q_worst[query]
                    for part in range(0, size, CHUNK):
                        some = min(CHUNK, size - part)
                        place = first + part
                        s = behind[t][begin + part :][:some]
                        o = ahead[t % 3][begin + part :][:some]
                        theirs = c_worst[place:][:some] if both else shut[:some]
                        hit = 0
                        if normal:
                            # distance <= worst, without a division, and with some air for rounding
                            means, norms = c_norm[0][place:][:some], c_norm[1][place:][:some]
                            limits = bound[place:][:some] if both else beyond[:some]
                            near = 2 * norm - mine * norm / samples
                            for i in range(some):
                                u = mean - means[i]
                                z = norms[i]
                                x = (s[i] + o[i]) * (1 - 1e-14) - u * u - z * z
                                hit += np.int32(
                                    (x + near * z <= enough) | (x + norm * limits[i] <= enough)
                                )
                        else:
                            for i in range(some):
                                x = s[i] + o[i]
                                hit += np.int32((x <= mine) | (x <= theirs[i]))
                        if not hit:
                            continue
                        v = line[:some]
                        for i in range(some):
                            v[i] = s[i] + o[i]
                        if normal:
                            means, norms = c_norm[0][place:][:some], c_norm[1][place:][:some]
                            overs, flats = c_norm[2][place:][:some], c_norm[3][place:][:some]
                            for i in range(some):
                                u = mean - means[i]
                                z = norm - norms[i]
                                x = (v[i] - u * u - z * z) * (over * overs[i])
                                x = x if x > 0 or x != x else x * 0
                                v[i] = samples * (x + abs(flat - flats[i]))
                        found = 0
                        for i in range(some):
                            hits[found] = i
                            found += (v[i] <= mine) | (v[i] <= theirs[i])
                        for h in range(found):
                            i = hits[h]
                            x = v[i]
                            if x <= mine and (not c_among.size or c_among[place + i]):
                                mine = offer(q_dist, q_index, query, x, c_place + place + i)
                            if x <= theirs[i] and ours:
                                theirs[i] = offer(c_dist, c_index, place + i, x, q_place + query)
                                if normal:
                                    bound[place + i] = c_norm[1, place + i] * (
                                        2 - theirs[i] / samples
                                    )
                    q_worst[query] = mine

    return loop


# A product and a sum rounded once; NaN stays NaN.
_FUSED: dict[str, Any] = {"fastmath": {"contract"}}
_lines_by_key = compiled_with(_lines, _offer_key, _add_squares, _add_two, **_FUSED)
_lines_by_pair = compiled_with(_lines, _offer_pair, _add_squares, _add_two, **_FUSED)

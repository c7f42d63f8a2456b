"""The most similar patches of a tile of patches: one box sum of squared differences for each displacement.

For a displacement t, the distance of patch x to patch x + t is the sum over a box of
(q[x] - c[x + t])^2. A box is summed one axis after the other by doubling, s2[x] = s1[x] + s1[x + 1],
s4[x] = s2[x] + s2[x + 2], ...: at most 2 log2(p) additions of rows, and nothing is ever subtracted. So
sums do not drift, equal patches have distance 0, and the bits depend on the two patches alone.

The best of a query lie worst first, ``dist[0] >= dist[1] >= ...``, before one entry of -1; the worst
distance of each query lies in ``worst`` as well, so that a row of distances meets a row of them.
"""

from __future__ import annotations

from typing import Any

from .compile import compiled_with

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["best_in_boxes"]


def best_in_boxes(*tables: Any) -> None:
    """Offer every patch of a candidate block to every patch of a query block that a displacement pairs it with."""
    _best_in_boxes(*tables)


def _offer(dist, index, value, place):
    """Put a candidate among the best, the worst of which goes; of equal distances the lower place is better."""
    last = dist.size - 2
    if value == dist[0] and place > index[0]:
        return
    t = 0
    while t < last and (dist[t + 1] > value or (dist[t + 1] == value and index[t + 1] > place)):
        dist[t] = dist[t + 1]
        index[t] = index[t + 1]
        t += 1
    dist[t] = value
    index[t] = place


def _sum_along(buffers, at, n, apart, samples):
    """Sums over ``samples`` elements, ``apart`` from each other, of the ``n`` in buffer ``at``: in which buffer they are."""
    held, done, width = -1, 0, 1
    while True:
        if samples & width:
            if held < 0:
                held = at
            else:
                goal = 3 - held - at if held != at else (at + 1) % 3
                size = n - (done + width - 1) * apart
                a = buffers[held][:size]
                b = buffers[at][done * apart :][:size]
                out = buffers[goal][:size]
                for i in range(size):
                    out[i] = a[i] + b[i]
                held = goal
            done += width
        if 2 * width > samples:
            return held
        goal = 3 - held - at if held >= 0 and held != at else (at + 1) % 3
        size = n - (2 * width - 1) * apart
        a = buffers[at][:size]
        b = buffers[at][width * apart :][:size]
        out = buffers[goal][:size]
        for i in range(size):
            out[i] = a[i] + b[i]
        at = goal
        width *= 2


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
                        hit = False
                        for i in range(some):
                            hit |= d[i] <= w[i]
                        if hit:
                            found = 0
                            for i in range(some):
                                hits[found] = i
                                found += d[i] <= w[i]
                            for h in range(found):
                                i = hits[h]
                                mine = query + step + i
                                offer(dist[mine], index[mine], d[i], place + (step + i) * apart)
                                w[i] = dist[mine, 0]
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


_best_in_boxes = compiled_with(_boxes, _offer, _sum_along, _squares, _normalise)

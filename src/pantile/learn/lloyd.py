"""Lloyd's iterations and the k-means++ start on all rows of a patch matrix, one slab of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .passes import sum_in_chunks
from .points import CLOSE, Points

__all__ = ["Clustering", "draw_plus_plus", "draw_rows", "find_nearest", "run_lloyd"]

Array = NDArray[Any]

_SUMMED = 1 << 16  # distances summed together, whatever the slabs are


@dataclass(frozen=True)
class Clustering:
    """A result: centers (less the shift), labels of rows, sum of squared distances, number of iterations."""

    centers: Array
    labels: Array
    inertia: float
    n_iter: int


def run_lloyd(points: Points, start: Array, tol: float, most: int) -> Clustering:
    """Assign every point to its nearest center and move centers to their points' mean, until neither changes.

    It ends as `sklearn.cluster.KMeans` does: where no label changes, or centers move by no more
    than ``tol`` (the sum of squares), or after ``most`` iterations; labels are then made anew.
    """
    centers = start
    labels = np.full(len(points.matrix), -1, np.min_scalar_type(-len(start)))
    n, moving = 0, True
    while moving and n < most:
        n += 1
        changed, sums, counts = _assign(points, centers, labels)
        new = _move_centers(points, centers, labels, sums, counts)
        shift = float(np.square(new - centers).sum())
        centers, moving = new, changed and shift > tol
    _, sums, counts = _assign(points, centers, labels)
    within = counts @ np.square(centers).sum(axis=1) - 2 * np.sum(sums.T * centers)
    inertia = max(0.0, float(points.moments[1].sum() + within))
    return Clustering(centers, labels, inertia, n)


def _assign(points: Points, centers: Array, labels: Array) -> tuple[bool, Array, Array]:
    """Give each point the label of its nearest center, in place.

    Returns whether a label changed; and for each center the sum of its points and their number.
    """
    k = len(centers)
    sums, counts, changed = np.zeros((centers.shape[1], k)), np.zeros(k, dtype=np.int64), False
    for rows, block in points.pieces(k):
        found = find_nearest(points, block, centers)
        changed = changed or not np.array_equal(found, labels[rows])
        labels[rows] = found
        member = np.zeros((len(found), k))
        np.put_along_axis(member, found[:, None], 1, axis=1)
        sums += block.T @ member
        counts += np.bincount(found, minlength=k)
    sums -= np.outer(points.shift, counts)
    return changed, sums, counts


def find_nearest(points: Points, block: Any, centers: Array) -> Array:
    """The nearest center of each point of a piece; of those equally near, the first.

    Where two are so close that rounding could tell either, the differences themselves decide: labels do
    not depend on how products are computed.
    """
    unique, first = _drop_repeated(centers)
    scores = points.closeness(block, unique)
    found = np.empty(len(scores), dtype=np.intp)
    doubtful = np.zeros(len(scores), dtype=bool)
    size = np.square(unique).sum(axis=1).max() + abs(unique @ points.shift).max()

    def work(part: slice) -> float:
        z = np.ascontiguousarray(scores[part].T)
        best = z.argmax(axis=0)
        at = np.arange(len(best))
        top = z[best, at]
        z[best, at] = -np.inf
        found[part] = best
        doubtful[part] = top - z.max(axis=0) <= CLOSE * (size + np.abs(top))
        return 0.0

    sum_in_chunks(len(scores), work)
    rows = np.flatnonzero(doubtful)
    for part in np.array_split(rows, max(1, rows.size * unique.shape[1] // (1 << 22))):
        if part.size:
            found[part] = _compare(block[part] - points.shift, unique)
    return first[found]


def _drop_repeated(centers: Array) -> tuple[Array, Array]:
    """The different centers, in their order, and the place of each among all."""
    first = np.sort(np.unique(centers, axis=0, return_index=True)[1])
    return centers[first], first


def _compare(points: Array, centers: Array) -> Array:
    """The nearest center of each point by the squares of the differences."""
    found = np.empty((len(centers), len(points)))
    for line, center in zip(found, centers, strict=True):
        difference = points - center
        np.einsum("ij,ij->i", difference, difference, out=line)
    return np.asarray(found.argmin(axis=0))


def _move_centers(
    points: Points, centers: Array, labels: Array, sums: Array, counts: Array
) -> Array:
    """The means of each center's points, as new centers.

    A center without points moves to the point that is farthest from its own center, as in
    scikit-learn.
    """
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        far = _find_farthest(points, centers, labels, empty.size)
        for new, row in zip(empty, far, strict=False):
            point, old = points.take([row])[0], labels[row]
            sums[:, old] -= point
            counts[old] -= 1
            sums[:, new], counts[new] = point, 1
    found = (sums / np.maximum(counts, 1)).T
    found[counts == 0] = found[counts.argmax()]
    return np.ascontiguousarray(found)


def _find_farthest(points: Points, centers: Array, labels: Array, n: int) -> Array:
    """The ``n`` rows farthest from their centers, the farthest first; none where all lie on their centers."""
    rows, distances = np.zeros(0, dtype=np.int64), np.zeros(0)
    for part, block in points.pieces(len(centers)):
        own = labels[part].astype(np.intp)[:, None]
        here = np.take_along_axis(points.distances(block, centers), own, axis=1)[:, 0]
        most = np.sort(np.argsort(-here, kind="stable")[:n])
        rows = np.concatenate([rows, most + part.start])
        distances = np.concatenate([distances, here[most]])
        kept = np.argsort(-distances, kind="stable")[:n]
        rows, distances = rows[kept], distances[kept]
    return rows if distances.max(initial=0) > 0 else rows[:0]


def draw_rows(points: Points, k: int, rng: np.random.RandomState) -> Array:
    """Different rows as centers."""
    from sklearn.utils.random import sample_without_replacement

    return points.take(sample_without_replacement(len(points.matrix), k, random_state=rng))


def draw_plus_plus(points: Points, k: int, rng: np.random.RandomState) -> Array:
    """Rows as centers by greedy k-means++ (Arthur and Vassilvitskii, 2007), as scikit-learn draws them.

    Each is drawn with a probability that is its squared distance from the nearest so far, the best
    of a few. The distances of all rows, 8 bytes each, are in memory.
    """
    n, trials = len(points.matrix), 2 + int(np.log(k))
    found = [points.take([min(int(rng.random_sample() * n), n - 1)])[0]]
    closest = np.full(n, np.inf)
    for _ in range(1, k):
        _update_closest(points, found[-1], closest)
        rows = _draw(closest, rng.uniform(size=trials))
        candidates = points.take(rows)
        found.append(candidates[_sum_potentials(points, candidates, closest).argmin()])
    return np.array(found)


def _update_closest(points: Points, center: Array, closest: Array) -> None:
    """Update the squared distances from the nearest center, in place, for one more center."""
    for rows, block in points.pieces(1):
        distances = points.distances(block, center[None])[:, 0]
        np.minimum(closest[rows], distances, out=closest[rows])


def _sum_potentials(points: Points, candidates: Array, closest: Array) -> Array:
    """The sums of squared distances that each candidate would leave."""
    total = np.zeros(len(candidates))
    for rows, block in points.pieces(len(candidates)):
        distances = points.distances(block, candidates)
        total += np.minimum(distances, closest[rows, None], out=distances).sum(axis=0)
    return total


def _draw(weights: Array, where: Array) -> Array:
    """Rows drawn by weight: those where the running sum of weights reaches these fractions of the total."""
    starts = np.arange(0, len(weights), _SUMMED)
    ends = np.cumsum([weights[at : at + _SUMMED].sum() for at in starts])
    found = []
    for value in where * ends[-1]:
        part = min(int(np.searchsorted(ends, value)), len(starts) - 1)
        before = ends[part - 1] if part else 0.0
        inside = np.cumsum(weights[starts[part] : starts[part] + _SUMMED])
        place = min(int(np.searchsorted(inside, value - before)), len(inside) - 1)
        found.append(int(starts[part]) + place)
    return np.array(found)

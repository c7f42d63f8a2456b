"""A whitened sample of the rows, in memory: it tells about where the minimum is, and how the loss curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .logloss import replace_by_residuals, to_probabilities
from .passes import LabelledRows

__all__ = ["Curvature", "WhitenedSample", "whiten_sample"]

Array = NDArray[Any]

_ELEMENTS = 1 << 26  # of the sample: 256 MB as float32
_PER_FEATURE = 32  # rows, at most; a third of it where a pass over all rows is cheap
_LEAST = 20_000
_PASS = 160  # all rows that are as much work as a row of the sample, about
_SLAB = 32 << 20  # bytes
_FARTHEST = 4.0  # times a Newton step: separable classes have their minimum at infinity
_STEPS = 60  # of conjugate gradients, at most


@dataclass(frozen=True)
class WhitenedSample:
    """Rows ``(x - shift) inv(factor).T`` as float32, their codes, and the weight of a row of each class.

    Weights sum to 1 over the rows. Slopes are whitened too: ``V = inv(factor).T U``.
    """

    rows: Array
    codes: Array
    weights: Array
    shift: Array
    factor: Array
    penalty: float
    intercept: bool

    def unwhiten(self, parameters: Array) -> Array:
        """The parameters for the matrix, from those for whitened rows."""
        return self._with_intercept(parameters, self._solve(parameters[:-1], "T"))

    def whiten_gradient(self, gradient: Array) -> Array:
        """The gradient by parameters for whitened rows, from that by parameters for the matrix."""
        return self._with_intercept(gradient, self._solve(gradient[:-1], "N"))

    def _with_intercept(self, parameters: Array, slopes: Array) -> Array:
        return np.concatenate([slopes, parameters[-1:]])

    def _solve(self, right: Array, trans: str) -> Array:
        from scipy.linalg import solve_triangular

        found: Array = solve_triangular(
            self.factor, right, lower=True, trans=trans, check_finite=False
        )
        return found

    def scores(self, parameters: Array) -> Array:
        single = parameters.astype(np.float32)
        return np.asarray(self.rows @ single[:-1] + single[-1])

    def sums(self, residual: Array) -> Array:
        """``[rows 1].T @ residual``; the last row is 0 where there is no intercept."""
        found = np.empty((self.rows.shape[1] + 1, residual.shape[1]))
        found[:-1] = self.rows.T @ residual
        found[-1] = residual.sum(axis=0, dtype=np.float64) * self.intercept
        return found

    def differentiate_penalty(self, parameters: Array) -> Array:
        """The gradient of the penalty."""
        found = np.zeros_like(parameters)
        if self.penalty:
            found[:-1] = self.penalty * self._solve(self._solve(parameters[:-1], "T"), "N")
        return found

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """The penalised loss of the sample, and its gradient."""
        scores = self.scores(parameters)
        pull = self.differentiate_penalty(parameters)
        loss = (
            replace_by_residuals(scores, self.codes, self.weights)
            + float(np.sum(pull * parameters)) / 2
        )
        return loss, self.sums(scores) + pull

    def take(self, begin: int, end: int) -> WhitenedSample:
        """Some of the rows, weighted so that they stand for all."""
        codes = self.codes[begin:end]
        total = np.bincount(codes, minlength=len(self.weights)) @ self.weights
        return replace(self, rows=self.rows[begin:end], codes=codes, weights=self.weights / total)

    def find_step(self, parameters: Array, direction: Array, slope: float) -> float:
        """How far to go along a direction to the least loss.

        The loss is taken to curve as the sample's does, and to have this ``slope`` here.
        """
        here, along = self.scores(parameters), self.scores(direction)
        pull = float(np.sum(self.differentiate_penalty(direction) * direction))
        step, first = 1.0, self._differentiate_along(here.copy(), along)[0]
        for _ in range(8):
            inclined, bend = self._differentiate_along(here + np.float32(step) * along, along)
            change = (slope + inclined - first + step * pull) / max(bend + pull, 1e-300)
            step = min(max(step - change, step / 4), _FARTHEST)
            if abs(change) < 1e-2 * step:
                break
        return step

    def _differentiate_along(self, scores: Array, along: Array) -> tuple[float, float]:
        """First and second derivative of the loss along a direction of the scores."""
        bent = float(np.sum(along * differentiate_twice(scores, self.weights[self.codes], along)))
        replace_by_residuals(scores, self.codes, self.weights)
        return float(np.sum(scores * along, dtype=np.float64)), bent


def differentiate_twice(scores: Array, own: Array, along: Array) -> Array:
    """How the derivatives by the scores change where the scores move ``along``."""
    p = to_probabilities(scores)
    own = own.astype(scores.dtype)[:, None]
    if scores.shape[1] == 1:
        return np.asarray(own * p[:, :1] * p[:, 1:] * along)
    moved = p * along
    return np.asarray(own * (moved - p * moved.sum(axis=1, keepdims=True)))


class Curvature:
    """The Hessian of a sample's loss at one place, and its inverse by conjugate gradients."""

    def __init__(self, sample: WhitenedSample, parameters: Array) -> None:
        self._sample = sample
        self._own = sample.weights[sample.codes].astype(np.float32)[:, None]
        self._p = to_probabilities(sample.scores(parameters))
        self._binary = parameters.shape[1] == 1
        spread = self._own * self._p * (1 - self._p)
        mean = spread[:, -parameters.shape[1] :].sum(axis=0, dtype=np.float64)
        self._scale = np.maximum(mean, 1e-6 * mean.max()) if mean.max() > 0 else np.ones_like(mean)

    def multiply(self, parameters: Array) -> Array:
        along = self._sample.scores(parameters)
        if self._binary:
            moved = self._p[:, :1] * self._p[:, 1:] * along
        else:
            moved = self._p * along
            moved -= self._p * moved.sum(axis=1, keepdims=True)
        moved *= self._own
        return self._sample.sums(moved) + self._sample.differentiate_penalty(parameters)

    def _precondition(self, residual: Array) -> Array:
        """About ``inv(H) @ residual``. The mean over classes, which changes no loss, is kept at 0."""
        found = residual / self._scale
        if not self._binary:
            found -= found.mean(axis=1, keepdims=True)
        return np.asarray(found)

    def solve(self, right: Array, accuracy: float) -> Array:
        """``inv(H) @ right``, until the residual is ``accuracy`` times as large as ``right``."""
        found = np.zeros_like(right)
        residual = right.copy()
        scaled = self._precondition(residual)
        direction, size = scaled, float(np.sum(residual * scaled))
        enough = accuracy**2 * size
        for _ in range(_STEPS):
            if size <= enough:
                break
            image = self.multiply(direction)
            bend = float(np.sum(direction * image))
            if not bend > 0:  # flat but for rounding
                break
            step = size / bend
            found += step * direction
            residual -= step * image
            scaled = self._precondition(residual)
            before, size = size, float(np.sum(residual * scaled))
            direction = scaled + size / before * direction
        return found


def whiten_sample(
    chosen: LabelledRows, weights: Array, penalty: float, intercept: bool
) -> WhitenedSample:
    """A whitened sample of labelled rows, with more rows of rare classes than their share."""
    features = chosen.matrix.shape[1]
    most = _choose_size(int(np.count_nonzero(chosen.codes >= 0)), features)
    at, per_class = _draw_stratified(chosen.codes, len(weights), most)
    codes = chosen.codes[at]
    counts = np.bincount(codes, minlength=len(weights))
    each = weights * per_class / np.maximum(counts, 1)
    each /= each @ counts
    rows = np.asarray(chosen.matrix[at])
    shift = (each[codes] @ rows) if intercept else np.zeros(features)
    factor = _factor_covariance(rows, shift, each[codes], penalty, len(weights))
    flat = _whiten_rows(rows, shift, factor)
    return WhitenedSample(flat, codes, each, shift, factor, penalty, intercept)


def _choose_size(n: int, features: int) -> int:
    """How many of ``n`` rows to sample: more take more time at first, and save passes over all rows."""
    dense = max(_PER_FEATURE * features // 3, min(n // _PASS, _PER_FEATURE * features))
    return max(1, min(max(_LEAST, dense), _ELEMENTS // features))


def _draw_stratified(codes: Array, classes: int, n: int) -> tuple[Array, Array]:
    """Places of about ``n`` rows in random order, and how many rows each class has in all.

    Half of the sample is shared evenly by the classes, the other half in proportion to their rows.
    """
    rng = np.random.default_rng(0)
    slab = 1 << 20
    parts = [codes[at : at + slab] for at in range(0, len(codes), slab)]
    per_part = np.array([np.bincount(p[p >= 0], minlength=classes) for p in parts])
    counts = per_part.sum(axis=0)
    shares = np.ceil(n / 2 * (counts / counts.sum() + 1 / classes)).astype(np.int64)
    if counts.sum() <= n:
        shares = counts
    found = []
    for c, (count, share) in enumerate(zip(counts, shares, strict=True)):
        ranks = np.sort(rng.choice(count, min(count, share), replace=False, shuffle=False))
        ends = np.cumsum(per_part[:, c])
        cuts = np.searchsorted(ranks, [0, *ends])
        for k, part in enumerate(parts):
            if cuts[k] < cuts[k + 1]:
                own = np.flatnonzero(part == c)
                within = ranks[cuts[k] : cuts[k + 1]] - (ends[k] - per_part[k, c])
                found.append(own[within] + k * slab)
    return rng.permutation(np.concatenate(found)), counts


def _factor_covariance(
    rows: Array, shift: Array, own: Array, penalty: float, classes: int
) -> Array:
    """The Cholesky factor of the covariance plus what the penalty adds to the diagonal, in float64."""
    from scipy.linalg import cholesky

    total = np.zeros((rows.shape[1],) * 2)
    for part in _split_slabs(rows):
        block = (rows[part] - shift) * np.sqrt(own[part])[:, None]
        total += block.T @ block
    mean = np.trace(total) / len(total)
    ridge = penalty * classes / (1 - 1 / classes) + 1e-12 * mean
    total[np.diag_indices_from(total)] += ridge or 1.0
    found: Array = cholesky(total, lower=True, overwrite_a=True, check_finite=False)
    return found


def _whiten_rows(rows: Array, shift: Array, factor: Array) -> Array:
    from scipy.linalg import solve_triangular

    found = np.empty(rows.shape, np.float32)
    for part in _split_slabs(rows):
        block = rows[part] - shift
        found[part] = solve_triangular(factor, block.T, lower=True, check_finite=False).T
    return found


def _split_slabs(rows: Array) -> list[slice]:
    size = max(1, _SLAB // (8 * rows.shape[1]))
    return [slice(at, at + size) for at in range(0, len(rows), size)]

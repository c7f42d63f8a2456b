"""L-BFGS that starts from the Hessian of a sample of the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .curvature import Curvature, WhitenedSample

__all__ = ["Minimum", "minimise", "start_from_sample"]

Array = NDArray[Any]
Function = Callable[[Array], tuple[float, Array]]

_MEMORY = 10  # pairs of steps and changes of the gradient
_ACCURACY = 0.05  # of a Newton step on the sample
_ROUNDING = 1e-15


@dataclass(frozen=True)
class Minimum:
    """A result: parameters, loss, steps taken, calls of the function, and whether the minimum was reached."""

    parameters: Array
    loss: float
    steps: int
    calls: int
    converged: bool


def minimise(
    function: Function, sample: WhitenedSample, start: Array, tol: float, most: int
) -> Minimum:
    """The minimum of ``function``, a loss that is like that of a sample. Parameters are for whitened rows.

    It ends where the loss is estimated to lie within ``tol**2`` of its minimum, relative to itself,
    by the Newton decrement ``g.T inv(H) g / 2``. L-BFGS as by Nocedal (1980), from the Hessian of
    the sample as by Byrd, Chin, Neveitt and Nocedal (2011).
    """
    at, (loss, gradient), calls = start, function(start), 1
    pairs: deque[tuple[Array, Array]] = deque(maxlen=_MEMORY)
    for step in range(most + 1):
        curvature = Curvature(sample, at)
        direction = -_apply_inverse(gradient, pairs, curvature)
        excess = -float(np.sum(direction * gradient)) / 2
        if excess <= max(tol**2, _ROUNDING) * loss:
            return Minimum(at, loss, step, calls, True)
        if step == most:
            break
        length = 1.0 if pairs else sample.find_step(at, direction, -2 * excess)
        found, tried = _search_line(function, at, loss, direction, excess, length)
        calls += tried
        if found is None:  # nothing below: the loss is at its minimum but for rounding
            return Minimum(at, loss, step, calls, excess <= 1e-9 * loss)
        new, loss, changed = found
        pairs.append((new - at, changed - gradient))
        at, gradient = new, changed
    return Minimum(at, loss, most, calls, False)


def _search_line(
    function: Function, at: Array, loss: float, direction: Array, excess: float, step: float
) -> tuple[tuple[Array, float, Array] | None, int]:
    """Parameters along the direction whose loss is low enough, the loss, its gradient, and the number of tries."""
    for tried in range(1, 21):
        new = at + step * direction
        found, gradient = function(new)
        if found <= loss - 2e-4 * step * excess:
            return (new, found, gradient), tried
        # the least of the parabola through the loss and its slope here and the loss there
        bend = found - loss + 2 * excess * step
        step *= min(max(excess * step / bend, 0.1), 0.5) if bend > 0 else 0.5
    return None, tried


def _apply_inverse(
    gradient: Array, pairs: deque[tuple[Array, Array]], curvature: Curvature
) -> Array:
    """The inverse Hessian times the gradient: that of the sample, corrected by the pairs (two-loop recursion)."""
    found = gradient.copy()
    kept = []
    for step, change in reversed(pairs):
        product = float(np.sum(step * change))
        if product <= 0:  # no curvature but rounding
            continue
        alpha = float(np.sum(step * found)) / product
        found -= alpha * change
        kept.append((step, change, product, alpha))
    found = curvature.solve(found, _ACCURACY)
    for step, change, product, alpha in reversed(kept):
        beta = float(np.sum(change * found)) / product
        found += (alpha - beta) * step
    return found


def start_from_sample(sample: WhitenedSample, columns: int, partial: bool, most: int = 20) -> Array:
    """About the minimum of the sample's loss, by Newton steps: it is only a start.

    Where the sample is but a part of the rows, it learns from four fifths of it, and stops where
    the last fifth gets worse: the sample may have a minimum far away, or none.
    """
    n = len(sample.rows)
    cut = n - n // 5 if partial else n
    learnt, kept = sample.take(0, cut), sample.take(cut if partial else 0, n)
    enough = 1e-3 if partial else 1e-6
    at = best = np.zeros((sample.rows.shape[1] + 1, columns))
    least = kept(at)[0]
    for _ in range(most):
        loss, gradient = learnt(at)
        direction = -Curvature(learnt, at).solve(gradient, 2 * _ACCURACY)
        slope = float(np.sum(direction * gradient))
        if -slope < enough * loss or loss < 1e-6:  # the second where classes are separable
            break
        at = at + learnt.find_step(at, direction, slope) * direction
        found = kept(at)[0]
        if not found < least:
            break
        best, least = at, found
    return best

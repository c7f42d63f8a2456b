"""The penalised log loss of a linear model, and its gradient, in one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .passes import LabelledRows, sum_in_chunks

__all__ = ["LogLoss", "replace_by_residuals", "to_probabilities"]

Array = NDArray[Any]


@dataclass(frozen=True)
class LogLoss:
    """``sum_i weights[y_i] loss(y_i, z_i) / total + penalty / 2 |V|**2`` with ``z = (X - shift) V + b``.

    The loss is softmax cross entropy; with one column the logistic loss of codes 0 and 1. ``V`` and
    ``b`` are the first rows and the last of the argument; ``b`` stays where it is without an
    intercept.
    """

    rows: LabelledRows
    weights: Array
    total: float
    shift: Array
    penalty: float
    intercept: bool

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        slopes, offset = parameters[:-1], parameters[-1]
        gradient = np.zeros_like(parameters)
        loss = 0.0
        for rows, block in self.rows.pieces(parameters.shape[1]):
            scores = np.asarray(block @ slopes)
            scores += offset - self.shift @ slopes
            loss += replace_by_residuals(scores, self.rows.codes[rows], self.weights)
            gradient[:-1] += block.T @ scores
            gradient[-1] += scores.sum(axis=0)
        gradient[:-1] -= np.outer(self.shift, gradient[-1])
        gradient /= self.total
        gradient[:-1] += self.penalty * slopes
        gradient[-1] *= self.intercept
        return loss / self.total + self.penalty / 2 * float(np.sum(slopes**2)), gradient


def replace_by_residuals(scores: Array, codes: Array, weights: Array) -> float:
    """The weighted loss of scores ``(n, k)``. The scores are overwritten by the derivatives of the loss.

    Rows of code -1 have no loss and a derivative of 0.
    """
    one = _evaluate_binary if scores.shape[1] == 1 else _evaluate_multinomial
    extended = np.append(weights, 0)  # -1 is the last

    def work(part: slice) -> float:
        return one(scores[part], codes[part], extended[codes[part]])

    return sum_in_chunks(len(scores), work)


def _evaluate_binary(scores: Array, codes: Array, own: Array) -> float:
    sign = 1.0 - 2.0 * (codes == 1)
    z = scores[:, 0] * sign  # of the wrong class
    small = np.exp(-np.abs(z))
    loss = np.log1p(small)
    loss += np.maximum(z, 0)
    wrong = np.where(z >= 0, 1, small)
    wrong /= 1 + small
    wrong *= own
    np.multiply(wrong, sign, out=scores[:, 0])
    return float(loss @ own)


def _evaluate_multinomial(scores: Array, codes: Array, own: Array) -> float:
    z = np.ascontiguousarray(scores.T)  # sums over few classes are fast along the first axis
    at = np.arange(z.shape[1])
    z -= z.max(axis=0)
    chosen = z[codes, at]
    np.exp(z, out=z)
    total = z.sum(axis=0)
    loss = (np.log(total) - chosen) @ own
    z *= own / total
    z[codes, at] -= own
    scores[...] = z.T
    return float(loss)


def to_probabilities(scores: Array) -> Array:
    """Probabilities ``(n, classes)`` of scores ``(n, k)``, where one column stands for two classes."""
    if scores.shape[1] == 1:
        from scipy.special import expit

        return np.concatenate([expit(-scores), expit(scores)], axis=1)
    found: Array = scores - scores.max(axis=1, keepdims=True)
    np.exp(found, out=found)
    found /= found.sum(axis=1, keepdims=True)
    return found

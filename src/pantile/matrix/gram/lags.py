"""Gram matrices by lags: a correlation of the image with itself, and the patches on its faces.

``G[a, b] = sum_w conj(x[w + a]) x[w + b]``, summed over the patches ``w`` of a box, depends on where
``a`` lies only through the patches on the box's faces. Moving ``a`` and ``b`` by one element along an
axis ``k`` (``e`` is the step along it) gives

    G[a + e, b + e] = G[a, b] + D[a, b],    D = (patches with w_k = n_k) - (patches with w_k = 0),

so it is enough to know G where ``min(a_k, b_k) = 0`` on every axis (a correlation with ``2 * lags -
1`` values per axis, see `correlation`) and the Gram matrices ``D`` of the patches that start on a
face (see `faces`). The cost grows with the image, not with rows times features. The scheme is
pantile's own; in one axis it is the displacement structure of the covariance method of linear
prediction (Morf, Dickinson, Kailath and Vieira, 1977).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...geometry.limits import Limits
from ..boxes.boxes import Box
from ..selection.stack import Array
from .correlation import add_lags
from .faces import subtract_faces
from .index import index_axes
from .phases import add_phases

__all__ = ["gram_by_lags"]


def gram_by_lags(box: Box, shift: Any, dtype: Any, by_phases: bool, limits: Limits) -> Array:
    """``sum_w conj(y[w + a]) y[w + b]`` over the patches of a box, for ``y = x - shift``.

    The correlation is summed by products of phases (`phases`), which is faster where these are
    many, or by Fourier transforms.
    """
    depth, lags, first = box.depth, box.lags, box.lag_axes[0]
    gram = np.zeros((depth, *lags, depth, *lags), dtype)
    (add_phases if by_phases else add_lags)(gram, box, shift, limits)
    ndim = len(lags)
    for k in reversed(box.lag_axes[1:]):
        corner = gram[index_axes({first + 1: slice(0, 1)})]
        step = subtract_faces(box, shift, dtype, k, first, limits)
        _expand(corner, step, k + 1, ndim + 2 + k, both=True)
    step = subtract_faces(box, shift, dtype, first, None, limits)
    _expand(gram, step, first + 1, ndim + 2 + first, both=False)
    _mirror(gram, first + 1, ndim + 2 + first)
    size = depth * math.prod(lags)
    found: Array = gram.reshape(size, size)[np.ix_(box.slots, box.slots)]
    return found


def _expand(gram: Array, step: Array, a: int, b: int, both: bool) -> None:
    """Fill ``gram[a + 1, b + 1] = gram[a, b] + step[a, b]`` along one axis, from ``min(a, b) = 0``.

    With ``both`` below the diagonal as well as above.
    """
    for t in range(gram.shape[a] - 1):
        row, after = index_axes({a: t, b: slice(t, -1)}), {a: t + 1, b: slice(t + 1, None)}
        gram[index_axes(after)] = gram[row] + step[index_axes({a: t, b: slice(t, None)})]
        if both:
            column, after = (
                index_axes({a: slice(t + 1, -1), b: t}),
                {a: slice(t + 2, None), b: t + 1},
            )
            below = step[index_axes({a: slice(t + 1, None), b: t})]
            gram[index_axes(after)] = gram[column] + below


def _mirror(gram: Array, a: int, b: int) -> None:
    """Fill what lies below the diagonal of one axis from what lies above: G is Hermitian."""
    half = gram.ndim // 2
    swapped = gram.transpose(*range(half, gram.ndim), *range(half))
    for t in range(gram.shape[a] - 1):
        below = index_axes({a: slice(t + 1, None), b: t})
        gram[below] = np.conj(swapped[below])

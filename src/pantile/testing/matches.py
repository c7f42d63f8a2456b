"""The slow twin of `pantile.similar`: every pair of patches, one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pantile import PatchGrid

__all__ = ["similar"]

Array = npt.NDArray[Any]


def similar(
    patches: Array,
    grid: PatchGrid,
    k: int = 1,
    *,
    radius: Sequence[int | None] | None = None,
    others: Array | None = None,
    other_grid: PatchGrid | None = None,
    exclude: Sequence[int] | None = None,
    normalize: bool = False,
    where: Array | None = None,
    among: Array | None = None,
) -> tuple[Array, Array]:
    """Flat indices and distances ``(n, k)`` of the best matches of ``patches``, which `slow.extract` makes of an image.

    ``where`` and ``among`` are truth values of the counts. Distances of integers are computed in Python's
    numbers, which never overflow.

    >>> import pantile as pt
    >>> similar(np.array([[1, 2], [2, 3], [1, 2]]), pt.PatchGrid(4, 2))[0].ravel()
    array([2, 0, 0])
    """
    itself = others is None
    others, other_grid = (patches, grid) if others is None else (others, other_grid or grid)
    starts = list(itertools.product(*[s.tolist() for s in grid.starts]))
    ends = list(itertools.product(*[s.tolist() for s in other_grid.starts]))
    mine, theirs = _rows(patches, normalize), _rows(others, normalize)
    indices = np.full((len(mine), k), -1)
    distances = np.full((len(mine), k), np.inf)
    for i, start in enumerate(starts):
        if where is not None and not where.ravel()[i]:
            continue
        found = []
        for j, end in enumerate(ends):
            apart = [abs(b - a) for a, b in zip(start, end, strict=True)]
            near = radius is None or all(
                r is None or a <= r for a, r in zip(apart, radius, strict=True)
            )
            left_out = exclude is not None and all(
                a <= e for a, e in zip(apart, exclude, strict=True)
            )
            if exclude is None and itself:
                left_out = i == j
            if not near or left_out or (among is not None and not among.ravel()[j]):
                continue
            distance = sum(abs(x - y) ** 2 for x, y in zip(mine[i], theirs[j], strict=True))
            if distance < np.inf:
                found.append((distance, j))
        for rank, (distance, j) in enumerate(sorted(found)[:k]):
            indices[i, rank], distances[i, rank] = j, distance
    return indices, distances


def _rows(patches: Array, normalize: bool) -> list[list[Any]]:
    """Each patch as numbers of Python: integers stay integers."""
    rows = patches.reshape(len(patches), -1)
    if rows.dtype.kind in "bu":
        rows = rows.astype(object if rows.itemsize == 8 else np.int64)
    if not normalize:
        return rows.tolist()
    made = []
    for row in rows.astype(np.float64):
        deviation = 0 if (row == row[0]).all() else row.std()
        made.append(((row - row.mean()) / deviation if deviation else row * 0).tolist())
    return made

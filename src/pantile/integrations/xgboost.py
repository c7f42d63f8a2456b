"""Patches as XGBoost's `DataIter` (extra ``xgboost``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..geometry.limits import LIMITS
from ..matrix import PatchMatrix
from .rows import check_rows

try:
    import xgboost
except ImportError:
    raise ImportError('PatchDataIter needs XGBoost: pip install "pantile[xgboost]"') from None

__all__ = ["PatchDataIter"]


class PatchDataIter(xgboost.DataIter):  # type: ignore[misc]
    """All rows of a patch matrix for ``xgboost.QuantileDMatrix`` and its like, which read them in blocks.

    Parameters
    ----------
    matrix : PatchMatrix
    label : array_like, optional
        One entry per row (see `labelled_rows`).
    weight : array_like, optional
        One entry per row.
    nbytes : int
        Bytes of a block.
    cache_prefix : str, optional
        Where ``ExtMemQuantileDMatrix`` and ``DMatrix`` put their pages.
    **fields
        What else XGBoost knows of rows, one entry per row: ``base_margin``, ``qid``, ...

    Notes
    -----
    A ``QuantileDMatrix`` keeps its own copy of the rows, about one byte per feature, and an
    ``ExtMemQuantileDMatrix`` keeps it on disk. `predict_rows` with ``booster.inplace_predict`` predicts.

    Examples
    --------
    >>> import xgboost, pantile as pt
    >>> from pantile.integrations import labelled_rows, predict_rows
    >>> image = np.random.default_rng(0).random((30, 40))
    >>> labels = (image > 0.5).astype(int)
    >>> grid = pt.PatchGrid(image.shape, 3, pad="same", pad_mode="reflect")
    >>> X, y = labelled_rows(image, labels, grid)
    >>> data = xgboost.QuantileDMatrix(PatchDataIter(X, label=y))
    >>> options = {"objective": "binary:logistic", "nthread": 1}
    >>> booster = xgboost.train(options, data, num_boost_round=5)
    >>> found = predict_rows(booster.inplace_predict, X).reshape(image.shape) > 0.5
    >>> bool((found == labels).mean() > 0.99)
    True
    """

    def __init__(
        self,
        matrix: PatchMatrix,
        label: Any = None,
        *,
        weight: Any = None,
        nbytes: int = LIMITS.row_block_bytes,
        cache_prefix: str | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(cache_prefix=cache_prefix, release_data=True)
        self._fields = check_rows(matrix, label=label, weight=weight, **fields)
        self._matrix = matrix
        self._size = max(1, int(nbytes) // (4 * matrix.shape[1]))
        self._at = 0

    def __repr__(self) -> str:
        return f"PatchDataIter({self._matrix!r}, {len(self)} blocks)"

    def __len__(self) -> int:
        """How many blocks there are."""
        return -(-len(self._matrix) // self._size)

    def reset(self) -> None:
        """Begin again with the first block."""
        self._at = 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Hand the next block to XGBoost; False when there is none."""
        begin, end = self._at, min(self._at + self._size, len(self._matrix))
        if begin >= end:
            return False
        rows = np.asarray(self._matrix[np.arange(begin, end)], np.float32)
        input_data(data=rows, **{name: each[begin:end] for name, each in self._fields.items()})
        self._at = end
        return True

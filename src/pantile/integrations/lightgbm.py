"""Patches as LightGBM's `Sequence` (extra ``lightgbm``)."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrix import PatchMatrix
from .rows import check_rows

try:
    import lightgbm
except ImportError:
    raise ImportError('PatchSequence needs LightGBM: pip install "pantile[lightgbm]"') from None

__all__ = ["PatchSequence"]

_MOST = np.iinfo(np.int32).max


class PatchSequence(lightgbm.Sequence):  # type: ignore[misc]
    """All rows of a patch matrix for ``lightgbm.Dataset``, which reads them in batches.

    Parameters
    ----------
    matrix : PatchMatrix
        At most 2³¹ - 1 rows, LightGBM's own bound.
    batch_size : int, optional
        Rows read at a time; by default as many as take 16 MB.

    Notes
    -----
    LightGBM keeps its own copy of the rows, about one byte per feature, so ``where`` or
    `labelled_rows` should choose them. To place the bins it reads ``bin_construct_sample_cnt``
    (200 000) rows one by one, 0.1 ms each, and holds them twice in memory: with large patches give
    it fewer. ``Dataset(..., label=y)`` takes the labels; `predict_rows` predicts.

    Examples
    --------
    >>> import lightgbm, pantile as pt
    >>> from pantile.integrations import labelled_rows, predict_rows
    >>> image = np.random.default_rng(0).random((30, 40))
    >>> labels = (image > 0.5).astype(int)
    >>> grid = pt.PatchGrid(image.shape, 3, pad="same", pad_mode="reflect")
    >>> X, y = labelled_rows(image, labels, grid)
    >>> data = lightgbm.Dataset(PatchSequence(X), label=y)
    >>> options = {"objective": "binary", "verbose": -1, "num_threads": 1}
    >>> booster = lightgbm.train(options, data, num_boost_round=5)
    >>> found = predict_rows(booster.predict, X).reshape(image.shape) > 0.5
    >>> bool((found == labels).mean() > 0.99)
    True
    """

    def __init__(self, matrix: PatchMatrix, batch_size: int | None = None) -> None:
        check_rows(matrix)
        if len(matrix) > _MOST:
            raise ValueError(
                f"matrix has {len(matrix)} rows, and LightGBM takes at most {_MOST}:"
                " choose some, X[begin:end] or PatchMatrix(..., where=mask)"
            )
        if batch_size is not None and operator.index(batch_size) < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.matrix = matrix
        row = matrix.dtype.itemsize * matrix.shape[1]
        self.batch_size = batch_size or max(1, (16 << 20) // row)

    def __repr__(self) -> str:
        return f"PatchSequence({self.matrix!r}, batch_size={self.batch_size})"

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, idx: Any) -> NDArray[Any]:
        """One row, ``(features,)`` float64, or those of a slice or list, ``(n, features)`` float32 or 64."""
        if np.ndim(idx) == 0 and not isinstance(idx, slice):
            return np.asarray(self.matrix[idx], np.float64)  # samples must be double
        rows = np.arange(*idx.indices(len(self))) if isinstance(idx, slice) else idx
        found = np.asarray(self.matrix[rows])
        return found.astype(np.result_type(found.dtype, np.float32), copy=False)

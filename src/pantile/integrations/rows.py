"""What every trainer needs: the labelled patches with their labels, and predictions in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_axis, unmasked
from ..matrix import PatchMatrix
from ..matrix.parts import images_in
from ..matrix.rowwise import apply_rows
from ..matrix.table import BLOCK

__all__ = ["checked_rows", "labelled_rows", "predict_rows"]

Array = NDArray[Any]


def labelled_rows(
    image: ArrayLike | Sequence[ArrayLike],
    labels: ArrayLike | Sequence[ArrayLike],
    grid: PatchGrid | Sequence[PatchGrid],
    *,
    channel_axis: int | None = None,
    unlabelled: Any = -1,
) -> tuple[PatchMatrix, Array]:
    """The patches with a label, as a lazy matrix, and their labels.

    Parameters
    ----------
    image : array_like or list of arrays
        Patched axes are the last ones, the channel axis aside; axes before them are batch axes.
    labels : array_like or list of arrays
        One per element, of the image's shape without its channel axis. A patch has the label at its
        centre.
    grid : PatchGrid, or one for each image
    channel_axis : int, optional
        The axis that travels inside each patch.
    unlabelled : number or str
        The label of elements that take no part; NaN never does.

    Returns
    -------
    X : PatchMatrix
        ``(n, features)``.
    y : ndarray
        ``(n,)``, row by row the label of the patch's centre.

    Examples
    --------
    >>> import pantile as pt
    >>> image = np.arange(20.0).reshape(4, 5)
    >>> labels = np.full((4, 5), -1)
    >>> labels[1, 1:4] = 7, 8, 9
    >>> X, y = labelled_rows(image, labels, pt.PatchGrid((4, 5), 3))
    >>> y, X[0]
    (array([7, 8, 9]), array([ 0.,  1.,  2.,  5.,  6.,  7., 10., 11., 12.]))
    """
    many = images_in(image) is not None
    images, given = _arrays(image, many), _arrays(labels, many)
    if not isinstance(grid, PatchGrid | list | tuple):
        raise TypeError(f"grid must be a PatchGrid, or a list of one for each image, got {grid!r}")
    grids = [grid] * len(images) if isinstance(grid, PatchGrid) else list(grid)
    if not len(images) == len(given) == len(grids):
        raise ValueError(
            f"{len(images)} images, {len(given)} labels and {len(grids)} grids: give one of each per image"
        )
    triples = zip(images, given, grids, strict=True)
    centred = [_centred(i, each, g, channel_axis) for i, each, g in triples]
    masks = [(each != unlabelled) & (each == each) for each in centred]
    if not any(mask.any() for mask in masks):
        raise ValueError(f"labels: every pixel is unlabelled ({unlabelled!r}): label some")
    matrix = PatchMatrix(images, grids, channel_axis=channel_axis, where=masks)
    return matrix, np.concatenate([y[mask] for y, mask in zip(centred, masks, strict=True)])


def _arrays(given: Any, many: bool) -> list[Array]:
    return [unmasked(each, "labels") for each in (given if many else [given])]


def _centred(image: Array, labels: Array, grid: PatchGrid, channel_axis: int | None) -> Array:
    """Labels at the patch centres, ``(*batch, *counts)``."""
    shape = list(image.shape)
    if channel_axis is not None:
        del shape[as_axis(channel_axis, image.ndim, "channel_axis")]
    if labels.shape != tuple(shape):
        raise ValueError(
            f"labels must have the image's shape {tuple(shape)} (without channel_axis), got {labels.shape}"
        )
    return grid.centers(labels)


def predict_rows(
    predict: Callable[[Array], Any], matrix: PatchMatrix, *, nbytes: int = BLOCK
) -> Array:
    """``predict`` of all rows, called on blocks of them as float32: ``(rows, ...)``.

    Parameters
    ----------
    predict : callable
        Takes ``(n, features)``, C contiguous, and gives one result per row: ``booster.predict`` of
        LightGBM, ``booster.inplace_predict`` of XGBoost, or any other.
    nbytes : int
        Bytes of a block.

    Examples
    --------
    >>> import pantile as pt
    >>> image = np.arange(20).reshape(4, 5)
    >>> grid = pt.PatchGrid((4, 5), 3, pad="same")
    >>> tops = predict_rows(lambda rows: rows.max(axis=1), pt.PatchMatrix(image, grid))
    >>> tops.reshape(grid.counts)[0]
    array([6., 7., 8., 9., 9.], dtype=float32)
    """
    return apply_rows(predict, matrix, nbytes=nbytes, dtype=np.float32)


def checked_rows(matrix: Any, **values: Any) -> dict[str, Array]:
    """Arrays with one entry per row, as asked; None is left out."""
    if not isinstance(matrix, PatchMatrix):
        raise TypeError(
            f"matrix must be a PatchMatrix, got {type(matrix).__name__}: give PatchMatrix(image, grid)"
        )
    found = {name: np.asarray(each) for name, each in values.items() if each is not None}
    for name, each in found.items():
        if each.shape[:1] != (len(matrix),):
            raise ValueError(
                f"{name} must have one entry for each of {len(matrix)} rows, got shape {each.shape}:"
                " labelled_rows gives a matrix and labels that go together"
            )
    return found

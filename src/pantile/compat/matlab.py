"""MATLAB's `im2col` and `col2im` on pantile's verbs: columns are blocks, everything in Fortran order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_per_axis
from ..merge.spec import MergeName
from ..ops.arrays import as_array
from ..ops.extract import extract
from ..ops.unpatchify import unpatchify

__all__ = ["col2im", "im2col"]

BlockType = Literal["sliding", "distinct"]


def im2col(
    A: ArrayLike,
    block_size: int | Sequence[int],
    block_type: BlockType = "sliding",
    *,
    indexed: bool = False,
) -> NDArray[Any]:
    """Blocks of an image as columns, ``(prod(block_size), n)``, as MATLAB's ``im2col``.

    Parameters
    ----------
    A : array_like
        An image of any number of axes.
    block_size : int or sequence of int
        The shape of a block.
    block_type : {"sliding", "distinct"}
        All blocks, one element apart; or blocks that do not overlap, the last ones padded with 0.
    indexed : bool
        Pad with 1 instead if ``A`` holds floats, as MATLAB's ``im2col(A, 'indexed', ...)``.

    Returns
    -------
    ndarray
        A new array of the image's dtype. Down a column runs a block column by column, and the blocks
        too go down the image's columns first.

    Raises
    ------
    ValueError
        When a sliding block does not fit (MATLAB gives a matrix without columns), or ``block_type``
        is another word.

    Examples
    --------
    >>> A = np.array([[1, 2, 3], [4, 5, 6]])
    >>> im2col(A, (2, 2))
    array([[1, 2],
           [4, 5],
           [2, 3],
           [5, 6]])
    >>> im2col(A, (2, 2), "distinct")
    array([[1, 3],
           [4, 6],
           [2, 0],
           [5, 0]])
    """
    turned = np.ascontiguousarray(as_array(A, "A").T)  # C order of A.T is Fortran order of A
    value = 1 if indexed and turned.dtype.kind in "fc" else 0
    grid = _lay_grid(turned.shape[::-1], block_size, block_type, value)
    layout: Literal["patch", "feature"] = "feature" if block_type == "sliding" else "patch"
    return extract(turned, grid, layout=layout).reshape(grid.n_patches, grid.features).T


def col2im(
    B: ArrayLike,
    block_size: int | Sequence[int],
    A_size: Sequence[int],
    block_type: BlockType = "sliding",
    *,
    merge: MergeName | None = None,
) -> NDArray[Any]:
    """The image of columns, as MATLAB's ``col2im``; for sliding blocks that is **not** `im2col`'s inverse.

    Parameters
    ----------
    B : array_like
        ``(prod(block_size), n)``. For sliding blocks without ``merge`` one value per block.
    block_size, block_type
        As given to `im2col`.
    A_size : sequence of int
        The shape of the image.
    merge : str, optional
        How sliding blocks meet, ``"mean"`` or another of `pantile.unpatchify`'s names; ``"mean"`` is the
        inverse of `im2col`. Without it one value per block becomes an image of
        ``A_size - block_size + 1``, as in MATLAB: what a filter made of each block.

    Returns
    -------
    ndarray
        The image, in Fortran order.

    Raises
    ------
    ValueError
        When ``B`` has not as many columns as the image has blocks, or whole sliding blocks come
        without ``merge``.

    Examples
    --------
    >>> A = np.arange(6.0).reshape(2, 3)
    >>> col2im(im2col(A, (2, 2)), (2, 2), A.shape, merge="mean")
    array([[0., 1., 2.],
           [3., 4., 5.]])
    >>> col2im(im2col(A, (2, 2)).max(axis=0), (2, 2), A.shape)
    array([[4., 5.]])
    """
    columns = as_array(B, "B")
    grid = _lay_grid(tuple(A_size), block_size, block_type, 0)
    n, features = grid.n_patches, grid.features
    if block_type == "sliding" and merge is None:
        if columns.size != n or max(columns.shape) != n:
            raise ValueError(
                f"B has shape {columns.shape}, but col2im of sliding blocks takes one value for each of {n} blocks:"
                " it is not the inverse of im2col, merge='mean' is (or pantile.unpatchify)"
            )
        return columns.reshape(grid.counts).T
    if columns.shape != (features, n):
        raise ValueError(
            f"B must have shape {(features, n)} for {n} blocks of {features} elements, got {columns.shape}"
        )
    blocks = columns.T.reshape(n, *grid.patch)
    return unpatchify(blocks, grid, merge=merge or "first").T


def _lay_grid(shape: Sequence[int], block_size: Any, block_type: Any, value: int) -> PatchGrid:
    """The grid of the transposed image."""
    if not isinstance(block_type, str) or block_type not in ("sliding", "distinct"):
        raise ValueError(f"block_type must be 'sliding' or 'distinct', got {block_type!r}")
    block = as_per_axis(block_size, len(shape), "block_size")[::-1]
    if block_type == "sliding":
        return PatchGrid(tuple(shape)[::-1], block)
    return PatchGrid(tuple(shape)[::-1], block, block, tail="pad", pad_value=value)

"""What a function of a batch returns where its patches do not all count the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from .weights import check_patch_weights

__all__ = ["Weighted"]


class Weighted:
    """Patches with weights of their own, as ``func`` of `pantile.map_patches` may return them.

    Parameters
    ----------
    patches : array_like
        ``(n, *patch)``, as without weights.
    weights : array_like of real numbers
        One per patch, ``(n,)``, or one per sample: of the shape of ``patches``, or without their
        channel axis. Not negative, and finite. They are multiplied with ``weights=`` of the call.

    Notes
    -----
    Goes with ``merge="mean"`` and ``"sum"``; with one weight per patch also with ``"var"``,
    ``"moments"`` and ``"vote"``. Where the weights of an element add up to 0 there is no value, and
    ``fill`` is asked for. The sums of weights are held beside those of values, which a plan, drawn
    before ``func`` was called, does not know of.

    Examples
    --------
    Patches that vary little count more:

    >>> import numpy as np
    >>> import pantile as pt
    >>> image = np.arange(20.0).reshape(4, 5)
    >>> def flat(batch):
    ...     means = batch.mean((1, 2), keepdims=True)
    ...     return pt.Weighted(batch * 0 + means, 1 / (1 + batch.var((1, 2))))
    >>> pt.map_patches(flat, image, 3).shape
    (4, 5)
    """

    def __init__(self, patches: Any, weights: Any) -> None:
        self.patches: NDArray[Any] = to_array(patches, "patches of pantile.Weighted")
        self.weights: NDArray[Any] = to_array(weights, "weights of pantile.Weighted")

    def __repr__(self) -> str:
        return f"Weighted({self.patches.dtype} {self.patches.shape}, {self.weights.shape})"

    def __getitem__(self, entries: slice) -> Weighted:
        """Some of the patches, with their weights."""
        return Weighted(self.patches[entries], self.weights[entries])

    @property
    def per(self) -> str:
        """What has a weight: ``"patch"`` or ``"sample"``."""
        return "patch" if self.weights.ndim == 1 else "sample"

    def check(self, n: int) -> None:
        """Raise what is wrong with weights of ``n`` patches, whatever the patches are."""
        weights = self.weights
        if weights.ndim < 1 or len(weights) != n or weights.dtype.kind not in "biuf":
            raise ValueError(
                f"weights of pantile.Weighted must be {n} real numbers, one per patch, or one per sample,"
                f" got shape {weights.shape}, dtype {weights.dtype}"
            )
        check_patch_weights(weights.astype(np.float64, copy=False))

    def spread(self, channel: int | None) -> NDArray[Any]:
        """One weight per sample, of the shape of the patches, whose channel axis is ``channel``."""
        shape, weights = self.patches.shape, self.weights
        if channel is not None and weights.shape == shape[:channel] + shape[channel + 1 :]:
            weights = np.broadcast_to(np.expand_dims(weights, channel), shape)
        if weights.shape != shape:
            raise ValueError(
                f"weights of pantile.Weighted have shape {weights.shape} for patches {shape}: give ({shape[0]},), or"
                " that shape, with or without its channel axis"
            )
        return weights

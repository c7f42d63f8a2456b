"""Denoising by groups of similar patches, as a function of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..geometry import PatchGrid
from .grouping import denoise_by_groups, match_groups
from .shrink import FloatArray, dct_matrix, empirical_wiener, hard_threshold
from .sliding_dct import Pass, Watch, as_patch, as_planes, check_sigma, watch_nothing

__all__ = ["groups"]

# Measured at sigma 25 on china.jpg: 16 members instead of 32 cost 0.02 dB in the first pass, none in the second.
MEMBERS = 16
STEP = 3


def groups(
    image: Any,
    sigma: float,
    patch: int = 8,
    *,
    channel_axis: int | None = None,
    radius: int = 16,
    workers: int | None = None,
    watch: Watch | None = None,
) -> FloatArray:
    """An image without its white Gaussian noise, by groups of 16 similar patches that are transformed together.

    For every third patch along both axes, `pantile.similar` finds those most like it. What they share
    is signal, so a cosine transform along the group, on top of one of each patch, gathers it in fewer
    coefficients than a single patch needs: `pantile.denoise.dct` with one more axis. The first pass sets
    coefficients below 2.7 ``sigma`` to zero; the second, a Wiener filter, takes its result for the
    truth, and finds its groups there. Patches come back with weights: the less noise stays in their
    group, the more.

    Parameters
    ----------
    image : array_like
        Real numbers, ``(rows, columns)``, or with an axis of channels.
    sigma : float
        The standard deviation of the noise, in the units of the image (8-bit: 0 to 255).
    patch : int
        The side of a patch, at least 2.
    channel_axis : int, optional
        The axis of channels, where there is one. They are decorrelated first; groups are those of the
        mean of the channels.
    radius : int
        How far a similar patch may lie along each axis.
    workers : int, optional
        Threads of the transforms; by default one per core. The bits of the result are the same for any number.
    watch : callable, optional
        ``watch(stage)`` is entered, as a context manager, around each `Pass`; what it gives is
        called with (groups done, groups in all), unless it is None.

    Returns
    -------
    ndarray
        In the shape of ``image``; float32 where that holds all values of the image's dtype exactly
        (and for float32), else float64.

    Raises
    ------
    ValueError, TypeError
        ``image`` is not of two axes and channels, not real or not finite, or holds fewer than 16
        patches; ``sigma`` is not positive; ``patch`` does not fit.

    References
    ----------
    K. Dabov, A. Foi, V. Katkovnik and K. Egiazarian, "Image denoising by sparse 3-D transform-domain
    collaborative filtering", IEEE Trans. Image Processing 2007 (grouping, the two passes, the weights).

    Examples
    --------
    >>> import numpy as np
    >>> from pantile import denoise
    >>> clean = np.tile(np.add.outer(np.arange(8.0), np.arange(8.0) ** 2), (6, 6))
    >>> noisy = clean + np.random.default_rng(0).normal(scale=10, size=clean.shape)
    >>> denoised = denoise.groups(noisy, sigma=10)
    >>> bool(np.std(denoised - clean) < np.std(noisy - clean) / 2.5)
    True
    """
    planes, channel = as_planes(image, channel_axis)
    check_sigma(sigma)
    grid = PatchGrid(planes.shape[:2], as_patch(patch, planes.shape[:2]))
    if grid.n_patches < MEMBERS:
        raise ValueError(
            f"patch={patch} leaves {grid.n_patches} patches of an image of {grid.shape}, and a group is {MEMBERS}:"
            " use a smaller patch"
        )
    colour = dct_matrix(planes.shape[-1], planes.dtype)
    noisy = np.ascontiguousarray(np.moveaxis(planes @ colour.T, -1, 0))
    estimate: FloatArray | None = None
    for stage in plan_group_passes(grid.patch[0]):
        with (watch or watch_nothing)(stage) as progress:
            estimate = _sweep(noisy, estimate, grid, sigma, radius, workers, progress)
    assert estimate is not None
    result: FloatArray = np.moveaxis(estimate, 0, -1) @ colour
    return result[..., 0] if channel is None else np.moveaxis(result, -1, channel)


def plan_group_passes(patch: int) -> tuple[Pass, Pass]:
    """The two passes, as `pantile.denoise.dct` has them."""
    return (
        Pass("groups, hard threshold", hard_threshold, patch, guided=False),
        Pass("groups, guided Wiener", empirical_wiener, patch, guided=True),
    )


def _sweep(
    noisy: FloatArray, estimate: FloatArray | None, grid: PatchGrid, sigma: float, radius: int,
    workers: int | None, progress: Any,
) -> FloatArray:  # fmt: skip
    """All channels (channels, rows, columns) after one pass."""
    seen = noisy if estimate is None else estimate
    found = match_groups(seen[0], grid, MEMBERS, radius, min(STEP, grid.patch[0]))
    total = len(found) * len(noisy)
    made = np.empty_like(noisy)
    for number, plane in enumerate(noisy):
        guide = None if estimate is None else estimate[number]

        def count(done: int, before: int = number * len(found)) -> None:
            if progress is not None:
                progress(before + done, total)

        made[number] = denoise_by_groups(plane, guide, found, grid, sigma, workers, count)
    return made

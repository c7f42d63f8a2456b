"""Sliding DCT denoising: two passes over every patch, each one a function of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ..geometry.arguments import as_axis, as_count
from ..merge.weighted import Weighted
from ..ops.arrays import as_array
from ..stream.map import map_patches
from .shrink import FloatArray, dct_matrix, empirical_wiener, hard_threshold

__all__ = [
    "Pass",
    "Progress",
    "Watch",
    "as_patch",
    "as_planes",
    "check_sigma",
    "dct",
    "plan_passes",
    "watch_nothing",
]

Shrink: TypeAlias = Callable[[FloatArray, float], Weighted]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Pass:
    """One sweep over every patch: what shrinks the coefficients, and the side of a patch.

    ``guided``: whether it also reads the result of the pass before, as the truth to go by.
    """

    name: str
    shrink: Shrink
    patch: int
    guided: bool

    def channels(self, image_channels: int) -> int:
        """How many channels a patch of this pass has."""
        return image_channels * (2 if self.guided else 1)


Watch: TypeAlias = Callable[[Pass], AbstractContextManager[Progress | None]]


def dct(
    image: Any,
    sigma: float,
    patch: int = 8,
    *,
    channel_axis: int | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
) -> FloatArray:
    """An image without its white Gaussian noise, by a cosine transform (DCT) of every patch.

    Every patch is transformed, its small coefficients are taken for noise, and it is transformed
    back; each pixel is then the weighted mean of all patches that touch it. The first pass sets
    coefficients below 2.7 ``sigma`` to zero. The second pass, whose patches are twice as wide, is a
    Wiener filter that takes the result of the first one for the truth. Channels are decorrelated
    first, by a DCT along them.

    Parameters
    ----------
    image : array_like
        Real numbers, ``(rows, columns)``, or with an axis of channels.
    sigma : float
        The standard deviation of the noise, in the units of the image (8-bit: 0 to 255).
    patch : int
        The side of a patch of the first pass, at least 2.
    channel_axis : int, optional
        The axis of channels, where there is one.
    workers : int, optional
        Threads; by default one per core. The bits of the result are the same for any number.
    watch : callable, optional
        ``watch(stage)`` is entered, as a context manager, around each `Pass`; what it gives is
        called with (patches done, patches in all), unless it is None.

    Returns
    -------
    ndarray
        In the shape of ``image``; float32 where that holds all values of the image's dtype exactly
        (and for float32), else float64.

    Raises
    ------
    ValueError, TypeError
        ``image`` is not of two axes and channels, not real or not finite; ``sigma`` is not
        positive; ``patch`` does not fit.

    References
    ----------
    G. Yu and G. Sapiro, "DCT image denoising: a simple and effective image denoising algorithm",
    IPOL 2011 (the sliding transform, the colour transform). N. Pierazzo, J.-M. Morel and
    G. Facciolo, "Multi-scale DCT denoising", IPOL 2017 (weights that grow with sparsity, the guided
    second pass).

    Examples
    --------
    >>> import numpy as np
    >>> from pantile import denoise
    >>> clean = np.add.outer(np.arange(64.0), np.arange(48.0))
    >>> noisy = clean + np.random.default_rng(0).normal(scale=10, size=clean.shape)
    >>> denoised = denoise.dct(noisy, sigma=10)
    >>> bool(np.std(denoised - clean) < np.std(noisy - clean) / 3)
    True
    """
    planes, channel = as_planes(image, channel_axis)
    check_sigma(sigma)
    stages = plan_passes(as_patch(patch, planes.shape[:2]), planes.shape)
    result = _denoise_planes(planes, sigma, stages, workers, watch or watch_nothing)
    return result[..., 0] if channel is None else np.moveaxis(result, -1, channel)


def plan_passes(patch: int, shape: tuple[int, ...]) -> tuple[Pass, Pass]:
    """The two passes over an image of ``shape``; the second one's patches are twice as wide.

    Where they would not fit they are as wide as the image.
    """
    wide = max(patch, min(2 * patch, *shape[:2]))
    return (
        Pass("hard threshold", hard_threshold, patch, guided=False),
        Pass("guided Wiener", empirical_wiener, wide, guided=True),
    )


def as_planes(image: Any, channel_axis: int | None) -> tuple[FloatArray, int | None]:
    """The image as floats ``(rows, columns, channels)``, and where its channels are to go back to."""
    array = as_array(image)
    channel = None if channel_axis is None else as_axis(channel_axis, array.ndim, "channel_axis")
    if array.ndim != 2 + (channel is not None):
        beside = "" if channel is None else f" beside channel_axis={channel_axis}"
        raise ValueError(
            f"image must have two axes{beside}, got shape {array.shape}: name the axis of its channels"
            " with channel_axis=, and denoise images of a stack one at a time"
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(f"image must hold real numbers, got dtype {array.dtype}")
    planes = array[..., None] if channel is None else np.moveaxis(array, channel, -1)
    floats: FloatArray = planes.astype(np.result_type(array.dtype, np.float32), copy=False)
    if not np.isfinite(floats).all():
        raise ValueError(
            "image holds NaN or infinite values, which would spread: replace them first"
        )
    return floats, channel


def check_sigma(sigma: float) -> None:
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be a positive number, the noise's deviation, got {sigma!r}")


def as_patch(patch: int, shape: tuple[int, ...]) -> int:
    side = as_count(patch, "patch", 2)
    if side > min(shape):
        raise ValueError(f"patch={patch} must be from 2 to {min(shape)} in an image of {shape}")
    return side


def watch_nothing(stage: Pass) -> AbstractContextManager[Progress | None]:  # noqa: ARG001
    return nullcontext()


def _denoise_planes(
    image: FloatArray, sigma: float, stages: tuple[Pass, ...], workers: int | None, watch: Watch
) -> FloatArray:
    """``image`` (rows, columns, channels) after all passes, in its own dtype."""
    colour = dct_matrix(image.shape[-1], image.dtype)
    noisy: FloatArray = image @ colour.T
    estimate = noisy
    for stage in stages:
        planes = np.concatenate([noisy, estimate], axis=-1) if stage.guided else noisy
        with watch(stage) as progress:
            estimate = _sweep(stage, planes, sigma, workers, progress)
    result: FloatArray = estimate @ colour
    return result


def _sweep(
    stage: Pass, planes: FloatArray, sigma: float, workers: int | None, progress: Progress | None
) -> FloatArray:
    """``planes`` after one pass over every patch; a guide is not part of the result."""
    # BLAS adds in another order with another number of threads: one, so that the bits are the
    # same for any number of workers.
    with threadpool_limits(limits=1, user_api="blas"):
        result: FloatArray = map_patches(
            lambda batch: stage.shrink(batch, sigma),
            planes,
            stage.patch,
            step=1,
            channel_axis=-1,
            dtype=planes.dtype,
            workers=workers,
            progress=progress,
        )
    return result

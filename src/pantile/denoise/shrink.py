"""What each pass does to a batch of patches: transform, shrink the coefficients, transform back, weigh."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.fft

from ..merge.weighted import Weighted

__all__ = ["THRESHOLD", "FloatArray", "dct_matrix", "empirical_wiener", "hard_threshold"]

FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]

# In units of sigma. With the paper's 3 the result is 0.2 dB worse on china.jpg and 0.1 dB worse on
# flower.jpg; 2.7 is what BM3D uses as well.
THRESHOLD = 2.7


def hard_threshold(batch: FloatArray, sigma: float) -> Weighted:
    """Denoised patches (n, p, p, channels), with a weight each: 1 / (number of coefficients kept).

    That is the inverse of the variance of the noise that stays in the patch.
    """
    spectra = _transform(batch)
    keep = np.abs(spectra) > THRESHOLD * sigma
    keep[0, 0] = True  # the mean of a patch is signal, however dark
    spectra *= keep
    # Bytes first, then floats: 4 times as fast as summing booleans to float32 at once.
    kept = keep.view(np.uint8).reshape(len(keep), -1, keep.shape[-1]).sum(axis=1, dtype=np.uint16)
    return _weigh(spectra, 1 / kept.sum(axis=0, dtype=spectra.dtype))


def empirical_wiener(batch: FloatArray, sigma: float) -> Weighted:
    """The same, where the second half of the channels is an estimate of the first one's truth.

    (n, p, p, 2 channels) becomes (n, p, p, channels). With S the spectrum of the estimate, the
    gain is S^2 / (S^2 + sigma^2) and the weight 1 / sum(gain^2).
    """
    noisy, estimate = np.split(_transform(batch), 2, axis=2)
    gain = np.square(estimate)
    gain /= gain + gain.dtype.type(sigma) ** 2
    gain[0, 0] = 1
    flat = gain.reshape(-1, gain.shape[-1])
    weight = 1 / np.einsum("in,in->n", flat, flat)
    return _weigh(np.multiply(noisy, gain, out=gain), weight)


def _transform(batch: FloatArray) -> FloatArray:
    """The DCT of each patch, patch index last: (p, p, channels, n), contiguous.

    Two matrix products per batch: 1/7 of the time of `scipy.fft.dctn`, measured at 8x8 and 16x16.
    In the feature layout the transposed batch is contiguous as it stands, and nothing is copied.
    """
    planes = np.ascontiguousarray(batch.transpose(1, 2, 3, 0))
    matrix = dct_matrix(len(planes), planes.dtype)
    return _apply_to_both_axes(matrix, planes, out=planes)


def _weigh(spectra: FloatArray, weight: FloatArray) -> Weighted:
    """Patches of ``spectra`` and their weights; the patch index is first again."""
    matrix = dct_matrix(len(spectra), spectra.dtype)
    patches = _apply_to_both_axes(matrix.T, spectra, out=spectra)
    return Weighted(patches.transpose(3, 0, 1, 2), weight)


def _apply_to_both_axes(matrix: FloatArray, planes: FloatArray, out: FloatArray) -> FloatArray:
    """``matrix`` applied along the first axis of ``planes``, then the second; ``out`` may be ``planes``.

    Many small products, whose operands stay in cache: 1.5 times as fast as one wide product.
    """
    shape = (*planes.shape[:2], -1)
    half = matrix @ planes.reshape(shape).swapaxes(0, 1)
    np.matmul(matrix, half.swapaxes(0, 1), out=out.reshape(shape))
    return out


def dct_matrix(n: int, dtype: np.dtype[Any]) -> FloatArray:
    """The orthonormal n-point DCT as a matrix; with n = 3 the colour transform of Yu and Sapiro."""
    matrix: FloatArray = scipy.fft.dct(np.eye(n), axis=0, norm="ortho").astype(dtype)
    return matrix

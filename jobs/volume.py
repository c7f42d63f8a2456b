"""(h) A volume of 200x200x200: denoised by the cosine transform of 8x8x8 patches."""

from pathlib import Path

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

import pantile as pt

SIZES = {"small": {"side": 24}, "full": {"side": 200}}
DATA = "shells with noise, {side}x{side}x{side}, float32, patches of 8x8x8 every 4"
SIGMA = 0.3


def with_pantile(noisy):
    return pt.map_patches(shrink, noisy, 8, 4)


def row_by_row(noisy):
    windows = sliding_window_view(noisy, (8, 8, 8))[::4, ::4, ::4]
    total, times = np.zeros(noisy.shape), np.zeros(noisy.shape)
    for i in range(windows.shape[0]):
        for j in range(windows.shape[1]):
            for k, patch in enumerate(shrink(windows[i, j])):
                place = tuple(slice(4 * at, 4 * at + 8) for at in (i, j, k))
                total[place] += patch
                times[place] += 1
    return (total / times).astype(noisy.dtype)


def shrink(patches):
    coefficients = scipy.fft.dctn(patches, axes=(1, 2, 3), norm="ortho")
    coefficients[np.abs(coefficients) < 2.7 * SIGMA] = 0
    return scipy.fft.idctn(coefficients, axes=(1, 2, 3), norm="ortho")


WAYS = {"pantile": with_pantile, "NumPy": row_by_row}


def make(_: Path, side: int):
    z, y, x = np.ogrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j, -1 : 1 : side * 1j]
    clean = np.abs(np.sin(9 * np.sqrt(x**2 + 2 * y**2 + z**2))) > 0.7
    noise = np.random.default_rng(0).normal(scale=SIGMA, size=clean.shape)
    return {"noisy": (clean + noise).astype(np.float32)}


def agree(mine, its) -> str:
    assert mine.dtype == its.dtype == np.float32
    np.testing.assert_allclose(mine, its, rtol=0, atol=1e-5)
    return f"to {np.abs(mine - its).max():.0e}"

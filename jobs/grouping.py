"""(c) BM3D-like denoising: similar patches in groups, one small `Merger.add` each."""

from itertools import product
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_image

import pantile as pt

SIZES = {"small": {"height": 40, "width": 50}, "full": {"height": 842, "width": 1084}}
DATA = "photograph {height}x{width} with noise, groups of 16 of 8x8, a reference patch every 3"
P, STEP, REACH, ALIKE, SIGMA = 8, 3, 6, 16, 25 / 255


def with_pantile(noisy):
    grid = pt.PatchGrid(noisy.shape, P)
    windows, merger = pt.patchify(noisy, grid), pt.Merger(grid)
    for reference in product(*pt.PatchGrid(noisy.shape, P, STEP).starts):
        at = alike(windows, *reference)
        group, weight = shrink(windows[at])
        rows = np.ravel_multi_index(at, grid.counts)
        merger.add(group, rows, np.full(ALIKE, weight))
    return merger.result()


def plainly(noisy):
    height, width = noisy.shape
    windows = sliding_window_view(noisy, (P, P))
    total, weights = np.zeros(noisy.shape), np.zeros(noisy.shape)
    ys = [*range(0, height - P, STEP), height - P]
    xs = [*range(0, width - P, STEP), width - P]
    for y, x in product(ys, xs):
        at = alike(windows, y, x)
        group, weight = shrink(windows[at])
        for i, j, patch in zip(*at, group, strict=True):
            total[i : i + P, j : j + P] += weight * patch
            weights[i : i + P, j : j + P] += weight
    return total / weights


def alike(windows, y, x):
    """Where the 16 patches nearby lie that are most like the one at (y, x)."""
    top, left = max(0, y - REACH), max(0, x - REACH)
    near = windows[top : y + REACH + 1, left : x + REACH + 1]
    difference = near - windows[y, x]
    distance = np.einsum("abij,abij->ab", difference, difference).ravel()
    best = np.sort(np.argpartition(distance, ALIKE)[:ALIKE])
    i, j = np.divmod(best, near.shape[1])
    return top + i, left + j


def shrink(group):
    """The group without its small coefficients, and the trust it deserves."""
    coefficients = scipy.fft.dctn(group, norm="ortho")
    kept = np.abs(coefficients) > 2.7 * SIGMA
    return scipy.fft.idctn(coefficients * kept, norm="ortho"), 1 / max(1, kept.sum())


WAYS = {"pantile": with_pantile, "NumPy": plainly}


def make(_: Path, height: int, width: int):
    photo = load_sample_image("china.jpg").mean(axis=2) / 255
    photo = np.tile(photo, (-(-height // len(photo)), -(-width // photo.shape[1])))[:height, :width]
    return {"noisy": photo + np.random.default_rng(0).normal(scale=SIGMA, size=photo.shape)}


def agree(mine, its) -> str:
    np.testing.assert_allclose(mine, its, rtol=0, atol=1e-12)
    return f"to {np.abs(mine - its).max():.0e}"

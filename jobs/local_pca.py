"""(b) Local PCA of 4-D diffusion data: Manjon et al. 2013, as in DIPY."""

from pathlib import Path

import numpy as np
from dipy.denoise.localpca import localpca

import pantile as pt

SIZES = {"small": {"side": 10, "directions": 12}, "full": {"side": 48, "directions": 33}}
DATA = "synthetic diffusion signal {side}x{side}x{side}x{directions}, float64, patches of 5x5x5"
TAU = 2.3


def with_pantile(data, sigma):
    def shrink(patches):  # (n, 5, 5, 5, directions)
        X = patches.reshape(len(patches), 125, -1)
        mean = X.mean(axis=1, keepdims=True)
        X = X - mean
        d, W = np.linalg.eigh(X.mT @ X / 125)
        kept = d >= (TAU * sigma) ** 2
        W *= kept[:, None]
        theta = 1 / (1 + kept.sum(axis=1)[:, None, None])
        weighted = (X @ W @ W.mT + mean) * theta
        return weighted.reshape(patches.shape), np.broadcast_to(theta[..., None], patches.shape[:4])

    total, weight = pt.map_patches(shrink, data, 5, channel_axis=-1, merge="sum")
    return (total / weight[..., None]).clip(0)


def plainly(data, sigma):
    return localpca(data, sigma=sigma, patch_radius=2, tau_factor=TAU)


WAYS = {"pantile": with_pantile, "DIPY": plainly}


def make(_: Path, side: int, directions: int):
    """Two crossing tensors whose shares vary in space, with noise."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(directions, 3))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    tensors = np.array([np.diag([1.7, 0.3, 0.3]), np.diag([0.3, 1.5, 0.4])])
    signals = np.exp(-np.einsum("di,tij,dj->td", g, tensors, g))
    z, y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j, -1 : 1 : side * 1j]
    shares = np.stack([1 + np.cos(3 * x + 2 * y), 1 + np.sin(4 * z - x)], axis=-1)
    clean = 100 * (x**2 + y**2 + z**2 < 0.9)[..., None] * (shares @ signals)
    return {"data": np.abs(clean + rng.normal(scale=5, size=clean.shape)), "sigma": 5.0}


def agree(mine, its) -> str:
    np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-9)
    return f"to {np.abs(mine - its).max() / its.max():.0e} of the largest"

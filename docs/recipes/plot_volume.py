"""
Volumes
=======

Nothing changes with a third axis. A volume of a noisy shape is denoised by the singular values of each 6x6x6
patch, unfolded; the patches are 3 apart and a Hann window hides where they begin.
"""

import matplotlib.pyplot as plt
import numpy as np

import pantile as pt

z, y, x = np.mgrid[-1:1:48j, -1:1:60j, -1:1:60j]
clean = (np.abs(np.hypot(np.hypot(x, y), z) - 0.7) < 0.15).astype(np.float32) + 0.5 * (x + y > 0.6)
noisy = clean + np.random.default_rng(0).normal(scale=0.5, size=clean.shape).astype(np.float32)
sigma, n = 0.5, 6


def shrink(batch):
    u, s, vt = np.linalg.svd(batch.reshape(-1, n, n * n), full_matrices=False)
    s[s < 1.05 * sigma * (np.sqrt(n) + n)] = 0  # what noise alone would reach
    return ((u * s[:, None]) @ vt).reshape(batch.shape)


denoised = pt.map_patches(shrink, noisy, n, step=3, weights="hann")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for ax, volume, name in zip(
    axes, (clean, noisy, denoised), ("truth", "noisy", "denoised"), strict=True
):
    ax.imshow(volume[24], cmap="gray", vmin=-0.5, vmax=1.8)
    ax.set_title(f"{name}, slice 24")
    ax.axis("off")

assert np.mean((denoised - clean) ** 2) < 0.3 * np.mean((noisy - clean) ** 2)

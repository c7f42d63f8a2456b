"""
A volume, with doubt
====================

A network over a volume gives every voxel several answers: one per tile that touches it, and one per way the tile is
turned. Where they differ is where to look. ``merge="moments"`` gives mean and variance in one pass.

The "network" here is a small one in NumPy, which sees only its tile, so that the recipe runs anywhere; with torch it is
``TileModel(model, tta="flips", spread=True)`` of `pantile.integrations.torch`, which turns the tiles itself.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.ndimage

import pantile as pt

rng = np.random.default_rng(0)
truth = scipy.ndimage.gaussian_filter(rng.normal(size=(48, 64, 64)), 6) > 0.004
volume = (truth + rng.normal(scale=0.6, size=truth.shape)).astype(np.float32)


def network(tiles):
    """The probability of being inside, ``(n, 16, 16, 16)``: a blur that knows nothing beyond the tile."""
    smooth = scipy.ndimage.gaussian_filter(tiles, (0, 1.5, 1.5, 1.5), mode="constant")
    return 1 / (1 + np.exp(12 * (0.5 - smooth)))


# %%
# Four images for one pass: the weighted mean, the variance around it, how many tiles met, and how many of equal weight
# would tell as much. Batches of 8 are exact; ``where`` would keep empty tiles from the network.

mean, variance, tiles, effective = pt.map_patches(
    network, volume, 16, 8, batch=8, weights="gaussian", merge="moments"
)
assert tiles.max() == 8
assert (effective <= tiles + 1e-9).all()

# %%
# These are differences of one network with itself, between tiles that overlap: no standard error, and blind for what
# the network gets wrong everywhere alike. Still, wrong voxels are where the answers differ or lie near one half.

wrong = (mean > 0.5) != truth
spread = np.sqrt(variance)
assert spread[wrong].mean() > spread[~wrong].mean()

z = 24
figure, axes = plt.subplots(1, 4, figsize=(12, 3.2))
names = ("the volume, a slice", "inside, by the mean", "spread between tiles", "wrong")
for ax, image, name in zip(axes, (volume, mean > 0.5, spread, wrong), names, strict=True):
    ax.imshow(image[z])
    ax.set_title(name)
    ax.axis("off")
plt.tight_layout()

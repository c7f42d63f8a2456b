"""
Local statistics that are no filter
===================================

Mean and variance are convolutions and need no patches. Ranks, entropies, fits and tests do: any function of
a patch gives a map, with ``merge=None``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import pantile as pt

image = load_sample_image("china.jpg")[:300, 100:500].mean(axis=2).astype(np.float32)
grid = pt.PatchGrid(image.shape, 9, step=2, pad="same", pad_mode="reflect")


def statistics(batch):
    rows = batch.reshape(len(batch), -1)
    low, middle, high = np.percentile(rows, (10, 50, 90), axis=1)
    down, across = np.gradient(batch, axis=(1, 2))
    energy = (
        (down**2).mean(axis=(1, 2)),
        (down * across).mean(axis=(1, 2)),
        (across**2).mean(axis=(1, 2)),
    )
    coherence = np.hypot(energy[0] - energy[2], 2 * energy[1]) / (energy[0] + energy[2] + 1)
    return np.stack([middle, high - low, coherence], axis=1)


# %%
# One vector per patch gives an image with one channel per number.

maps = pt.map_patches(statistics, image, grid, merge=None)
assert maps.shape == (*grid.counts, 3)

figure, axes = plt.subplots(1, 4, figsize=(14, 2.8), layout="constrained")
names = ("image", "median", "10 to 90 percent", "coherence of edges")
for ax, values, name in zip(axes, (image, *np.moveaxis(maps, -1, 0)), names, strict=True):
    ax.imshow(values, cmap="gray" if name == "image" else "viridis")
    ax.set_title(name)
    ax.axis("off")

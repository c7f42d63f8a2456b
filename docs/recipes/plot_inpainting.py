"""
Fill holes with patches from elsewhere
======================================

A classic (Criminisi, Pérez and Toyama, 2004, much simplified): for each patch at the edge of a hole, find the most
similar complete patch of the image, judging by the pixels that are known, and copy the rest from it.
`PatchMatrix` compares with *all* patches at once: the squared distance is a sum of three products.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.ndimage
from sklearn.datasets import load_sample_image

import pantile as pt

clean = load_sample_image("china.jpg")[300:420, 330:480].mean(axis=2)
hole = np.zeros(clean.shape, bool)
hole[40:75, 60:95] = True
P = 9

# %%
# Candidates are the patches that touch no hole: `where` takes a mask over the grid's counts.

grid = pt.PatchGrid(clean.shape, P)
complete = ~pt.map_patches(lambda b: b.any(axis=(1, 2)), hole, grid, merge=None)
X = pt.PatchMatrix(clean, grid, where=complete)
squares = pt.PatchMatrix(clean**2, grid, where=complete)
assert len(X) == complete.sum()

filled, unknown = np.where(hole, 0, clean), hole.copy()
while unknown.any():
    edge = unknown & ~scipy.ndimage.binary_erosion(unknown)
    known = scipy.ndimage.uniform_filter((~unknown).astype(float), P)
    row, column = np.unravel_index(np.argmax(np.where(edge, known, -1)), edge.shape)
    place = (slice(row - P // 2, row + P // 2 + 1), slice(column - P // 2, column + P // 2 + 1))
    mask, target = ~unknown[place].ravel(), filled[place].ravel()
    distance = squares @ mask.astype(float) - 2 * (X @ (target * mask))
    best = X[int(np.argmin(distance))]
    filled[place] = np.where(unknown[place], best.reshape(P, P), filled[place])
    unknown[place] = False

figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for ax, image, name in zip(
    axes, (clean, np.where(hole, 255, clean), filled), ("image", "hole", "filled"), strict=True
):
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_title(name)
    ax.axis("off")

assert np.array_equal(filled[~hole], clean[~hole])

"""
A network, tile by tile
=======================

Networks take tiles of one size, and are worst at the tiles' edges. So tiles overlap, each answer is weighted
with a Gaussian that trusts the middle, and the classes are chosen only after the scores have been merged.

The "network" here is a small fixed one in NumPy, so that the recipe runs anywhere; with torch the function is
``model(torch.from_numpy(batch).moveaxis(-1, 1)).moveaxis(1, -1).numpy()`` under ``torch.inference_mode()``.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.ndimage
from sklearn.datasets import load_sample_image

import pantile as pt

image = load_sample_image("china.jpg")
COLOURS = np.array([[185, 200, 215], [70, 75, 55], [140, 90, 70]], np.float32)  # sky, trees, walls


def network(tiles):
    """Scores ``(n, 64, 64, 3)`` of tiles ``(n, 64, 64, 3)``: blur, distance to a colour, softmax."""
    smooth = scipy.ndimage.gaussian_filter(tiles.astype(np.float32), (0, 3, 3, 0), mode="constant")
    distance = ((smooth[..., None, :] - COLOURS) ** 2).sum(axis=-1) / 800
    scores = np.exp(distance.min(axis=-1, keepdims=True) - distance)
    return scores / scores.sum(axis=-1, keepdims=True)


# %%
# ``finalize`` sees a finished piece of the merged scores before it is written: only the labels are ever held
# for the whole image.

options = {"channel_axis": -1, "finalize": lambda scores: scores.argmax(axis=-1).astype(np.uint8)}
side_by_side = pt.map_patches(network, image, (64, 64), 64, **options)
merged = pt.map_patches(network, image, (64, 64), 32, weights=("gaussian", 10), **options)
assert merged.shape == image.shape[:2]
assert merged.dtype == np.uint8

figure, axes = plt.subplots(1, 3, figsize=(13, 3), layout="constrained")
names = ("image", "tiles side by side", "half overlapping, Gaussian weights")
for ax, values, name in zip(axes, (image, side_by_side, merged), names, strict=True):
    ax.imshow(values, interpolation="nearest")
    ax.set_title(name)
    ax.axis("off")

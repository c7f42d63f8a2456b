"""
Label maps: by vote, and by centre
==================================

Labels cannot be averaged. Either every patch that touches a pixel has a vote, or the patch whose centre is
nearest decides, which keeps each tile's best part.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.ndimage

import pantile as pt

rng = np.random.default_rng(0)
field = scipy.ndimage.gaussian_filter(rng.normal(size=(160, 220)), 9)
truth = np.digitize(field, np.quantile(field, (0.35, 0.7))).astype(np.uint8)


def segment(tiles):
    """A segmenter that errs more the farther from the tile's centre."""
    n, h, w = tiles.shape
    far = np.hypot(*np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij"))
    wrong = np.random.default_rng(int(tiles.sum())).random((n, h, w)) < 0.35 * far**2
    return np.where(wrong, (tiles + 1) % 3, tiles).astype(np.uint8)


results = {
    "tiles side by side": pt.map_patches(segment, truth, 40, step=40, merge="first"),
    "merge='center'": pt.map_patches(segment, truth, 40, step=10, merge="center"),
    "merge='vote'": pt.map_patches(segment, truth, 40, step=10, merge="vote"),
}

figure, axes = plt.subplots(1, 4, figsize=(14, 2.8), layout="constrained")
for ax, (name, labels) in zip(axes, {"truth": truth, **results}.items(), strict=True):
    ax.imshow(labels, interpolation="nearest")
    ax.set_title(f"{name}: {np.mean(labels == truth):.1%} right")
    ax.axis("off")

side_by_side, center, vote = (np.mean(labels == truth) for labels in results.values())
assert min(center, vote) > side_by_side + 0.1

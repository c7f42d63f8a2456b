"""
What was copied within a photograph
===================================

A part of a photograph was copied over another, and some noise added. Each patch finds its match somewhere else,
everywhere in the photograph; where many neighbours agree on how far away it is, that is a copy.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import pantile as pt

photograph = load_sample_image("flower.jpg")[40:220, 200:460].astype(np.int16)
forged = photograph.copy()
forged[20:65, 20:80] = photograph[100:145, 150:210]
forged = np.clip(forged + np.random.default_rng(0).integers(-2, 3, forged.shape), 0, 255).astype(
    np.uint8
)
P = 9

# %%
# Every second patch, against all of those, in colour: distances from afar only, since neighbours are always alike.

found = pt.similar(forged, P, step=2, exclude=24, channel_axis=-1)
grid = pt.PatchGrid(forged.shape[:2], P, 2)
counts = grid.counts
match = np.stack(np.unravel_index(found.indices[..., 0], counts), axis=-1)
apart = match - np.stack(np.mgrid[: counts[0], : counts[1]], axis=-1)

# %%
# The displacement that most patches share, either way; flat patches match anything, so detail is asked for.

detail = (
    pt.map_patches(
        lambda b: b.std(axis=(1, 2)).max(axis=1), forged, grid, channel_axis=-1, merge=None
    )
    > 6
)
turned = np.where((apart[..., :1] < 0), -apart, apart)[detail]
shifts, votes = np.unique(turned, axis=0, return_counts=True)
shift = shifts[votes.argmax()]
copied = ((apart == shift) | (apart == -shift)).all(axis=-1)
mask = pt.map_patches(lambda b: b, np.ones(forged.shape[:2]), grid, where=copied, fill=0).astype(
    bool
)

figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
axes[0].imshow(photograph)
axes[0].set_title("photograph")
axes[1].imshow(forged)
axes[1].set_title("forged")
axes[2].imshow(np.where(mask[..., None], forged, forged // 4))
axes[2].set_title(f"shared by {votes.max()} patches: {(2 * shift).tolist()} apart")
for ax in axes:
    ax.axis("off")

assert (2 * shift).tolist() == [80, 130]
assert mask[25:60, 25:75].mean() > 0.9

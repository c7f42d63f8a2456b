"""
Non-local means in ten lines
============================

Each pixel becomes the mean of the pixels in its neighbourhood, weighted by how similar the patches around them are
(Buades, Coll and Morel, 2005). `similar` finds the patches; what is left is a weighted sum. With the same parameters
the result is that of scikit-image's fast mode, up to that one's approximate exponential. And the best few matches are
nearly enough.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage.restoration import denoise_nl_means
from sklearn.datasets import load_sample_image

import pantile as pt

clean = load_sample_image("china.jpg")[150:300, 240:440].mean(axis=2)
noisy = clean + np.random.default_rng(0).normal(0, 20, clean.shape)


def nonlocal_means(image, patch, radius, h, k):
    """The mean of the ``k`` most similar pixels at most ``radius`` away, itself among them."""
    before, after = (patch - 1) // 2, patch // 2
    padded = np.pad(image, (radius + before, radius + after), mode="reflect")
    pixels = np.pad(image, radius, mode="reflect")  # one for each patch of the padded image
    inner = np.zeros(pixels.shape, bool)
    inner[radius:-radius, radius:-radius] = True
    found = pt.similar(padded, patch, k, radius=radius, other=padded, where=inner)
    distances = found.distances[inner] / h**2
    weights = np.exp(-distances) * (distances < 5)
    means = (weights * pixels.ravel()[found.indices[inner]]).sum(axis=1) / weights.sum(axis=1)
    return means.reshape(image.shape)


# %%
# All 121 patches of a window of 11 x 11, as scikit-image does it: told 5, its fast mode sums boxes of 4 x 4, and
# divides by 5 x 5. Then the best 24 of the 121 alone: a fifth of them is nearly enough.

same = nonlocal_means(noisy, patch=4, radius=5, h=16 * 5, k=11**2)
theirs = denoise_nl_means(noisy, patch_size=5, patch_distance=5, h=16, fast_mode=True)
best = nonlocal_means(noisy, patch=7, radius=5, h=30 * 7, k=24)

images = {
    "photograph": clean,
    "with noise": noisy,
    "scikit-image": theirs,
    "the same": same,
    "the best 24": best,
}
figure, axes = plt.subplots(1, 5, figsize=(14, 2.6), layout="constrained")
for ax, (name, image) in zip(axes, images.items(), strict=True):
    error = np.sqrt(np.mean((image - clean) ** 2))
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_title(f"{name}\nerror {error:.1f}")
    ax.axis("off")

assert np.abs(same - theirs).max() < 1  # of 255, and on average
assert np.abs(same - theirs).mean() < 0.1
assert np.std(best - clean) < 1.05 * np.std(same - clean) < 0.6 * np.std(noisy - clean)

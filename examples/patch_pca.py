"""
Principal components of all patches of a photograph
===================================================

What are patches of photographs made of? Their principal components say: the directions in which
they vary most. They look like waves, because edges may lie anywhere. The same basis whitens a
picture, compresses it, and removes noise from it.

All 273 280 patches take part. Their covariance comes from correlations of the image with itself,
which is exact and needs no matrix of patches.

Run it with ``python examples/patch_pca.py``; ``--out DIR`` says where the picture goes.
"""

# %%
# The photograph
# --------------
# It comes with scikit-learn: a pagoda by a lake, here in grey.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from pantile.learn import PatchPCA

photo = load_sample_image("china.jpg").mean(axis=2, dtype=np.float32) / 255

# %%
# The components
# --------------
# ``components_`` are rows of numbers, as in scikit-learn; ``filters_`` are the same as patches.

model = PatchPCA(16, n_components=54).fit(photo)
explained = model.explained_variance_ratio_.sum()
print(f"54 of {model.n_features_in_} components explain {explained:.1%} of the variance")


def tiled(filters: np.ndarray, columns: int) -> np.ndarray:
    """Filters side by side, each as bright as the others."""
    n, height, width = filters.shape
    scaled = filters / np.abs(filters).max(axis=(1, 2), keepdims=True)
    framed = np.pad(scaled, ((0, 0), (0, 1), (0, 1)), constant_values=1)
    grid = framed.reshape(n // columns, columns, height + 1, width + 1).swapaxes(1, 2)
    return grid.reshape(n // columns * (height + 1), -1)


# %%
# From the codes back to the picture
# ----------------------------------
# ``transform`` gives the codes of every patch, an image with 54 channels; ``inverse_transform``
# makes patches of them and merges those. A fifth of the components is all but the finest grain.


def psnr(image: np.ndarray) -> float:
    """How near the photograph, in dB."""
    return float(-10 * np.log10(np.mean((image - photo) ** 2)))


codes = model.transform(photo, dtype=np.float32)
compressed = model.inverse_transform(codes)
print(f"codes {codes.shape}; back to a picture: {psnr(compressed):.1f} dB")

# %%
# Whitening
# ---------
# With every code divided by its standard deviation, all directions count the same: broad shades
# are held down, and edges stand out. What the patch around a pixel says of the pixel itself is one
# filter: the components times their values at the centre of a patch.

whitened_codes = codes / np.sqrt(model.explained_variance_)
whitened = whitened_codes @ model.filters_[:, 8, 8]
print(f"standard deviation of the whitened codes: {whitened_codes.std(axis=(0, 1)).mean():.3f}")

# %%
# Noise
# -----
# Noise lies in all directions alike, and the photograph in a few. The basis is learnt from the noisy
# picture itself.

sigma = 25 / 255
noisy = photo + np.random.default_rng(0).normal(0, sigma, photo.shape).astype(np.float32)
denoised = PatchPCA(8).fit(noisy).denoise(noisy, sigma)
print(f"noisy {psnr(noisy):.1f} dB, denoised {psnr(denoised):.1f} dB")

# %%
# The picture
# -----------

limit = np.percentile(np.abs(whitened), 99.5)
panels = [
    ("photograph", photo, (0, 1)),
    (f"54 components of 16 x 16, {explained:.1%} of the variance", tiled(model.filters_, 9), None),
    ("whitened", whitened, (-limit, limit)),
    (f"from 54 of 256 components, {psnr(compressed):.1f} dB", compressed, (0, 1)),
    (f"with noise, {psnr(noisy):.1f} dB", noisy, (0, 1)),
    (f"denoised, {psnr(denoised):.1f} dB", denoised, (0, 1)),
]
figure, axes = plt.subplots(2, 3, figsize=(12, 5.6), layout="constrained")
for place, (title, picture, limits) in zip(axes.flat, panels, strict=True):
    low, high = limits or (-1, 1)
    place.imshow(picture, cmap="gray", vmin=low, vmax=high)
    place.set_title(title, fontsize=10)
    place.set_axis_off()

# %%
# The picture is written to a file where this runs as a program.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the picture of this example.")
    parser.add_argument("--out", type=Path, help="folder for the picture")
    out = parser.parse_args().out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        figure.savefig(out / "patch_pca.png", dpi=100)

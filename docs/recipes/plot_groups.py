"""
Denoise by groups of similar patches
====================================

What similar patches share is signal (BM3D: Dabov, Foi, Katkovnik and Egiazarian, 2007). `similar` finds the groups, a
cosine transform of each group gathers what its members share, small coefficients are taken for noise, and a `Merger`
puts the patches back: those of groups with little noise left weigh more. `pantile.denoise.groups` has a second pass and
colours; ``pantile denoise --method groups`` is the same in a shell.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.fft
from sklearn.datasets import load_sample_image

import pantile as pt

SIGMA, P, MEMBERS = 25, 8, 16
clean = load_sample_image("china.jpg")[150:300, 240:440].mean(axis=2)
noisy = clean + np.random.default_rng(0).normal(0, SIGMA, clean.shape)

# %%
# For every third patch its 16 most similar ones, itself among them.

grid = pt.PatchGrid(noisy.shape, P)
some = np.zeros(grid.counts, bool)
some[np.ix_(*[[*range(0, n, 3), n - 1] for n in grid.counts])] = True
groups = pt.similar(noisy, grid, MEMBERS, radius=16, other=noisy, where=some).indices[some]

# %%
# Groups are transformed along the group and both axes of a patch.

merger = pt.Merger(grid)
for part in np.array_split(groups, 8):
    patches = pt.extract(noisy, grid, indices=part.ravel()).reshape(-1, MEMBERS, P, P)
    spectra = scipy.fft.dctn(patches, axes=(1, 2, 3), norm="ortho")
    keep = np.abs(spectra) > 2.7 * SIGMA
    keep[:, 0, 0, 0] = True
    back = scipy.fft.idctn(spectra * keep, axes=(1, 2, 3), norm="ortho")
    weights = np.repeat(1 / keep.sum(axis=(1, 2, 3)), MEMBERS)
    merger.add(back.reshape(-1, P, P), part.ravel(), patch_weights=weights)
one_pass = merger.result()

images = {
    "photograph": clean,
    "with noise": noisy,
    "each patch by itself": pt.denoise.dct(noisy, SIGMA),
    "groups, one pass": one_pass,
    "groups, both passes": pt.denoise.groups(noisy, SIGMA),
}
figure, axes = plt.subplots(1, 5, figsize=(14, 2.6), layout="constrained")
errors = []
for ax, (name, image) in zip(axes, images.items(), strict=True):
    errors.append(np.sqrt(np.mean((image - clean) ** 2)))
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_title(f"{name}\nerror {errors[-1]:.2f}")
    ax.axis("off")

assert errors[4] < errors[2] < errors[1]

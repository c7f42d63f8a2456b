"""
Denoise with a transform of every patch
=======================================

White noise spreads over all coefficients of a cosine transform; an image does not. So: transform every
8x8 patch, set small coefficients to zero, transform back, and average the 64 answers that each pixel gets.
(G. Yu and G. Sapiro, *DCT image denoising*, IPOL 2011.) `pantile.denoise.dct` is this with weights, channels and a
second pass.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.fft
from sklearn.datasets import load_sample_image

import pantile as pt

clean = load_sample_image("flower.jpg")[60:316, 140:524].mean(axis=2)
sigma = 25
noisy = clean + np.random.default_rng(0).normal(scale=sigma, size=clean.shape)


def shrink(batch):
    coefficients = scipy.fft.dctn(batch, axes=(1, 2), norm="ortho")
    kept = np.abs(coefficients) >= 2.7 * sigma
    kept[:, 0, 0] = True  # the patch's mean
    return scipy.fft.idctn(coefficients * kept, axes=(1, 2), norm="ortho")


denoised = pt.map_patches(shrink, noisy, 8)


def psnr(image):
    return 10 * np.log10(255**2 / np.mean((image - clean) ** 2))


# %%
# Without overlaps the borders of the blocks show, and the gain is smaller: the average over many
# alignments is half of the method.

blocks = pt.map_patches(shrink, noisy, 8, step=8)

figure, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
for ax, image, name in zip(
    axes, (noisy, blocks, denoised), ("noisy", "step 8", "step 1"), strict=True
):
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_title(f"{name}: {psnr(image):.1f} dB")
    ax.axis("off")

assert psnr(denoised) > psnr(blocks) + 1 > psnr(noisy) + 5

"""What patches see beyond the edge of an image, by pad_mode."""

import matplotlib.pyplot as plt
import numpy as np

import pantile as pt

MODES = ("constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp")
image = np.add.outer(np.arange(6.0), np.arange(8.0) ** 1.3)

figure, axes = plt.subplots(2, 3, figsize=(8, 4.6))
for ax, mode in zip(axes.flat, MODES, strict=True):
    grid = pt.PatchGrid(image.shape, (12, 14), pad=3, pad_mode=mode)
    (seen,) = pt.extract(image, grid)
    ax.imshow(seen, cmap="viridis", vmin=0, vmax=image.max())
    ax.add_patch(plt.Rectangle((2.5, 2.5), 8, 6, fill=False, ec="tomato", lw=2))
    ax.set_title(mode, fontsize=10)
    ax.axis("off")

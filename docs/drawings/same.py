"""Padding "same": one patch centred on every step-th element."""

import matplotlib.pyplot as plt

import pantile as pt

figure, axes = plt.subplots(1, 2, figsize=(9, 2.6))
for ax, step in zip(axes, (1, 2), strict=True):
    grid = pt.PatchGrid(7, 3, step, pad="same")
    ax.add_patch(plt.Rectangle((0, -1.3), 7, 0.8, ec="0.4", fc="white"))
    for k, start in enumerate(grid.starts[0]):
        ax.add_patch(plt.Rectangle((start, k + 0.15), 3, 0.7, color=f"C{k}"))
        ax.plot(start + 1.5, k + 0.5, "w.", ms=8)
    ax.set(
        title=f"step={step}: {grid.counts[0]} patches for 7 elements",
        xlim=(-1.5, 8.5),
        ylim=(7.2, -1.8),
    )
    ax.title.set_fontsize(10)
    ax.axis("off")

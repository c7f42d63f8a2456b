"""Where the patches of one axis stand under each tail policy."""

import matplotlib.pyplot as plt

import pantile as pt

SIZE, PATCH, STEP = 15, 4, 3
TAILS = ("shift", "respace", "pad", "drop", "center")

figure, axes = plt.subplots(3, 2, figsize=(8, 6.6), sharey=True, gridspec_kw={"hspace": 0.4})
axes.flat[-1].axis("off")
for ax, tail in zip(axes.flat, TAILS, strict=False):
    grid = pt.PatchGrid(SIZE, PATCH, STEP, tail=tail)
    for k, start in enumerate(grid.starts[0]):
        ax.add_patch(plt.Rectangle((start, k + 0.15), PATCH, 0.7, color=f"C{k}"))
    covered = grid.coverage()
    for x in range(SIZE):
        ax.add_patch(
            plt.Rectangle((x, -1.3), 1, 0.8, ec="0.4", fc="white" if covered[x] else "tomato")
        )
        ax.text(x + 0.5, -0.9, covered[x], ha="center", va="center", fontsize=8)
    starts = ", ".join(map(str, grid.starts[0]))
    ax.set(title=f"{tail}\nstarts {starts}", xlim=(-0.5, 17.5), ylim=(5.2, -1.8))
    ax.title.set_fontsize(10)
    ax.axis("off")

"""The same two patches in patch layout and in feature layout."""

import matplotlib.pyplot as plt

figure, axes = plt.subplots(2, 1, figsize=(8, 2.2))
cells = {
    "patch": [(p, f) for p in range(3) for f in range(4)],
    "feature": [(p, f) for f in range(4) for p in range(3)],
}
for ax, (name, order) in zip(axes, cells.items(), strict=True):
    for x, (p, f) in enumerate(order):
        ax.add_patch(plt.Rectangle((x, 0), 1, 1, ec="white", fc=f"C{p}"))
        ax.text(x + 0.5, 0.5, f"{p},{f}", ha="center", va="center", color="white", fontsize=9)
    ax.set(
        title=f'layout="{name}": addresses in memory hold (patch, feature)',
        xlim=(0, 12),
        ylim=(1.1, -0.1),
    )
    ax.title.set_fontsize(10)
    ax.axis("off")

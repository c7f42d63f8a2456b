"""
A forest on every window of a photograph
========================================

Which colour does a pixel have, if all one sees is the grey patch around it? Every pixel of the
photograph is an example, and a forest that is grown on all of them needs no matrix of patches: a
feature of a window is one byte of the image at a constant distance.

Run it with ``python examples/forest_all_windows.py``; ``--out DIR`` says where the picture goes.
"""

# %%
# Grey patches and colours
# ------------------------
# The photograph comes with scikit-learn. Its colours fall into four groups, the classes; what the
# forest is given is grey. The middle of the photograph is held out: nothing there is learnt from.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image
from sklearn.ensemble import RandomForestClassifier

from pantile.learn import PatchEstimator, PatchForestClassifier

photo = load_sample_image("china.jpg")
grey = photo.mean(axis=2).round().astype(np.uint8)
pixels = photo.reshape(-1, 3).astype(float)
groups = KMeans(4, n_init=3, random_state=0).fit(pixels[::50])
classes = groups.predict(pixels).reshape(grey.shape)

held_out = np.zeros(grey.shape, bool)
held_out[:, 240:400] = True
labels = np.where(held_out, -1, classes)

# %%
# All windows, or a sample
# ------------------------
# The same forest twice: on all windows, and by scikit-learn on a sample of 5000 of them.

options = {"n_estimators": 20, "max_depth": 14, "min_samples_leaf": 4, "random_state": 0}
models = {
    "all windows": PatchForestClassifier(
        13, features=("samples", "differences", "boxes"), max_features=25, **options
    ),
    "a sample of 5000": PatchEstimator(
        RandomForestClassifier(n_jobs=2, **options), 13, n_samples=5000, random_state=0
    ),
}
predicted, accuracy = {}, {}
for name, model in models.items():
    predicted[name] = model.fit(grey, labels).predict(grey)
    accuracy[name] = float((predicted[name] == classes)[held_out].mean())
    print(f"{name}: {accuracy[name]:.1%} of the held-out pixels are right")

# %%
# Where the forest looks: how much each sample of the patch contributes.

importances = models["all windows"].feature_importances_
print(f"the centre and its neighbours: {importances[5:8, 5:8].sum():.0%}")

# %%
# The picture
# -----------
# The grey photograph, what each forest says, in the colours of the groups, and the photograph itself.
# The lines are the borders of what was held out.

colours = groups.cluster_centers_.astype(int)
panels = {
    "what the forests see": np.repeat(grey[..., None], 3, axis=2),
    "the groups of colours": colours[classes],
    "importance of the samples": importances,
    **{
        f"{name}: {accuracy[name]:.1%} right where held out": colours[predicted[name]]
        for name in models
    },
    "right (light) on all windows": np.where(predicted["all windows"] == classes, 230, 40),
}
figure, axes = plt.subplots(2, 3, figsize=(13, 6.4), layout="constrained")
for place, (title, picture) in zip(axes.flat, panels.items(), strict=True):
    if picture is importances:
        place.imshow(picture, cmap="magma")
    else:
        place.imshow(picture, cmap="gray", vmin=0, vmax=255)
        for x in (240, 400):
            place.axvline(x, color="white", linewidth=1, linestyle=":")
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
        figure.savefig(out / "forest_all_windows.png", dpi=80)

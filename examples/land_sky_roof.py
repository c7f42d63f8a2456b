"""
Land, sky or roof: a pixel classifier from a few scribbles
==========================================================

A photograph, a few strokes of a pen that say what is where, and from them a class for every pixel.
What decides on a pixel is the patch around it: 147 numbers for each of 273 280 pixels. As a matrix
they would be 49 times the photograph, whatever its size. It is never made.

Run it with ``python examples/land_sky_roof.py``; ``--out DIR`` says where the picture goes.
"""

# %%
# The photograph
# --------------
# It comes with scikit-learn: a pagoda by a lake.

import argparse
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.ensemble import RandomForestClassifier

from pantile.learn import PatchEstimator, PatchForestClassifier, PatchLDA, PatchLogisticRegression

photo = load_sample_image("china.jpg")

# %%
# The scribbles
# -------------
# Each is a line through points ``(x, y)``, three pixels wide. Land is all that is neither sky nor
# roof: trees, water, walls. A label image has -1 where nothing was said.

CLASSES = ["land", "sky", "roof"]
SCRIBBLES = {
    "land": [
        [(20, 330), (60, 380), (120, 400)],  # trees
        [(400, 380), (480, 330), (540, 350)],
        [(590, 190), (600, 300)],
        [(20, 220), (50, 235)],
        [(572, 200), (590, 172), (606, 156), (630, 175)],  # tree tops
        [(430, 312), (480, 297), (528, 287)],
        [(5, 212), (35, 228), (60, 238)],
        [(360, 255), (500, 262)],  # water
        [(480, 234), (545, 240)],
        [(10, 290), (50, 300)],
        [(340, 214), (540, 216)],  # the far shore
        [(125, 149), (200, 148), (285, 147)],  # walls
        [(125, 137), (280, 137)],
        [(105, 215), (300, 213)],
        [(100, 243), (180, 245), (320, 236)],
        [(130, 122), (260, 124)],
    ],
    "sky": [
        [(5, 5), (90, 10)],
        [(20, 40), (160, 25)],
        [(250, 60), (600, 40)],
        [(330, 110), (345, 160), (520, 180)],
        [(345, 190), (530, 196)],
        [(30, 150), (80, 175)],
        [(50, 110), (72, 150), (85, 150)],
        [(45, 182), (90, 196)],
        [(560, 70), (630, 120)],
        [(530, 150), (570, 140)],
    ],
    "roof": [
        [(135, 105), (165, 93), (185, 82)],  # the tiles of the uppermost roof, and its eaves
        [(205, 75), (215, 95), (235, 103), (260, 110)],
        [(105, 115), (165, 111)],
        [(190, 112), (250, 116)],
        [(75, 267), (165, 265)],  # the left half of the third
        [(110, 257), (170, 257)],
        [(85, 276), (160, 278)],
        [(320, 350), (350, 337)],  # the right half of the lowest
        [(320, 340), (345, 327)],
    ],
}

# %%
# Other scribbles are held out, to see how well it went. They lie on other trees, on other walls,
# and on the roofs and halves of roofs that the first ones left alone.

HELD_OUT = {
    "land": [
        [(60, 345), (150, 370)],
        [(360, 420), (420, 340)],
        [(550, 380), (620, 340)],
        [(450, 240), (540, 250)],
        [(360, 280), (420, 275)],
        [(105, 186), (300, 187)],
        [(120, 225), (290, 225)],
        [(95, 310), (330, 305)],
        [(180, 345), (300, 342)],
    ],
    "sky": [
        [(450, 100), (620, 90)],
        [(40, 60), (90, 100)],
        [(420, 198), (540, 192)],
        [(300, 20), (330, 80)],
    ],
    "roof": [
        [(105, 173), (165, 170)],
        [(195, 170), (275, 173)],
        [(130, 164), (170, 161)],
        [(190, 161), (255, 161)],
        [(185, 268), (290, 263)],
        [(310, 261), (335, 255)],
        [(190, 275), (285, 274)],
        [(215, 378), (295, 370)],
        [(215, 365), (295, 357)],
    ],
}


def drawn(scribbles: dict, shape: tuple[int, int]) -> np.ndarray:
    """A label image: 0, 1, 2 along the lines, -1 elsewhere."""
    labels = np.full(shape, -1, dtype=np.int8)
    for code, name in enumerate(CLASSES):
        for line in scribbles[name]:
            for begin, end in itertools.pairwise(line):
                n = 2 * int(np.abs(np.subtract(end, begin)).max()) + 1
                x, y = np.rint(np.linspace(begin, end, n)).astype(int).T
                for dx, dy in np.ndindex(3, 3):
                    labels[y + dy - 1, x + dx - 1] = code
    return labels


labels = drawn(SCRIBBLES, photo.shape[:2])
held_out = np.where(labels < 0, drawn(HELD_OUT, photo.shape[:2]), -1)
print(f"labelled: {(labels >= 0).mean():.1%} of the pixels")

# %%
# Four models
# -----------
# All take images and give images. The first two are linear and exact: they look at all patches
# through correlations of the photograph. `PatchEstimator` wraps any estimator of scikit-learn, here
# a random forest, which is fitted on the labelled patches and then applied to all, a block of them
# at a time. `PatchForestClassifier` grows the same kind of forest on windows, without a matrix of
# them; its trees also look at differences of two samples, and at the means of boxes. (``C`` is small
# because pixels go up to 255.)

models = {
    "linear discriminant": PatchLDA(7, channel_axis=2, shrinkage=0.02),
    "logistic regression": PatchLogisticRegression(7, channel_axis=2, C=1e-7),
    "random forest": PatchEstimator(
        RandomForestClassifier(30, min_samples_leaf=3, n_jobs=2, random_state=0), 7, channel_axis=2
    ),
    "forest on windows": PatchForestClassifier(
        7,
        channel_axis=2,
        n_estimators=30,
        min_samples_leaf=3,
        features=("samples", "differences", "boxes"),
        random_state=0,
    ),
}
accuracy = {}
for name, model in models.items():
    model.fit(photo, labels)
    accuracy[name] = model.score(photo, held_out)
    print(f"{name}: {accuracy[name]:.1%} of the held-out pixels are right")

# %%
# Roofs are orange or green, and land is green, red, brown or grey: no plane through the colours
# parts them, and the forest is well ahead. Its classes, and how sure of them it is, for every pixel:

forest = models["random forest"]
probabilities = forest.predict_proba(photo)
predicted = forest.classes_[probabilities.argmax(axis=-1)]
print({name: f"{(predicted == code).mean():.0%}" for code, name in enumerate(CLASSES)})

# %%
# The picture
# -----------
# Left the photograph and what was scribbled on it, in the middle the classes, right the
# probabilities as mixtures of the three colours: where they mix it was a close call.

COLOURS = np.array([[0.35, 0.75, 0.15], [0.2, 0.45, 0.95], [0.9, 0.1, 0.6]])


def mixed(picture: np.ndarray, colours: np.ndarray, share: float) -> np.ndarray:
    return (1 - share) * picture / 255 + share * colours


with_scribbles = photo / 255
for k in range(3):
    with_scribbles[labels == k] = COLOURS[k]

panels = {
    f"photograph, {(labels >= 0).sum()} pixels labelled": with_scribbles,
    f"class, {accuracy['random forest']:.0%} right on held-out scribbles": mixed(
        photo, COLOURS[predicted], 0.55
    ),
    "probabilities": probabilities @ COLOURS,
}
figure, axes = plt.subplots(1, 3, figsize=(13, 3.35), layout="constrained")
for place, (title, picture) in zip(axes, panels.items(), strict=True):
    place.imshow(picture)
    place.set_title(title, fontsize=10)
    place.set_axis_off()
for name, colour in zip(CLASSES, COLOURS, strict=True):
    axes[2].plot([], [], "s", color=colour, label=name)
axes[2].legend(loc="upper right", fontsize=9)

# %%
# The picture is written to a file where this runs as a program.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the picture of this example.")
    parser.add_argument("--out", type=Path, help="folder for the picture")
    out = parser.parse_args().out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        figure.savefig(out / "land_sky_roof.png", dpi=110)

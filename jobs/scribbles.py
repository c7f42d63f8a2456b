"""(e) Scribbles to a forest: land, sky or roof on a photograph of 4 megapixels."""

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_image
from sklearn.ensemble import RandomForestClassifier

from pantile.learn import PatchEstimator

SIZES = {"small": {"every": 6, "times": 1}, "full": {"every": 1, "times": 4}}
DATA = "photograph, every {every}th pixel enlarged {times}x{times} times, patches 7x7x3, 30 trees"


def with_pantile(photo, labels):
    model = PatchEstimator(forest(), 7, channel_axis=2)
    return model.fit(photo, labels).predict(photo)


def plainly(photo, labels):
    padded = np.pad(photo, ((3, 3), (3, 3), (0, 0)), mode="reflect")
    windows = sliding_window_view(padded, (7, 7), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    known = labels >= 0
    model = forest().fit(windows[known].reshape(-1, 147), labels[known])
    result = np.empty_like(labels)
    for y in range(
        0, len(photo), 16
    ):  # all at once would be 147 times the photograph, and in float32
        rows = windows[y : y + 16].reshape(-1, 147)
        result[y : y + 16] = model.predict(rows).reshape(-1, photo.shape[1])
    return result


def forest():
    return RandomForestClassifier(30, min_samples_leaf=3, n_jobs=2, random_state=0)


WAYS = {"pantile": with_pantile, "scikit-learn": plainly}

SCRIBBLES = {  # rows and columns of the photograph of 427x640: land, sky, roof
    0: [(330, 400, 20, 120), (320, 380, 420, 560), (212, 240, 20, 50), (236, 242, 480, 545)],
    1: [(5, 40, 5, 160), (40, 60, 250, 600), (160, 196, 345, 530)],
    2: [(104, 110, 120, 170), (265, 268, 75, 165), (256, 260, 110, 170), (337, 342, 325, 350)],
}


def make(_: Path, every: int, times: int):
    photo, labels = load_sample_image("china.jpg"), np.full((427, 640), -1)
    for code, boxes in SCRIBBLES.items():
        for top, bottom, left, right in boxes:
            labels[top:bottom:2, left:right:3] = code
    if every > 1:
        photo = photo[::every, ::every]
        labels = np.maximum.reduceat(labels, np.arange(0, 427, every), axis=0)
        labels = np.maximum.reduceat(labels, np.arange(0, 640, every), axis=1)
    large = np.repeat(np.repeat(photo, times, axis=0), times, axis=1)
    marked = np.full(large.shape[:2], -1)
    marked[::times, ::times] = labels
    return {"photo": large, "labels": marked}


def agree(mine, its) -> str:
    assert mine.shape == its.shape
    assert len(np.unique(mine)) == 3
    # a forest with n_jobs adds its trees in any order, so ties fall differently from call to call:
    # two calls of scikit-learn on the same 64,000 rows differed in one label
    different = np.mean(mine != its)
    assert different < 5e-5
    return f"{1 - different:.5%} of the labels"

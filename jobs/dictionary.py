"""(d) Dictionary learning, as in scikit-learn's gallery: the noisy half from atoms of the clean half."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

import pantile as pt

SIZES = {"small": {"every": 12, "atoms": 8}, "full": {"every": 1, "atoms": 50}}
DATA = "grey photograph, every {every}th pixel of 427x640, 7x7 patches, {atoms} atoms"


def with_pantile(clean, noisy, atoms):
    rows = pt.extract(clean, 7).reshape(-1, 49)
    rows -= rows.mean(axis=0)
    rows /= rows.std(axis=0)
    model = learner(atoms).fit(rows)
    mean = pt.PatchMatrix(noisy, 7).mean(axis=0).reshape(7, 7)

    def sparse(patches):
        code = model.transform((patches - mean).reshape(len(patches), 49))
        return (code @ model.components_).reshape(patches.shape) + mean

    # each patch is a loop of Python in transform, which threads take turns at: one saves finding that out
    return pt.map_patches(sparse, noisy, 7, workers=1)


def plainly(clean, noisy, atoms):
    rows = extract_patches_2d(clean, (7, 7)).reshape(-1, 49)
    rows -= rows.mean(axis=0)
    rows /= rows.std(axis=0)
    model = learner(atoms).fit(rows)
    rows = extract_patches_2d(noisy, (7, 7)).reshape(-1, 49)
    mean = rows.mean(axis=0)
    rows -= mean
    patches = model.transform(rows) @ model.components_ + mean
    return reconstruct_from_patches_2d(patches.reshape(-1, 7, 7), noisy.shape)


def learner(atoms):
    return MiniBatchDictionaryLearning(
        n_components=atoms, batch_size=200, alpha=1.0, max_iter=10, random_state=0,
        transform_algorithm="omp", transform_n_nonzero_coefs=2,
    )  # fmt: skip


WAYS = {"pantile": with_pantile, "scikit-learn": plainly}


def make(_: Path, every: int, atoms: int):
    photo = load_sample_image("china.jpg")[::every, ::every].mean(axis=2) / 255
    half = photo.shape[1] // 2
    noise = 0.075 * np.random.default_rng(0).normal(size=photo[:, half:].shape)
    return {
        "clean": np.ascontiguousarray(photo[:, :half]),
        "noisy": photo[:, half:] + noise,
        "atoms": atoms,
    }


def agree(mine, its) -> str:
    np.testing.assert_allclose(mine, its, rtol=0, atol=1e-10)
    return f"to {np.abs(mine - its).max():.0e}"

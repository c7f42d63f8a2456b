"""(i) A program that cuts and merges with five libraries, before and after."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

SIZES = {"small": {"height": 96, "width": 128}, "full": {"height": 1056, "width": 1568}}
DATA = "photograph {height}x{width}; scikit-image, scikit-learn, patchify, torch and tiler"


def before(image):
    import torch
    from patchify import patchify, unpatchify
    from skimage.util import view_as_windows
    from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d
    from tiler import Merger, Tiler
    from torch.nn.functional import fold, unfold

    contrast = view_as_windows(image, (16, 16), 4).std(axis=(2, 3))
    patches = extract_patches_2d(image, (5, 5))
    smooth = reconstruct_from_patches_2d(
        patches * 0.5 + 0.5 * patches.mean(axis=(1, 2), keepdims=True), image.shape
    )
    tiles = patchify(image, (32, 32), 32)
    flat = unpatchify(tiles - tiles.mean(axis=(2, 3), keepdims=True), image.shape)
    columns = unfold(torch.from_numpy(image)[None, None], 8, stride=4)
    energy = fold(columns.square(), image.shape, 8, stride=4).numpy()[0, 0]
    tiler = Tiler(image.shape, (32, 32), overlap=16)
    merger = Merger(tiler)
    for number, tile in tiler(image):
        merger.add(number, np.sqrt(tile))
    return contrast, smooth, flat, energy, merger.merge()


def after(image):
    import torch

    import pantile as pt
    from pantile.compat.patchify import patchify, unpatchify
    from pantile.compat.skimage import view_as_windows
    from pantile.compat.sklearn import extract_patches_2d, reconstruct_from_patches_2d
    from pantile.compat.torch import fold, unfold

    contrast = view_as_windows(image, (16, 16), 4).std(axis=(2, 3))
    patches = extract_patches_2d(image, (5, 5))
    smooth = reconstruct_from_patches_2d(
        patches * 0.5 + 0.5 * patches.mean(axis=(1, 2), keepdims=True), image.shape
    )
    tiles = patchify(image, (32, 32), 32)
    flat = unpatchify(tiles - tiles.mean(axis=(2, 3), keepdims=True), image.shape)
    columns = unfold(torch.from_numpy(image)[None, None], 8, stride=4)
    energy = fold(columns.square(), image.shape, 8, stride=4).numpy()[0, 0]
    rooted = pt.map_patches(np.sqrt, image, 32, 16)
    return contrast, smooth, flat, energy, rooted


WAYS = {"pantile": after, "five libraries": before}


def make(_: Path, height: int, width: int):
    photo = load_sample_image("china.jpg").mean(axis=2).astype(np.float32) / 255
    times = -(-height // 427), -(-width // 640)
    return {"image": np.ascontiguousarray(np.tile(photo, times)[:height, :width])}


def agree(mine, its) -> str:
    for name, a, b in zip(
        ("contrast", "smooth", "flat", "energy", "rooted"), mine, its, strict=True
    ):
        assert a.shape == b.shape, name
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)
    return "all five"

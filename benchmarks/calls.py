"""How each library cuts and merges patches, as its users would write it.

A function here takes a `Case`, does what is done once for a geometry (imports, index arrays,
divisors) and returns what is compared and timed. What a ``_cut`` makes takes the image and returns
the windows as ``(*counts, *patch)``, ``(n, *patch)`` or ``(n, features)``; a ``_merge`` or ``_sum``
takes patches and returns the image; a ``_map`` takes the image, cuts it and merges it again; a
``_product`` returns one number a window, windows times one vector; a ``_gram`` the products of their
features.
"""

import itertools
import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case, Layout

__all__ = [
    "Make",
    "Run",
    "kornia_cut",
    "kornia_merge",
    "monai_merge",
    "numpy_add_at_merge",
    "numpy_bincount_merge",
    "numpy_cut",
    "numpy_gram",
    "numpy_indices_cut",
    "numpy_map",
    "numpy_product",
    "numpy_slices_merge",
    "numpy_view_product",
    "pantile_cut",
    "pantile_gram",
    "pantile_map",
    "pantile_merge",
    "pantile_product",
    "pantile_view",
    "patchify_cut",
    "patchify_merge",
    "scipy_product",
    "skimage_cut",
    "sklearn_cut",
    "sklearn_map",
    "sklearn_merge",
    "tiler_cut",
    "tiler_merge",
    "torch_map",
    "torch_merge",
    "torch_product",
    "torch_sum",
    "torch_unfold_cut",
    "torch_windows_cut",
    "vector",
]

Run = Callable[[Array], Any]
Make = Callable[[Case], Run]


def _quiet(module: str) -> Any:
    """Import `module`; what it warns about while it loads is not ours to judge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(module)


# pantile ---------------------------------------------------------------------------------------


def pantile_view(case: Case) -> Run:
    pt = _quiet("pantile")
    return lambda image: pt.patchify(image, case.patch, case.step)


def pantile_cut(layout: Layout) -> Make:
    def make(case: Case) -> Run:
        pt = _quiet("pantile")
        grid = pt.PatchGrid(case.shape, case.patch, case.step, tail="drop")
        return lambda image: pt.extract(image, grid, layout=layout)

    return make


def pantile_merge(merge: str) -> Make:
    def make(case: Case) -> Run:
        pt = _quiet("pantile")
        grid = pt.PatchGrid(case.shape, case.patch, case.step)
        return lambda patches: pt.unpatchify(patches, grid, merge=merge)

    return make


def pantile_map(case: Case) -> Run:
    pt = _quiet("pantile")
    grid = pt.PatchGrid(case.shape, case.patch, case.step)
    return lambda image: pt.map_patches(lambda batch: batch, image, grid)


def pantile_product(case: Case) -> Run:
    pt, v = _quiet("pantile"), vector(case)
    grid = pt.PatchGrid(case.shape, case.patch, case.step, tail="drop")
    return lambda image: pt.PatchMatrix(image, grid) @ v


def pantile_gram(case: Case) -> Run:
    pt = _quiet("pantile")
    grid = pt.PatchGrid(case.shape, case.patch, case.step, tail="drop")
    return lambda image: pt.PatchMatrix(image, grid).gram()


def vector(case: Case) -> Array:
    """Return what every window is multiplied by."""
    return np.random.default_rng(7).random(case.features).astype(case.float_dtype)


# NumPy -----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _indices(case: Case) -> Array:
    """Return the index arrays of the original question: the flat element of each patch element."""
    image = np.arange(math.prod(case.shape), dtype=np.intp).reshape(case.shape)
    return case.view(image).reshape(case.n_patches, case.features)


def _reciprocal(case: Case) -> Array:
    """Return 1 / how many patches touch each element."""
    touched: Array = np.ones((1,) * case.ndim)
    for axis, (size, patch, step) in enumerate(zip(case.shape, case.patch, case.step, strict=True)):
        starts = np.arange(case.counts[axis]) * step
        line = np.bincount((starts[:, None] + np.arange(patch)).ravel(), minlength=size)
        touched = touched * line.reshape([-1 if k == axis else 1 for k in range(case.ndim)])
    return 1.0 / touched


def numpy_cut(case: Case) -> Run:
    return lambda image: np.ascontiguousarray(case.view(image))


def numpy_indices_cut(case: Case) -> Run:
    index = _indices(case)
    return lambda image: image.ravel()[index]


def numpy_bincount_merge(case: Case) -> Run:
    index, weights = _indices(case).ravel(), _reciprocal(case)

    def run(patches: Array) -> Array:
        merged = np.bincount(index, weights=patches.ravel(), minlength=weights.size)
        return merged.reshape(case.shape) * weights

    return run


def numpy_add_at_merge(case: Case) -> Run:
    index, weights = _indices(case).ravel(), _reciprocal(case)

    def run(patches: Array) -> Array:
        merged = np.zeros(weights.size)
        np.add.at(merged, index, patches.ravel().astype(float))  # 9 times faster than with a cast
        return merged.reshape(case.shape) * weights

    return run


def _shifts(case: Case) -> list[tuple[slice, ...]]:
    """Return for each feature the strided slices of the image it stands in, patch after patch."""
    axes = [
        [slice(at, at + (count - 1) * step + 1, step) for at in range(patch)]
        for patch, count, step in zip(case.patch, case.counts, case.step, strict=True)
    ]
    return list(itertools.product(*axes))


def numpy_slices_merge(case: Case) -> Run:
    shifts, weights = _shifts(case), _reciprocal(case)

    def run(patches: Array) -> Array:
        merged = np.zeros(case.shape)
        for place, column in zip(shifts, patches.reshape(case.n_patches, -1).T, strict=True):
            merged[place] += column.reshape(case.counts)
        return merged * weights

    return run


def numpy_map(case: Case) -> Run:
    shifts, weights = _shifts(case), _reciprocal(case)

    def run(image: Array) -> Array:
        merged = np.zeros(case.shape)
        for place in shifts:
            merged[place] += image[place]
        return merged * weights

    return run


def numpy_product(case: Case) -> Run:
    v = vector(case)
    return lambda image: _expanded(case, image) @ v


def numpy_view_product(case: Case) -> Run:
    v = vector(case).reshape(case.patch)
    windows, features = "abc"[: case.ndim], "ijk"[: case.ndim]
    script = f"{windows}{features},{features}->{windows}"
    return lambda image: np.einsum(script, case.view(image), v).ravel()


def numpy_gram(case: Case) -> Run:
    def run(image: Array) -> Array:
        expanded = _expanded(case, image)
        product: Array = expanded.T @ expanded
        return product

    return run


def _expanded(case: Case, image: Array) -> Array:
    """Return every window as a row of floats: integers would take NumPy's loops, not BLAS."""
    return case.view(image.astype(case.float_dtype, copy=False)).reshape(case.n_patches, -1)


def scipy_product(case: Case) -> Run:
    oaconvolve = _quiet("scipy.signal").oaconvolve
    steps = tuple(slice(None, None, step) for step in case.step)
    kernel = np.flip(vector(case).reshape(case.patch))

    def run(image: Array) -> Array:
        every: Array = oaconvolve(image, kernel, mode="valid")
        return every[steps].ravel()

    return run


# scikit-image, scikit-learn, patchify, tiler ---------------------------------------------------


def skimage_cut(case: Case) -> Run:
    util = _quiet("skimage.util")
    return lambda image: np.ascontiguousarray(util.view_as_windows(image, case.patch, case.step))


def sklearn_cut(case: Case) -> Run:
    image_module = _quiet("sklearn.feature_extraction.image")
    return lambda image: image_module.extract_patches_2d(image, case.patch, max_patches=None)


def sklearn_merge(case: Case) -> Run:
    reconstruct = _quiet("sklearn.feature_extraction.image").reconstruct_from_patches_2d
    return lambda patches: reconstruct(patches.reshape(-1, *case.patch), case.shape)


def patchify_cut(case: Case) -> Run:
    patchify = _quiet("patchify").patchify
    return lambda image: np.ascontiguousarray(patchify(image, case.patch, case.step[0]))


def patchify_merge(case: Case) -> Run:
    unpatchify = _quiet("patchify").unpatchify
    return lambda patches: unpatchify(patches, case.shape)


def _tiler(case: Case) -> Any:
    overlap = tuple(p - s for p, s in zip(case.patch, case.step, strict=True))
    return _quiet("tiler").Tiler(case.shape, case.patch, overlap=overlap, mode="drop")


def tiler_cut(case: Case) -> Run:
    tiler = _tiler(case)
    return lambda image: tiler.get_all_tiles(image, copy_data=True)


def tiler_merge(case: Case) -> Run:
    tiler, merger_type = _tiler(case), _quiet("tiler").Merger
    sums = case.float_dtype

    def run(patches: Array) -> Any:
        merger = merger_type(tiler, window="boxcar", data_dtype=sums, weights_dtype=sums)
        for number, patch in enumerate(patches.reshape(-1, *case.patch)):
            merger.add(number, patch)
        return merger.merge(normalize_by_weights=True)

    return run


# torch, MONAI ----------------------------------------------------------------------------------


def torch_unfold_cut(case: Case) -> Run:
    torch = _quiet("torch")
    unfold = torch.nn.functional.unfold

    def run(image: Array) -> Any:
        return unfold(torch.from_numpy(image)[None, None], case.patch, stride=case.step)[
            0
        ].T.numpy()

    return run


def torch_windows_cut(case: Case) -> Run:
    torch = _quiet("torch")

    def run(image: Array) -> Any:
        windows = torch.from_numpy(image)
        for axis, (patch, step) in enumerate(zip(case.patch, case.step, strict=True)):
            windows = windows.unfold(axis, patch, step)
        return windows.contiguous().numpy()

    return run


def torch_sum(case: Case) -> Run:
    torch = _quiet("torch")
    fold = torch.nn.functional.fold

    def run(patches: Array) -> Any:
        columns = torch.from_numpy(patches.reshape(case.n_patches, -1).T)[None]
        return fold(columns, case.shape, case.patch, stride=case.step)[0, 0].numpy()

    return run


def torch_merge(case: Case) -> Run:
    total = torch_sum(case)
    touched = total(np.ones((case.n_patches, case.features), case.dtype, order="F"))

    def run(patches: Array) -> Any:
        merged = total(patches)
        merged /= touched
        return merged

    return run


def torch_map(case: Case) -> Run:
    cut, merge = torch_unfold_cut(case), torch_merge(case)
    return lambda image: merge(cut(image))


def torch_product(case: Case) -> Run:
    torch = _quiet("torch")
    convolve = getattr(torch.nn.functional, f"conv{case.ndim}d")
    kernel = torch.from_numpy(vector(case).reshape(case.patch))[None, None]

    def run(image: Array) -> Any:
        return (
            convolve(torch.from_numpy(image)[None, None], kernel, stride=case.step).numpy().ravel()
        )

    return run


def kornia_cut(case: Case) -> Run:
    torch, cut = _quiet("torch"), _quiet("kornia.contrib").extract_tensor_patches

    def run(image: Array) -> Any:
        with warnings.catch_warnings():  # that the rest is dropped, as in all cuts here
            warnings.simplefilter("ignore")
            tensor = torch.from_numpy(image)[None, None]
            return cut(tensor, case.patch, stride=case.step)[0, :, 0].numpy()

    return run


def kornia_merge(case: Case) -> Run:
    torch, merge = _quiet("torch"), _quiet("kornia.contrib").combine_tensor_patches

    def run(patches: Array) -> Any:
        batch = torch.from_numpy(patches).view(1, -1, 1, *case.patch)
        return merge(batch, case.shape, case.patch, case.step)[0, 0].numpy()

    return run


def sklearn_map(case: Case) -> Run:
    cut, merge = sklearn_cut(case), sklearn_merge(case)
    return lambda image: merge(cut(image))


def monai_merge(case: Case) -> Run:
    torch, merger_type = _quiet("torch"), _quiet("monai.inferers").AvgMerger
    places = [tuple(np.multiply(at, case.step).tolist()) for at in np.ndindex(*case.counts)]
    # Its counts are uint8 unless told otherwise, and wrap where 256 patches overlap.
    kinds = {"value_dtype": getattr(torch, case.float_dtype), "count_dtype": torch.int32}

    def run(patches: Array) -> Any:
        merger = merger_type((1, 1, *case.shape), **kinds)
        batch = torch.from_numpy(patches).view(-1, 1, 1, *case.patch)
        for patch, place in zip(batch, places, strict=True):
            merger.aggregate(patch, place)
        return merger.finalize()[0, 0].numpy()

    return run

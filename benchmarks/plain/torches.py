"""What torch has for the same work, where it is installed: None elsewhere."""

from __future__ import annotations

import os
from importlib.util import find_spec

from benchmarks.cases import Array, Case
from benchmarks.timing import Task

__all__ = ["correlated", "folded", "unfolded", "windows_of"]

# torch's threads spin on for milliseconds after a call, on the core that the next one is timed on
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

MOST_PRODUCTS = 4e9
"""Multiplications of a convolution that is still worth waiting for."""


def _able(case: Case, floats: bool = True, planes: bool = True) -> bool:
    if find_spec("torch") is None or (floats and case.dtype not in ("float32", "float64")):
        return False
    return case.ndim == 2 or not planes


def windows_of(case: Case, image: Array) -> Task | None:
    """Windows as a contiguous tensor."""
    if not _able(case, floats=False, planes=False) or case.dtype == "uint16":
        return None
    import torch

    tensor = torch.from_numpy(image)

    def cut() -> Array:
        view = tensor
        for axis, (patch, step) in enumerate(zip(case.patch, case.step, strict=True)):
            view = view.unfold(axis, patch, step)
        found: Array = view.clone(memory_format=torch.contiguous_format).numpy()
        return found.reshape(-1, *case.patch)

    return cut


def unfolded(case: Case, image: Array) -> Task | None:
    """Columns of patches by `torch.nn.functional.unfold`."""
    if not _able(case):
        return None
    import torch

    tensor = torch.from_numpy(image)[None, None]

    def cut() -> Array:
        columns = torch.nn.functional.unfold(tensor, case.patch, stride=case.step)
        found: Array = columns[0].numpy().T.reshape(-1, *case.patch)
        return found

    return cut


def folded(case: Case, patches: Array, mean: bool) -> Task | None:
    """Sum or mean of patches by `torch.nn.functional.fold`, which is given columns."""
    if not _able(case):
        return None
    import torch

    rows = torch.from_numpy(patches.reshape(case.n_patches, case.features))
    columns = rows.T.contiguous()[None]

    def merge() -> Array:
        total = torch.nn.functional.fold(columns, case.shape, case.patch, stride=case.step)
        if mean:
            ones = torch.ones_like(columns)
            total /= torch.nn.functional.fold(ones, case.shape, case.patch, stride=case.step)
        found: Array = total[0, 0].numpy()
        return found

    return merge


def correlated(case: Case, image: Array, vectors: Array) -> Task | None:
    """Every window times each column, as a convolution of torch."""
    work = case.elements * vectors.shape[1]
    if not _able(case, planes=False) or work > MOST_PRODUCTS:
        return None
    import torch

    functions = torch.nn.functional
    convolve = (functions.conv1d, functions.conv2d, functions.conv3d)[case.ndim - 1]
    kernels = torch.from_numpy(vectors.T.reshape(-1, 1, *case.patch))

    def multiply() -> Array:
        tensor = torch.from_numpy(image.astype(vectors.dtype, copy=False))[None, None]
        found = convolve(tensor, kernels, stride=case.step)
        flat: Array = found[0].numpy().reshape(vectors.shape[1], -1).T
        return flat

    return multiply

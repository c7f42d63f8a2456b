"""Denoising by groups of similar patches: transformed together, shrunk, and put back with weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ..geometry import PatchGrid
from ..kernels.parallel import cores
from ..ops.extract import extract
from ..ops.merger import Merger
from ..search.similar import similar
from .shrink import THRESHOLD, FloatArray, dct_matrix

__all__ = ["denoise_by_groups", "match_groups"]

BATCH_ELEMENTS = 1 << 21
EXACT = 2**24 - 1  # distances of integers up to this are the fast ones


def match_groups(
    plane: FloatArray, grid: PatchGrid, members: int, radius: int, step: int
) -> NDArray[np.int64]:
    """Groups of similar patches ``(groups, members)``, as flat indices: each reference patch, and those most like it.

    References are every ``step``-th patch and the last ones. Distances are those of the plane in as
    many levels as make them small integers: finer than noise, and several times as fast as floats.
    """
    levels = math.isqrt(EXACT // grid.features)
    low, high = float(plane.min()), float(plane.max())
    whole = np.rint((plane - low) * (levels / max(high - low, 1e-30))).astype(np.int16)
    references = np.zeros(grid.counts, bool)
    references[np.ix_(*[np.unique([*range(0, n, step), n - 1]) for n in grid.counts])] = True
    found = similar(whole, grid, members, radius=radius, other=whole, where=references)
    return found.indices[references]


def denoise_by_groups(
    noisy: FloatArray, guide: FloatArray | None, groups: NDArray[np.int64], grid: PatchGrid, sigma: float,
    workers: int | None = None, watch: Callable[[int], None] = lambda _: None,
) -> FloatArray:  # fmt: skip
    """A plane after one pass over all groups; ``guide`` is an estimate of the truth, for a Wiener filter.

    The transform of a group is a DCT along both axes of its patches and along the group. Patches come
    back with a weight: the inverse of the variance of the noise that stays in their group.
    """
    merger = Merger(grid, merge="mean", dtype=noisy.dtype)
    size = max(1, BATCH_ELEMENTS // (groups.shape[1] * grid.features))
    batches = [groups[i : i + size] for i in range(0, len(groups), size)]

    def work(batch: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.float64]]:
        return _shrink(noisy, guide, batch, grid, sigma)

    with (
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(workers or cores()) as pool,
    ):
        done = 0
        for begin in range(0, len(batches), 8):  # a few at a time, so that memory stays small
            some = batches[begin : begin + 8]
            for batch, (patches, weights) in zip(some, pool.map(work, some), strict=True):
                merger.add(patches, batch.ravel(), patch_weights=weights)
                done += len(batch)
                watch(done)
    result: FloatArray = merger.result()
    return result


def _shrink(
    noisy: FloatArray,
    guide: FloatArray | None,
    groups: NDArray[np.int64],
    grid: PatchGrid,
    sigma: float,
) -> tuple[FloatArray, NDArray[np.float64]]:
    """The patches of some groups ``(groups * members, *patch)``, denoised, and the weight of each."""
    spectra = _spectra(noisy, groups, grid)
    if guide is None:
        keep = np.abs(spectra) > THRESHOLD * sigma
        keep[:, 0, 0, 0] = True  # the mean of a group is signal, however dark
        spectra *= keep
        weight = 1 / keep.reshape(len(groups), -1).sum(axis=1)
    else:
        gain = np.square(_spectra(guide, groups, grid))
        gain /= gain + gain.dtype.type(sigma) ** 2
        gain[:, 0, 0, 0] = 1
        spectra *= gain
        flat = gain.reshape(len(groups), -1)
        weight = 1 / np.einsum("gi,gi->g", flat, flat)
    patches = _transform(spectra, inverse=True).reshape(-1, *grid.patch)
    return patches, np.repeat(weight.astype(np.float64), groups.shape[1])


def _spectra(plane: FloatArray, groups: NDArray[np.int64], grid: PatchGrid) -> FloatArray:
    patches = extract(plane, grid, indices=groups.ravel())
    return _transform(patches.reshape(*groups.shape, *grid.patch), inverse=False)


def _transform(groups: FloatArray, inverse: bool) -> FloatArray:
    """The DCT along members, rows and columns of groups ``(n, members, rows, columns)``."""
    n, members, rows, columns = groups.shape
    a, b, c = (dct_matrix(size, groups.dtype) for size in (members, rows, columns))
    if inverse:
        a, b, c = a.T, b.T, c.T
    both = np.kron(b, c)  # one product for both axes of a patch: BLAS at full speed
    return (a @ (groups.reshape(n, members, rows * columns) @ both.T)).reshape(groups.shape)

"""Models over tiles, patches as a map-style dataset, and a sampler for any number of them (extra ``torch``)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.limits import LIMITS, Limits
from ..matrix import PatchMatrix
from ..matrix.shuffle import shuffle_blocks
from .rows import check_rows
from .tile_model import TileModel

if TYPE_CHECKING:
    import torch

__all__ = ["BlockShuffleSampler", "PatchDataset", "TileModel"]


class PatchDataset:
    """All rows of a patch matrix as a map-style dataset: patches as tensors, with their targets.

    Parameters
    ----------
    matrix : PatchMatrix
    targets : array_like or PatchMatrix, optional
        One entry per row (see `labelled_rows`), or patches of another image of as many rows, such
        as a label image.
    dtype : torch.dtype, optional
        Of the patches; by default the image's. Targets keep their own.
    transform : callable, optional
        Called on patches, ``(n, [channels,] *patch)``, a batch at a time; gives as many.

    Notes
    -----
    ``dataset[i]`` is one patch ``([channels,] *patch)``, ``dataset[[i, j, ...]]`` a batch ``(n,
    [channels,] *patch)``; with targets, pairs of those. ``DataLoader`` cuts a batch in one call
    either way, but ``batch_size=None`` spares it taking the batch apart and stacking it again::

        sampler = BlockShuffleSampler(len(dataset), 256, seed=0)
        DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=2)  # fastest
        DataLoader(dataset, batch_sampler=sampler, num_workers=2)  # the usual way

    Pickled to workers it is the image and its geometry, never the patches; of an image in a file
    (`numpy.memmap`) it is the file's name.

    Examples
    --------
    Classify every pixel of an ``(H, W, 3)`` photograph by the patch around it::

        grid = pt.PatchGrid(photo.shape[:2], 15, pad="same", pad_mode="reflect")
        X, y = labelled_rows(photo, labels, grid, channel_axis=2)
        dataset = PatchDataset(X, y, dtype=torch.float32)
        dataset[[0, 5, 7]]  # tensors (3, 3, 15, 15) and (3,)
    """

    def __init__(
        self,
        matrix: PatchMatrix,
        targets: Any = None,
        *,
        dtype: torch.dtype | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        library = _import_torch()
        if dtype is not None and not isinstance(dtype, library.dtype):
            raise TypeError(f"dtype must be a torch dtype, such as torch.float32, got {dtype!r}")
        lazy = isinstance(targets, PatchMatrix)
        checked = check_rows(matrix, targets=None if lazy else targets)
        if lazy and len(targets) != len(matrix):
            raise ValueError(
                f"targets have {len(targets)} rows for {len(matrix)} rows of the matrix: use one grid for both"
            )
        self.matrix = matrix
        self.targets = targets if lazy else checked.get("targets")
        self.dtype = dtype
        self.transform = transform

    def __repr__(self) -> str:
        more = "" if self.targets is None else ", with targets"
        return f"PatchDataset({self.matrix!r}{more})"

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, index: Any) -> Any:
        """One patch, or the batch of a list or slice of indices; with targets, a pair."""
        if isinstance(index, slice):
            return self._make_batch(np.arange(*index.indices(len(self))))
        if np.ndim(index):
            return self._make_batch(np.flatnonzero(index) if _is_mask(index) else index)
        found = self._make_batch([operator.index(index)])
        return tuple(each[0] for each in found) if isinstance(found, tuple) else found[0]

    def __getitems__(self, indices: Any) -> list[Any]:
        """Samples of a batch, cut in one call: what ``DataLoader`` asks for, and stacks."""
        found = self._make_batch(indices)
        return list(zip(*found, strict=True)) if isinstance(found, tuple) else list(found)

    def _make_batch(self, indices: Any) -> Any:
        patches = _to_tensor(_take_patches(self.matrix, indices))
        if self.dtype is not None:
            patches = patches.to(self.dtype)
        if self.transform is not None:
            patches = self.transform(patches)
        if self.targets is None:
            return patches
        if isinstance(self.targets, PatchMatrix):
            return patches, _to_tensor(_take_patches(self.targets, indices))
        return patches, _to_tensor(self.targets[np.asarray(indices, dtype=np.int64)])


def _is_mask(index: Any) -> bool:
    return np.asarray(index).dtype == bool


def _take_patches(matrix: PatchMatrix, indices: Any) -> NDArray[Any]:
    """Chosen rows as patches, channels first."""
    rows = np.asarray(matrix[np.asarray(indices, dtype=np.int64)])
    patches = rows.reshape(len(rows), *matrix.patch_shape)
    channel = matrix.selection.channel
    return patches if channel is None else np.moveaxis(patches, channel + 1, 1)


def _to_tensor(array: NDArray[Any]) -> Any:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return _import_torch().from_numpy(np.ascontiguousarray(array))


def _import_torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError(
            'pantile.integrations.torch needs torch: pip install "pantile[torch]"'
        ) from None
    return torch


class BlockShuffleSampler:
    """Batches of row numbers in random order, every row once per epoch, without a list of them.

    Blocks of neighbouring rows come in random order; the rows of about ``pool`` of them at a time
    are mixed. It starts at once and takes a few MB however many rows there are.

    Parameters
    ----------
    n : int
        Rows, ``len(dataset)``.
    batch_size : int
        Rows in a batch; the last one of an epoch may be smaller.
    block : int
        Neighbours that enter the pool together. 1 shuffles everything with everything; more read
        images on disk in larger pieces.
    pool : int
        Rows that are mixed with each other.
    seed : int
        Epochs differ, and the same seed gives the same ones.
    drop_last : bool
        Leave out a last batch that is smaller.

    Examples
    --------
    >>> sampler = BlockShuffleSampler(10**12, 4, seed=1)
    >>> len(sampler)
    250000000000
    >>> len(next(iter(sampler)))
    4
    >>> sorted(sum(BlockShuffleSampler(10, 4), []))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    limits: Limits = LIMITS

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        block: int = 64,
        pool: int = 1 << 16,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        given = {"batch_size": batch_size, "block": block, "pool": pool}
        for name, value in given.items():
            if operator.index(value) < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        if operator.index(n) < 0:
            raise ValueError(f"n must be 0 or more, got {n}")
        self.n = n
        self.batch_size = batch_size
        self.block = block
        self.pool = pool
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def __repr__(self) -> str:
        options = (
            f"block={self.block}, pool={self.pool}, seed={self.seed}, drop_last={self.drop_last}"
        )
        return f"BlockShuffleSampler({self.n}, {self.batch_size}, {options})"

    def set_epoch(self, epoch: int) -> None:
        """Which order comes next. Without it every epoch that begins takes the next one."""
        self.epoch = operator.index(epoch)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.n // self.batch_size if self.drop_last else -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        return self._make_batches(rng)

    def _make_batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        left = np.zeros(0, dtype=np.int64)
        for rows in shuffle_blocks(self.n, self.block, self.pool, rng, self.limits):
            mixed = np.concatenate([left, rng.permutation(rows)])
            full = len(mixed) // self.batch_size * self.batch_size
            for batch in mixed[:full].reshape(-1, self.batch_size):
                yield batch.tolist()
            left = mixed[full:]
        if len(left) and not self.drop_last:
            yield left.tolist()

"""Objects across tiles: label images that overlap become one, each object with one number."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arrays import as_dtype
from ..geometry.rect import Rect, intersect, shape_of, slices, whole
from ..stream import map_patches
from ..stream.job import Indexed
from .match import edges_within, matches
from .tiles import Tiles

__all__ = ["join_labels"]

Found = list[NDArray[np.int64]]


def join_labels(
    tiles: Any,
    grid: PatchGrid,
    *,
    threshold: float = 0.5,
    out: Any = None,
    dtype: DTypeLike | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """One label image of the label images of overlapping tiles: what is one object has one number.

    Parameters
    ----------
    tiles : array or callable
        Label images in the shape of the grid's patches, of whole numbers, 0 for the background:
        an array ``(*counts, *patch)`` or ``(n_patches, *patch)`` (of NumPy, Zarr or HDF5, read a tile
        at a time), such as `map_patches` with ``merge=None`` gives; or a function of the flat index
        of a patch that returns its label image, called once for each. What an object is called in
        one tile says nothing about its number in another.
    grid : PatchGrid
        Where the tiles lie, on any number of axes.
    threshold : float
        From 0 to 1 (0 left out). Labels of two tiles are one object where the intersection over
        union of what both say of their overlap is this or more; a label that the edge of its own
        tile cuts off, there, where this share of it lies in the other one.
    out : path or array, optional
        Where to put the result, as in `map_patches`; ``"labels.zarr"`` for one that is larger than
        memory.
    dtype : dtype, optional
        int32 by default, or int64 where there are more objects than it holds.
    memory, workers : optional
        As in `map_patches`, for the second pass.
    progress : callable, optional
        Called with (tiles done, tiles in all): every tile is looked at twice.

    Returns
    -------
    ndarray, or ``out``
        Labels 1 to n, in the order in which the objects' first elements come; 0 elsewhere. Every
        element is taken from the tile whose middle is nearest along each axis.

    Raises
    ------
    ValueError, TypeError, OverflowError
        Tiles of another shape, with negative or fractional labels; a dilated grid; more objects than
        ``dtype`` holds.

    Notes
    -----
    Where tiles hold the connected components of what they see, and overlap by more than the largest
    object along every axis, the result is that of labelling the whole image. Objects larger than
    that are joined step by step, from tile to tile, where the overlaps agree.

    Two passes. The first compares each tile with those before it, and keeps a few of them and one
    number per label; the second writes. Tiles from a function are kept in a temporary file.

    Examples
    --------
    >>> import numpy as np
    >>> import pantile as pt
    >>> from scipy import ndimage
    >>> image = np.array([[1, 1, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 1, 0]])
    >>> grid = pt.PatchGrid(image.shape, (2, 5), (1, 3))
    >>> parts = pt.map_patches(lambda b: ndimage.label(b[0])[0][None], image, grid, merge=None, batch=1)
    >>> pt.join_labels(parts, grid)
    array([[1, 1, 0, 0, 2, 2, 2, 0],
           [0, 0, 0, 0, 0, 0, 2, 0]], dtype=int32)
    """
    _check(grid, threshold)
    layout, report = _Layout.of(grid), _halves(progress, grid.n_patches)
    with Tiles(tiles, grid) as source:
        starts, pairs, firsts = _first_pass(source, layout, threshold, report)
        numbers, n = _numbered(int(starts[-1]), pairs, firsts)
        wanted = _dtype_for(n, dtype)
        painted = Indexed(_Paint(source, layout, starts, numbers.astype(wanted)))
        return map_patches(
            painted, _Blank(grid.shape), grid, merge="max", fill=0, dtype=wanted, out=out, batch=1,
            memory=memory, workers=workers, progress=report(True),
        )  # fmt: skip


def _dtype_for(n: int, dtype: DTypeLike | None) -> np.dtype[Any]:
    """What holds ``n`` labels: what the caller wants, or int32 if that will do."""
    wanted: np.dtype[Any] = np.dtype(np.int32 if n < 2**31 else np.int64)
    if dtype is not None:
        wanted = as_dtype(dtype)
    if wanted.kind not in "iu":
        raise TypeError(f"dtype must be one of whole numbers, got {wanted}")
    if n > int(np.iinfo(wanted).max):
        raise OverflowError(f"dtype={wanted} cannot hold {n:,} objects: give a larger one")
    return wanted


def _check(grid: PatchGrid, threshold: float) -> None:
    if not isinstance(grid, PatchGrid):
        raise TypeError(
            f"grid must be a PatchGrid, got {type(grid).__name__}: PatchGrid(image.shape, patch, step)"
        )
    if any(d > 1 for d in grid.dilation):
        raise ValueError(
            f"grid has dilation={grid.dilation}, and objects need neighbours: give one without"
        )
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be from 0 to 1, and not 0, got {threshold!r}")


def _halves(
    progress: Callable[[int, int], None] | None, n: int
) -> Callable[[bool], Callable[[int, int], None] | None]:
    """The progress of the first and of the second pass over ``n`` tiles."""
    if progress is None:
        return lambda _: None
    return lambda second: lambda done, _: progress(done + n * second, 2 * n)


@dataclass(frozen=True)
class _Layout:
    """Where tiles lie, whom they overlap, and which elements are theirs."""

    grid: PatchGrid
    begins: tuple[NDArray[np.int64], ...]  # per axis, where the tiles begin
    owned: tuple[
        NDArray[np.int64], ...
    ]  # per axis, where the elements that are theirs begin, and the end
    reach: tuple[NDArray[np.int64], ...]  # per axis, the last tile that each overlaps

    @classmethod
    def of(cls, grid: PatchGrid) -> _Layout:
        begins = tuple(np.asarray(s, np.int64) for s in grid.starts)
        owned, reach = [], []
        for start, patch, size in zip(begins, grid.patch, grid.shape, strict=True):
            # halfway between the middles of two tiles the earlier one has the last element
            middles = (start[:-1] + start[1:] + patch - 1) // 2 + 1
            owned.append(np.clip([0, *middles, size], 0, size))
            reach.append(np.searchsorted(start, start + patch, side="left") - 1)
        return cls(grid, begins, tuple(owned), tuple(reach))

    def index(self, number: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(number, self.grid.counts))

    def rect(self, index: Sequence[int]) -> Rect:
        """What a tile covers; it may reach beyond the image."""
        corner = [int(b[i]) for b, i in zip(self.begins, index, strict=True)]
        return tuple((c, c + p) for c, p in zip(corner, self.grid.patch, strict=True))

    def own(self, index: Sequence[int]) -> Rect:
        """The elements of the image that are taken from a tile, within what it covers."""
        mine = tuple((int(o[i]), int(o[i + 1])) for o, i in zip(self.owned, index, strict=True))
        return tuple(
            (max(low, begin), max(low, begin, min(high, end)))
            for (low, high), (begin, end) in zip(mine, self.rect(index), strict=True)
        )

    def before(self, index: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The tiles with smaller numbers that a tile overlaps."""
        near = [
            range(int(np.searchsorted(r, i, side="left")), int(r[i]) + 1)
            for r, i in zip(self.reach, index, strict=True)
        ]
        return [other for other in itertools.product(*near) if other < index]

    def last(self, index: Sequence[int]) -> int:
        """The number of the last tile that a tile overlaps."""
        at = tuple(int(r[i]) for r, i in zip(self.reach, index, strict=True))
        return int(np.ravel_multi_index(at, self.grid.counts))


def _first_pass(
    source: Tiles, layout: _Layout, threshold: float, report: Any
) -> tuple[NDArray[np.int64], Found, Found]:
    """Where the labels of each tile begin among all, which are one object, and the first element of each."""
    grid, tell = layout.grid, report(False)
    starts = np.zeros(grid.n_patches + 1, np.int64)
    pairs: Found = []
    firsts: Found = []
    done: dict[int, list[int]] = {}
    for number in range(grid.n_patches):
        index = layout.index(number)
        tile, n = source.first(number)
        starts[number + 1] = starts[number] + n
        firsts.append(_first_elements(tile, n, layout, index))
        for other in layout.before(index):
            earlier = int(np.ravel_multi_index(other, grid.counts))
            if n and starts[earlier + 1] > starts[earlier]:
                found = _compare(source.again(earlier), tile, layout, (other, index), threshold)
                offsets = np.array([starts[earlier] - 1, starts[number] - 1])
                pairs.append(found + offsets)
        done.setdefault(layout.last(index), []).append(number)
        for earlier in done.pop(number, ()):
            source.forget(earlier)
        if tell is not None:
            tell(number + 1, grid.n_patches)
    return starts, pairs, firsts


def _compare(
    a: Any, b: Any, layout: _Layout, at: tuple[Sequence[int], Sequence[int]], threshold: float
) -> NDArray[np.int64]:
    mine, other = layout.rect(at[0]), layout.rect(at[1])
    shape = layout.grid.shape
    inside = intersect(mine, other)
    overlap = None if inside is None else intersect(inside, whole(shape))
    if overlap is None:
        return np.empty((0, 2), np.int64)
    cut = tuple(edges_within(r, overlap, shape) for r in (mine, other))
    return matches(a[slices(overlap, mine)], b[slices(overlap, other)], cut, threshold)  # type: ignore[arg-type]


def _first_elements(tile: Any, n: int, layout: _Layout, index: Sequence[int]) -> NDArray[np.int64]:
    """Of each label of a tile, the flat place in the image of its first element that is taken from there."""
    found = np.full(n + 1, np.iinfo(np.int64).max)
    own, shape = layout.own(index), layout.grid.shape
    part = tile[slices(own, layout.rect(index))].ravel()
    there = np.flatnonzero(part)[::-1]  # of several that are put in one place the last one stays
    at = np.unravel_index(there, shape_of(own))
    place = np.zeros(len(there), np.int64)
    for size, a, (begin, _) in zip(shape, at, own, strict=True):
        place = place * size + (a + begin)
    found[part[there]] = place
    return found[1:]


def _numbered(n: int, pairs: Found, places: Found) -> tuple[NDArray[np.int64], int]:
    """Of each of ``n`` labels the number of its object, 0 where no element is taken; and how many objects there are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    firsts = np.concatenate([np.zeros(0, np.int64), *places])
    graph = coo_array((np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1])), shape=(n, n))
    many, group = connected_components(graph, directed=False) if n else (0, np.zeros(0, np.int32))
    first = np.full(many, np.iinfo(np.int64).max)
    np.minimum.at(first, group, firsts)
    order = np.argsort(first, kind="stable")
    taken = int((first < np.iinfo(np.int64).max).sum())
    numbers = np.zeros(many, np.int64)
    numbers[order[:taken]] = np.arange(1, taken + 1)
    return numbers[group], taken


class _Paint:
    """A tile with the numbers of objects, and 0 for the elements that are taken from others."""

    def __init__(
        self, source: Tiles, layout: _Layout, starts: NDArray[np.int64], numbers: NDArray[Any]
    ) -> None:
        self.source, self.layout, self.starts, self.numbers = source, layout, starts, numbers

    def __call__(self, batch: NDArray[Any], indices: NDArray[np.int64]) -> NDArray[Any]:
        grid = self.layout.grid
        found = np.zeros((len(indices), *grid.patch), self.numbers.dtype)
        for entry, number in zip(found, indices.tolist(), strict=True):
            mine = self.numbers[self.starts[number] : self.starts[number + 1]]
            if len(mine):
                index = self.layout.index(number)
                own = slices(self.layout.own(index), self.layout.rect(index))
                named = np.concatenate([np.zeros(1, mine.dtype), mine])
                entry[own] = named[self.source(number)[own]]
        return found


class _Blank:
    """An image of zeros that stands for the one the tiles are of: only its shape is used."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.chunks = shape, np.dtype(np.uint8), None

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]:
        shape = tuple(len(range(*part.indices(n))) for part, n in zip(key, self.shape, strict=True))
        return np.broadcast_to(np.zeros((), np.uint8), shape)

"""Slow twins: every result of pantile computed again in plain loops, a few lines each.

They read a grid's fields and nothing else of pantile; `np.pad` says what lies outside the image.
Time is `n_patches * features` Python steps, so they are for arrays of a few thousand elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .matches import similar

if TYPE_CHECKING:
    from pantile import PatchGrid

__all__ = [
    "coverage",
    "extract",
    "locate",
    "map_patches",
    "moments",
    "patchify",
    "select",
    "similar",
    "starts",
    "taper",
    "unpatchify",
    "weight_sum",
]

Array = npt.NDArray[Any]
Ints = tuple[int, ...]


def starts(
    size: int,
    patch: int,
    step: int = 1,
    *,
    dilation: int = 1,
    tail: str = "shift",
    pad: tuple[int, int] | str = (0, 0),
) -> list[int]:
    """First elements of the patches along one axis, found by enumeration.

    Raises `ValueError` where no patch fits, or where `tail="error"` and the step does not divide.

    >>> starts(10, 4, 4), starts(10, 4, 4, tail="respace"), starts(10, 4, 4, tail="pad")
    ([0, 4, 6], [0, 3, 6], [0, 4, 8])
    >>> starts(10, 4, 4, tail="center")
    [1, 5]
    >>> starts(5, 3, 2, pad="same")
    [-1, 1, 3]
    """
    if isinstance(pad, str):
        return [centre - patch // 2 * dilation for centre in range(0, size, step)]
    extent = (patch - 1) * dilation + 1
    last = pad[0] + size + pad[1] - extent
    if last < 0 and tail != "pad":
        raise ValueError(f"patch: it spans {extent} elements, the padded axis has {extent + last}")
    found = list(range(0, last + 1, step)) or [0]
    if found[-1] < last and tail == "error":
        raise ValueError(f"step={step} leaves {last - found[-1]} elements over")
    if tail == "center":
        found = [start + (last - found[-1]) // 2 for start in found]
    elif found[-1] < last and tail != "drop":
        found.append({"pad": found[-1] + step}.get(tail, last))
    if tail == "respace":
        gaps = max(len(found) - 1, 1)
        found = [math.floor(Fraction(i * last, gaps) + Fraction(1, 2)) for i in range(len(found))]
    return [start - pad[0] for start in found]


def extract(
    image: npt.ArrayLike,
    grid: PatchGrid,
    *,
    axes: Sequence[int] | None = None,
    channel_axis: int | None = None,
    indices: Sequence[int] | None = None,
) -> Array:
    """Patches `(*batch, n, *patch)`, the channel axis among the patch axes where the image has it.

    >>> import pantile as pt
    >>> extract([1, 2, 3], pt.PatchGrid(3, 2))
    array([[1, 2],
           [2, 3]])
    """
    image = np.asarray(image)
    roles = _find_roles(image.ndim, len(grid.patch), axes, channel_axis)
    before, padded = _pad(image, grid, roles.patched)
    padded = padded.transpose(roles.order)
    chosen = list(_list_corners(grid))
    if indices is not None:
        chosen = [chosen[i] for i in indices]
    batch = tuple(image.shape[a] for a in roles.batch)
    channels = () if roles.channel is None else (image.shape[roles.channel],)
    patches = np.empty((*batch, len(chosen), *grid.patch, *channels), image.dtype)
    for b in np.ndindex(*batch):
        for row, corner in enumerate(chosen):
            for position in np.ndindex(*grid.patch):
                element = _find_element(corner, position, grid.dilation)
                place = tuple(e + start for e, start in zip(element, before, strict=True))
                patches[(*b, row, *position)] = padded[(*b, *place)]
    return roles.channel_in(patches)


def patchify(image: npt.ArrayLike, grid: PatchGrid, *, axes: Sequence[int] | None = None) -> Array:
    """Patches with the counts where the patched axes stood and the patch axes last.

    >>> import pantile as pt
    >>> patchify([[1, 2, 3]], pt.PatchGrid(3, 2)).shape
    (1, 2, 2)
    """
    image = np.asarray(image)
    roles = _find_roles(image.ndim, len(grid.patch), axes, None)
    patches = extract(image, grid, axes=axes)
    batch = tuple(image.shape[a] for a in roles.batch)
    counts = tuple(len(s) for s in grid.starts)
    patches = patches.reshape(*batch, *counts, *grid.patch)
    home = [*roles.batch, *roles.patched, *range(image.ndim, image.ndim + len(counts))]
    return patches.transpose(np.argsort(home))


def unpatchify(
    patches: npt.ArrayLike,
    grid: PatchGrid,
    *,
    axes: Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: str = "mean",
    weights: Any = None,
    patch_weights: npt.ArrayLike | None = None,
    fill: Any = None,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Image merged from patches in the form of `extract`, one element at a time.

    `ValueError` where an element has no patch, or only weights of 0, and `fill` is None.

    >>> import pantile as pt
    >>> unpatchify([[1, 2], [4, 5]], pt.PatchGrid(3, 2))
    array([1., 3., 5.])
    """
    patches = np.asarray(patches)
    nd = len(grid.patch)
    ndim = patches.ndim - 1
    roles = _find_roles(ndim, nd, axes, channel_axis)
    values = roles.channel_out(patches)
    results = [
        _merge(values[b], grid, merge, weights, patch_weights, fill, dtype)
        for b in np.ndindex(*values.shape[: len(roles.batch)])
    ]
    image = np.stack(results).reshape(*values.shape[: len(roles.batch)], *results[0].shape)
    return image.transpose(np.argsort(roles.order))


def moments(
    patches: npt.ArrayLike, grid: PatchGrid, **options: Any
) -> tuple[Array, Array, Array, Array]:
    """Mean, variance, number and effective number of the patches that meet: merges one by one, where the library
    makes one pass.

    >>> import pantile as pt
    >>> moments([[1, 2], [4, 5]], pt.PatchGrid(3, 2))
    (array([1., 3., 5.]), array([0., 1., 0.]), array([1, 2, 1]), array([1., 2., 1.]))
    """
    mean, variance = (unpatchify(patches, grid, merge=m, **options) for m in ("mean", "var"))
    ones = np.ones(np.shape(patches), dtype=np.int64)
    roles = {k: v for k, v in options.items() if k in ("axes", "channel_axis")}
    counts = unpatchify(ones, grid, merge="sum", fill=0, **roles)
    weights, each = taper(options.get("weights"), grid.patch), options.get("patch_weights")
    sums = weight_sum(grid, weights, each)
    squares = weight_sum(grid, weights**2, None if each is None else np.square(each))
    effective = np.divide(sums**2, squares, out=np.zeros(grid.shape), where=squares > 0)
    plain = _find_roles(
        np.ndim(counts), len(grid.patch), **{"axes": None, "channel_axis": None, **roles}
    )
    shape = [1] * np.ndim(counts)
    for axis, size in zip(plain.patched, grid.shape, strict=True):
        shape[axis] = size
    sorted_axes = np.argsort(np.argsort(plain.patched))
    turned = np.moveaxis(effective, range(effective.ndim), sorted_axes).reshape(shape)
    return mean, variance, counts, np.broadcast_to(turned, np.shape(counts)).copy()


def coverage(grid: PatchGrid) -> npt.NDArray[np.int64]:
    """How many patches touch each element: an int64 array of `grid.shape`.

    >>> import pantile as pt
    >>> coverage(pt.PatchGrid(5, 3))
    array([1, 2, 3, 2, 1])
    """
    return weight_sum(grid).astype(np.int64)


def weight_sum(
    grid: PatchGrid, weights: Any = None, patch_weights: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """Sum of the weights that meet in each element: what a mean divides by.

    >>> import pantile as pt
    >>> weight_sum(pt.PatchGrid(3, 2), [[1, 2]])
    array([1., 3., 2.])
    """
    total = np.zeros(grid.shape)
    tapers = taper(weights, grid.patch)
    factors = np.ones(grid.n_patches) if patch_weights is None else np.asarray(patch_weights)
    for factor, corner in zip(factors, _list_corners(grid), strict=True):
        for position in np.ndindex(*grid.patch):
            element = _find_element(corner, position, grid.dilation)
            if _is_inside(element, grid.shape):
                total[element] += tapers[position] * factor
    return total


def locate(grid: PatchGrid, element: Sequence[int]) -> list[int]:
    """Flat indices of the patches that sample an element, in ascending order.

    >>> import pantile as pt
    >>> locate(pt.PatchGrid(5, 3), (1,))
    [0, 1]
    """
    return [
        i
        for i, corner in enumerate(_list_corners(grid))
        if any(
            _find_element(corner, position, grid.dilation) == tuple(element)
            for position in np.ndindex(*grid.patch)
        )
    ]


def select(grid: PatchGrid, where: npt.ArrayLike | None) -> list[int]:
    """Flat indices of the patches that `where` selects: by element, or by place on the grid.

    >>> import pantile as pt
    >>> select(pt.PatchGrid(4, 2), [True, False, False, False])
    [0]
    """
    if where is None:
        return list(range(grid.n_patches))
    mask = np.asarray(where)
    if mask.shape == tuple(len(s) for s in grid.starts):
        return [i for i, chosen in enumerate(mask.ravel()) if chosen]
    return sorted({i for element in np.argwhere(mask).tolist() for i in locate(grid, element)})


def map_patches(
    func: Callable[[Array], Array],
    image: npt.ArrayLike,
    grid: PatchGrid,
    *,
    axes: Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: str | None = "mean",
    weights: Any = None,
    where: npt.ArrayLike | None = None,
    fill: Any = None,
    dtype: npt.DTypeLike | None = None,
    scale: int = 1,
) -> Array:
    """Extract all, call `func` once per batch image, merge all: the expanded matrix in full.

    A result may have other channels, and a patch smaller than `scale * patch`, which is centred.
    With `merge=None` the results stand on the grid. `where` selects patches; the rest needs `fill`.

    >>> import pantile as pt
    >>> map_patches(lambda batch: 2 * batch, [1, 2, 3], pt.PatchGrid(3, 2))
    array([2., 4., 6.])
    """
    image = np.asarray(image)
    roles = _find_roles(image.ndim, len(grid.patch), axes, channel_axis)
    chosen = select(grid, where)
    patches = extract(image, grid, axes=axes, channel_axis=channel_axis, indices=chosen)
    lead = patches.shape[: len(roles.batch)]
    results = [np.asarray(func(patches[b].copy())) for b in np.ndindex(*lead)]
    if merge is None:
        pieces = [_put_on_grid(r, grid, chosen, fill, dtype) for r in results]
        return np.stack(pieces).reshape(*lead, *pieces[0].shape)
    values = [r if channel_axis is None else np.moveaxis(r, 1 + roles.inner, -1) for r in results]
    pieces = [
        _merge(v, grid, merge, weights, None, fill, dtype, chosen=chosen, scale=scale)
        for v in values
    ]
    stacked = np.stack(pieces).reshape(*lead, *pieces[0].shape)
    extra = stacked.ndim - image.ndim  # channels that the image has not come last
    return stacked.transpose(*np.argsort(roles.order), *range(image.ndim, image.ndim + extra))


def taper(weights: Any, patch: Ints) -> npt.NDArray[np.float64]:
    """Weights of one patch as an array of its shape, from a name, vectors or an array.

    >>> taper("hann", (3,))
    array([0.5, 1. , 0.5])
    """
    if weights is None:
        return np.ones(patch)
    if isinstance(weights, str):
        return _outer_product([_sample_window(weights, p) for p in patch])
    if isinstance(weights, np.ndarray) and weights.shape == patch:
        return weights.astype(np.float64)
    return _outer_product([np.asarray(vector, np.float64) for vector in weights])


class _Roles(NamedTuple):
    """Which axes of an image are batch, patched, channel."""

    batch: list[int]
    patched: list[int]
    channel: int | None

    @property
    def order(self) -> list[int]:
        return [*self.batch, *self.patched, *([] if self.channel is None else [self.channel])]

    @property
    def inner(self) -> int:
        """Place of the channel axis among the patch axes."""
        return sum(a < self.channel for a in self.patched) if self.channel is not None else 0

    def channel_in(self, patches: Array) -> Array:
        if self.channel is None:
            return patches
        return np.moveaxis(patches, -1, len(self.batch) + 1 + self.inner)

    def channel_out(self, patches: Array) -> Array:
        if self.channel is None:
            return patches
        return np.moveaxis(patches, len(self.batch) + 1 + self.inner, -1)


def _find_roles(ndim: int, nd: int, axes: Sequence[int] | None, channel_axis: int | None) -> _Roles:
    channel = None if channel_axis is None else range(ndim)[channel_axis]
    free = [a for a in range(ndim) if a != channel]
    patched = free[len(free) - nd :] if axes is None else [range(ndim)[a] for a in axes]
    return _Roles([a for a in free if a not in patched], patched, channel)


def _pad(image: Array, grid: PatchGrid, patched: list[int]) -> tuple[list[int], Array]:
    """The image with all that lies outside it, and how much of that is before each axis."""
    widths = [(0, 0)] * image.ndim
    for k, axis in enumerate(patched):
        past = int(grid.starts[k][-1]) + (grid.patch[k] - 1) * grid.dilation[k] + 1
        past = max(past - grid.shape[k], 0)
        if isinstance(grid.pad, str):
            widths[axis] = (grid.patch[k] // 2 * grid.dilation[k], past)
        else:
            widths[axis] = (grid.pad[k][0], max(grid.pad[k][1], past))
    options: dict[str, Any] = {
        "constant": {"constant_values": grid.pad_value},
        "linear_ramp": {"end_values": grid.pad_value},
    }.get(grid.pad_mode, {})
    padded = image if not np.any(widths) else np.pad(image, widths, grid.pad_mode, **options)
    return [widths[axis][0] for axis in patched], padded


def _list_corners(grid: PatchGrid) -> Iterator[Ints]:
    """First element of each patch, in the order of the flat index."""
    for index in np.ndindex(*(len(s) for s in grid.starts)):
        yield tuple(int(s[i]) for s, i in zip(grid.starts, index, strict=True))


def _find_element(corner: Ints, position: Ints, dilation: Ints) -> Ints:
    return tuple(c + p * d for c, p, d in zip(corner, position, dilation, strict=True))


def _is_inside(element: Ints, shape: Ints) -> bool:
    return all(0 <= e < n for e, n in zip(element, shape, strict=True))


def _sample_window(name: str, size: int) -> npt.NDArray[np.float64]:
    from scipy.signal import get_window

    window = (name, size / 8) if name == "gaussian" else name
    sampled: npt.NDArray[np.float64] = get_window(window, size + 2, fftbins=False)[1:-1]
    return sampled


def _outer_product(vectors: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    product = np.ones(())
    for vector in vectors:
        product = np.multiply.outer(product, vector)
    return product


def _put_on_grid(
    results: Array, grid: PatchGrid, chosen: list[int], fill: Any, dtype: npt.DTypeLike | None
) -> Array:
    if len(chosen) < grid.n_patches and fill is None:
        raise ValueError("fill is needed where no patch is selected")
    placed = np.empty(
        (grid.n_patches, *results.shape[1:]), results.dtype if dtype is None else dtype
    )
    if fill is not None:
        placed[...] = fill
    for i, result in zip(chosen, results, strict=True):
        placed[i] = result
    return placed.reshape(*(len(s) for s in grid.starts), *results.shape[1:])


class _Meeting(NamedTuple):
    """One value that a patch has for an element."""

    patch: int
    value: Any
    weight: float
    distance: int


def _merge(
    values: Array,
    grid: PatchGrid,
    merge: str,
    weights: Any,
    patch_weights: npt.ArrayLike | None,
    fill: Any,
    dtype: npt.DTypeLike | None,
    *,
    chosen: list[int] | None = None,
    scale: int = 1,
) -> Array:
    """One image `(*shape[, channels])` from `(n, *patch[, channels])`: collect values, then merge them."""
    nd = len(grid.patch)
    chosen = list(range(grid.n_patches)) if chosen is None else chosen
    if len(values) != len(chosen):
        raise ValueError(f"patches: {len(values)} given, {len(chosen)} expected")
    patch, channels = values.shape[1 : 1 + nd], values.shape[1 + nd :]
    tapers = taper(weights, patch)
    factors = [1.0] * len(chosen) if patch_weights is None else np.asarray(patch_weights).tolist()
    shape = tuple(n * scale for n in grid.shape)
    lists: dict[Ints, list[_Meeting]] = {}
    corners = list(_list_corners(grid))
    for row, i in enumerate(chosen):
        corner = tuple(c * scale for c in corners[i])
        for position in np.ndindex(*patch):
            inner = tuple(
                (p * scale - q) // 2 + x
                for p, q, x in zip(grid.patch, patch, position, strict=True)
            )
            element = _find_element(corner, inner, grid.dilation)
            if not _is_inside(element, shape):
                continue
            weight = float(tapers[position]) * factors[row]
            rows = zip(position, patch, grid.dilation, strict=True)
            distance = sum(((2 * x - (q - 1)) * d) ** 2 for x, q, d in rows)  # twice, so whole
            for channel in np.ndindex(*channels):
                value = values[(row, *position, *channel)].item()
                meeting = _Meeting(i, value, weight, distance)
                lists.setdefault((*element, *channel), []).append(meeting)
    weighted = weights is not None or patch_weights is not None
    target = _result_dtype(merge, values.dtype, weighted) if dtype is None else np.dtype(dtype)
    image = np.empty((*shape, *channels), target)
    for place in np.ndindex(*image.shape):
        met = lists.get(place, [])
        if sum(m.weight for m in met) > 0 or (met and merge == "sum"):  # weights of 0 sum to 0
            image[place] = _cast(_RULES[merge](met, weighted), target)
        elif fill is None:
            raise ValueError(f"element {place} has no patch, and fill is None")
        else:
            image[place] = fill
    return image


def _result_dtype(merge: str, dtype: np.dtype[Any], weighted: bool) -> np.dtype[Any]:
    if dtype.kind in "fc":
        return dtype
    if merge in ("mean", "var", "median") or (merge == "sum" and weighted):
        return np.dtype(np.float64)
    if merge == "sum":
        return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
    return dtype


def _cast(value: Any, dtype: np.dtype[Any]) -> Any:
    """Round half to even and saturate where the target is an integer."""
    if dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            return np.asarray(value).astype(dtype)
    info = np.iinfo(dtype)
    return min(max(round(value), int(info.min)), int(info.max))


def _mean(met: list[_Meeting], weighted: bool) -> Any:
    if not weighted:
        return sum(m.value for m in met) / len(met)
    return sum(m.weight * m.value for m in met) / sum(m.weight for m in met)


def _sum(met: list[_Meeting], weighted: bool) -> Any:
    return sum(m.weight * m.value if weighted else m.value for m in met)


def _var(met: list[_Meeting], weighted: bool) -> Any:
    mean = _mean(met, weighted)
    squares = sum(m.weight * abs(m.value - mean) ** 2 for m in met)
    return squares / sum(m.weight for m in met)


def _extreme(choose: Callable[[list[Any]], Any]) -> Callable[[list[_Meeting], bool], Any]:
    def rule(met: list[_Meeting], weighted: bool) -> Any:  # noqa: ARG001
        values = [m.value for m in met]
        lost = [v for v in values if v != v]
        return lost[0] if lost else choose(values)

    return rule


def _vote(met: list[_Meeting], weighted: bool) -> Any:  # noqa: ARG001
    votes: dict[Any, float] = {}
    for m in met:
        votes[m.value] = votes.get(m.value, 0.0) + m.weight
    return min(votes, key=lambda label: (-votes[label], label))


_RULES: dict[str, Callable[[list[_Meeting], bool], Any]] = {
    "mean": _mean,
    "sum": _sum,
    "var": _var,
    "max": _extreme(max),
    "min": _extreme(min),
    "median": _extreme(lambda values: np.median(np.asarray(values)).item()),
    "vote": _vote,
    "first": lambda met, _: min(met, key=lambda m: m.patch).value,
    "last": lambda met, _: max(met, key=lambda m: m.patch).value,
    "center": lambda met, _: min(met, key=lambda m: (m.distance, m.patch)).value,
}

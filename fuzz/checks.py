"""Checks of the fuzzer: a call of the public API held to its slow twin.

Each takes plain values and asserts, so a failure is repeated by calling it again; see
`fuzz.source.script`.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

import pantile as pt
from pantile import PatchGrid
from pantile.testing import slow
from pantile.testing.compare import assert_agrees

from .tiles import tiles_of

__all__ = [
    "FUNCTIONS",
    "RANK",
    "check_custom_merge",
    "check_extract",
    "check_grid",
    "check_map",
    "check_masked",
    "check_merger",
    "check_patchify",
    "check_unpatchify",
]

Array = npt.NDArray[Any]
Roles = Mapping[str, Any]


def check_grid(grid: PatchGrid) -> None:
    """Everything a grid says, against enumeration."""
    corners = [np.asarray(_axis_starts(grid, k)) for k in range(grid.ndim)]
    for mine, twin in zip(grid.starts, corners, strict=True):
        assert mine.tolist() == twin.tolist(), f"starts {mine}, expected {twin}"
    assert grid.counts == tuple(map(len, corners))
    assert grid.n_patches == len(grid) == int(np.prod(grid.counts))
    assert grid.nbytes("f4") == 4 * grid.n_patches * grid.features
    covered = slow.coverage(grid)
    assert_agrees(grid.coverage(), covered)
    assert grid.covers == bool(covered.all()), f"covers {grid.covers}"
    assert PatchGrid.from_dict(grid.to_dict()) == grid == pickle.loads(pickle.dumps(grid))
    assert hash(PatchGrid.from_dict(grid.to_dict())) == hash(grid)
    image = np.arange(1, covered.size + 1).reshape(grid.shape)
    _check_regions(grid, image)
    _check_indices(grid, image)
    assert grid._repr_html_().startswith("<div")


def _axis_starts(grid: PatchGrid, k: int) -> list[int]:
    pad = grid.pad if isinstance(grid.pad, str) else grid.pad[k]
    sizes = grid.shape[k], grid.patch[k], grid.step[k]
    return slow.starts(*sizes, dilation=grid.dilation[k], tail=grid.tail, pad=pad)


def _check_regions(grid: PatchGrid, image: Array) -> None:
    """Regions hold what a patch touches; `locate` is their inverse."""
    touching: dict[int, list[int]] = {}
    for i, region in enumerate(grid):
        for element in image[region].ravel().tolist():
            touching.setdefault(element, []).append(i)
    for element in np.ndindex(*grid.shape):
        mine = grid.locate(element).tolist()
        twin = touching.get(int(image[element]), [])
        assert mine == twin, f"locate({element}) is {mine}, expected {twin}"


def _check_indices(grid: PatchGrid, image: Array) -> None:
    inside = all(axis.inside for axis in grid.axis_grids)
    if inside or grid.pad_mode in ("edge", "reflect", "symmetric", "wrap"):
        patches = slow.extract(image, grid).reshape(grid.n_patches, -1)
        assert_agrees(image.ravel()[grid.flat_indices()], patches)
    else:
        with refused(ValueError, "pad_mode"):
            grid.flat_indices()
    middles = [
        s + p // 2 * d for s, p, d in zip(grid.starts, grid.patch, grid.dilation, strict=True)
    ]
    if all(m[0] >= 0 and m[-1] < n for m, n in zip(middles, grid.shape, strict=True)):
        assert_agrees(grid.centers(image), image[np.ix_(*middles)])


@contextlib.contextmanager
def refused(error: type[Exception], says: str) -> Iterator[None]:
    """Assert that the block raises ``error`` with a message that says so."""
    message = None
    try:
        yield
    except error as found:
        message = str(found)
    assert message is not None, f"no {error.__name__} was raised"
    assert says in message, f"the message has no {says!r}: {message}"


def check_patchify(image: Array, grid: PatchGrid, axes: Sequence[int] | None = None) -> None:
    """`patchify` is its slow twin, a read-only view of the image."""
    if not grid.regular:
        with refused(ValueError, "extract"):
            pt.patchify(image, grid, axes=axes)
        return
    with _unchanged(image):
        view = pt.patchify(image, grid, axes=axes)
        assert_agrees(view, slow.patchify(image, grid, axes=axes), exact=True)
    assert np.shares_memory(view, image)
    assert not view.flags.writeable


def check_extract(
    image: Array,
    grid: PatchGrid,
    roles: Roles,
    indices: Sequence[int] | None = None,
    layout: Any = "patch",
    into: bool = False,
    tiles: int | None = None,
) -> None:
    """`extract` is its slow twin, and nothing of it is the image's."""
    with np.errstate(all="ignore"), tiles_of(tiles), _unchanged(image):
        twin = slow.extract(image, grid, indices=indices, **roles)
        out = np.empty(twin.shape, image.dtype) if into else None
        fast = pt.extract(image, grid, indices=indices, layout=layout, out=out, **roles)
    computed = grid.pad_mode in ("linear_ramp", "mean", "median")
    assert_agrees(fast, twin, exact=not computed, scale=magnitude(image))
    assert fast is out or out is None
    assert not np.shares_memory(fast, image)
    assert fast.flags.writeable


def check_unpatchify(
    patches: Array,
    grid: PatchGrid,
    roles: Roles,
    options: Mapping[str, Any],
    form: str = "extract",
    into: bool = False,
    tiles: int | None = None,
) -> None:
    """`unpatchify` is its slow twin, from whatever form the patches have; what one refuses, both do."""
    given = in_form(patches, grid, roles, form)
    twin = _twin_merge(patches, grid, roles, options)
    with np.errstate(all="ignore"), tiles_of(tiles), _unchanged(patches):
        if twin is None:
            with refused(ValueError, "fill"):
                pt.unpatchify(given, grid, **roles, **options)
            return
        out = np.empty(twin.shape, twin.dtype) if into else None
        fast = pt.unpatchify(given, grid, out=out, **roles, **options)
    assert fast is out or out is None
    assert_merged(fast, twin, patches, options)


def _twin_merge(
    patches: Array, grid: PatchGrid, roles: Roles, options: Mapping[str, Any]
) -> Array | None:
    """What the slow twin makes of patches; None where it finds a hole and no fill."""
    native = np.asarray(patches, patches.dtype.newbyteorder("="))
    chosen = dict(options)
    if isinstance(chosen.get("weights"), str) and chosen["weights"] == "trim":
        # of each patch only what is nearest to its own centre: the merge "center", in another dtype
        chosen["dtype"] = chosen.get("dtype") or _trimmed_dtype(native.dtype, chosen["merge"])
        chosen |= {"weights": None, "merge": "center"}
    with np.errstate(all="ignore"):
        return filled(lambda: slow.unpatchify(native, grid, **roles, **chosen))


def filled(twin: Callable[[], Array]) -> Array | None:
    """What a slow twin makes; None where it asks for a fill."""
    try:
        return twin()
    except ValueError as error:
        if "fill" in str(error):
            return None
        raise


def _trimmed_dtype(dtype: np.dtype[Any], merge: str) -> np.dtype[Any]:
    if dtype.kind in "fc":
        return dtype
    sums = np.uint64 if dtype.kind == "u" else np.int64
    return np.dtype(np.float64 if merge == "mean" else sums)


def assert_merged(fast: Any, twin: Array, patches: Array, options: Mapping[str, Any]) -> None:
    """To the last bit where nothing was summed, else to rounding."""
    merge = options.get("merge", "mean")
    summed = merge in ("mean", "sum", "var", "median") or options.get("weights") is not None
    size = magnitude(patches) ** (2 if merge == "var" else 1)
    if twin.dtype.kind in "iu" and summed and (patches.dtype.kind == "f" or options.get("dtype")):
        # sums that differ in the last bit may round to neighbouring integers
        assert fast.dtype == twin.dtype, f"dtype {fast.dtype}, expected {twin.dtype}"
        np.testing.assert_allclose(fast.astype(float), twin.astype(float), rtol=1e-6, atol=1)
        return
    assert_agrees(fast, twin, exact=not summed, scale=1e3 * size)


def in_form(patches: Array, grid: PatchGrid, roles: Roles, form: str) -> Array:
    """Patches in the form of `extract` as ``"rows"``, as ``"view"`` (no channels), or as they are."""
    if form == "rows":
        n_batch = patches.ndim - 1 - grid.ndim - (roles.get("channel_axis") is not None)
        return patches.reshape(*patches.shape[: n_batch + 1], -1)
    if form == "view":
        ndim = patches.ndim - 1
        axes = roles.get("axes")
        places = range(ndim - grid.ndim, ndim) if axes is None else [a % ndim for a in axes]
        batch = [a for a in range(ndim) if a not in places]
        whole = patches.reshape(*patches.shape[: len(batch)], *grid.counts, *grid.patch)
        home = [*batch, *places, *range(ndim, ndim + grid.ndim)]
        return whole.transpose(np.argsort(home))
    return patches


def check_merger(
    patches: Array,
    grid: PatchGrid,
    roles: Roles,
    options: Mapping[str, Any],
    pieces: Sequence[Sequence[int]],
) -> None:
    """A `Merger` fed in pieces is the slow twin of all of them, and counts what it was given."""
    settings = dict(options)
    factors = settings.pop("patch_weights", None)
    merger = pt.Merger(grid, **roles, **settings)
    n_batch = patches.ndim - 1 - grid.ndim - (roles.get("channel_axis") is not None)
    for piece in pieces:
        some = patches[(slice(None),) * n_batch + (list(piece),)]
        merger.add(some, piece, None if factors is None else factors[list(piece)])
    assert_agrees(merger.coverage(), slow.coverage(grid))
    twin = _twin_merge(patches, grid, roles, options)
    with np.errstate(all="ignore"):
        if twin is None:
            with refused(ValueError, "fill"):
                merger.result()
            return
        assert_merged(merger.result(), twin, patches, options)


def _repeated(batch: Array, by: int) -> Array:
    for axis in range(1, batch.ndim):
        batch = batch.repeat(by, axis)
    return batch


# what map_patches calls, by name, so that a case can be written down
FUNCTIONS: Mapping[str, Callable[[Array], Any]] = {
    "same": lambda batch: batch,
    "in place": lambda batch: np.add(batch, batch, out=batch),
    "sum": lambda batch: batch + batch.dtype.type(3),
    "float": lambda batch: (
        batch.astype(np.complex128 if batch.dtype.kind == "c" else np.float64) / 4
    ),
    "first samples": lambda batch: batch[:, : (batch.shape[1] + 1) // 2],
    "new axis": lambda batch: np.stack([batch, batch + batch], axis=-1),
    "doubled": lambda batch: _repeated(batch, 2),
    "one": lambda batch: batch.reshape(len(batch), -1)[:, 0].copy(),
    "two": lambda batch: batch.reshape(len(batch), -1)[:, [0, -1]],
    "strange strides": lambda batch: np.asfortranarray(batch)[::-1][::-1],
    "greater": lambda batch: batch.real > 1,
}


def check_map(
    image: Array,
    grid: PatchGrid,
    roles: Roles,
    function: str,
    options: Mapping[str, Any],
    running: Mapping[str, Any],
    tiles: int | None = None,
) -> None:
    """`map_patches` is its slow twin, however it runs."""
    func, options = FUNCTIONS[function], dict(options)
    pool = ThreadPoolExecutor(2) if running.get("executor") else None
    running = {**running, "executor": pool}
    with np.errstate(all="ignore"), contextlib.ExitStack() as stack:
        stack.enter_context(pool or contextlib.nullcontext())
        twin = filled(lambda: slow.map_patches(func, image, grid, **roles, **options))
        stack.enter_context(tiles_of(tiles))
        stack.enter_context(_unchanged(image))
        if twin is None:
            with refused(ValueError, "fill"):
                pt.map_patches(func, image, grid, **roles, **options, **running)
            return
        fast = pt.map_patches(func, image, grid, **roles, **options, **running)
    assert_mapped(fast, twin, image, options, grid)


def assert_mapped(
    fast: Any, twin: Array, image: Array, options: Mapping[str, Any], grid: PatchGrid
) -> None:
    """As `assert_merged`; what stands on the grid is there to the last bit, if its padding is not computed."""
    if options.get("merge", "mean") is None:
        # func's byte order stays in one and goes in the other
        orders = fast.dtype.newbyteorder("="), twin.dtype.newbyteorder("=")
        exact = grid.pad_mode not in ("linear_ramp", "mean", "median")
        found, wanted = fast.astype(orders[0]), twin.astype(orders[1])
        assert_agrees(found, wanted, exact=exact, scale=magnitude(image))
        return
    assert_merged(fast, twin, twin if twin.dtype.kind in "iub" else image, options)


def check_masked(image: Array, patch: Sequence[int]) -> None:
    """`masked_patchify` shows every patch at step 1, in order."""
    windows = pt.masked_patchify(image, patch)
    twin = slow.extract(image, PatchGrid(image.shape, patch)).reshape(-1, int(np.prod(patch)))
    assert_agrees(windows.compressed().reshape(twin.shape), twin, exact=True)
    assert np.shares_memory(windows.data, image)
    assert not windows.data.flags.writeable


def _add_sum(state: Any, values: Array, weights: Array | None) -> None:
    state[0][...] += values if weights is None else values * weights
    state[1][...] += 1 if weights is None else weights


def _combine(state: Any, other: Any) -> None:
    for mine, theirs in zip(state, other, strict=True):
        mine += theirs


RANK = pt.Merge(
    init=lambda shape, _: (np.zeros(shape), np.zeros(shape)),
    accumulate=_add_sum,
    combine=_combine,
    finalize=lambda state: state[0] / state[1],
)
"""The mean again, as a merge of a user's own."""


def check_custom_merge(
    patches: Array,
    grid: PatchGrid,
    roles: Roles,
    options: Mapping[str, Any],
    tiles: int | None = None,
) -> None:
    """A mean written as a `Merge` is the mean."""
    with np.errstate(all="ignore"), tiles_of(tiles):
        mine = pt.unpatchify(patches, grid, merge=RANK, **roles, **options)
        named = pt.unpatchify(patches, grid, merge="mean", dtype=np.float64, **roles, **options)
    assert_agrees(mine, named, scale=1e3 * magnitude(patches))


def magnitude(array: Array) -> float:
    """The largest finite magnitude in an array, at least 1."""
    if array.dtype.kind not in "biufc":
        return 1.0
    sizes = np.abs(array.astype(np.complex128))
    return max(1.0, float(sizes[np.isfinite(sizes)].max(initial=1.0)))


@contextlib.contextmanager
def _unchanged(array: Array) -> Iterator[None]:
    """Assert that a block leaves the caller's array as it was."""
    before, flags = array.tobytes(), array.flags.writeable
    yield
    assert array.tobytes() == before, "the caller's array was changed"
    assert array.flags.writeable == flags, "the caller's array was made read-only"

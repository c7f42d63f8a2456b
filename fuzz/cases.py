"""What the fuzzer tries: for each check, a strategy of its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from pantile import PatchGrid
from pantile.testing import slow, strategies

from . import checks, hostile, law_checks, matrix_checks, stored_checks
from .tiles import WAYS

__all__ = ["TRIALS", "Arguments", "Trial", "is_clear", "trials"]

Arguments = dict[str, Any]
Pool = Sequence[np.dtype[Any]]
MERGES = ("mean", "sum", "var", "max", "min", "median", "vote", "first", "last", "center")
WEIGHED = ("mean", "sum", "var", "vote")
TILES = st.sampled_from([None, None, 1, 20, 200])


@dataclass(frozen=True)
class Trial:
    """A check and what to call it with."""

    check: Callable[..., None]
    arguments: st.SearchStrategy[Arguments]

    @property
    def name(self) -> str:
        return self.check.__name__.removeprefix("check_")

    @property
    def module(self) -> str:
        return self.check.__module__.rpartition(".")[2]


def kinds_for(merge: str | None) -> str:
    """Kinds of numbers that a merge takes."""
    return "biuf" if merge in ("max", "min", "median", "var", "vote") else "biufc"


@st.composite
def images(draw: st.DrawFn, placed: strategies.Placed) -> npt.NDArray[Any]:
    """The image of a place, sometimes byte-swapped, broadcast along an axis, or not aligned."""
    image = placed.image
    how = draw(st.sampled_from(["plain"] * 5 + ["swapped", "broadcast", "unaligned"]))
    if how == "swapped" and image.dtype.itemsize > 1:
        return image.astype(image.dtype.newbyteorder())
    if how == "broadcast":
        axis = draw(st.integers(0, image.ndim - 1))
        return np.broadcast_to(image.take([0], axis), image.shape)
    if how == "unaligned":
        record = np.zeros(image.shape, [("pad", "u1"), ("value", image.dtype)])
        record["value"] = image
        return record["value"]
    return image


def is_clear(shape: tuple[int, ...], placed: strategies.Placed) -> bool:
    """Whether patches in the form of extract cannot be taken for a view (which goes first)."""
    nd = placed.grid.ndim
    ndim = len(shape) - nd
    if placed.channel_axis is not None or ndim < nd or shape[ndim:] != placed.grid.patch:
        return True
    axes = range(-nd, 0) if placed.axes is None else placed.axes
    if any(not -ndim <= a < ndim for a in axes):
        return True
    same_reading = nd == 1 and axes[0] % ndim == ndim - 1
    return same_reading or tuple(shape[a % ndim] for a in axes) != placed.grid.counts


@st.composite
def merge_options(
    draw: st.DrawFn, merge: str, grid: PatchGrid, dtype: np.dtype[Any], finite: bool = True
) -> Arguments:
    """Keyword arguments that `unpatchify` takes for patches of a dtype."""
    options: Arguments = {"merge": merge, "fill": draw(st.sampled_from([None, 0, 1]))}
    if merge in WEIGHED and draw(st.booleans()):
        options["weights"] = draw(strategies.tapers(grid.patch, positive=draw(st.booleans())))
        if not isinstance(options["weights"], str) and not np.any(
            slow.taper(options["weights"], grid.patch)
        ):
            options["weights"] = "hann"
    elif merge in ("mean", "sum") and draw(st.sampled_from([False, False, False, True])):
        options["weights"] = "trim"
    trimmed = isinstance(options.get("weights"), str) and options["weights"] == "trim"
    if merge in WEIGHED and not trimmed and draw(st.sampled_from([False, False, True])):
        options["patch_weights"] = draw(strategies.patch_weights(grid.n_patches))
    targets = [None, None, *((np.complex128,) if dtype.kind == "c" else (np.float64, np.float32))]
    if finite and dtype.kind != "c":
        targets += [np.uint8, np.int16]
    wanted = draw(st.sampled_from(targets))
    return options if wanted is None else {**options, "dtype": np.dtype(wanted)}


def _patches_of(placed: strategies.Placed) -> tuple[int, ...]:
    return slow.extract(placed.image, placed.grid, **placed.roles).shape


@st.composite
def _grid(draw: st.DrawFn) -> Arguments:
    return {"grid": draw(strategies.grids())}


@st.composite
def _patchify(draw: st.DrawFn, pool: Pool) -> Arguments:
    grid = draw(strategies.grids(pads=draw(st.sampled_from([False, False, True]))))
    placed = draw(strategies.placed(st.just(grid), pool=pool, channels=False, nonfinite=True))
    return {"image": draw(images(placed)), "grid": grid, "axes": placed.axes}


@st.composite
def _extract(draw: st.DrawFn, pool: Pool) -> Arguments:
    placed = draw(strategies.placed(pool=pool, nonfinite=draw(st.booleans())))
    rows = draw(st.none() | strategies.indices(placed.grid))
    return {
        "image": draw(images(placed)),
        "grid": placed.grid,
        "roles": placed.roles,
        "indices": rows,
        "layout": draw(st.sampled_from(["patch", "feature"])),
        "into": draw(st.booleans()),
        "tiles": draw(TILES),
    }


@st.composite
def _merging(draw: st.DrawFn, pool: Pool, merge: str) -> tuple[strategies.Placed, Arguments]:
    """A place, and patches for it with the options to merge them."""
    placed = draw(strategies.placed(pool=pool, kinds=kinds_for(merge)))
    shape, dtype = _patches_of(placed), placed.image.dtype
    nonfinite = (
        dtype.kind == "f"
        and merge not in ("var", "vote")
        and draw(st.sampled_from([False, False, True]))
    )
    patches = draw(strategies.restrided(draw(strategies.arrays(shape, dtype, nonfinite=nonfinite))))
    options = draw(merge_options(merge, placed.grid, dtype, not nonfinite))
    if nonfinite and "weights" in options:
        del options["weights"]
    return placed, {
        "patches": patches,
        "grid": placed.grid,
        "roles": placed.roles,
        "options": options,
    }


@st.composite
def _unpatchify(draw: st.DrawFn, pool: Pool) -> Arguments:
    placed, found = draw(_merging(pool, draw(st.sampled_from(MERGES))))
    forms = ["extract"] if is_clear(found["patches"].shape, placed) else []
    if placed.grid.ndim > 1 and not placed.batch:
        forms.append("rows")
    if placed.channel_axis is None:
        forms.append("view")
    form = draw(st.sampled_from(forms))
    return {**found, "form": form, "into": draw(st.booleans()), "tiles": draw(TILES)}


@st.composite
def _merger(draw: st.DrawFn, pool: Pool) -> Arguments:
    placed, found = draw(_merging(pool, draw(st.sampled_from(MERGES))))
    return {**found, "pieces": draw(strategies.orders(placed.grid.n_patches))}


@st.composite
def _custom_merge(draw: st.DrawFn, pool: Pool) -> Arguments:
    grid = draw(strategies.grids(covers=True))
    placed = draw(strategies.placed(st.just(grid), pool=pool, kinds="iuf"))
    patches = draw(strategies.arrays(_patches_of(placed), placed.image.dtype))
    options: Arguments = {}
    if draw(st.booleans()):
        options["weights"] = draw(strategies.tapers(grid.patch))
    if draw(st.booleans()):
        options["patch_weights"] = draw(strategies.patch_weights(grid.n_patches))
    return {
        "patches": patches,
        "grid": grid,
        "roles": placed.roles,
        "options": options,
        "tiles": draw(TILES),
    }


@st.composite
def _map(draw: st.DrawFn, pool: Pool) -> Arguments:
    merge = draw(st.sampled_from((*MERGES, None)))
    placed = draw(strategies.placed(pool=pool, kinds=kinds_for(merge).replace("b", "")))
    grid, image = placed.grid, placed.image
    function = draw(st.sampled_from(_functions(placed, merge)))
    options: Arguments = {"merge": merge, "fill": draw(st.sampled_from([None, 0, 1]))}
    options["where"] = draw(st.none() | strategies.wheres(grid))
    if function == "doubled":
        options["scale"] = 2
    same_patch = function in ("same", "in place", "sum", "float", "new axis", "strange strides")
    if merge in WEIGHED and same_patch and draw(st.sampled_from([False, True])):
        options["weights"] = draw(strategies.tapers(grid.patch))
    running: Arguments = {
        "workers": draw(st.sampled_from([1, 2, 3])),
        "layout": draw(st.sampled_from([None, "patch", "feature"])),
        "batch_bytes": draw(st.sampled_from([None, 1, 300, 5000])),
        "memory": draw(st.sampled_from([None, "1GB"])),
        "executor": draw(st.sampled_from([None, None, "threads"])),
    }
    return {
        "image": draw(images(placed)) if image.dtype.kind != "b" else image,
        "grid": grid,
        "roles": placed.roles,
        "function": function,
        "options": options,
        "running": running,
        "tiles": draw(TILES),
    }


def _functions(placed: strategies.Placed, merge: str | None) -> list[str]:
    if merge is None:
        return ["one", "two"]
    names = ["same", "in place", "sum", "float", "strange strides"]
    if placed.channel_axis is None:
        names += ["new axis", "first samples", "greater"]
        if max(placed.grid.dilation) == 1:
            names.append("doubled")
    return names


@st.composite
def _leaving(draw: st.DrawFn, pool: Pool) -> Arguments:
    """What a run takes that is not on an array in memory alone."""
    merge = draw(st.sampled_from((*MERGES, None)))
    placed = draw(strategies.placed(pool=pool, kinds=kinds_for(merge).replace("b", "")))
    names = st.sampled_from(_functions(placed, merge)).filter(lambda name: name != "doubled")
    options: Arguments = {"merge": merge, "fill": draw(st.sampled_from([None, 0, 1]))}
    if merge in WEIGHED and draw(st.sampled_from([False, True])):
        options["weights"] = "hann"
    return {
        "image": placed.image,
        "grid": placed.grid,
        "roles": placed.roles,
        "functions": draw(st.lists(names, min_size=1, max_size=2)),
        "options": options,
        "chunks": [draw(st.integers(1, n)) for n in placed.image.shape],
        "doubled": merge is not None and options["fill"] is None and draw(st.booleans()),
    }


@st.composite
def _stored(draw: st.DrawFn, pool: Pool) -> Arguments:
    arguments = draw(_leaving(pool))
    arguments["options"]["where"] = draw(st.none() | strategies.wheres(arguments["grid"]))
    return {
        **arguments,
        "source": draw(st.sampled_from(["", ".npy", ".zarr"])),
        "target": draw(st.sampled_from(["", "array", ".npy", ".zarr"])),
        "batch_bytes": draw(st.sampled_from([None, 1, 300])),
        "stop": draw(st.sampled_from([None, 0, 1, 3])),
        "tiles": draw(TILES),
    }


@st.composite
def _matrix(draw: st.DrawFn, pool: Pool) -> Arguments:
    placed = draw(strategies.placed(pool=pool))
    where = draw(st.none() | st.none() | strategies.wheres(placed.grid))
    n = placed.grid.n_patches if where is None else len(slow.select(placed.grid, where))
    n *= math.prod(placed.batch)
    return {
        "image": draw(images(placed)),
        "grid": placed.grid,
        "roles": placed.roles,
        "where": where,
        "rows": draw(st.just(slice(None)) | st.slices(n)),
        "center": draw(st.sampled_from([False, False, True])),
        "scale": draw(st.sampled_from([False, False, True])),
        "columns": draw(st.integers(1, 3)),
        "way": draw(st.sampled_from(sorted(WAYS))),
        "points": draw(st.sampled_from([None, 64])),
        "seed": draw(st.integers(0, 99)),
    }


@st.composite
def _images(draw: st.DrawFn, pool: Pool) -> Arguments:
    nd = draw(st.integers(1, 2))
    patch = [draw(st.integers(1, 4)) for _ in range(nd)]
    step = [draw(st.integers(1, 4)) for _ in range(nd)]
    dtype = draw(strategies.dtypes("iufc", pool))
    sizes = [[p + draw(st.integers(0, 5)) for p in patch] for _ in range(draw(st.integers(1, 3)))]
    found = [draw(strategies.restrided(draw(strategies.arrays(size, dtype)))) for size in sizes]
    return {"images": found, "patch": patch, "step": step, "seed": draw(st.integers(0, 99))}


@st.composite
def _masked(draw: st.DrawFn, pool: Pool) -> Arguments:
    shape = [draw(st.integers(1, 6)) for _ in range(draw(st.integers(1, 3)))]
    image = draw(strategies.arrays(shape, draw(strategies.dtypes(pool=pool)), nonfinite=True))
    return {"image": image, "patch": [draw(st.integers(1, n)) for n in shape]}


def trials(pool: Pool = strategies.DTYPES) -> dict[str, Trial]:
    """Every check with its arguments, by name; ``pool`` are the dtypes (each compiles its own kernels)."""
    pairs: list[tuple[Callable[..., None], st.SearchStrategy[Arguments]]] = [
        (checks.check_grid, _grid()),
        (checks.check_patchify, _patchify(pool)),
        (checks.check_extract, _extract(pool)),
        (checks.check_unpatchify, _unpatchify(pool)),
        (checks.check_merger, _merger(pool)),
        (checks.check_custom_merge, _custom_merge(pool)),
        (checks.check_map, _map(pool)),
        (checks.check_masked, _masked(pool)),
        (matrix_checks.check_matrix, _matrix(pool)),
        (matrix_checks.check_images, _images(pool)),
        (law_checks.check_matrix_axes, law_checks.matrix_scenes()),
        (law_checks.check_where, law_checks.where_scenes()),
        (hostile.check_hostile, hostile.calls()),
    ]
    if find_spec("zarr") is not None:
        pairs.append((stored_checks.check_stored, _stored(pool)))
        pairs.append((law_checks.check_axes, law_checks.scenes()))
    if find_spec("dask") is not None:
        pairs.append((stored_checks.check_lazy, _leaving(pool)))
    found = [Trial(check, arguments) for check, arguments in pairs]
    return {trial.name: trial for trial in found}


TRIALS: Mapping[str, Trial] = trials()

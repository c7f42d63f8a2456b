"""Cases of the verbs on arrays in memory: grids, patchify, extract, unpatchify, Merger, map_patches."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

import pantile as pt

from .digest import Record, digest, plain
from .draw import (
    DTYPES,
    Array,
    Draw,
    Placed,
    array,
    grid,
    merge_options,
    patches_for,
    placed,
    restrided,
    weights,
    where,
)  # fmt: skip
from .functions import FUNCTIONS, SQUARES, Calls, Watched, finalizer, names_for

__all__ = [
    "custom", "extract", "grids", "large", "map_", "masked", "merger", "mistakes", "patchify", "running", "unpatchify",
]  # fmt: skip


def grids(draw: Draw, record: Record) -> None:
    """Everything a grid says."""
    found = grid(draw)
    for name in ("shape", "patch", "step", "dilation", "tail", "pad", "counts", "n_patches", "features",
                 "extent", "overlap", "starts", "regular", "covers"):  # fmt: skip
        record(name, lambda name=name: getattr(found, name))
    record("coverage", found.coverage)
    record("nbytes", lambda: found.nbytes("f4"))
    record("dict", found.to_dict)
    record("html", found._repr_html_)
    record("pickled", lambda: pickle.loads(pickle.dumps(found)) == found)
    n = found.n_patches
    numbers = [draw.whole(-n - 1, n) for _ in range(5)]
    record("regions", lambda: [found[i] for i in range(min(n, 40))])
    for number in numbers:
        record("region", lambda number=number: found[number])
    corner = tuple(draw.whole(-c, c) for c in found.counts)
    record("region by place", lambda: found[corner])
    for _ in range(4):
        element = tuple(draw.whole(-1, size) for size in found.shape)
        record("locate", lambda element=element: found.locate(element))
    record("flat_indices", lambda: found.flat_indices() if n * found.features < 40_000 else 0)
    record("some flat_indices", lambda: found.flat_indices(numbers))
    record("centers", lambda: found.centers(array(draw, found.shape, "i4")))
    _from_overlap(draw, record)


def _from_overlap(draw: Draw, record: Record) -> None:
    shape = [draw.whole(4, 40) for _ in range(draw.whole(1, 3))]
    patch = draw.pick((draw.whole(1, 9), [draw.whole(1, n) for n in shape]))
    if draw.often(0.5):
        overlap = draw.whole(0, 5)
        record("from_overlap", lambda: pt.PatchGrid.from_overlap(shape, patch, overlap=overlap))
    else:
        fraction = draw.pick((0.0, 0.25, 0.5, 0.75, 0.9))
        record("from_fraction", lambda: pt.PatchGrid.from_overlap(shape, patch, fraction=fraction))


def patchify(draw: Draw, record: Record) -> None:
    """Views, and the refusal of what no strides can express."""
    chosen = grid(draw, pads=draw.often(0.2))
    place = placed(draw, chosen, channels=0.0)
    view = record("grid", lambda: pt.patchify(place.image, chosen, axes=place.axes))
    _of_view(record, view, place.image)
    if draw.often(0.5):
        axes, writeable = place.axes or tuple(range(-chosen.ndim, 0)), draw.often(0.2)
        view = record(
            "shorthand",
            lambda: pt.patchify(
                place.image, chosen.patch, chosen.step, dilation=chosen.dilation, axes=axes,
                writeable=writeable,
            ),
        )  # fmt: skip
        _of_view(record, view, place.image)


def _of_view(record: Record, view: Any, image: Array) -> None:
    if view is not None:
        shares = (
            np.shares_memory(view, image) if view.size < 2000 else np.may_share_memory(view, image)
        )
        record("view", lambda: (bool(shares), view.flags.writeable, view.strides))  # fmt: skip


def extract(draw: Draw, record: Record) -> None:
    """Copies: all patches or some, either layout, into a given array."""
    place = placed(draw)
    n = place.grid.n_patches
    rows = None if draw.often(0.5) else draw.rng.integers(-n, n, draw.whole(0, 30))
    if rows is not None and draw.often(0.05):
        rows = rows + n  # outside
    layout = draw.pick(("patch", "feature"))
    given = {"indices": rows, "layout": layout, **place.roles}
    found = record("extract", lambda: pt.extract(place.image, place.grid, **given))
    if found is None:
        return
    record("layout", lambda: (found.flags.c_contiguous, found.strides, found.flags.writeable))
    if draw.often(0.3):
        out = restrided(draw, np.zeros(found.shape, found.dtype))
        record("out", lambda: pt.extract(place.image, place.grid, out=out, **given) is out)
        record("what is in out", lambda: out)
    if draw.often(0.2):
        short = place.grid.patch, place.grid.step
        record("shorthand", lambda: pt.extract(place.image, *short, **place.roles))


def unpatchify(draw: Draw, record: Record) -> None:
    """All merges, weights, votes, forms, dtypes."""
    place, patches, options = _merging(draw)
    given = {**place.roles, **options}
    votes = _votes(draw, place, options)
    if votes is not None:
        given["patch_weights"] = votes
    for form in _forms(draw, place, patches):
        found = record("unpatchify", lambda form=form: pt.unpatchify(form, place.grid, **given))
    if found is not None and draw.often(0.3):
        out = restrided(draw, np.zeros(found.shape, found.dtype))
        record("out", lambda: pt.unpatchify(patches, place.grid, out=out, **given) is out)
        record("what is in out", lambda: out)


def _merging(draw: Draw) -> tuple[Placed, Array, dict[str, Any]]:
    place = placed(draw)
    dtype = draw.pick(DTYPES)
    options = merge_options(draw, place.grid, dtype)
    nonfinite = np.dtype(dtype).kind == "f" and draw.often(0.15)
    return place, patches_for(draw, place, dtype, nonfinite=nonfinite), options


def _votes(draw: Draw, place: Placed, options: dict[str, Any]) -> Array | None:
    weighed = options["merge"] in ("mean", "sum", "var", "vote") or draw.often(0.05)
    if not weighed or draw.often(0.75):
        return None
    return draw.rng.random(place.grid.n_patches) * (draw.rng.random(place.grid.n_patches) > 0.1)


def _forms(draw: Draw, place: Placed, patches: Array) -> list[Array]:
    """The same patches as `extract` gives them, and sometimes as a view's shape or as rows."""
    forms = [patches]
    if place.channel_axis is None and draw.often(0.4):
        batch, nd = place.n_batch, place.grid.ndim
        whole = patches.reshape(*patches.shape[:batch], *place.grid.counts, *place.grid.patch)
        ndim = batch + nd
        axes = range(batch, ndim) if place.axes is None else [a % ndim for a in place.axes]
        home = [*(a for a in range(ndim) if a not in axes), *axes, *range(ndim, ndim + nd)]
        forms.append(whole.transpose(np.argsort(home)))
    if draw.often(0.3):
        forms.append(patches.reshape(*patches.shape[: place.n_batch + 1], -1))
    return forms


def merger(draw: Draw, record: Record) -> None:
    """Patches added in pieces and in any order, asked in between."""
    place, patches, options = _merging(draw)
    votes = _votes(draw, place, options)
    made = record("repr", lambda: repr(pt.Merger(place.grid, **place.roles, **options)))
    if made is None:
        return
    found = pt.Merger(place.grid, **place.roles, **options)
    order = draw.rng.permutation(place.grid.n_patches)
    at = place.n_batch
    pieces = np.array_split(order, draw.whole(1, 5))
    for k, piece in enumerate(pieces[: None if draw.often(0.8) else -1]):
        some = patches.take(piece, at)
        factors = None if votes is None else votes[piece]
        record("add", lambda some=some, piece=piece, f=factors: found.add(some, piece, f))
        if k == 0 and draw.often(0.2):
            record("early result", found.result)
    if draw.often(0.1):
        factor = None if votes is None else votes[:1]
        record("again", lambda: found.add(patches.take([0], at), [0], factor))
    record("coverage", found.coverage)
    record("result", found.result)
    record("repr", lambda: repr(found))


def custom(draw: Draw, record: Record) -> None:
    """A merge of a user's own: in memory, in pieces, streamed."""
    place = placed(draw, grid(draw, draw.pick((1, 2))), kinds="iuf")
    patches = patches_for(draw, place, place.image.dtype)
    options: dict[str, Any] = {"merge": SQUARES, "fill": draw.maybe(0.7, 0)}
    if draw.often(0.4):
        options["weights"] = weights(draw, place.grid.patch, trim=False)
    record("unpatchify", lambda: pt.unpatchify(patches, place.grid, **place.roles, **options))
    given = {
        **place.roles,
        **options,
        "workers": draw.whole(1, 2),
        "batch_bytes": draw.pick((None, 400)),
    }
    record("map", lambda: pt.map_patches(FUNCTIONS["more"], place.image, place.grid, **given))
    found = pt.Merger(place.grid, **place.roles, **options)
    record("add", lambda: found.add(patches, range(place.grid.n_patches)))
    record("result", found.result)


def running(draw: Draw) -> dict[str, Any]:
    """How a run goes, which is not to reach the result, but for batches and budgets."""
    return {
        "workers": draw.pick((1, 1, 2, 3)),
        "layout": draw.pick((None, None, "patch", "feature")),
        "batch_bytes": draw.pick((None, 1, 300, 300, 2000, 20_000)),
        "memory": draw.pick((None, None, None, None, 8_000, 40_000, "200kB", "1GB")),
    }


def map_(draw: Draw, record: Record) -> None:
    """`map_patches` in memory: merges, masks, finalize, several results, smaller and larger patches."""
    place = placed(draw, nonfinite=0.05)
    options = _map_options(draw, place)
    names = draw.pick((1, 1, 1, 2)) * [""]
    chosen = [draw.pick(names_for(place, options["merge"])) for _ in names]
    if "doubled" in chosen:
        chosen, options["scale"] = ["doubled"] * len(chosen), 2
    func: Any = Calls(chosen) if len(chosen) > 1 else FUNCTIONS[chosen[0]]
    how = running(draw)
    given = {**place.roles, **options, **how}
    found = record("map", lambda: pt.map_patches(func, place.image, place.grid, **given))
    if draw.often(0.3):
        record("plan", lambda: str(pt.plan(func, place.image, place.grid, **given)))
    if draw.often(0.3):
        watched = Watched(chosen[0])
        given["workers"] = 1
        record("one worker", lambda: pt.map_patches(watched, place.image, place.grid, **given))
        record("what func saw", lambda: watched.seen)
    if isinstance(found, np.ndarray) and draw.often(0.15):
        out = restrided(draw, np.zeros(found.shape, found.dtype))
        record(
            "out", lambda: pt.map_patches(func, place.image, place.grid, out=out, **given) is out
        )
        record("what is in out", lambda: out)


def _map_options(draw: Draw, place: Placed) -> dict[str, Any]:
    options = merge_options(draw, place.grid, place.image.dtype)
    if draw.often(0.12):
        options = {"merge": None, "fill": draw.maybe(0.5, 0)}
    if draw.often(0.3):
        options["where"] = where(draw, place.grid)
        if draw.often(0.8):
            options["fill"] = draw.pick((0, 1, 7))
    if options["merge"] is not None:
        options["finalize"] = finalizer(draw, place)
    return options


def large(draw: Draw, record: Record) -> None:
    """Enough elements for several threads, tiles and blocks of the usual sizes."""
    side, p = draw.pick(((300, 8), (200, 12), (420, 16), (1300, 4))), 0
    side, p = side
    step = draw.pick((1, 2, 3)) if side < 400 else draw.pick((4, 6, 7))
    dtype = draw.pick(("f4", "f8", "u1"))
    pad = draw.pick((0, 0, "same"))
    chosen = pt.PatchGrid(
        (side, side + 7), p, step if side < 1000 else p, pad=pad, pad_mode="reflect"
    )
    image = array(draw, chosen.shape, dtype)
    layout = draw.pick(("patch", "feature"))
    patches = record("extract", lambda: digest(plain(pt.extract(image, chosen, layout=layout))))
    merge = draw.pick(("mean", "mean", "sum", "max", "first", "center"))
    given = {
        "merge": merge,
        "weights": "hann" if merge in ("mean", "sum") and draw.often(0.5) else None,
    }
    record("map", lambda: pt.map_patches(FUNCTIONS["float"], image, chosen, workers=2, **given))
    patches = pt.extract(image, chosen, layout=layout)
    patches *= draw.rng.integers(1, 4, (len(patches), 1, 1)).astype(dtype)
    record("unpatchify", lambda: pt.unpatchify(patches, chosen, **given))


def masked(draw: Draw, record: Record) -> None:
    """`masked_patchify`."""
    shape = [draw.whole(1, (60, 12, 6)[k]) for k in [draw.whole(0, 2)] for _ in range(k + 1)]
    image = array(draw, shape, draw.pick(DTYPES), nonfinite=draw.often(0.2))
    patch = [draw.whole(1, n + draw.often(0.03)) for n in shape]
    given = restrided(draw, image) if draw.often(0.25) else image
    record("masked", lambda: pt.masked_patchify(given, patch))


_WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 2, 3.0, 1.5, 1j, float("nan"), "x", "", (), [], {}, (1, 2, 3), (2, 2), [[1, 2], [3]],
    np.zeros(0), np.ones((2, 2)), np.zeros((4, 5), "M8[s]"), np.zeros((4, 5), object), "mean", "hann", "trim",
    "feature", "f2", "S3", 10**9, 2**63, len, object, slice(None), ..., pt.PatchGrid(4, 2), b"x", range(3),
)  # fmt: skip


_BIG = {"patch", "shape", "pad", "scale", "dilation"}


def mistakes(draw: Draw, record: Record) -> None:
    """Calls that make sense but for one or two arguments: which exception, or which result."""
    image = array(draw, (8, 9), "f8")
    calls: dict[str, tuple[Any, dict[str, Any]]] = {
        "grid": (pt.PatchGrid, {"shape": (8, 9), "patch": 3, "step": 2, "dilation": 1, "tail": "shift", "pad": 0,
                                "pad_mode": "constant", "pad_value": 0}),
        "patchify": (pt.patchify, {"image": image, "patch": 3, "step": 2, "dilation": 1, "axes": None}),
        "extract": (pt.extract, {"image": image, "patch": 3, "step": 2, "axes": None, "channel_axis": None,
                                 "indices": None, "layout": "patch", "out": None}),
        "unpatchify": (pt.unpatchify, {"patches": pt.extract(image, 3, 2), "shape": pt.PatchGrid((8, 9), 3, 2),
                                       "axes": None, "channel_axis": None, "merge": "mean", "weights": None,
                                       "patch_weights": None, "fill": None, "dtype": None, "out": None}),
        "map": (pt.map_patches, {"func": FUNCTIONS["same"], "image": image, "patch": 3, "step": 2, "axes": None,
                                 "channel_axis": None, "merge": "mean", "weights": None, "where": None,
                                 "finalize": None, "out": None, "dtype": None, "fill": None, "layout": None,
                                 "batch_bytes": None, "memory": None, "workers": 1, "executor": None,
                                 "progress": None, "scale": 1, "resume": False}),
        "merger": (pt.Merger, {"grid": pt.PatchGrid((8, 9), 3, 2), "merge": "mean", "weights": None, "axes": None,
                               "channel_axis": None, "fill": None, "dtype": None}),
        "matrix": (pt.PatchMatrix, {"image": image, "patch": 3, "step": 2, "axes": None, "channel_axis": None,
                                    "where": None, "center": False, "scale": False}),
        "masked": (pt.masked_patchify, {"image": image, "patch": 3}),
    }  # fmt: skip
    for _ in range(6):
        name = draw.pick(sorted(calls))
        verb, arguments = calls[name]
        wrong = {
            n: draw.pick(_WRONG) for n in draw.rng.permutation(list(arguments))[: draw.whole(1, 2)]
        }
        if _BIG & set(wrong) and any(isinstance(v, int) and v >= 10**9 for v in wrong.values()):
            continue  # what only memory refuses
        said = f"{name}({', '.join(sorted(wrong))})"
        record(said, lambda verb=verb, a={**arguments, **wrong}: _known(verb(**a)))


def _known(found: Any) -> Any:
    return repr(found) if isinstance(found, pt.Merger) else found

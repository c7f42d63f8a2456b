"""`patchify`, `extract` and `unpatchify` of arrays of other libraries: the same kind, dtype and device come back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.boundary import MAPPED_MODES
from ..geometry.frame import Frame, frame_of
from ..geometry.tensors import library_of, refuse_mixed
from ..merge.casts import check_holes
from ..merge.custom import Merge
from ..merge.spec import MergeRule, resolve_rule
from ..ops import patchify as views
from ..ops.extract import check_layout, check_pad_value
from ..ops.forms import recognise
from ..ops.unpatchify import as_patch_weights
from ..ops.unpatchify import unpatchify as unpatchify_array
from . import leaves, torch_ops, torch_work
from .linear import Linear
from .namespaces import as_dtype_name, dtype_name, namespace_of
from .others import MERGES

__all__ = [
    "check_tensor",
    "dummy",
    "extract",
    "numpy_dtype",
    "patchify",
    "permuted",
    "reshaped",
    "to_host",
    "unpatchify",
    "wants_grad",
]

Tensor = Any


def extract(image: Tensor, patch: Any, step: Any = 1, **options: Any) -> Tensor:
    """`pantile.extract` of an array of another library."""
    return _run("extract", image, patch, step, options)


def patchify(image: Tensor, patch: Any, step: Any = 1, **options: Any) -> Tensor:
    """`pantile.patchify` of an array of another library: a view where the library has views, else a new array."""
    return _run("patchify", image, patch, step, options)


def unpatchify(patches: Tensor, shape: Any, step: Any = 1, **options: Any) -> Any:
    """`pantile.unpatchify` of arrays of another library."""
    return _run("unpatchify", patches, shape, step, options)


def _run(verb: str, array: Tensor, grid: Any, step: Any, options: dict[str, Any]) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and torch.compiler.is_compiling():
        given = {k: v for k, v in options.items() if v is not None}
        return torch_ops.traced(verb, array, torch_ops.as_plain(grid), step, given)
    return _VERBS[verb](array, grid, step, **options)


# what they share


def check_tensor(array: Tensor, name: str) -> str:
    """The library of an array that has elements, and whose elements can be moved."""
    library = library_of(array)
    assert library is not None, "the caller knows that it is one"
    if array.ndim == 0 or 0 in array.shape:
        raise ValueError(
            f"{name} must have at least one axis and one element, got shape {tuple(array.shape)}"
        )
    if library == "torch" and (
        array.is_sparse or str(array.layout) != "torch.strided" or array.is_quantized
    ):
        raise TypeError(
            f"{name} is a torch tensor of {array.dtype}, {array.layout}: give a dense one, .to_dense() or .dequantize()"
        )
    return library


def to_host(value: Any) -> Any:
    """Numbers that say how, not what (indices, weights): an array of NumPy, wherever they lie."""
    if library_of(value) is None:
        return value
    if library_of(value) == "torch":
        if value.requires_grad:
            raise TypeError(
                "weights and indices are constants, and gradients would end here: give their .detach()"
            )
        return value.cpu().numpy()
    return value.get() if hasattr(value, "get") else np.asarray(value)


def wants_grad(array: Tensor) -> bool:
    """Whether torch is to find gradients with respect to ``array``."""
    if library_of(array) != "torch":
        return False
    return bool(array.requires_grad and sys.modules["torch"].is_grad_enabled())


def numpy_dtype(array: Tensor) -> np.dtype[Any]:
    """NumPy's dtype for the elements of an array; float32 for bfloat16."""
    name = dtype_name(array.dtype)
    try:
        return np.dtype("float32" if name == "bfloat16" else name)
    except TypeError:
        raise TypeError(
            f"arrays of {array.dtype} cannot be cut or merged: convert them, to float32 or bfloat16 for example"
        ) from None


def _linear(frame: Frame, **options: Any) -> Linear:
    channel = None if frame.channel is None else frame.channel - frame.n_batch
    return Linear(frame.grid, channel, **options)


def permuted(array: Tensor, order: tuple[int, ...]) -> Tensor:
    """``array`` with its axes in another order, a view where the library has views."""
    if order == tuple(range(len(order))):
        return array
    if library_of(array) == "torch":
        return array.permute(order)
    return namespace_of(array).permute_dims(array, order)


def reshaped(array: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``array`` in another shape, a view where that can be."""
    if library_of(array) == "torch":
        return array.reshape(shape)
    return namespace_of(array).reshape(array, shape)


def _stands(array: Tensor) -> Tensor:
    return array.contiguous() if library_of(array) == "torch" else array


def dummy(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """An array of a shape, without memory: what checks look at."""
    return np.broadcast_to(np.zeros((), bool), shape)


# cutting


def _extract(
    image: Tensor,
    patch: Any,
    step: Any = 1,
    *,
    axes: Any = None,
    channel_axis: Any = None,
    indices: Any = None,
    layout: Any = "patch",
    out: Any = None,
) -> Tensor:
    library = check_tensor(image, "image")
    frame = frame_of(tuple(image.shape), patch, step, axes=axes, channel_axis=channel_axis)
    check_layout(layout)
    check_pad_value(frame, numpy_dtype(image))
    rows = None if indices is None else frame.grid.as_rows(to_host(indices))
    many = frame.grid.n_patches if rows is None else len(rows)
    shape = (*frame.batch_shape, many, *frame.patch_shape)
    _check_out(out, image, {"out": out}, shape, dtype_name(image.dtype))
    canonical, linear = permuted(image, frame.order), _linear(frame, layout=layout)
    patches = reshaped(cut(library, canonical, linear, rows), shape)
    return patches if out is None else _written(out, patches)


def cut(
    library: str, canonical: Tensor, linear: Linear, rows: NDArray[np.int64] | None = None
) -> Tensor:
    """Patches of canonical images, by torch's operators or by the leaves."""
    _check_padding(library, canonical, linear.grid)
    if library != "torch":
        return leaves.cut(namespace_of(canonical), canonical, linear, rows)
    if wants_grad(canonical) and _repeats(linear.grid):
        canonical = leaves.padded(namespace_of(canonical), canonical, linear)
        linear = replace(linear, grid=_without_padding(linear.grid))
    torch = sys.modules["torch"]
    chosen = None if rows is None else torch.from_numpy(rows)
    return torch_ops.operators().cut_node(canonical, None, chosen, linear.text)


def _repeats(grid: PatchGrid) -> bool:
    return grid.pad_mode != "constant" and not all(axis.inside for axis in grid.axis_grids)


def _check_padding(library: str, canonical: Tensor, grid: PatchGrid) -> None:
    if not _repeats(grid) or grid.pad_mode in MAPPED_MODES:
        return
    if library != "torch" or canonical.device.type != "cpu" or wants_grad(canonical):
        raise ValueError(
            f"pad_mode={grid.pad_mode!r} is computed in main memory, without gradients: use one of constant,"
            f" {', '.join(sorted(MAPPED_MODES))}, or pad the image first"
        )


def _without_padding(grid: PatchGrid) -> PatchGrid:
    """The same places, on an image with what lies around it."""
    sizes = [b + n + a for n, (b, a) in zip(grid.shape, grid.margins, strict=True)]
    tail = "drop" if isinstance(grid.pad, str) else grid.tail
    found = PatchGrid(sizes, grid.patch, grid.step, dilation=grid.dilation, tail=tail)
    assert found.counts == grid.counts, "padding moves no patch"
    return found


def _check_out(
    out: Any, array: Tensor, named: dict[str, Any], shape: tuple[int, ...], name: str
) -> None:
    if out is None:
        return
    what = "image" if "out" in named else "patches"
    if library_of(out) is None and not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array of {library_of(array)}, got {type(out).__name__}")
    refuse_mixed(array, what, {"out": out})
    if wants_grad(array) or library_of(array) not in ("torch", "cupy"):
        raise ValueError(
            "out= takes arrays that can be written to, without gradients: leave it out, and use what is returned"
        )
    if tuple(out.shape) != shape or dtype_name(out.dtype) != name:
        raise ValueError(
            f"out must have shape {shape} and dtype {name}, got {tuple(out.shape)} and {dtype_name(out.dtype)}"
        )


def _written(out: Tensor, values: Tensor) -> Tensor:
    out[...] = values
    return out


def _patchify(
    image: Tensor,
    patch: Any,
    step: Any = 1,
    *,
    dilation: Any = 1,
    axes: Any = None,
    writeable: bool = False,
) -> Tensor:
    library = check_tensor(image, "image")
    if writeable and library not in ("torch", "cupy"):
        raise ValueError(
            f"arrays of {library} have no views, so writing to the patches would not reach the image: leave"
            " writeable=False"
        )
    shape = views.patchify(
        dummy(tuple(image.shape)), patch, step, dilation=dilation, axes=axes
    ).shape
    if library == "cupy":
        return _cupy_view(image, patch, step, dilation, axes)
    grid: Any = patch
    if not isinstance(patch, PatchGrid):
        options = {"dilation": dilation, "tail": "drop"}
        grid = frame_of(tuple(image.shape), patch, step, axes=axes, **options).grid
    frame = frame_of(tuple(image.shape), grid, axes=axes)
    canonical, linear = permuted(image, frame.order), _linear(frame)
    if library == "torch":
        patches = torch_ops.windows(canonical, linear)
    else:
        patches = leaves.cut(namespace_of(image), canonical, linear)
    n = image.ndim
    found = permuted(patches, (*frame.back, *range(n, patches.ndim)))
    assert tuple(found.shape) == shape, "patches stand as those of arrays"
    return found


def _cupy_view(image: Tensor, patch: Any, step: Any, dilation: Any, axes: Any) -> Tensor:
    from cupy.lib.stride_tricks import as_strided

    dummy = np.broadcast_to(np.zeros((), numpy_dtype(image)), image.shape)
    template = np.lib.stride_tricks.as_strided(dummy, image.shape, image.strides)
    view = views.patchify(template, patch, step, dilation=dilation, axes=axes)
    frame = frame_of(image.shape, patch, axes=axes) if isinstance(patch, PatchGrid) else None
    begins = [slice(None)] * image.ndim
    if frame is not None:
        for place, axis in zip(frame.order[frame.n_batch :], frame.grid.axis_grids, strict=True):
            begins[place] = slice(axis.start(0), None)
    return as_strided(image[tuple(begins)], view.shape, view.strides)


# merging


def _unpatchify(
    patches: Tensor,
    shape: Any,
    step: Any = 1,
    *,
    axes: Any = None,
    channel_axis: Any = None,
    merge: Any = "mean",
    weights: Any = None,
    patch_weights: Any = None,
    fill: Any = None,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    library, own = check_tensor(patches, "patches"), numpy_dtype(patches)
    wanted = as_dtype_name(dtype)
    weights = to_host(weights)
    if isinstance(merge, Merge):
        return _by_own_merge(
            patches, merge, shape, step, axes=axes, channel_axis=channel_axis, weights=weights,
            patch_weights=to_host(patch_weights), fill=fill, dtype=wanted,
        )  # fmt: skip
    stack = recognise(dummy(tuple(patches.shape)), shape, step, axes, channel_axis)
    frame = stack.frame
    each = None
    if patch_weights is not None:
        flat = as_patch_weights(to_host(patch_weights), frame)
        each = flat.reshape(*frame.batch_shape, *frame.grid.counts)
    known = None if wanted == "bfloat16" else wanted
    rule = resolve_rule(merge, weights, each is not None, fill, known)
    rule.compile(frame, own, whole=True)  # raises what is wrong with it
    check_holes(frame, fill)
    half = wanted == "bfloat16" or (wanted is None and dtype_name(patches.dtype) == "bfloat16")
    name = "bfloat16" if half else rule.result_dtype(own).name
    if out is not None and rule.images == 1:
        _check_out(out, patches, {}, frame.image_shape, name)
    elif out is not None:
        raise ValueError(f"merge={merge!r} makes {rule.images} images: leave out= out")
    linear = _linear(
        frame,
        mean=merge == "mean",
        weights=None if rule.trims else rule.weights,
        fill=fill,
        dtype=name,
        listed=not stack.as_view,
    )
    images = join(library, _canonical(patches, stack), linear, rule, each)
    found = tuple(_stands(permuted(image, frame.back)) for image in images)
    if out is not None:
        return _written(out, found[0])
    return found if len(found) > 1 else found[0]


def _canonical(patches: Tensor, stack: Any) -> Tensor:
    """Patches as ``(*batch, *counts, *patch)``, a view where the library has views."""
    frame = stack.frame
    if not stack.as_view:
        return reshaped(patches, (*frame.batch_shape, *frame.grid.counts, *frame.patch_shape))
    n = len(frame.order)
    order = [*frame.order, *range(n, patches.ndim)]
    if frame.channel is not None:  # from among the counts to among the axes of a patch
        at = order.pop(frame.channel)
        order.insert(n - 1 + frame.channel - frame.n_batch, at)
    return permuted(patches, tuple(order))


def join(
    library: str,
    patches: Tensor,
    linear: Linear,
    rule: MergeRule,
    patch_weights: NDArray[np.float64] | None,
) -> list[Tensor]:
    """Canonical images, one for each that the merge makes."""
    merge: Any = "center" if rule.trims else rule.merge
    summed = merge in ("mean", "sum")
    if library == "torch":
        torch = sys.modules["torch"]
        each = None if patch_weights is None else torch.from_numpy(patch_weights.copy())
        if summed:
            return [torch_ops.operators().add_node(patches, each, None, linear.text)]
        if patches.device.type == "cpu" and not wants_grad(patches):
            return list(torch_ops.operators().merge(patches, each, merge, linear.text))
    xp = namespace_of(patches)
    if summed:
        return [
            leaves.cast(
                xp, leaves.merged(xp, patches, linear, None, patch_weights), linear.dtype or ""
            )
        ]
    if merge not in MERGES:
        raise ValueError(
            f"merge={merge!r} runs in main memory, without gradients: give NumPy arrays or tensors on the CPU"
            f" (and .detach()), or use one of mean, sum, {', '.join(MERGES)}"
        )
    if patch_weights is not None:
        raise ValueError(f"merge={merge!r} takes no patch_weights here: use mean or sum")
    images = MERGES[merge](xp, patches, linear)
    kinds = [linear.dtype or "" if i.dtype is None else i.dtype.name for i in rule.spec.images]
    return [leaves.cast(xp, image, kind) for image, kind in zip(images, kinds, strict=True)]


def _by_own_merge(patches: Tensor, merge: Merge, shape: Any, step: Any, **options: Any) -> Any:
    if library_of(patches) != "torch" or patches.device.type != "cpu" or wants_grad(patches):
        raise ValueError(
            "a merge of your own works on NumPy arrays: give those, or a tensor on the CPU without gradients"
        )
    torch = sys.modules["torch"]
    found: Any = unpatchify_array(torch_work.as_array(patches), shape, step, merge=merge, **options)
    images = found if isinstance(found, tuple) else (found,)
    made = tuple(torch.from_numpy(image) for image in images)
    return made if isinstance(found, tuple) else made[0]


_VERBS: dict[str, Callable[..., Any]] = {
    "extract": _extract,
    "patchify": _patchify,
    "unpatchify": _unpatchify,
}
torch_ops.VERBS.update(_VERBS)

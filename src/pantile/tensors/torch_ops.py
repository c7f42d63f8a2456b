"""torch's operators for a cut and the merge that is its adjoint: one node of autograd each, the other its backward.

They are registered as ``pantile::cut``, ``pantile::add`` and ``pantile::merge``, so that
`torch.compile`, `torch.vmap` and `torch.library.opcheck` know them. In main memory they run on the
compiled kernels, on other devices by the leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..merge.spec import resolve_rule
from ..ops.extract import extract
from ..ops.forms import PatchStack
from ..ops.merger import Merger
from ..ops.unpatchify import merge_stack
from . import leaves
from .linear import Linear, read_linear
from .namespaces import dtype_name, namespace_of

__all__ = ["VERBS", "as_array", "as_plain", "as_tensor", "operators", "result_names", "windows"]

Tensor = Any  # torch is imported by the functions that need it
_BITS = {"bfloat16": "int16"}  # what holds the bits of a dtype that NumPy has not


def as_array(tensor: Tensor, moved: bool = False) -> NDArray[Any]:
    """The memory of a tensor. bfloat16 as the bits that it is made of where it is only ``moved``, else as float32."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    name = dtype_name(plain.dtype)
    if name in _BITS:
        plain = plain.view(_torch().int16) if moved else plain.float()
    try:
        array: NDArray[Any] = plain.numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"a torch tensor of {tensor.dtype} cannot be cut or merged ({error}): give its .float(), or another dense"
            " tensor"
        ) from None
    return array


def as_tensor(array: NDArray[Any], name: str) -> Tensor:
    """An array as a tensor of the dtype ``name``."""
    torch = _torch()
    dtype = getattr(torch, name)
    tensor = torch.from_numpy(array)
    if tensor.dtype == dtype:
        return tensor
    return tensor.view(dtype) if name in _BITS and array.dtype == np.int16 else tensor.to(dtype)


def _torch() -> Any:
    return import_module("torch")


# the work, on plain tensors


def _batch(tensor: Tensor, linear: Linear, more: int = 0) -> tuple[int, ...]:
    return tuple(tensor.shape[: tensor.ndim - linear.n_axes - more])


def _weights(patch_weights: Tensor | None) -> NDArray[np.float64] | None:
    return None if patch_weights is None else patch_weights.detach().cpu().numpy()


def _rows(rows: Tensor | None) -> NDArray[np.int64] | None:
    return None if rows is None else rows.detach().cpu().numpy()


def _cut(image: Tensor, patch_weights: Tensor | None, rows: Tensor | None, text: str) -> Tensor:
    linear, each, chosen = read_linear(text), _weights(patch_weights), _rows(rows)
    if linear.mean:
        image = _divided(image, linear, each, chosen)
    if image.device.type != "cpu":
        xp = namespace_of(image)
        patches = leaves.times_taper(xp, leaves.cut(xp, image, linear, chosen), linear)
    else:
        patches = _cut_in_memory(image, linear, chosen)
    if each is not None:
        shaped = _torch().from_numpy(each.reshape(*each.shape, *[1] * linear.n_axes))
        patches = patches * shaped.to(device=patches.device, dtype=_real(patches))
    return patches.contiguous() if linear.layout == "patch" else patches


def _real(tensor: Tensor) -> Any:
    return tensor.real.dtype if tensor.is_complex() else tensor.dtype


def _divided(
    image: Tensor,
    linear: Linear,
    each: NDArray[np.float64] | None,
    rows: NDArray[np.int64] | None,
) -> Tensor:
    """An image divided by the sum of the weights, and 0 where there is none."""
    torch = _torch()
    divisor = linear.divisor(each) if rows is None else leaves.weight_of_rows(linear, rows, each)
    reciprocal = np.divide(1.0, divisor, out=np.zeros_like(divisor), where=divisor != 0)
    factor = torch.from_numpy(reciprocal).to(image.device)
    return (image * factor).to(image.dtype)


def _cut_in_memory(image: Tensor, linear: Linear, rows: NDArray[np.int64] | None) -> Tensor:
    name, grid = dtype_name(image.dtype), linear.grid
    bits = name in _BITS and (
        all(axis.inside for axis in grid.axis_grids)
        or (grid.pad_value == 0 and grid.pad_mode == "constant")
    )
    array = as_array(image, moved=bits)
    n_batch = image.ndim - linear.n_axes
    channel = None if linear.channel is None else n_batch + linear.channel
    layout: Any = linear.layout
    patches = extract(array, grid, channel_axis=channel, indices=rows, layout=layout)
    if rows is None:
        counts = (*patches.shape[:n_batch], *grid.counts, *patches.shape[n_batch + 1 :])
        patches = patches.reshape(counts)
    if linear.taper is not None:
        patches *= linear.taper.astype(patches.real.dtype)
    return as_tensor(patches, name)


def _add(patches: Tensor, patch_weights: Tensor | None, rows: Tensor | None, text: str) -> Tensor:
    linear, each, chosen = read_linear(text), _weights(patch_weights), _rows(rows)
    name = linear.dtype or dtype_name(patches.dtype)
    if patches.device.type != "cpu":
        total = leaves.merged(namespace_of(patches), patches, linear, chosen, each)
        return total.to(getattr(_torch(), name)).contiguous()
    if chosen is None:
        return as_tensor(
            _merge_in_memory(patches, linear, each, "mean" if linear.mean else "sum"), name
        )
    return as_tensor(_merge_rows(as_array(patches), linear, each, chosen), name)


def _merge_in_memory(
    patches: Tensor, linear: Linear, each: NDArray[np.float64] | None, merge: Any
) -> Any:
    array, counts = as_array(patches), linear.grid.counts
    batch = array.shape[: array.ndim - linear.n_axes - len(counts)]
    channels = (
        None if linear.channel is None else array.shape[len(batch) + len(counts) + linear.channel]
    )
    frame = linear.frame(batch, channels)
    stack = array if frame.channel is None else np.expand_dims(array, frame.channel)
    weights = None if each is None else np.broadcast_to(each, (*batch, *counts)).ravel()
    dtype = None if linear.dtype == "bfloat16" else linear.dtype
    return merge_stack(
        PatchStack(frame, stack), array, merge, linear.weights, weights, linear.fill, dtype
    )


def _merge_rows(
    array: NDArray[Any], linear: Linear, each: NDArray[np.float64] | None, rows: NDArray[np.int64]
) -> NDArray[Any]:
    n_batch = array.ndim - linear.n_axes - 1
    channel = None if linear.channel is None else n_batch + linear.channel
    if not len(rows):
        channels = 1 if linear.channel is None else array.shape[n_batch + 1 + linear.channel]
        sizes = [channels if n < 0 else n for n in linear.sizes]
        return np.zeros((*array.shape[:n_batch], *sizes), array.dtype)
    merger = Merger(
        linear.grid, merge="mean" if linear.mean else "sum", weights=linear.weights, channel_axis=channel,
        fill=linear.fill,
    )  # fmt: skip
    merger.add(array, rows, each)
    return np.ascontiguousarray(merger.result())


def _merge(patches: Tensor, patch_weights: Tensor | None, merge: str, text: str) -> list[Tensor]:
    """Any merge that needs no gradient, in main memory."""
    linear, each = read_linear(text), _weights(patch_weights)
    found = _merge_in_memory(patches, linear, each, merge)
    names = result_names(merge, dtype_name(patches.dtype), linear)
    images = found if isinstance(found, tuple) else (found,)
    return [as_tensor(np.ascontiguousarray(i), n) for i, n in zip(images, names, strict=True)]


def result_names(merge: Any, dtype: str, linear: Linear) -> list[str]:
    """The dtypes of the images that a merge of patches of ``dtype`` makes."""
    wanted = None if linear.dtype == "bfloat16" else linear.dtype
    rule = resolve_rule(merge, linear.weights, False, linear.fill, wanted)
    half = dtype == "bfloat16"
    natural = rule.result_dtype(np.dtype(np.float32 if half else dtype)).name
    asked = linear.dtype or ("bfloat16" if half else natural)
    return [asked if image.dtype is None else image.dtype.name for image in rule.spec.images]


# shapes, without work


def _fake_cut(image: Tensor, _weights: Any, rows: Tensor | None, text: str) -> Tensor:
    linear = read_linear(text)
    batch = _batch(image, linear)
    count = linear.grid.counts if rows is None else (rows.shape[0],)
    patch = _with_channels(linear.patch, image, len(batch))
    if linear.layout == "patch" or image.device.type != "cpu":
        return image.new_empty((*batch, *count, *patch))
    n, k = len(batch), len(count)
    order = (*range(n), *range(n + len(patch), n + len(patch) + k), *range(n, n + len(patch)))
    return image.new_empty((*batch, *patch, *count)).permute(order)


def _with_channels(shape: Any, tensor: Tensor, before: int) -> tuple[int, ...]:
    """A shape with the size of the channel axis of a tensor, whose patch axes begin at ``before``."""
    return tuple(tensor.shape[before + k] if n < 0 else n for k, n in enumerate(shape))


def _fake_add(patches: Tensor, _weights: Any, rows: Tensor | None, text: str) -> Tensor:
    linear = read_linear(text)
    name = linear.dtype or dtype_name(patches.dtype)
    return _fake_image(patches, linear, 1 if rows is not None else linear.grid.ndim, name)


def _fake_image(patches: Tensor, linear: Linear, counts: int, name: str) -> Tensor:
    batch = _batch(patches, linear, counts)
    sizes = _with_channels(linear.sizes, patches, len(batch) + counts)
    return patches.new_empty((*batch, *sizes), dtype=getattr(_torch(), name))


def _fake_merge(patches: Tensor, _weights: Any, merge: str, text: str) -> list[Tensor]:
    linear = read_linear(text)
    names = result_names(merge, dtype_name(patches.dtype), linear)
    return [_fake_image(patches, linear, linear.grid.ndim, name) for name in names]


# gradients


def _keep(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG001 (torch names them)
    tensor, each, rows, text = inputs
    ctx.save_for_backward(each, rows)
    ctx.text, ctx.dtype = text, tensor.dtype


def _cut_backward(ctx: Any, grad: Tensor) -> Any:
    each, rows = ctx.saved_tensors
    adjoint = read_linear(ctx.text).adjoint.text
    return operators().add_node(grad, each, rows, adjoint), None, None, None


def _add_backward(ctx: Any, grad: Tensor) -> Any:
    each, rows = ctx.saved_tensors
    linear = read_linear(ctx.text)
    grad = grad.to(ctx.dtype)
    if rows is not None or linear.listed or not linear.grid.regular:
        return operators().cut_node(grad, each, rows, linear.adjoint.text), None, None, None
    return _windows_backward(grad, each, linear), None, None, None


def _windows_backward(grad: Tensor, each: Tensor | None, linear: Linear) -> Tensor:
    """The same as a view of the gradient: no patch is copied where all weigh alike."""
    torch = _torch()
    if linear.mean:
        grad = _divided(grad, linear, _weights(each), None)
    patches = windows(grad, linear)
    if linear.taper is not None:
        taper = torch.from_numpy(linear.taper).to(device=grad.device, dtype=_real(grad))
        patches = patches * taper
    if each is not None:
        shape = (*each.shape, *[1] * linear.n_axes)
        patches = patches * each.reshape(shape).to(device=grad.device, dtype=_real(grad))
    return patches


def windows(image: Tensor, linear: Linear) -> Tensor:
    """All patches of canonical images as a view, ``(*batch, *counts, *patch)``; its backward is a merge."""
    return operators().windows(image, linear.text)


def _view(image: Tensor, text: str) -> Tensor:
    linear = read_linear(text)
    n_batch = image.ndim - linear.n_axes
    for k, axis in enumerate(linear.grid.axis_grids):
        at = n_batch + linear.axis(k)
        begin = axis.start(0)
        part = image.narrow(at, begin, axis.end - begin)
        image = part.unfold(at, axis.extent, axis.gap)
        image = image if axis.dilation == 1 else image[..., :: axis.dilation]
    if linear.channel is None:
        return image
    return image.movedim(n_batch + linear.channel, n_batch + linear.grid.ndim + linear.channel)


# registered


class Operators(NamedTuple):
    """What is registered with torch (``cut``, ``add``, ``merge``), and the nodes of autograd that verbs use.

    The nodes run the operators, and are there beside them because registered ones know neither
    forward mode nor the transforms of `torch.func`.
    """

    cut: Any
    add: Any
    merge: Any
    cut_node: Any
    add_node: Any
    windows: Any


@cache
def operators() -> Operators:
    """The operators, registered the first time that a tensor comes."""
    torch = _torch()
    tail = "Tensor? patch_weights, Tensor? rows, str text) -> Tensor"
    made = {}
    for name, work, fake, schema in (
        ("cut", _cut, _fake_cut, f"(Tensor image, {tail}"),
        ("add", _add, _fake_add, f"(Tensor patches, {tail}"),
        ("merge", _merge, _fake_merge,
         "(Tensor patches, Tensor? patch_weights, str merge, str text) -> Tensor[]"),
    ):  # fmt: skip
        made[name] = torch.library.custom_op(
            f"pantile::{name}", work, mutates_args=(), schema=schema
        )
        made[name].register_fake(fake)
        made[name].register_vmap(partial(_each_of_vmap, made[name]))
    made["cut"].register_autograd(_cut_backward, setup_context=_keep)
    made["add"].register_autograd(_add_backward, setup_context=_keep)
    nodes = [
        _node(torch, made[name], backward).apply
        for name, backward in (("cut", _cut_backward), ("add", _add_backward))
    ]
    return Operators(
        **made, cut_node=nodes[0], add_node=nodes[1], windows=_windows_function(torch).apply
    )


def _node(torch: Any, operator: Any, backward_of: Callable[..., Any]) -> Any:
    """An operator as a function of autograd that every transform knows."""

    class Node(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(tensor: Tensor, each: Any, rows: Any, text: str) -> Tensor:
            return operator(tensor, each, rows, text)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            _keep(ctx, inputs, output)
            _, each, rows, _ = inputs
            ctx.save_for_forward(each, rows)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            return backward_of(ctx, grad)

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
            linear = read_linear(ctx.text)
            if linear.grid.pad_mode in ("maximum", "minimum", "median"):
                raise NotImplementedError(
                    f"pad_mode={linear.grid.pad_mode!r} is not linear: pad the image first"
                )
            each, rows = ctx.saved_tensors
            return Node.apply(tangent, each, rows, linear.tangent.text)

        @staticmethod
        def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
            return _each_of_vmap(Node.apply, info, in_dims, *args)

    return Node


def _each_of_vmap(operator: Any, info: Any, in_dims: Any, *args: Any) -> Any:
    """One more axis is one more batch axis."""
    tensor, each, *rest = args
    if len(in_dims) > 2 and any(d is not None for d in in_dims[2:]):
        raise NotImplementedError(
            "indices that differ from one entry of a vmap to the next: cut them one by one"
        )
    at = in_dims[0]
    tensor = tensor.expand(info.batch_size, *tensor.shape) if at is None else tensor.movedim(at, 0)
    if each is not None and in_dims[1] is not None:
        each = each.movedim(in_dims[1], 0)
        n = read_linear(rest[-1]).grid.ndim
        more = tensor.ndim - 1 - read_linear(rest[-1]).n_axes - n - (each.ndim - 1 - n)
        each = each.reshape(each.shape[0], *[1] * more, *each.shape[1:])
    found = operator(tensor, each, *rest)
    return found, [0] * len(found) if isinstance(found, list) else 0


def _windows_function(torch: Any) -> Any:
    class Windows(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(image: Tensor, text: str) -> Tensor:
            return _view(image, text)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, _output: Any) -> None:
            ctx.text = inputs[1]

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            adjoint = read_linear(ctx.text).plain.text
            return operators().add_node(grad, None, None, adjoint), None

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor, _: Any) -> Tensor:
            return Windows.apply(tangent, ctx.text)

        @staticmethod
        def vmap(_info: Any, in_dims: Any, image: Tensor, text: str) -> tuple[Tensor, int]:
            return Windows.apply(image.movedim(in_dims[0], 0), text), 0

    return Windows


# within torch.compile

VERBS: dict[str, Callable[..., Any]] = {}  # filled by the module that has them


def as_plain(grid: Any) -> Any:
    """A grid as values that `torch.compile` can hand over; anything else as it is."""
    if not isinstance(grid, PatchGrid):
        return grid
    return (
        "grid", grid.shape, grid.patch, grid.step, grid.dilation, grid.tail, grid.pad, grid.pad_mode,
        grid.pad_value,
    )  # fmt: skip


def _run_traced(verb: str, array: Tensor, grid: Any, step: Any, options: dict[str, Any]) -> Any:
    if isinstance(grid, tuple) and grid[0] == "grid":
        _, shape, patch, gap, dilation, tail, pad, mode, value = grid
        grid = PatchGrid(
            shape, patch, gap, dilation=dilation, tail=tail, pad=pad, pad_mode=mode, pad_value=value
        )
    return VERBS[verb](array, grid, step, **options)


def __getattr__(name: str) -> Any:
    """``traced``: a verb that `torch.compile` does not look into, because it asks NumPy where patches lie."""
    if name != "traced":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _torch()._dynamo.nonstrict_trace(_run_traced)
    globals()["traced"] = found
    return found

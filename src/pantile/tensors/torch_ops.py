"""torch's operators for a cut and the merge that is its adjoint: one node of autograd each, the other its backward.

They are registered as ``pantile::cut``, ``pantile::add`` and ``pantile::merge``, so that
`torch.compile`, `torch.vmap` and `torch.library.opcheck` know them. In main memory they run on the
compiled kernels, on other devices by the leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from ..geometry import PatchGrid
from .linear import Linear, read_linear
from .torch_work import (
    add,
    cut,
    divided,
    fake_add,
    fake_cut,
    fake_merge,
    host_weights,
    import_torch,
    merge_any,
    real_dtype,
)

__all__ = ["VERBS", "as_plain", "operators", "windows"]

Tensor = Any  # torch is imported by the functions that need it


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
    torch = import_torch()
    if linear.mean:
        grad = divided(grad, linear, host_weights(each), None)
    patches = windows(grad, linear)
    if linear.taper is not None:
        taper = torch.from_numpy(linear.taper).to(device=grad.device, dtype=real_dtype(grad))
        patches = patches * taper
    if each is not None:
        shape = (*each.shape, *[1] * linear.n_axes)
        patches = patches * each.reshape(shape).to(device=grad.device, dtype=real_dtype(grad))
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
    torch = import_torch()
    tail = "Tensor? patch_weights, Tensor? rows, str text) -> Tensor"
    made = {}
    for name, work, fake, schema in (
        ("cut", cut, fake_cut, f"(Tensor image, {tail}"),
        ("add", add, fake_add, f"(Tensor patches, {tail}"),
        ("merge", merge_any, fake_merge,
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
    found = import_torch()._dynamo.nonstrict_trace(_run_traced)
    globals()["traced"] = found
    return found

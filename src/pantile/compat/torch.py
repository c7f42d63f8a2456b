"""torch's `unfold` and `fold` on pantile's `extract` and `unpatchify`: N-D, on CPU, with gradients."""

from __future__ import annotations

import operator
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..merge.spec import MergeName
from ..ops.extract import extract
from ..ops.unpatchify import unpatchify

__all__ = ["fold", "unfold"]

Tensor = Any  # torch is imported by the functions that need it
_MADE_OF = {"bfloat16": "int16"}  # what holds the bits of a dtype that NumPy has not


def unfold(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
) -> Tensor:
    """Sliding blocks as columns, ``(N, C * prod(kernel), L)``, as `torch.nn.functional.unfold`.

    Parameters
    ----------
    input : Tensor
        ``(N, C, *spatial)`` or ``(C, *spatial)``, strided, on the CPU, of any dtype that is not quantized.
    kernel_size, dilation, padding, stride : int or tuple of int
        One number or one per spatial axis. There are as many of these as ``kernel_size`` has numbers;
        if it is one number two, and three and more for inputs of five axes and more.

    Returns
    -------
    Tensor
        A new contiguous tensor of the input's dtype. Differentiable any number of times, in forward
        mode too, and under `torch.func`'s transforms.

    Raises
    ------
    RuntimeError, TypeError
        Where torch raises; `RuntimeError` for tensors that are not on the CPU.

    Notes
    -----
    `fold` is its adjoint, not its inverse: ``fold(unfold(x))`` is ``x`` times how many blocks touch each
    element. `pantile.unpatchify` merges by the mean.

    Examples
    --------
    ``unfold(torch.arange(9.0).reshape(1, 3, 3), 2)`` has the rows ``[0, 1, 3, 4]``, ``[1, 2, 4, 5]``, ``[3, 4, 6, 7]``
    and ``[4, 5, 7, 8]``.
    """
    _check_tensor(input, "input")
    ndim = _count_spatial_axes(kernel_size, input.ndim - 2 if input.ndim > 4 else 2)
    if input.ndim not in (ndim + 1, ndim + 2) or 0 in input.shape[-ndim - 1 :]:
        raise RuntimeError(
            f"input must have shape (N, C, *spatial) or (C, *spatial) with {ndim} spatial axes, none of them empty,"
            f" got {tuple(input.shape)}"
        )
    grid = _lay_grid(input.shape[-ndim:], kernel_size, dilation, padding, stride)
    batch = input if input.ndim == ndim + 2 else input[None]
    columns = _make_functions()[0].apply(batch, grid)
    return columns if input.ndim == ndim + 2 else columns[0]


def fold(
    input: Tensor,
    output_size: int | tuple[int, ...],
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
) -> Tensor:
    """Columns summed where they overlap, ``(N, C, *output_size)``, as `torch.nn.functional.fold`.

    Parameters
    ----------
    input : Tensor
        ``(N, C * prod(kernel), L)`` or ``(C * prod(kernel), L)``, on the CPU, of floats or complex numbers,
        or bool, whose sum is a logical or.
    output_size : int or tuple of int
        Sizes of the spatial axes.
    kernel_size, dilation, padding, stride : int or tuple of int
        As in `unfold`.

    Returns
    -------
    Tensor
        Sums run in float64 or complex128 and are rounded once to the input's dtype (bfloat16 by way of
        float32). Elements that no block touches are 0. Gradients as for `unfold`.

    Raises
    ------
    RuntimeError, TypeError
        Where torch raises; `RuntimeError` for tensors that are not on the CPU.

    Examples
    --------
    ``fold(unfold(torch.ones(1, 3, 3), 2), (3, 3), 2)`` is ``[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]``: how many blocks
    touch each element.
    """
    _check_tensor(input, "input")
    ndim = max(_count_spatial_axes(kernel_size, 2), _count_spatial_axes(output_size, 2))
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            f"input must have shape (N, C * kernel, L) or (C * kernel, L), got {tuple(input.shape)}"
        )
    grid = _lay_grid(
        _as_numbers(output_size, ndim, "output_size"), kernel_size, dilation, padding, stride
    )
    if input.shape[-2] % grid.features or input.shape[-1] != grid.n_patches:
        raise RuntimeError(
            f"input of shape {tuple(input.shape)} does not fit output_size={grid.shape}: expected a multiple of"
            f" {grid.features} features and {grid.n_patches} = {grid.counts} blocks"
        )
    if not (input.is_floating_point() or input.is_complex() or input.dtype == _import_torch().bool):
        raise NotImplementedError(
            f"fold sums floats, complex numbers and bool, got {input.dtype}: convert it first"
        )
    image = _make_functions()[1].apply(input if input.ndim == 3 else input[None], grid)
    return image if input.ndim == 3 else image[0]


def _import_torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise ImportError(
            'pantile.compat.torch needs torch: pip install "pantile[torch]"'
        ) from error


def _check_tensor(tensor: Any, name: str) -> None:
    torch = _import_torch()
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
        raise RuntimeError(
            f"{name} must be a strided tensor on the CPU, got {tensor.dtype} {tensor.layout} on {tensor.device}:"
            f" use {name}.cpu(), or torch's own function on its device"
        )


def _count_spatial_axes(value: Any, otherwise: int) -> int:
    return len(value) if isinstance(value, tuple | list) else otherwise


def _as_numbers(value: Any, ndim: int, name: str) -> tuple[int, ...]:
    items = tuple(value) if isinstance(value, tuple | list) else (value,) * ndim
    if len(items) != ndim:
        raise RuntimeError(f"{name} must be one number or {ndim}, got {value!r}")
    try:
        return tuple(operator.index(item) for item in items)
    except TypeError:
        raise TypeError(f"{name} must be whole numbers, got {value!r}") from None


def _lay_grid(shape: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> PatchGrid:
    n = len(shape)
    names = ("kernel_size", "dilation", "padding", "stride")
    values = (kernel_size, dilation, padding, stride)
    kernel, spacing, pad, step = (_as_numbers(v, n, k) for v, k in zip(values, names, strict=True))
    try:
        return PatchGrid(tuple(shape), kernel, step, dilation=spacing, pad=pad, tail="drop")
    except ValueError as error:
        raise RuntimeError(
            f"kernel_size={kernel}, dilation={spacing}, padding={pad}, stride={step} lay no blocks over"
            f" {tuple(shape)}: {error}"
        ) from error


def _cut(tensor: Tensor, grid: PatchGrid) -> Tensor:
    """Columns ``(N, C * features, L)`` of a batch: `extract`'s feature layout is this memory."""
    if not tensor.numel():
        return tensor.new_empty((len(tensor), tensor.shape[1] * grid.features, grid.n_patches))
    array = _as_array(tensor)
    patches = extract(array, grid, channel_axis=1, layout="feature")
    columns = np.moveaxis(patches, 1, -1).reshape(len(array), -1, grid.n_patches)
    return _as_tensor(columns, tensor.dtype)


def _merge(columns: Tensor, grid: PatchGrid) -> Tensor:
    channels = columns.shape[1] // grid.features
    if not columns.numel():
        return columns.new_empty((len(columns), channels, *grid.shape))
    torch = _import_torch()
    half = columns.dtype == torch.bfloat16
    array = _as_array(columns.float() if half else columns)
    patches = np.moveaxis(array.reshape(len(array), channels, *grid.patch, -1), -1, 1)
    merge: MergeName = "max" if columns.dtype == torch.bool else "sum"
    image = unpatchify(patches, grid, channel_axis=1, merge=merge, fill=0)
    return torch.from_numpy(image).to(columns.dtype)


def _as_array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's memory as an array; a copy only where a conjugation or a sign is pending."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    held = _MADE_OF.get(str(plain.dtype).removeprefix("torch."))
    array: NDArray[Any] = (plain.view(getattr(_import_torch(), held)) if held else plain).numpy()
    return array


def _as_tensor(array: NDArray[Any], dtype: Any) -> Tensor:
    tensor = _import_torch().from_numpy(array)
    return tensor if tensor.dtype == dtype else tensor.view(dtype)


@cache
def _make_functions() -> tuple[Any, Any]:
    """The two autograd functions; each is linear, and the other's adjoint."""
    function = _import_torch().autograd.Function

    class Linear(function):  # type: ignore[misc, valid-type]
        @staticmethod
        def setup_context(ctx: Any, inputs: Any, _output: Any) -> None:
            ctx.grid = inputs[1]

        @classmethod
        def jvp(cls, ctx: Any, tangent: Tensor, _: Any) -> Tensor:
            return cls.apply(tangent, ctx.grid)

        @classmethod
        def vmap(
            cls, _info: Any, in_dims: Any, tensor: Tensor, grid: PatchGrid
        ) -> tuple[Tensor, int]:
            moved = tensor.movedim(in_dims[0], 0)  # one more axis is more images of the batch
            result = cls.apply(moved.flatten(0, 1), grid)
            return result.unflatten(0, moved.shape[:2]), 0

    class Unfold(Linear):
        @staticmethod
        def forward(tensor: Tensor, grid: PatchGrid) -> Tensor:
            return _cut(tensor, grid)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            return Fold.apply(grad, ctx.grid), None

    class Fold(Linear):
        @staticmethod
        def forward(tensor: Tensor, grid: PatchGrid) -> Tensor:
            return _merge(tensor, grid)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            return Unfold.apply(grad, ctx.grid), None

    return Unfold, Fold

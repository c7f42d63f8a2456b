"""What torch's operators do: a cut and the merge that is its adjoint, on plain tensors, and the shapes they give."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..merge.spec import resolve_rule
from ..ops.extract import extract
from ..ops.forms import PatchStack
from ..ops.merger import Merger
from ..ops.unpatchify import merge_stack
from . import leaves
from .linear import Linear, read_linear
from .namespaces import dtype_name, namespace_of

__all__ = [
    "add", "as_array", "as_tensor", "cut", "divided", "fake_add", "fake_cut", "fake_merge", "host_weights",
    "import_torch", "merge_any", "real_dtype", "result_names",
]  # fmt: skip

Tensor = Any  # torch is imported by the functions that need it
_BITS = {"bfloat16": "int16"}  # what holds the bits of a dtype that NumPy has not


def as_array(tensor: Tensor, moved: bool = False) -> NDArray[Any]:
    """The memory of a tensor. bfloat16 as the bits that it is made of where it is only ``moved``, else as float32."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    name = dtype_name(plain.dtype)
    if name in _BITS:
        plain = plain.view(import_torch().int16) if moved else plain.float()
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
    torch = import_torch()
    dtype = getattr(torch, name)
    tensor = torch.from_numpy(array)
    if tensor.dtype == dtype:
        return tensor
    return tensor.view(dtype) if name in _BITS and array.dtype == np.int16 else tensor.to(dtype)


def import_torch() -> Any:
    return import_module("torch")


# the work, on plain tensors


def _batch(tensor: Tensor, linear: Linear, more: int = 0) -> tuple[int, ...]:
    return tuple(tensor.shape[: tensor.ndim - linear.n_axes - more])


def host_weights(patch_weights: Tensor | None) -> NDArray[np.float64] | None:
    return None if patch_weights is None else patch_weights.detach().cpu().numpy()


def _rows(rows: Tensor | None) -> NDArray[np.int64] | None:
    return None if rows is None else rows.detach().cpu().numpy()


def cut(image: Tensor, patch_weights: Tensor | None, rows: Tensor | None, text: str) -> Tensor:
    linear, each, chosen = read_linear(text), host_weights(patch_weights), _rows(rows)
    if linear.mean:
        image = divided(image, linear, each, chosen)
    if image.device.type != "cpu":
        xp = namespace_of(image)
        patches = leaves.times_taper(xp, leaves.cut(xp, image, linear, chosen), linear)
    else:
        patches = _cut_in_memory(image, linear, chosen)
    if each is not None:
        shaped = import_torch().from_numpy(each.reshape(*each.shape, *[1] * linear.n_axes))
        patches = patches * shaped.to(device=patches.device, dtype=real_dtype(patches))
    return patches.contiguous() if linear.layout == "patch" else patches


def real_dtype(tensor: Tensor) -> Any:
    return tensor.real.dtype if tensor.is_complex() else tensor.dtype


def divided(
    image: Tensor,
    linear: Linear,
    each: NDArray[np.float64] | None,
    rows: NDArray[np.int64] | None,
) -> Tensor:
    """An image divided by the sum of the weights, and 0 where there is none."""
    torch = import_torch()
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


def add(patches: Tensor, patch_weights: Tensor | None, rows: Tensor | None, text: str) -> Tensor:
    linear, each, chosen = read_linear(text), host_weights(patch_weights), _rows(rows)
    name = linear.dtype or dtype_name(patches.dtype)
    if patches.device.type != "cpu":
        total = leaves.merged(namespace_of(patches), patches, linear, chosen, each)
        return total.to(getattr(import_torch(), name)).contiguous()
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


def merge_any(patches: Tensor, patch_weights: Tensor | None, merge: str, text: str) -> list[Tensor]:
    """Any merge that needs no gradient, in main memory."""
    linear, each = read_linear(text), host_weights(patch_weights)
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


def fake_cut(image: Tensor, _weights: Any, rows: Tensor | None, text: str) -> Tensor:
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


def fake_add(patches: Tensor, _weights: Any, rows: Tensor | None, text: str) -> Tensor:
    linear = read_linear(text)
    name = linear.dtype or dtype_name(patches.dtype)
    return _fake_image(patches, linear, 1 if rows is not None else linear.grid.ndim, name)


def _fake_image(patches: Tensor, linear: Linear, counts: int, name: str) -> Tensor:
    batch = _batch(patches, linear, counts)
    sizes = _with_channels(linear.sizes, patches, len(batch) + counts)
    return patches.new_empty((*batch, *sizes), dtype=getattr(import_torch(), name))


def fake_merge(patches: Tensor, _weights: Any, merge: str, text: str) -> list[Tensor]:
    linear = read_linear(text)
    names = result_names(merge, dtype_name(patches.dtype), linear)
    return [_fake_image(patches, linear, linear.grid.ndim, name) for name in names]

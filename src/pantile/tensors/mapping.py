"""`map_patches` of arrays of other libraries: ``func`` gets batches of the same kind, and so is the result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.frame import frame_of
from ..geometry.tensors import library_of
from ..stream.draw import draw_plan
from ..stream.job import Indexed
from ..stream.options import Options
from ..stream.plan import Plan
from . import torch_work
from .namespaces import (
    as_dtype_name,
    dtype_name,
)
from .tiles import TileRun
from .verbs import check_tensor, to_host, wants_grad

__all__ = ["map_patches", "plan"]

Tensor = Any
_ANYWHERE = {  # what means the same wherever the image lies
    "axes", "channel_axis", "merge", "weights", "where", "finalize", "dtype", "fill", "layout",
    "batch_bytes", "scale",
}  # fmt: skip


def map_patches(func: Any, image: Tensor, patch: Any, step: Any, options: Options) -> Any:
    """`pantile.map_patches` of an array of another library."""
    if _in_memory(image):
        return plan(func, image, patch, step, options).run()
    check_tensor(image, "image")
    for each in fields(options):
        if each.name not in _ANYWHERE and getattr(options, each.name) != each.default:
            raise ValueError(
                f"{each.name}= is for images in main memory, without gradients: leave it out, or give NumPy arrays or"
                " tensors on the CPU (and .detach())"
            )
    return TileRun(func, image, patch, step, options).run()


def _in_memory(image: Tensor) -> bool:
    return library_of(image) == "torch" and image.device.type == "cpu" and not wants_grad(image)


# torch in main memory: the plan of arrays, with tensors at its ends


def plan(func: Any, image: Tensor, patch: Any, step: Any, options: Options) -> Plan:
    """`pantile.plan` of a tensor in main memory."""
    if not _in_memory(image):
        raise ValueError(
            "a plan is for images in main memory, without gradients: call map_patches, or give NumPy arrays or tensors"
            " on the CPU (and .detach())"
        )
    check_tensor(image, "image")
    frame = frame_of(
        tuple(image.shape), patch, step, axes=options.axes, channel_axis=options.channel_axis
    )
    bits = dtype_name(image.dtype) == "bfloat16" and (
        frame.inside or (frame.grid.pad_value == 0 and frame.grid.pad_mode == "constant")
    )
    torch = sys.modules["torch"]
    ends = _Ends(
        dtype_name(image.dtype), torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    )
    call = _OnTensors(func.func if isinstance(func, Indexed) else func, ends, "func")
    drawn = draw_plan(
        Indexed(call) if isinstance(func, Indexed) else call if callable(func) else func,
        torch_work.as_array(image, moved=bits), patch, step, _as_arrays(options, ends),
    )  # fmt: skip
    runner = partial(_run, drawn.resources.runner, ends, as_dtype_name(options.dtype), options.out)
    return replace(drawn, resources=replace(drawn.resources, runner=runner))


def _as_arrays(options: Options, ends: _Ends) -> Options:
    finalize: Any = options.finalize
    if callable(finalize):
        finalize = _OnTensors(finalize, replace(ends, dtype=None), "finalize")
    name = as_dtype_name(options.dtype)
    outs = options.out
    if isinstance(outs, tuple):
        outs = tuple(map(_as_place, outs))
    elif outs is not None:
        outs = _as_place(outs)
    return replace(
        options, finalize=finalize, out=outs, where=to_host(options.where),
        weights=to_host(options.weights), dtype=None if name == "bfloat16" else name,
    )  # fmt: skip


def _as_place(out: Any) -> Any:
    return torch_work.as_array(out, moved=True) if library_of(out) == "torch" else out


def _run(run: Any, ends: _Ends, dtype: str | None, out: Any, drawn: Plan, report: Any) -> Any:
    """The run of a plan, with its new arrays as tensors."""
    found = run(drawn, report)
    if out is not None:
        return out
    images = found if isinstance(found, tuple) else (found,)
    made = [torch_work.as_tensor(a, _name_of(a, ends, dtype)) for a in images]
    return tuple(made) if isinstance(found, tuple) else made[0]


def _name_of(array: NDArray[Any], ends: _Ends, dtype: str | None) -> str:
    if dtype is not None:
        return dtype
    half = "bfloat16" in ends.returned and array.dtype == np.float32
    return "bfloat16" if half else array.dtype.name


@dataclass
class _Ends:
    """What batches become, and under which of torch's modes: those hold per thread, and these are other threads."""

    dtype: str | None
    grad: bool
    inference: bool
    returned: set[str] = field(default_factory=set)  # dtypes that NumPy has not

    def modes(self) -> AbstractContextManager[Any]:
        torch = sys.modules["torch"] if "torch" in sys.modules else __import__("torch")
        if self.inference:
            mode: AbstractContextManager[Any] = torch.inference_mode()
        else:
            mode = torch.set_grad_enabled(self.grad)
        return mode


@dataclass(frozen=True)
class _OnTensors:
    """A function of tensors as one of arrays, without a copy."""

    func: Callable[..., Any]
    ends: _Ends
    name: str

    def __call__(self, batch: NDArray[Any], *more: Any) -> Any:
        with self.ends.modes():
            tensor = torch_work.as_tensor(batch, self.ends.dtype or batch.dtype.name)
            value = self.func(tensor, *map(_indices, more))
        if isinstance(value, tuple):
            return tuple(map(self._as_array, value))
        return self._as_array(value)

    def _as_array(self, value: Any) -> Any:
        if library_of(value) != "torch":
            found = type(value).__name__
            raise TypeError(
                f"{self.name} was given torch tensors, as the image is one, and returned {found}: return tensors,"
                " or give the image as a NumPy array"
            )
        if dtype_name(value.dtype) != "bfloat16":
            return value
        self.ends.returned.add("bfloat16")
        return value.float()


def _indices(array: NDArray[np.int64]) -> Tensor:
    return torch_work.as_tensor(array, "int64")

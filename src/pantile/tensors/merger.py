"""`Merger` fed with arrays of other libraries."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import PatchGrid
from ..geometry.frame import Frame
from ..geometry.tensors import library_of, refuse_mixed
from ..merge.casts import refuse_holes
from ..merge.spec import resolve_rule
from ..merge.weights import check_patch_weights
from ..ops.forms import recognise_some
from ..ops.merger import Merger
from . import leaves, torch_ops, torch_work
from .linear import Linear
from .namespaces import as_dtype_name, convert, dtype_name, float_name, is_float, namespace_of
from .verbs import check_tensor, dummy, numpy_dtype, permuted, reshaped, to_host, wants_grad

__all__ = ["TensorMerger"]

Tensor = Any


class TensorMerger:
    """What a `Merger` is once the first patches were tensors.

    torch's in main memory are added by the compiled kernels, to sums that any order leaves alike. Those that
    gradients are wanted of are kept until the result, which is one node for all of them. Sums of
    other arrays are kept on their device, in their dtype (halves in float32).
    """

    def __init__(
        self,
        grid: PatchGrid,
        merge: Any,
        weights: Any,
        fill: Any,
        dtype: Any,
        axes: Any,
        channel_axis: Any,
    ) -> None:
        self.grid, self.places = grid, (axes, channel_axis)
        self.merge, self.weights, self.fill = merge, to_host(weights), fill
        self.dtype = as_dtype_name(dtype)
        self.last: Tensor = None
        self.frame: Frame | None = None
        self.counter = Merger(grid, merge="sum", fill=0)  # how many patches, where no other counts
        self.inner: Merger | None = None
        self.kept: list[tuple[Tensor, NDArray[np.int64], NDArray[np.float64] | None]] = []
        self.total: Tensor = None
        self.weight: NDArray[np.float64] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorMerger:
        other = object.__new__(type(self))
        memo[id(self)] = other
        for name, value in self.__dict__.items():
            held = name in ("last", "kept", "frame")
            other.__dict__[name] = copy.copy(value) if held else copy.deepcopy(value, memo)
        return other

    def add(self, patches: Tensor, indices: ArrayLike, patch_weights: Any) -> None:
        """Merge patches ``(*batch, n, *patch)`` that stand at flat ``indices`` of the grid."""
        rows = self.grid.as_rows(to_host(indices))
        if not len(rows):
            return
        check_tensor(patches, "patches")
        self._check(patches, patch_weights)
        _, frame = recognise_some(dummy(tuple(patches.shape)), self.grid, len(rows), *self.places)
        if self.frame is not None and frame.shape != self.frame.shape:
            raise ValueError(
                f"these patches belong to an image of shape {frame.shape}, the first ones to {self.frame.shape}"
            )
        each = None if patch_weights is None else _as_weights(patch_weights, len(rows))
        shaped = reshaped(patches, (*frame.batch_shape, len(rows), *frame.patch_shape))
        self._merge(shaped, frame, rows, each)
        if self.inner is None:
            self.counter.add(np.broadcast_to(1.0, (len(rows), *self.grid.patch)), rows)
        self.frame, self.last = frame, patches[(slice(0, 0), ...)]
        self.weighted = each is not None

    def _check(self, patches: Tensor, patch_weights: Any) -> None:
        if self.last is None:
            return
        refuse_mixed(patches, "patches", {"what came before": self.last})
        if dtype_name(patches.dtype) != dtype_name(self.last.dtype):
            raise TypeError(
                f"these patches have dtype {patches.dtype}, the first ones {self.last.dtype}: convert them"
            )
        if self.weighted != (patch_weights is not None):
            raise ValueError("give patch_weights in every add() or in none")
        if self.inner is not None and wants_grad(patches):
            raise ValueError(
                "these patches require grad and the first ones did not: give the first ones with it, or these"
                " .detach()"
            )

    def _merge(
        self,
        patches: Tensor,
        frame: Frame,
        rows: NDArray[np.int64],
        each: NDArray[np.float64] | None,
    ) -> None:
        in_memory = library_of(patches) == "torch" and patches.device.type == "cpu"
        if in_memory and not self.kept and not wants_grad(patches):
            self._add_in_memory(patches, rows, each)
            return
        if self.merge not in ("mean", "sum") or self.weights == "trim":
            raise ValueError(
                f"merge={self.merge!r} of a Merger is for arrays in main memory, without gradients: use mean or sum, or"
                " unpatchify"
            )
        resolve_rule(self.merge, self.weights, each is not None, self.fill, None).compile(
            frame, numpy_dtype(patches), whole=False
        )
        if in_memory:
            self.kept.append((patches, rows, each))
            return
        self._add_elsewhere(patches, self._linear(frame), rows, each)

    def _add_in_memory(
        self, patches: Tensor, rows: NDArray[np.int64], each: NDArray[np.float64] | None
    ) -> None:
        inner = self.inner
        if inner is None:
            axes, channel_axis = self.places
            inner = Merger(
                self.grid, merge=self.merge, weights=self.weights, fill=self.fill, axes=axes,
                channel_axis=channel_axis, dtype=None if self.dtype == "bfloat16" else self.dtype,
            )  # fmt: skip
        inner.add(torch_work.as_array(patches), rows, each)
        self.inner = inner

    def _linear(self, frame: Frame, dtype: str | None = None) -> Linear:
        channel = None if frame.channel is None else frame.channel - frame.n_batch
        mean = self.merge == "mean"
        return Linear(self.grid, channel, mean, self.weights, self.fill, dtype)

    def _add_elsewhere(
        self,
        patches: Tensor,
        linear: Linear,
        rows: NDArray[np.int64],
        each: NDArray[np.float64] | None,
    ) -> None:
        xp = namespace_of(patches)
        summed = leaves.join(xp, patches, linear, rows, each)
        weight = leaves.weight_of_rows(linear, rows, each)
        self.total = summed if self.total is None else self.total + summed
        self.weight = weight if self.weight is None else self.weight + weight

    def coverage(self) -> NDArray[np.int64]:
        """How many patches have been added to each element."""
        return (self.inner or self.counter).coverage()

    def result(self) -> Any:
        """The image merged so far, an array of the library that patches are of."""
        if self.inner is not None:
            found: Any = self.inner.result()
            images = found if isinstance(found, tuple) else (found,)
            made = tuple(torch_work.as_tensor(i, self._name(i)) for i in images)
            return made if isinstance(found, tuple) else made[0]
        assert self.frame is not None
        image = self._result_of_kept() if self.kept else self._result_elsewhere()
        return permuted(image, self.frame.back)

    def _name(self, image: NDArray[Any]) -> str:
        if self.dtype is not None:
            return self.dtype
        half = dtype_name(self.last.dtype) == "bfloat16" and image.dtype == np.float32
        return "bfloat16" if half else image.dtype.name

    def _natural(self) -> str:
        own = dtype_name(self.last.dtype)
        if self.dtype is not None or own == "bfloat16":
            return self.dtype or own
        rule = resolve_rule(self.merge, self.weights, self.weighted, self.fill, None)
        return rule.natural_dtype(np.dtype(own)).name

    def _result_of_kept(self) -> Tensor:
        """One node for all patches, whose backward is one cut."""
        torch = sys.modules["torch"]
        assert self.frame is not None
        patches, rows, each = zip(*self.kept, strict=True)
        along = self.frame.n_batch
        weights = torch.from_numpy(np.concatenate(each)) if self.weighted else None
        linear = self._linear(self.frame, self._natural())
        chosen = torch.from_numpy(np.concatenate(rows))
        return torch_ops.operators().add_node(
            torch.cat(patches, along), weights, chosen, linear.text
        )

    def _result_elsewhere(self) -> Tensor:
        xp, total, weight = namespace_of(self.total), self.total, self.weight
        assert weight is not None
        holes = weight == 0
        if self.fill is None and holes.any():
            refuse_holes(int(holes.sum()), tuple((0, n) for n in self.grid.shape))
        if self.merge == "sum":
            total = leaves.fill_holes(xp, total, holes, self.fill or 0)
        else:
            if not is_float(dtype_name(total.dtype)):
                total = convert(xp, total, float_name(xp))
            total = leaves.divide(xp, total, weight, self.fill or 0)
        return leaves.cast(xp, total, self._natural())


def _as_weights(patch_weights: Any, n: int) -> NDArray[np.float64]:
    found = np.asarray(to_host(patch_weights))
    if found.shape != (n,) or found.dtype.kind not in "biuf":
        raise ValueError(
            f"patch_weights must be {n} real numbers, got shape {found.shape}, dtype {found.dtype}"
        )
    found = found.astype(np.float64)
    check_patch_weights(found)
    return found

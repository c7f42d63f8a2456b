"""All patches as one lazy matrix: products, Gram matrices and statistics without the expanded copy."""

from typing import Any

from ..geometry.tensors import holds_tensor, tensors_package
from ..ops.chunked import holds_dask
from .masked import masked_patchify
from .matrix import PatchMatrix, add_kind

__all__ = ["PatchMatrix", "masked_patchify"]


def _dask_kind() -> type[PatchMatrix]:
    from .dask.matrix import DaskPatchMatrix

    return DaskPatchMatrix


def _tensor_kind() -> Any:
    return tensors_package().TensorPatchMatrix


add_kind(holds_dask, _dask_kind)  # a matrix of a dask array gives dask arrays
add_kind(holds_tensor, _tensor_kind)  # one of a tensor gives tensors

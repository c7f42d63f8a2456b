"""All patches as one lazy matrix: products, Gram matrices and statistics without the expanded copy."""

from ..ops.chunked import holds_dask
from .masked import masked_patchify
from .matrix import PatchMatrix, add_kind

__all__ = ["PatchMatrix", "masked_patchify"]


def _dask_kind() -> type[PatchMatrix]:
    from .dask.matrix import DaskPatchMatrix

    return DaskPatchMatrix


add_kind(holds_dask, _dask_kind)  # a matrix of a dask array gives dask arrays

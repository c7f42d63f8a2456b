"""All patches as one lazy matrix: products, Gram matrices and statistics without the expanded copy."""

from .masked import masked_patchify
from .matrix import PatchMatrix

__all__ = ["PatchMatrix", "masked_patchify"]

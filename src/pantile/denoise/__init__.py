"""Denoising through all patches of an image; needs nothing but NumPy and SciPy.

`pantile.learn.PatchPCA.denoise` is the sibling that learns its basis from the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from .by_groups import groups
    from .sliding_dct import Pass, dct

__all__ = ["Pass", "dct", "groups"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__, {"Pass": "sliding_dct", "dct": "sliding_dct", "groups": "by_groups"}
    )

"""The names people already use, with their signatures, on pantile's verbs: change one import.

One module per library: `numpy`, `skimage`, `sklearn`, `patchify`, `torch`,
`monai`, `tiler` and `matlab`. Results are
the originals' (values, dtypes, view or copy, types of errors); where an original loses or distorts
data without a word, ours refuses or has a named option. ``docs/compat.md`` lists every such place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from . import matlab, monai, numpy, patchify, skimage, sklearn, tiler, torch

__all__ = ["matlab", "monai", "numpy", "patchify", "skimage", "sklearn", "tiler", "torch"]

if not TYPE_CHECKING:  # scikit-learn and torch are imported by nobody who does not ask for them
    __getattr__, __dir__ = lazy_names(__name__, modules=__all__)

"""The verbs for arrays of other libraries: torch, JAX, CuPy, and what follows the array API standard.

`verbs` is the door: what `pantile.extract` and the others call when they are given such an array.
torch goes by the compiled kernels where the tensor is in main memory (`torch_ops`), everything else
by `leaves`, which are written once against the array's own namespace.
"""

from ..names import lazy_names

__all__ = [
    "TensorMerger",
    "TensorPatchMatrix",
    "extract",
    "map_patches",
    "patchify",
    "plan",
    "unpatchify",
]

_HOMES = {
    "TensorMerger": "merger",
    "TensorPatchMatrix": "matrix",
    "extract": "verbs",
    "map_patches": "mapping",
    "patchify": "verbs",
    "plan": "mapping",
    "unpatchify": "verbs",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

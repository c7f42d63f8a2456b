"""The table of peers: who else cuts and merges patches, called how, and for which cases."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from benchmarks import calls
from benchmarks.calls import Make
from benchmarks.cases import Case, Layout
from benchmarks.report import digits, total_memory

__all__ = [
    "BASELINE",
    "JOBS",
    "PEERS",
    "STEPS",
    "Job",
    "Peer",
    "Steps",
    "installed",
    "missing",
    "refusal",
]

Job = Literal["cut", "merge", "sum", "map", "product", "gram"]
Steps = Literal["any", "covering", "equal", "one", "patch"]

JOBS: dict[Job, str] = {
    "cut": "windows to a contiguous matrix",
    "merge": "mean of overlapping patches",
    "sum": "sum of overlapping patches",
    "map": "cut and mean merge, the patches unchanged",
    "product": "every window times one vector",
    "gram": "X.T @ X of the windows as rows",
}

STEPS: dict[Steps, Callable[[Case], bool]] = {
    "any": lambda case: True,  # noqa: ARG005
    "covering": lambda case: all(s <= p for s, p in zip(case.step, case.patch, strict=True)),
    "equal": lambda case: len(set(case.step)) == 1,
    "one": lambda case: set(case.step) == {1},
    "patch": lambda case: case.step == case.patch and len(set(case.step)) == 1,
}


FLOATS = ("float32", "float64")
ANY = (*FLOATS, "uint8", "uint16")
MOST_FEATURES = 5000  # whose Gram matrix in float64 takes 200 MB


@dataclass(frozen=True)
class Peer:
    """One way to do one job: `module` is what must be importable, `call` how a user writes it."""

    library: str
    job: Job
    module: str
    call: str
    make: Make
    dtypes: tuple[str, ...] = ANY
    steps: Steps = "any"
    axes: tuple[int, ...] = (1, 2, 3)
    layout: Layout = "patch"
    expands: bool = False  # of map, product and gram: it makes the patches, all at once

    def __str__(self) -> str:
        return f"{self.job}: {self.library} {self.call}"


def installed(peer: Peer) -> bool:
    """Return whether `peer` can be imported, without importing it."""
    return find_spec(peer.module) is not None


def missing() -> list[str]:
    """Return the sorted names of the libraries in the table that are not installed."""
    return sorted({peer.library for peer in PEERS if not installed(peer)})


def refusal(peer: Peer, case: Case) -> str:
    """Return why `peer` does not do `case`, empty if it does."""
    if not installed(peer):
        return "not installed"
    if case.dtype not in peer.dtypes:
        return f"does not take {case.dtype}"
    if case.ndim not in peer.axes:
        return f"does not take {case.ndim}-D"
    if not STEPS[peer.steps](case):
        return f"defined for steps: {peer.steps}"
    if peer.job == "gram" and case.features > MOST_FEATURES:
        return f"more than {MOST_FEATURES:,} features"
    expanded = case.elements * np.dtype(case.float_dtype).itemsize
    if peer.expands and 2.5 * expanded > total_memory():  # a copy, and room for what works on it
        return f"its patches alone take {digits(expanded / 1e9)} GB"
    return ""


# What the others are compared with and measured against, job by job: the same input, the same
# output layout as most peers have.
BASELINE: dict[Job, Peer] = {
    "cut": Peer("pantile", "cut", "pantile", "extract", calls.pantile_cut("patch")),
    "merge": Peer("pantile", "merge", "pantile", "unpatchify", calls.pantile_merge("mean")),
    "sum": Peer("pantile", "sum", "pantile", "unpatchify sum", calls.pantile_merge("sum")),
    "map": Peer("pantile", "map", "pantile", "map_patches", calls.pantile_map),
    "product": Peer("pantile", "product", "pantile", "PatchMatrix @ v", calls.pantile_product),
    "gram": Peer("pantile", "gram", "pantile", "PatchMatrix.gram", calls.pantile_gram),
}

PEERS: tuple[Peer, ...] = (
    BASELINE["cut"],
    Peer("pantile", "cut", "pantile", "extract feature layout", calls.pantile_cut("feature")),
    Peer("pantile", "cut", "pantile", "patchify (a view, no copy)", calls.pantile_view),
    Peer("NumPy", "cut", "numpy", "sliding_window_view, copied", calls.numpy_cut),
    Peer("NumPy", "cut", "numpy", "index arrays", calls.numpy_indices_cut),
    Peer("scikit-image", "cut", "skimage", "view_as_windows, copied", calls.skimage_cut),
    Peer(
        "scikit-learn",
        "cut",
        "sklearn",
        "extract_patches_2d",
        calls.sklearn_cut,
        steps="one",
        axes=(2,),
    ),
    Peer(
        "patchify",
        "cut",
        "patchify",
        "patchify, copied",
        calls.patchify_cut,
        steps="equal",
        axes=(2, 3),
    ),
    Peer("tiler", "cut", "tiler", "Tiler.get_all_tiles", calls.tiler_cut, steps="covering"),
    Peer("torch", "cut", "torch", "unfold", calls.torch_unfold_cut, dtypes=FLOATS, axes=(2,)),
    Peer("torch", "cut", "torch", "Tensor.unfold, contiguous", calls.torch_windows_cut),
    Peer(
        "kornia",
        "cut",
        "kornia",
        "extract_tensor_patches",
        calls.kornia_cut,
        dtypes=FLOATS,
        axes=(2,),
    ),
    BASELINE["merge"],
    Peer(
        "pantile",
        "merge",
        "pantile",
        "unpatchify feature layout",
        calls.pantile_merge("mean"),
        layout="feature",
    ),
    Peer("NumPy", "merge", "numpy", "index arrays, bincount", calls.numpy_bincount_merge),
    Peer("NumPy", "merge", "numpy", "index arrays, add.at", calls.numpy_add_at_merge),
    Peer("NumPy", "merge", "numpy", "slices", calls.numpy_slices_merge, layout="feature"),
    Peer(
        "scikit-learn",
        "merge",
        "sklearn",
        "reconstruct_from_patches_2d",
        calls.sklearn_merge,
        steps="one",
        axes=(2,),
    ),
    # It copies patches over each other, so that it is a mean only where none overlap.
    Peer(
        "patchify",
        "merge",
        "patchify",
        "unpatchify",
        calls.patchify_merge,
        steps="patch",
        axes=(2, 3),
    ),
    Peer("tiler", "merge", "tiler", "Merger boxcar", calls.tiler_merge, steps="covering"),
    Peer(
        "torch",
        "merge",
        "torch",
        "fold / fold(ones)",
        calls.torch_merge,
        dtypes=FLOATS,
        axes=(2,),
        layout="feature",
    ),
    Peer("MONAI", "merge", "monai", "AvgMerger", calls.monai_merge, dtypes=FLOATS),
    Peer(
        "kornia",
        "merge",
        "kornia",
        "combine_tensor_patches",
        calls.kornia_merge,
        dtypes=FLOATS,
        steps="covering",
        axes=(2,),
    ),
    BASELINE["sum"],
    Peer(
        "torch", "sum", "torch", "fold", calls.torch_sum, dtypes=FLOATS, axes=(2,), layout="feature"
    ),
    BASELINE["map"],
    Peer("NumPy", "map", "numpy", "slices, no patch is made", calls.numpy_map),
    Peer(
        "scikit-learn",
        "map",
        "sklearn",
        "extract_patches_2d + reconstruct_from_patches_2d",
        calls.sklearn_map,
        steps="one",
        axes=(2,),
        expands=True,
    ),
    Peer(
        "torch",
        "map",
        "torch",
        "unfold + fold / fold(ones)",
        calls.torch_map,
        dtypes=FLOATS,
        axes=(2,),
        expands=True,
    ),
    BASELINE["product"],
    Peer("SciPy", "product", "scipy", "signal.oaconvolve", calls.scipy_product, dtypes=FLOATS),
    Peer("torch", "product", "torch", "conv", calls.torch_product, dtypes=FLOATS),
    Peer("NumPy", "product", "numpy", "einsum of the view", calls.numpy_view_product),
    Peer("NumPy", "product", "numpy", "copied, @ v", calls.numpy_product, expands=True),
    BASELINE["gram"],
    Peer("NumPy", "gram", "numpy", "copied, X.T @ X", calls.numpy_gram, expands=True),
)

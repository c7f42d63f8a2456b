"""Ten real jobs, each as somebody would write it with pantile, beside the same job written plainly.

``python -m jobs`` runs the small version of each, ``python -m jobs --full`` the real one, with its
time, its memory and its answer next to those of the plain way; ``python -m jobs NAME`` one job.

A job is a module: ``make(folder, **size)`` gives its data, each of ``WAYS`` (pantile's first) is called
with them and returns the answer, and ``agree(mine, its)`` says how well two answers agree, or raises
`AssertionError`. ``SIZES`` are the small and the full size, ``DATA`` says what they are. ``also`` checks
what one call does not show.
"""

from importlib import import_module
from types import ModuleType

__all__ = ["NAMES", "OPTIONAL", "load", "missing"]

NAMES = (
    "unet",
    "local_pca",
    "grouping",
    "dictionary",
    "scribbles",
    "tiff_to_zarr",
    "ecg",
    "volume",
    "migration",
    "server",
)
"""The jobs (a) to (j)."""

OPTIONAL = {
    "unet": ("torch",),
    "local_pca": ("dipy",),
    "migration": ("torch", "patchify", "tiler"),
}
"""What a job needs beside the tests' requirements; where it is missing the job is left out."""


def load(name: str) -> ModuleType:
    """Return the module of a job."""
    return import_module(f"jobs.{name}")


def missing(name: str) -> str:
    """Return the first package that a job needs and that is not installed, or ''."""
    from importlib.util import find_spec

    return next((p for p in OPTIONAL.get(name, ()) if find_spec(p) is None), "")

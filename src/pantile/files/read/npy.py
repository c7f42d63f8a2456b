"""NumPy's own files: `.npy`, mapped block by block."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..mapping import Mapping, mapping_of

__all__ = ["MappedPlace", "NpyPlace", "describe_zip", "npy_mapping"]

_NAMED = 20  # arrays that an error lists


@dataclass(frozen=True)
class NpyPlace:
    """An `.npy` file, in C or Fortran order."""

    path: str
    kind: ClassVar[str] = "npy"

    def open(self) -> Mapping:
        return npy_mapping(self.path)

    def inside(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class MappedPlace:
    """An array at an offset in a file, as a memmap or a header says."""

    mapping: Mapping

    @property
    def path(self) -> str:
        return self.mapping.path

    def open(self) -> Mapping:
        return self.mapping

    def inside(self) -> dict[str, Any]:
        return {"offset": self.mapping.offset, "strides": list(self.mapping.strides)}


def describe_zip(path: str) -> str:
    """The error for a zip archive, which cannot be read by blocks; it lists the arrays of an `.npz` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            found = [_describe_array(archive, name) for name in names[:_NAMED]]
    except Exception:  # a damaged archive makes it raise anything
        return "is a damaged zip archive (an .npz file is one)"
    if not names:
        return "is a zip archive without arrays: unpack it first"
    one, more = names[0].removesuffix(".npy"), ", ..." * (len(names) > _NAMED)
    return (
        f"is an .npz archive of {', '.join(found)}{more}, and those cannot be read by blocks: save the one"
        f" you mean as .npy, as in np.save({one + '.npy'!r}, np.load({os.path.basename(path)!r})[{one!r}])"
    )


def _describe_array(archive: zipfile.ZipFile, name: str) -> str:
    """Name, shape and dtype of an array, by its header."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return f"{name.removesuffix('.npy')} {shape} {dtype}"


def npy_mapping(path: str) -> Mapping:
    """Where the elements of an `.npy` file are; a ValueError where it is truncated."""
    mapping = mapping_of(np.load(path, mmap_mode="r", allow_pickle=False))
    assert mapping is not None
    return Mapping(path, mapping.offset, mapping.dtype, mapping.shape, mapping.strides)

"""NumPy's own files: `.npy`, mapped block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .mapping import Mapping, mapping_of

__all__ = ["MappedPlace", "NpyPlace", "npy_mapping"]


@dataclass(frozen=True)
class NpyPlace:
    """An `.npy` file, in C or Fortran order."""

    path: str

    def open(self) -> Mapping:
        return npy_mapping(self.path)

    def inside(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class MappedPlace:
    """Elements of any file, where a memmap or a header says they are."""

    mapping: Mapping

    @property
    def path(self) -> str:
        return self.mapping.path

    def open(self) -> Mapping:
        return self.mapping

    def inside(self) -> dict[str, Any]:
        return {"offset": self.mapping.offset, "strides": list(self.mapping.strides)}


def npy_mapping(path: str) -> Mapping:
    """Where the elements of an `.npy` file are; a ValueError where it is truncated."""
    mapping = mapping_of(np.load(path, mmap_mode="r", allow_pickle=False))
    assert mapping is not None
    return Mapping(path, mapping.offset, mapping.dtype, mapping.shape, mapping.strides)

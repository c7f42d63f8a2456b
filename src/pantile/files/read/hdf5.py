"""HDF5 datasets through h5py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..extras import import_optional

__all__ = ["Hdf5Place", "find_dataset"]


@dataclass(frozen=True)
class Hdf5Place:
    """A dataset in an HDF5 file."""

    path: str
    dataset: str
    kind: ClassVar[str] = "HDF5"

    def open(self) -> Any:
        file = import_optional("h5py", "reading HDF5").File(self.path, "r")
        return file[self.dataset]  # it keeps the file open

    def dims(self) -> list[str]:
        """The labels of its dimensions, or the names of the scales that are attached to them."""
        with import_optional("h5py", "reading HDF5").File(self.path, "r") as file:
            return [_label_of(dim) for dim in file[self.dataset].dims]

    def inside(self) -> dict[str, Any]:
        return {"dataset": self.dataset}


def _label_of(dim: Any) -> str:
    return str(dim.label or (dim[0].name.rpartition("/")[2] if len(dim) else ""))


def find_dataset(path: str, dataset: str | None) -> str:
    """The name of the dataset that is meant: ``dataset``, or the only one with numbers and axes."""
    h5py = import_optional("h5py", "reading HDF5")
    with h5py.File(path, "r") as file:
        if dataset is not None and isinstance(file.get(dataset), h5py.Dataset):
            return dataset
        found: list[str] = []

        def note(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and node.ndim and node.dtype.kind in "biufc":
                found.append(name)

        file.visititems(note)
    held = ", ".join(found[:20]) + (", ..." if len(found) > 20 else "") or "no datasets of numbers"
    if dataset is not None:
        raise ValueError(f"dataset={dataset!r} is not in {path}: it holds {held}")
    if len(found) != 1:
        raise ValueError(f"dataset= must name one dataset in {path}: it holds {held}")
    return found[0]

"""Patches chosen by a function of a batch, before any of them goes through ``func``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chooser"]


@dataclass(frozen=True)
class Chooser:
    """``where`` as the function that a run of its own maps over all patches."""

    where: Callable[[NDArray[Any]], Any]

    def __call__(self, batch: NDArray[Any]) -> NDArray[np.bool_]:
        try:
            found = np.asarray(self.where(batch))
        except Exception as error:
            error.add_note("pantile: in where, a function of a batch")
            raise
        if found.shape != (len(batch),) or found.dtype != bool:
            raise ValueError(
                f"where must return one truth value per patch, ({len(batch)},) bool, got {found.dtype} {found.shape}:"
                " for example lambda batch: batch.max(axis=(1, 2)) > 0"
            )
        return found

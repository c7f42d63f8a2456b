"""Label images of overlapping tiles, brought together into one: `join_labels`."""

from __future__ import annotations

from .join import join_labels

__all__ = ["join_labels"]

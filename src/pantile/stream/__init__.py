"""Plans, tasks, executors: patches streamed through a function, never expanded."""

from .map import map_patches, plan
from .plan import Plan

__all__ = ["Plan", "map_patches", "plan"]

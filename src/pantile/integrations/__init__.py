"""Patches for other people's trainers: LightGBM, XGBoost and torch, each installed by its extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from . import lightgbm as lightgbm
    from . import torch as torch
    from . import xgboost as xgboost
    from .rows import labelled_rows, predict_rows

__all__ = ["labelled_rows", "predict_rows"]

if not TYPE_CHECKING:  # each trainer is imported by nobody who does not ask for it
    __getattr__, __dir__ = lazy_names(
        __name__, dict.fromkeys(__all__, "rows"), ["lightgbm", "torch", "xgboost"]
    )

"""Fitting by ``partial_fit``, a batch at a time; the steps of a pipeline one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from .sampling import Array, Batch, TrainingRows

__all__ = ["can_stream", "fit_all", "fit_sample", "takes_weights"]

_SEEN = 1_000_000  # rows that estimators which iterate see in all, or more


def can_stream(estimator: Any) -> bool:
    """Whether it, or the last step of a pipeline, learns batch by batch."""
    last = _list_steps(estimator)[-1]
    # asked of the type as well: a frozen estimator hands on every attribute of what it protects
    return hasattr(type(last), "partial_fit") and hasattr(last, "partial_fit")


def takes_weights(estimator: Any, method: str) -> bool:
    """Whether ``method`` of the last step has a ``sample_weight``."""
    return (
        "sample_weight" in inspect.signature(getattr(_list_steps(estimator)[-1], method)).parameters
    )


def _list_steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, or the estimator alone."""
    if not isinstance(estimator, Pipeline):
        return [estimator]
    steps = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    return steps or [estimator]


def fit_sample(estimator: Any, batch: Batch) -> None:
    """`fit` on rows that are in memory."""
    options = {}
    if batch.weights is not None:
        last = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
        options[f"{last}sample_weight"] = batch.weights
    estimator.fit(*_arguments(batch.rows, batch.targets), **options)


def fit_all(
    estimator: Any,
    data: TrainingRows,
    sample: Callable[[], Batch],
    epochs: int | None,
    size: int,
    rng: np.random.Generator,
) -> None:
    """Fit by `partial_fit` on all rows, ``epochs`` times. Earlier steps of a pipeline are fitted first, once.

    Those that have no ``partial_fit`` are fitted on ``sample()``.
    """
    done: list[Any] = []
    *before, last = _list_steps(estimator)
    for step in before:
        if can_stream(step):
            for batch in data.passes(1, size, rng):
                step.partial_fit(*_arguments(_transform(done, batch.rows), batch.targets))
        else:
            batch = sample()
            step.fit(*_arguments(_transform(done, batch.rows), batch.targets))
        done.append(step)
    times = _choose_epochs(last, int(data.counts.sum())) if epochs is None else epochs
    options = {"classes": data.classes} if is_classifier(last) else {}
    for batch in _transform_batches(done, data.passes(times, size, rng)):
        if batch.weights is not None:
            options["sample_weight"] = batch.weights
        last.partial_fit(*_arguments(batch.rows, batch.targets), **options)


def _transform_batches(done: list[Any], batches: Iterator[Batch]) -> Iterator[Batch]:
    return (batch._replace(rows=_transform(done, batch.rows)) for batch in batches)


def _transform(done: list[Any], rows: Any) -> Any:
    for step in done:
        rows = step.transform(rows)
    return rows


def _arguments(rows: Any, targets: Array | None) -> tuple[Any, ...]:
    return (rows,) if targets is None else (rows, targets)


def _choose_epochs(estimator: Any, n: int) -> int:
    """5 for estimators that iterate, or up to 100 where rows are few.

    1 for estimators that add up statistics: they would count every row several times.
    """
    names = {name.rsplit("__", 1)[-1] for name in estimator.get_params()}
    return min(100, max(5, _SEEN // n)) if names & {"max_iter", "n_iter"} else 1

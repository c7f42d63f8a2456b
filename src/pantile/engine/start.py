"""Which way a plan runs: in threads, in processes, or on a cluster."""

from __future__ import annotations

from typing import Any

from .executors import in_threads
from .plan import Plan
from .progress import Report
from .run import LocalRun

__all__ = ["is_cluster", "run"]


def is_cluster(executor: Any) -> bool:
    """Whether an executor is a ``dask.distributed`` client, or works as one."""
    return all(hasattr(executor, name) for name in ("submit", "scatter", "ncores"))


def run(plan: Plan, report: Report | None) -> Any:
    """Do what a plan says; returns what `map_patches` returns."""
    executor = plan.executor
    if in_threads(executor):
        return LocalRun(plan, report).result()
    if is_cluster(executor):
        from .cluster import ClusterRun

        return ClusterRun(plan, report).result()
    from .processes import ProcessRun

    return ProcessRun(plan, report).result()

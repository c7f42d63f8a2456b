"""One job of one case: every peer that does it, held to pantile's answer and timed in turns."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.calls import Run
from benchmarks.cases import Array, Case, Layout
from benchmarks.peers import BASELINE, PEERS, Job, Peer, refusal
from benchmarks.timing import Task, Timing, interleave

__all__ = ["Row", "agree", "inputs_of", "measure", "peers_of", "rows_of"]

RELATIVE = {"float32": 1e-5, "float64": 1e-12}
SAMPLED = 4096


@dataclass(frozen=True)
class Row:
    """One line of the table: a peer on a case, its times and whether its answer is pantile's."""

    case: Case
    peer: Peer
    timing: Timing | None = None
    ratio: float | None = None
    agrees: bool | None = None
    reason: str = ""

    @property
    def throughput(self) -> float | None:
        """Return 1e9 patch elements a second."""
        return self.case.elements / self.timing.median / 1e9 if self.timing else None

    def as_dict(self) -> dict[str, Any]:
        """Return the row in types that JSON has."""
        peer = {"job": self.peer.job, "library": self.peer.library, "call": self.peer.call}
        times = self.timing and asdict(self.timing)
        found = {"ratio": self.ratio, "agrees": self.agrees, "reason": self.reason}
        return {"case": asdict(self.case), **peer, "timing": times, **found}


def peers_of(job: Job, only: str = "") -> list[Peer]:
    """Return the peers that do `job` and have `only` in their name, after the baseline."""
    found = [peer for peer in PEERS if peer.job == job and only.lower() in str(peer).lower()]
    return [BASELINE[job], *(peer for peer in found if peer is not BASELINE[job])] if found else []


def rows_of(array: Array, case: Case, every: int = 1) -> Array:
    """Return each `every`-th window of what a cut returned as rows ``(n, features)``."""
    rows = np.arange(0, case.n_patches, every)
    view = array.ndim == 2 * case.ndim and array.shape[: case.ndim] == case.counts
    chosen = array[np.unravel_index(rows, case.counts)] if view else array[rows]
    return chosen.reshape(rows.size, case.features)


def agree(found: Array, expected: Array) -> bool:
    """Return whether two answers are equal to the rounding of the coarser dtype."""
    kinds = {str(array.dtype) for array in (found, expected)}
    relative = max((RELATIVE.get(kind, 0.0) for kind in kinds), default=0.0)
    return found.shape == expected.shape and bool(
        np.allclose(found, expected, rtol=relative, atol=relative, equal_nan=False)
    )


def measure(
    case: Case,
    job: Job,
    peers: Iterable[Peer],
    *,
    extra: Mapping[str, Run] | None = None,
    repeat: int = 5,
    budget: float = 20.0,
) -> tuple[list[Row], dict[str, Timing]]:
    """Return a row for each of `peers`, the baseline among them, and the times of `extra`.

    Peers of one layout take the same array, and each of `extra` takes what the baseline takes.
    Answers are compared on every element of an image, and on up to 4096 windows of a cut.
    """
    table, answers = {str(peer): peer for peer in peers}, {}

    def inspect(name: str, result: Array) -> None:
        if name in table:
            answers[name] = _digest(result, case, job)

    ready = [peer for peer in table.values() if not refusal(peer, case)]
    tasks = _tasks(case, job, ready, extra or {})
    timings = interleave(tasks, repeat=repeat, budget=budget, inspect=inspect)
    rows = [_row(case, peer, timings, answers) for peer in table.values()]
    return rows, {name: timings[name] for name in extra or {}}


def _tasks(case: Case, job: Job, peers: list[Peer], extra: Mapping[str, Run]) -> dict[str, Task]:
    inputs = inputs_of(case, job, {peer.layout for peer in peers})
    tasks: dict[str, Task] = {
        str(peer): partial(peer.make(case), inputs[peer.layout]) for peer in peers
    }
    return tasks | {name: partial(run, inputs["patch"]) for name, run in extra.items()}


def inputs_of(case: Case, job: Job, layouts: set[Layout], seed: int = 0) -> dict[Layout, Array]:
    """Return what a job is given: the image, or patches that differ where they overlap."""
    if job not in ("merge", "sum"):
        return dict.fromkeys(layouts, case.image(seed))
    patches = case.patches(seed)
    return {
        layout: patches if layout == "patch" else case.arrange(patches, layout)
        for layout in layouts
    }


def _digest(result: Array, case: Case, job: Job) -> Array:
    if job != "cut":
        return result
    return np.array(rows_of(result, case, every=-(-case.n_patches // SAMPLED)))


def _row(
    case: Case, peer: Peer, timings: Mapping[str, Timing], answers: Mapping[str, Array]
) -> Row:
    reason, name, base = refusal(peer, case), str(peer), str(BASELINE[peer.job])
    if reason:
        return Row(case, peer, reason=reason)
    ratio = timings[name].median / timings[base].median
    return Row(case, peer, timings[name], ratio, agree(answers[name], answers[base]))

"""The hunt: Hypothesis draws cases and shrinks what fails, round after round until time is out."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from .cases import TRIALS, Arguments, Trial
from .source import script

__all__ = ["Failure", "Hunt", "hunt"]

HERE = Path(__file__).parent
ROUND = 60  # cases of a check in a round


@dataclass(frozen=True)
class Failure:
    """What failed, as small as it could be made, and a script that repeats it."""

    check: str
    error: str
    script: str

    def __str__(self) -> str:
        return f"# {self.check}: {self.error}\n{self.script}"


@dataclass
class Hunt:
    """A hunt until a deadline: how many cases were tried, and what failed."""

    trials: Mapping[str, Trial]
    deadline: float
    number: int = 0
    cases: int = 0
    failures: list[Failure] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def rounds(self) -> Iterator[int]:
        """Try each check some times, in turns; yield the number of failures after each turn."""
        for turn in count() if self.trials else ():
            for place, trial in enumerate(self.trials.values()):
                if monotonic() >= self.deadline:
                    return
                self._explore(trial, (self.number * 1_000_003 + turn) * 97 + place)
                yield len(self.failures)

    def _explore(self, trial: Trial, number: int) -> None:
        failed: list[tuple[Arguments, Exception]] = []

        def tried(arguments: Arguments) -> None:
            # once something failed it is made small, whatever the clock says
            if not failed and monotonic() >= self.deadline:
                return
            self.cases += 1
            try:
                trial.check(**arguments)
            except Exception as error:
                if signature(trial, arguments, error) not in self.known:
                    failed.append((arguments, error))
                    raise

        try:
            _given(trial, tried, number)()
        except Exception as error:
            if not failed:
                raise
            self._keep(trial, *failed[-1], error)

    def _keep(self, trial: Trial, arguments: Arguments, error: Exception, _: Exception) -> None:
        self.known.add(signature(trial, arguments, error))
        text = script(trial.module, trial.check.__name__, arguments)
        self.failures.append(Failure(trial.name, _said(error), text))


def _given(trial: Trial, tried: Callable[[Arguments], None], number: int) -> Callable[[], None]:
    profile = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    found: Any = seed(number)(profile(given(trial.arguments)(tried)))

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found()

    return run


def signature(trial: Trial, arguments: Arguments, error: Exception) -> str:
    """What two failures of one cause share: check, exception, place, and the words among the options."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        f for f in frames if "pantile" in f.filename or Path(f.filename).parent == HERE
    ] or list(frames)
    options = {**arguments, **arguments.get("options", {})}
    words = [options.get(name) for name in ("verb", "merge", "function")]
    # the end of a message says where a refusal came from
    place = f"{ours[-1].filename}:{ours[-1].lineno} {str(error)[-40:] if trial.name == 'hostile' else ''}"
    return f"{trial.name} {type(error).__name__} {place} {words}"


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:400]


def hunt(
    seconds: float,
    number: int = 0,
    trials: Mapping[str, Trial] = TRIALS,
    watch: Callable[[Hunt], None] = lambda hunt: None,  # noqa: ARG005
) -> Hunt:
    """Hunt for so many seconds; ``watch`` sees the hunt after each turn of a check."""
    found = Hunt(trials, monotonic() + seconds, number)
    for _ in found.rounds():
        watch(found)
    return found

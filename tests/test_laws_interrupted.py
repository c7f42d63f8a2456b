"""Law 14 for everything that calls no code of the user's: Ctrl-C in the middle of it, at any depth.

Nobody of ours works on, models are as they were before the call, nothing has the name of a whole result, and the
same call works afterwards.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt
from tests import _law_calls as below
from tests import _law_models as models
from tests.test_laws_growth import CALLED

Array = NDArray[Any]
HERE = os.path.dirname(pt.__file__)
IMAGE = np.random.default_rng(0).random((40, 44))
LABELS = (IMAGE > 0.5).astype(int)
SHARES = (0.1, 0.5, 0.9)
CALLS = CALLED | below.CALLS
# where an exception would break a promise of Python's own: what runs must run to its end
PROTECTED = ("__exit__", "__del__", "close", "stop", "discard", "run", "forget")


class Interrupted:
    """Counts the calls of our functions in this thread, and raises at one of them."""

    def __init__(
        self, at: int | None = None, error: type[BaseException] = KeyboardInterrupt
    ) -> None:
        self.seen, self.at, self.error = 0, at, error

    def __call__(self, frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        ours = event == "call" and code.co_filename.startswith(HERE)
        # a generator that is thrown away cannot raise
        if not ours or code.co_name in PROTECTED or code.co_flags & inspect.CO_GENERATOR:
            return
        self.seen += 1
        if self.at is not None and self.seen >= self.at:
            sys.setprofile(None)
            raise self.error

    def watch(self, call: Callable[[], Any]) -> int:
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)
        return self.seen


def interrupt(
    call: Callable[[], Any], share: float, error: type[BaseException] = KeyboardInterrupt
) -> None:
    """Raise ``error`` after about this share of the calls that ``call`` makes in this thread, and take it."""
    at = max(1, int(Interrupted().watch(call) * share))
    while at:  # how many of a run's calls come in this thread is not always the same
        try:
            Interrupted(at, error).watch(call)
        except error:
            return
        at //= 2
    raise AssertionError("not interrupted")


def at_rest() -> bool:
    """Whether no thread of ours is at work, if it is given a moment to return to its pool."""
    for _ in range(100):
        ours = {t.ident for t in threading.enumerate() if t.name.startswith("pantile")}
        frames = [f for i, f in sys._current_frames().items() if i in ours]
        if all(f.f_code.co_name in ("_work", "_worker", "wait", "get") for f in frames):
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_interrupted_ends_and_can_be_made_again(name: str) -> None:
    library = below.NEEDS.get(name.partition(" & ")[0].rpartition(".")[0])
    if library is not None:
        pytest.importorskip(library)
    call = CALLS[name]
    call(IMAGE)
    # XGBoost loses what is no Exception where it calls Python
    error = ZeroDivisionError if "xgboost" in name else KeyboardInterrupt
    before = IMAGE.copy()
    for share in SHARES:
        for left in os.listdir():
            if os.path.isfile(left):
                os.remove(left)
        interrupt(lambda: call(IMAGE), share, error)
        assert at_rest(), "a thread works on"
        np.testing.assert_array_equal(IMAGE, before)
        call(IMAGE)


@pytest.mark.parametrize("name", models.NAMES)
def test_a_fit_that_is_interrupted_leaves_the_model_as_it_was(name: str) -> None:
    model = models.fitted(name, IMAGE, LABELS, 1 + IMAGE)
    wanted, kept = models.predicted(model, IMAGE), dict(model.__dict__)
    other = np.ascontiguousarray(IMAGE[::-1, :30]) * 3
    given: tuple[Any, ...] = (other, LABELS[::-1, :30] + 5)
    if name.endswith("Regressor") or name in ("PatchEstimator", "PatchRidge"):
        given = (other, other)
    for share in SHARES:
        total = Interrupted().watch(lambda: _fresh(model).fit(*given))
        with pytest.raises(KeyboardInterrupt):
            Interrupted(max(1, int(share * total))).watch(lambda: model.fit(*given))
        assert at_rest()
        assert model.__dict__.keys() == kept.keys()
        np.testing.assert_array_equal(models.predicted(model, IMAGE), wanted)
        blank = _fresh(model)
        with pytest.raises(KeyboardInterrupt):
            Interrupted(max(1, int(share * total))).watch(lambda b=blank: b.fit(*given))
        assert not [key for key in blank.__dict__ if key.endswith("_")], "half fitted"


def _fresh(model: Any) -> Any:
    from sklearn.base import clone

    return clone(model)

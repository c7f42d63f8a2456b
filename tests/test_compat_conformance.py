"""NumPy's and scikit-learn's own installed tests pass on our functions, and would fail on wrong ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from conformance import substitute
from conformance.__main__ import Row
from conformance.substitute import SUBSTITUTES
from conformance.suites import LIBRARIES, Result, Tally, run_pytest, tally_of, test_their_own

NUMPY = "numpy.lib.tests.test_stride_tricks"
SKLEARN = "sklearn.feature_extraction.tests.test_image"


@pytest.mark.parametrize("module", [NUMPY, SKLEARN])
def test_their_own_tests_pass_in_full(module):
    results = test_their_own(module)
    assert len(results) > 20
    assert {result.outcome for result in results} == {"passed"}, results


def test_their_own_tests_see_a_wrong_function():
    tally = tally_of(test_their_own(NUMPY, "--instead", "sliding_window_view=numpy:asarray"))
    assert tally.counts["failed"] >= 7
    assert tally.counts["passed"] >= 10  # those that do not call it


@pytest.mark.parametrize(("calls", "status"), [({"cut": 3}, 0), ({}, 1)])
def test_a_run_that_does_not_call_ours_fails(monkeypatch, calls, status):
    monkeypatch.setattr(substitute, "_replaced", {"cut"})
    monkeypatch.setattr(substitute, "_calls", calls)
    config = SimpleNamespace(option=SimpleNamespace(keyword=""))
    session = SimpleNamespace(testscollected=5, config=config, exitstatus=0)
    substitute.pytest_sessionfinish(session)
    assert session.exitstatus == status


def test_every_library_of_the_table_has_tests():
    installed = {library.theirs for library in LIBRARIES if library.theirs.count(".tests.")}
    checked_out = {Path(path).stem for library in LIBRARIES for path in library.source}
    assert installed | checked_out == set(SUBSTITUTES)
    row = Row(LIBRARIES[0], "1", Tally(), tally_of([Result("a", "passed")]), Tally())
    assert str(row) == "| NumPy | 1 | - | 1 passed | - |"


def test_a_failure_is_counted_and_named(tmp_path):
    file = tmp_path / "test_it.py"
    file.write_text("def test_good(): pass\ndef test_bad(): assert 1 == 2\n")
    tally = tally_of(run_pytest([str(file)]))
    assert str(tally) == "1 passed, 1 failed"
    assert tally.failures[0].name == "test_bad"
    assert "1 == 2" in tally.failures[0].text

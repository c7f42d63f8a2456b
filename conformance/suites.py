"""Which tests speak for which library, how they are run, and what came of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = [
    "LIBRARIES",
    "Library",
    "Result",
    "Tally",
    "run_pytest",
    "tally_of",
    "test_checkout",
    "test_their_own",
]

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Library:
    """A library people come from: its distribution, its own tests where they are installed, ours against it."""

    name: str
    distribution: str
    theirs: str = ""
    agreement: str = ""
    only: str = ""  # what the names of its agreement tests begin with
    source: tuple[str, ...] = ()  # its own tests in a checkout, where no distribution has them


LIBRARIES = (
    Library("NumPy", "numpy", "numpy.lib.tests.test_stride_tricks", "tests/test_compat_numpy.py"),
    Library(
        "scikit-learn",
        "scikit-learn",
        "sklearn.feature_extraction.tests.test_image",
        "tests/test_compat_sklearn.py",
    ),
    Library("scikit-image", "scikit-image", "", "tests/test_compat_skimage.py"),
    Library("patchify", "patchify", "patchify.tests.test_sanity", "tests/test_compat_patchify.py"),
    Library("torch", "torch", "conformance/torch_samples.py", "tests/test_compat_torch.py"),
    Library("torch, through every verb", "torch", "", "tests/test_tensors_torch.py"),
    Library("array-api-strict and JAX", "jax", "", "tests/test_tensors_standard.py"),
    Library("kornia", "kornia", "", "tests/test_compat_peers.py", "test_kornia"),
    Library(
        "tiler",
        "tiler",
        "",
        "tests/test_compat_peers.py tests/test_compat_tiler.py",
        "test_tiler or test_compat_tiler",
        ("tests/test_tiler.py", "tests/test_merger.py"),
    ),
    Library(
        "MONAI",
        "monai",
        "",
        "tests/test_compat_peers.py tests/test_compat_monai.py",
        "test_monai or test_compat_monai",
        ("tests/inferers/test_sliding_window_inference.py", "tests/inferers/test_avg_merger.py"),
    ),
    Library("PyLops", "pylops", "", "tests/test_compat_peers.py", "test_pylops"),
    Library("MATLAB", "", "", "tests/test_compat_matlab.py"),
)


@dataclass(frozen=True)
class Result:
    """One test: its name, and ``passed``, ``failed``, ``skipped`` or ``xfailed`` (as its authors expect)."""

    name: str
    outcome: str
    text: str = ""


@dataclass
class Tally:
    """How many tests ended how."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.counts:
            return "-"
        words = [
            f"{self.counts[word]} {word}"
            for word in ("passed", "failed")
            if self.counts[word] or word == "passed"
        ]
        words += [
            f"{self.counts[word]} {word}" for word in ("xfailed", "skipped") if self.counts[word]
        ]
        return ", ".join(words)


def tally_of(results: Sequence[Result]) -> Tally:
    return Tally(
        Counter(result.outcome for result in results),
        [result for result in results if result.outcome == "failed"],
    )


def version_of(library: Library) -> str:
    """Return the installed version, empty where it is not installed."""
    try:
        return version(library.distribution) if library.distribution else ""
    except PackageNotFoundError:
        return ""


def test_their_own(module: str, *extra: str) -> list[Result]:
    """Run the tests that came with a library, its functions replaced by ours."""
    options = ["-p", "conformance.substitute", "-c", os.devnull, "--pyargs", module]
    return run_pytest([*options, "--rootdir", tempfile.gettempdir(), *extra])


def test_checkout(folder: Path, paths: Sequence[str]) -> list[Result]:
    """Run tests of a library's checkout, its functions replaced by ours."""
    found = [str(folder / path) for path in paths]
    options = ["-p", "conformance.substitute", "-c", os.devnull, "--rootdir", str(folder)]
    return run_pytest([*options, *found], folder)  # there, since its `tests` is not ours


test_checkout.__test__ = False  # type: ignore[attr-defined]
test_their_own.__test__ = False  # type: ignore[attr-defined]


def run_pytest(arguments: Sequence[str], home: Path = ROOT) -> list[Result]:
    """Run pytest in a process of its own, in ``home``, and return what it says of each test."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # others' plugins have no part in this
        done = subprocess.run(
            [*command, f"--junitxml={report}"],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or not report.exists():
            raise RuntimeError(f"{' '.join(command)} did not run:\n{done.stdout}{done.stderr}")
        results = list(_results(report))
    if done.returncode and not any(result.outcome == "failed" for result in results):
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return results


def _results(report: Path) -> Iterator[Result]:
    for case in ElementTree.parse(report).iter("testcase"):
        name, outcome, text = case.get("name", ""), "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, text = "failed", child.get("message", "")
            elif child.tag == "skipped":
                expected = child.get("type") == "pytest.xfail"
                outcome, text = ("xfailed" if expected else "skipped"), child.get("message", "")
        yield Result(name, outcome, text)

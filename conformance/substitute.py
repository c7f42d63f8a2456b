"""A pytest plugin: an installed library's own tests, run with its functions replaced by ours.

``python -m pytest -p conformance.substitute --pyargs numpy.lib.tests.test_stride_tricks`` collects the
tests that came with the library, puts ours in the place of the names of `SUBSTITUTES`, and fails if
one of them was never called. No test is copied and nothing is fetched.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

__all__ = ["EXCEPTIONS", "SUBSTITUTES", "SlidingWindowInferer", "extract_patches"]

# test module -> name in it -> what stands there instead
SUBSTITUTES: dict[str, dict[str, str]] = {
    "numpy.lib.tests.test_stride_tricks": {
        "sliding_window_view": "pantile.compat.numpy:sliding_window_view",
    },
    "sklearn.feature_extraction.tests.test_image": {
        "PatchExtractor": "pantile.compat.sklearn:PatchExtractor",
        "_extract_patches": "conformance.substitute:extract_patches",
        "extract_patches_2d": "pantile.compat.sklearn:extract_patches_2d",
        "reconstruct_from_patches_2d": "pantile.compat.sklearn:reconstruct_from_patches_2d",
    },
    # of a checkout: neither wheel nor source distribution has them
    "test_sliding_window_inference": {
        "sliding_window_inference": "pantile.compat.monai:sliding_window_inference",
        "SlidingWindowInferer": "conformance.substitute:SlidingWindowInferer",
    },
    "test_avg_merger": {"AvgMerger": "pantile.compat.monai:AvgMerger"},
    "test_tiler": {"Tiler": "pantile.compat.tiler:Tiler"},
    "test_merger": {"Tiler": "pantile.compat.tiler:Tiler", "Merger": "pantile.compat.tiler:Merger"},
    "patchify.tests.test_sanity": {
        "patchify": "pantile.compat.patchify:patchify",
        "unpatchify": "pantile.compat.patchify:unpatchify",
    },
}

# where a test is not run just as it came, and why
EXCEPTIONS: dict[str, str] = {
    "sklearn.feature_extraction.tests.test_image": (
        "`raccoon_face_fxt`, a photograph that SciPy would fetch from the network, is replaced by one that"
        " scikit-learn brings (`china.jpg`), grey, mirrored to the same size and of the same dtype;"
        " the private `_extract_patches(arr, patch_shape, extraction_step)` is replaced by"
        " `view_as_windows`, whose arguments have other names"
    ),
    "tests/test_merger.py, tests/test_tiler.py (tiler)": (
        "neither wheel nor source distribution has them: `--checkout tiler=FOLDER` runs those of a checkout"
    ),
    "tests/inferers (MONAI)": (
        "no distribution has them: `--checkout MONAI=FOLDER` runs the sliding windows' and the mean merger's of a"
        " checkout; what `SlidingWindowInferer` calls is replaced too"
    ),
    "conformance/torch_samples.py": (
        "samples of `unfold` without elements go to `pantile.compat.torch` only, since the verbs refuse empty images;"
        " of `Tensor.unfold`, those without an axis, an element or a sample in a window are left out; complex32 is"
        " compared as pairs of numbers, because torch cannot compare it"
    ),
    "patchify.tests.test_sanity": "`test_fail` is marked by its authors as one that fails; it has to fail here too",
}

_calls: Counter[str] = Counter()
_replaced: set[str] = set()


def extract_patches(arr: Any, patch_shape: Any = 8, extraction_step: Any = 1) -> Any:
    """`view_as_windows` under the name and the arguments that scikit-learn uses inside."""
    from pantile.compat.skimage import view_as_windows

    return view_as_windows(arr, patch_shape, extraction_step)


def SlidingWindowInferer(*args: Any, **options: Any) -> Any:  # a class there
    """MONAI's inferer, with our function in the place of the one it calls."""
    import monai.inferers.inferer as module

    from pantile.compat.monai import sliding_window_inference

    module.sliding_window_inference = sliding_window_inference
    return module.SlidingWindowInferer(*args, **options)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--instead",
        action="append",
        default=[],
        metavar="NAME=MODULE:ATTRIBUTE",
        help="put something else in the place of NAME (to see the tests fail)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = dict(text.split("=", 1) for text in config.getoption("--instead"))
    modules = {id(m): m for item in items if (m := getattr(item, "module", None))}
    for module in modules.values():
        short = module.__name__.rpartition(".")[2]
        for name, target in SUBSTITUTES.get(module.__name__, SUBSTITUTES.get(short, {})).items():
            _replace(module, name, others.get(name, target))
    face = getattr(import_module("sklearn"), "conftest", None) if _needs_face(items) else None
    if face is not None:  # else these tests would be skipped, or the picture fetched
        face.dataset_fetchers.pop("raccoon_face_fxt", None)


def _needs_face(items: list[pytest.Item]) -> bool:
    return any("raccoon_face_fxt" in getattr(item, "fixturenames", ()) for item in items)


def _replace(module: ModuleType, name: str, target: str) -> None:
    home, attribute = target.split(":")
    ours = getattr(import_module(home), attribute)
    assert hasattr(module, name), f"{module.__name__} has no {name} to replace"
    setattr(module, name, ours if isinstance(ours, type) else _counted(name, ours))
    _replaced.update({name} if not isinstance(ours, type) else set())


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def counted(*args: Any, **options: Any) -> Any:
        _calls[name] += 1
        return function(*args, **options)

    return counted


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: Any) -> Iterator[None]:
    if fixturedef.argname == "raccoon_face_fxt":
        fixturedef.func = _photograph
        fixturedef.argnames = ()
    return (yield)  # type: ignore[return-value]


def _photograph() -> Any:
    """A grey photograph of 768 x 1024 bytes out of what scikit-learn brings."""
    from sklearn.datasets import load_sample_image

    grey = load_sample_image("china.jpg").mean(axis=2).astype(np.uint8)
    return np.pad(grey, [(0, 768 - 427), (0, 1024 - 640)], mode="reflect")


def pytest_sessionfinish(session: pytest.Session) -> None:
    idle = sorted(_replaced - set(_calls))
    if idle and session.testscollected and not session.config.option.keyword:
        print(f"\nnever called: {', '.join(idle)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

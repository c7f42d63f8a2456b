"""What a session types first: ``import pantile as pt``, then a dot and a tab."""

from __future__ import annotations

import subprocess
import sys

import pytest

PACKAGES = ["compat", "denoise", "files", "integrations", "learn", "plot", "testing", "tileset"]
LIBRARIES = ["numpy", "scipy", "numba", "sklearn", "matplotlib", "torch", "dask", "hypothesis"]


def said(code: str, *missing: str) -> str:
    """What ``code`` prints in a fresh interpreter that lacks some libraries."""
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in missing)]
    command = [sys.executable, "-W", "error", "-c", "\n".join([*lines, code])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def refusal(code: str, *missing: str) -> str:
    return said(f"try:\n    {code}\nexcept ImportError as error:\n    print(error)", *missing)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_there_without_an_import_of_its_own(package):
    code = f"import pantile as pt; print(pt.{package}.__name__)"
    assert said(code, "sklearn", "matplotlib", "hypothesis") == f"pantile.{package}"


def test_packages_are_not_loaded_before_they_are_used():
    loaded = f"print([n for n in {LIBRARIES} if n in sys.modules])"
    assert said(f"import pantile as pt; dir(pt); {loaded}") == "[]"
    names = ", ".join(f"dir(pt.{package})" for package in PACKAGES)
    assert said(f"import pantile as pt; {names}; {loaded}") == "[]"


@pytest.mark.parametrize("package", ["", *(f".{name}" for name in PACKAGES)])
def test_completion_offers_public_names_only(package):
    """All that is documented, whatever was imported before, and nothing that a module merely uses."""
    module = f"pantile{package}"
    more = {"pantile": PACKAGES, "pantile.integrations": ["lightgbm", "torch", "xgboost"]}
    use = "pt.map_patches; pt.learn.PatchPCA; pt.files.open_image; pt.testing.slow; pt.compat.numpy"
    code = f"import pantile as pt, {module} as here; {use}"
    code += "; print(*(n for n in dir(here) if not n.startswith('_')))"
    expected = said(f"import {module} as here; print(*here.__all__)").split()
    assert said(code).split() == sorted([*expected, *more.get(module, [])])


@pytest.mark.parametrize(
    ("use", "library", "extra"),
    [
        ("pt.learn.PatchPCA", "sklearn", "learn"),
        ("pt.plot.grid(pt.PatchGrid(9, 3))", "matplotlib", "plot"),
        ("pt.integrations.lightgbm", "lightgbm", "lightgbm"),
        ("pt.integrations.xgboost", "xgboost", "xgboost"),
        ("pt.testing.strategies", "hypothesis", "testing"),
        ("pt.compat.sklearn", "sklearn", "learn"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(use, library, extra):
    found = refusal(f"import pantile as pt; {use}", library)
    assert found.endswith(f'pip install "pantile[{extra}]"')
    assert len(found.splitlines()) == 1


def test_a_name_that_is_misspelt_is_refused():
    code = (
        "import pantile as pt\ntry:\n    pt.{}\nexcept AttributeError as error:\n    print(error)"
    )
    found = said(code.format("mapp_patches"))
    assert found == "module 'pantile' has no attribute 'mapp_patches'"
    assert said(code.format("learn.PatchPAC")).startswith("module 'pantile.learn' has no")

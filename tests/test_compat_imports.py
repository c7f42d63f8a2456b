"""`pantile.compat` loads no library that nobody asked for, and names the extra of one that is missing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import pantile.compat


def python(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import sys, pantile.compat as c; c.numpy, c.skimage, c.patchify, c.torch, c.matlab"
    others = "[n for n in ('numba', 'sklearn', 'skimage', 'torch', 'patchify') if n in sys.modules]"
    assert python(f"{code}; print({others})") == "[]"


@pytest.mark.parametrize(
    ("missing", "call", "extra"),
    [
        ("sklearn", "import pantile.compat.sklearn", "learn"),
        ("torch", "import pantile.compat.torch as t; t.unfold(None, 2)", "torch"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(missing, call, extra):
    lines = [f"import sys; sys.modules[{missing!r}] = None", "try:", f"    {call}"]
    lines += ["except ImportError as error:", "    print(error)"]
    assert f'pip install "pantile[{extra}]"' in python("\n".join(lines))


def test_modules_are_found_by_name():
    assert sorted(pantile.compat.__all__) == pantile.compat.__all__
    assert set(pantile.compat.__all__) <= set(dir(pantile.compat))
    assert pantile.compat.matlab.im2col(np.eye(3), 2).shape == (4, 4)
    with pytest.raises(AttributeError, match="octave"):
        _ = pantile.compat.octave


def parameters(function: Any) -> list[tuple[str, Any]]:
    """Return the parameters by position with their defaults, and those by name only after them."""
    return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(
    ("module", "name", "original"),
    [
        ("numpy", "sliding_window_view", "numpy.lib.stride_tricks"),
        ("skimage", "view_as_windows", "skimage.util"),
        ("skimage", "view_as_blocks", "skimage.util"),
        ("sklearn", "extract_patches_2d", "sklearn.feature_extraction.image"),
        ("sklearn", "reconstruct_from_patches_2d", "sklearn.feature_extraction.image"),
        ("sklearn", "PatchExtractor", "sklearn.feature_extraction.image"),
        ("patchify", "patchify", "patchify"),
        ("patchify", "unpatchify", "patchify"),
        ("torch", "unfold", "torch.nn.functional"),
        ("torch", "fold", "torch.nn.functional"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_signatures_begin_as_the_originals(module, name, original):
    """Names, order, defaults and kinds; what is more comes after, by name only."""
    theirs = parameters(getattr(pytest.importorskip(original), name))
    ours = parameters(getattr(getattr(pantile.compat, module), name))
    assert ours[: len(theirs)] == theirs
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for *_, kind in ours[len(theirs) :])

"""Two source trees are held to the same bits: what is equal passes, what was changed is found and shown again."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import pantile as pt
from benchmarks import same_bits
from benchmarks.bits import draw, worker
from benchmarks.bits.digest import digest, plain
from benchmarks.bits.trees import Tree, environment_of

HERE = Path(pt.__file__).resolve().parents[1]
IN_THIS_PROCESS = sorted({*same_bits.WEIGHTS} - {"distributed", "processes", "large"})


@pytest.fixture
def few_dtypes(monkeypatch):
    """Each dtype compiles kernels of its own."""
    monkeypatch.setattr(draw, "DTYPES", ("f8", "f4", "u1"))


@pytest.mark.usefixtures("few_dtypes")
def test_cases_made_again_have_the_same_bits():
    steps = 0
    for code in itertools.islice(same_bits.codes(3, IN_THIS_PROCESS), 60):
        first, again = worker.made(code), worker.made(code)
        assert list(first.found) == list(again.found), code
        for name, found in first.found.items():
            assert digest(found) == digest(again.found[name]), f"{code} {name}"
        assert first.messages == again.messages, code
        steps += len(first.found)
    assert steps > 200


@pytest.mark.usefixtures("few_dtypes")
@pytest.mark.parametrize("family", IN_THIS_PROCESS)
def test_most_of_what_a_family_draws_works(family):
    results = [f for n in range(12) for f in worker.made(f"{family}:1:{n}").found.values()]
    works = sum(found[0] != "raises" for found in results)
    assert works > (0 if family == "mistakes" else len(results) / 2)


def test_families_are_those_that_are_drawn():
    assert set(worker.FAMILIES) == set(same_bits.WEIGHTS)
    assert {c.split(":")[0] for c in itertools.islice(same_bits.codes(0), 4000)} == set(
        same_bits.WEIGHTS
    )
    assert [*itertools.islice(same_bits.codes(5), 20)] == [
        *itertools.islice(same_bits.codes(5), 20)
    ]


CHEAP = ["--only", "grid,patchify", "--cases", "16"]


def test_a_tree_is_equal_to_itself(capsys):
    assert same_bits.main(["--old", str(HERE), "--new", str(HERE), *CHEAP]) == 0
    assert re.search(
        r"16 cases, \d{3} results compared, 0 cases differ, 0 messages", capsys.readouterr().out
    )


@pytest.fixture
def changed(tmp_path):
    """A copy of the package to which lines are added, or rather a package that stands before it."""

    def make(lines):
        folder = tmp_path / "changed" / "pantile"
        shutil.copytree(HERE / "pantile", folder, ignore=shutil.ignore_patterns("__pycache__"))
        with open(folder / "__init__.py", "a", encoding="utf-8") as file:
            file.write("\n" + lines)
        return str(folder.parent)

    return make


def test_a_changed_bit_is_found_and_shown_again(changed, capsys):
    old = changed("_honest = __getattr__('patchify')\n"
                  "def patchify(*a, **k):\n"
                  "    found = _honest(*a, **k).copy()\n"
                  "    found.ravel()[-1:] += 1 if found.dtype == 'f8' else 0\n"
                  "    return found\n")  # fmt: skip
    trees = ["--old", old, "--new", str(HERE)]
    assert same_bits.main([*trees, "--only", "patchify", "--cases", "25"]) == 1
    printed = capsys.readouterr().out
    code = re.search(rf"--old {old} --only (patchify:0:\d+)", printed)
    assert code, printed
    found = [line for line in printed.splitlines() if line.startswith("grid: array <f8")]
    assert not found or "was array <f8" in found[0]
    assert same_bits.main([*trees, "--only", code[1]]) == 1
    assert "DIFFERS view" in capsys.readouterr().out


def test_an_exception_of_another_type_is_a_difference_and_other_words_are_not(changed, capsys):
    old = changed("_honest = __getattr__('patchify')\n"
                  "def patchify(image, *a, **k):\n"
                  "    raise (ValueError if image.ndim > 1 else RuntimeError)('other words')\n")  # fmt: skip
    new = changed_again(old, "RuntimeError", "TypeError")
    assert same_bits.main(["--old", old, "--new", new, "--only", "patchify", "--cases", "25"]) == 1
    assert (
        "grid: raises TypeError other words, was raises RuntimeError other words"
        in capsys.readouterr().out
    )
    new = changed_again(old, "'other words'", "'others'")
    assert same_bits.main(["--old", old, "--new", new, "--only", "patchify", "--cases", "25"]) == 0
    assert "another message: patchify" in capsys.readouterr().out


def changed_again(old, this, that):
    new = f"{old}-{that.strip(chr(39))}"
    shutil.copytree(old, new)
    path = Path(new, "pantile", "__init__.py")
    path.write_text(path.read_text(encoding="utf-8").replace(this, that), encoding="utf-8")
    return new


def test_a_process_that_dies_or_hangs_is_a_difference_and_the_rest_goes_on(changed):
    old = changed("_honest = __getattr__('patchify')\n"
                  "def patchify(image, *a, **k):\n"
                  "    import os, time\n"
                  "    if image.ndim == 2: os.abort()\n"
                  "    if image.ndim == 3: time.sleep(60)\n"
                  "    return _honest(image, *a, **k)\n")  # fmt: skip
    trees = Tree(old, same_bits.WORKER, patience=5), Tree(str(HERE), same_bits.WORKER)
    try:
        found = same_bits.compare(trees, same_bits.codes(0, ["patchify"]), 6)
    finally:
        for tree in trees:
            tree.close()
    said = " ".join(what for _, what in found.differences)
    assert found.cases.total() == 6
    assert "the process ended" in said or "no answer in 5 s" in said
    assert len(found.differences) < 6


@pytest.mark.parametrize("other", [
    np.arange(6.0), np.arange(6, dtype="f4").reshape(2, 3), -np.arange(6.0).reshape(2, 3),
    np.arange(6.0).reshape(2, 3).astype(">f8"), [[0.0, 1, 2], [3, 4, 5]],
])  # fmt: skip
def test_digests_tell_bits_dtypes_and_shapes_apart(other):
    array = np.arange(6.0).reshape(2, 3)
    assert digest(plain(array)) == digest(plain(np.asfortranarray(array)[::-1][::-1]))
    assert digest(plain(array)) != digest(plain(other))
    assert digest(plain((array, 1))) != digest(plain((array, True)))


def test_what_cannot_be_compared_is_said():
    with pytest.raises(TypeError, match="a object cannot be compared"):
        plain(object())


def test_a_place_that_holds_no_package_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither a Python executable nor a folder"):
        environment_of(str(tmp_path))

"""What a type checker is told of calls: results are arrays and not `Any`, what is given as ``out`` comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARRAY = "ndarray[tuple[Any, ...], dtype[Any]]"  # as mypy says it
CALLS = {
    "pt.map_patches(same, image, 8, 4)": ARRAY,
    "pt.map_patches(lambda b: b.mean((1, 2)), image, 8, merge=None)": ARRAY,
    "pt.map_patches(untyped, image, 8)": ARRAY,
    "pt.map_patches(same, 'photo.png', grid, finalize=np.abs)": ARRAY,
    "pt.map_patches(same, image, 8, out='a.npy')": "str",
    "pt.map_patches(same, image, 8, out=Path('a.npy'))": "pathlib.Path",
    "pt.map_patches(same, image, 8, out=whole)": "ndarray[tuple[Any, ...], dtype[float32]]",
    "pt.map_patches(two, image, 8, out=('a.npy', 'b.npy'))": "tuple[Literal['a.npy']?, Literal['b.npy']?]",
    "pt.plan(same, image, 8).run()": ARRAY,
    "pt.plan(same, image, 8).batches": "dict[int, int]",
    "pt.unpatchify(pt.extract(image, grid), grid)": ARRAY,
    "pt.extract(image, 8, indices=[1, 2])": ARRAY,
    "pt.patchify(image, 8)": ARRAY,
    "pt.Merger(grid).result()": ARRAY,
    "grid.locate((1, 2))": "ndarray[tuple[Any, ...], dtype[int64]]",
    "matrix[1:5]": "pantile.matrix.matrix.PatchMatrix",
    "matrix[[1, 2]]": ARRAY,
    "matrix[0]": ARRAY,
    "matrix @ image[:64, 0]": ARRAY,
    "matrix.T @ image": ARRAY,
    "matrix.gram()": ARRAY,
    "matrix.mean(0)": ARRAY,
    "matrix.sample(3)[0]": ARRAY,
}
WRONG = {
    "pt.map_patches(same, image, 8, merge='average')": "call-overload",
    "pt.map_patches(3, image, 8)": "call-overload",
    "pt.unpatchify(image, grid, merge='average')": "arg-type",
    "pt.map_patch(same, image, 8)": "attr-defined",
    "pt.PatchGrid((8, 8), 'three')": "arg-type",
}
HEAD = """
from pathlib import Path
from typing import Any
import numpy as np
from numpy.typing import NDArray
import pantile as pt
image: NDArray[np.float32] = np.zeros((90, 90), np.float32)
whole: NDArray[np.float32] = np.empty_like(image)
grid = pt.PatchGrid(image.shape, 8, 4)
matrix = pt.PatchMatrix(image, grid)
def same(batch: NDArray[Any]) -> NDArray[Any]: return batch
def two(batch: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]: return batch, batch
def untyped(batch): return batch
"""


def test_a_type_checker_is_told_what_comes_out(tmp_path: Path) -> None:
    """`map_patches` was typed `Any`, so that no editor knew what it gives."""
    api = pytest.importorskip("mypy.api")
    lines = [*(f"reveal_type({call})" for call in CALLS), *WRONG]
    program = tmp_path / "program.py"
    program.write_text(HEAD + "\n".join(lines) + "\n")
    found, _, _ = api.run(
        ["--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary", "--cache-dir",
         str(ROOT / ".mypy_cache"), "--allow-untyped-defs", "--no-pretty", str(program)]
    )  # fmt: skip
    said = {int(n): text for n, text in re.findall(r"program\.py:(\d+): \w+: (.*)", found)}
    first = HEAD.count("\n") + 1
    for k, (call, wanted) in enumerate(CALLS.items()):
        text = said.get(first + k, found).replace("numpy.", "").replace("typing.", "")
        text = re.sub(r"builtins\.|\*", "", text)
        text = re.sub(r"floating\[[\w.]*_32Bit\]", "float32", text)
        text = re.sub(r"signedinteger\[[\w.]*_64Bit\]", "int64", text)
        assert text == f'Revealed type is "{wanted}"', call
    codes = re.findall(r"program\.py:(\d+): error: .*\[([a-z-]+)\]", found)
    errors = {int(n): code for n, code in codes}
    assert {n - first - len(CALLS): code for n, code in errors.items()} == dict(
        enumerate(WRONG.values())
    ), found

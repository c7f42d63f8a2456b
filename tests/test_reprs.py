"""What a notebook shows of an object: a line that says what it is, never the elements of an array."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest

import pantile as pt

IMAGE = np.random.default_rng(0).random((60, 70)).astype(np.float32)


def blur(batch):
    return batch


def plan(**options):
    return pt.plan(blur, IMAGE, 7, 2, weights=np.ones((7, 7)), workers=2, **options)


def rms():
    return pt.Merge(lambda shape, _: (np.zeros(shape),), np.add, blur, lambda state: state[0])


def sequence():
    return pytest.importorskip("pantile.integrations.lightgbm").PatchSequence(matrix())


def iterator():
    module = pytest.importorskip("pantile.integrations.xgboost")
    return module.PatchDataIter(matrix(), label=np.zeros(len(matrix())))


def dataset():
    pytest.importorskip("torch")
    return pt.integrations.torch.PatchDataset(matrix(), np.zeros(len(matrix())))


def sampler():
    return pt.integrations.torch.BlockShuffleSampler(1000, 64)


def matrix():
    return pt.PatchMatrix(IMAGE, 7)


def fitted():
    pytest.importorskip("sklearn")
    return pt.learn.PatchPCA(7, n_components=2).fit(IMAGE)


SHOWN = {
    "plan": (plan, ["(60, 70)", "float32", "7, step=2", "'mean'", "tiles", "held", "2 threads"]),
    "plan into an array": (
        lambda: plan(where=IMAGE > 0.5, fill=0.0, out=np.zeros((60, 70))),
        ["(60, 70)"],
    ),
    "plan without a merge": (lambda: pt.plan(blur, IMAGE, 7, merge=None), ["merge=None"]),
    "plan of a merge": (lambda: pt.plan(blur, IMAGE, 7, merge=rms()), ["merge=Merge(", "blur"]),
    "merge": (rms, ["Merge(", "init=<lambda>", "combine=blur", "accumulate=add"]),
    "grid": (lambda: pt.PatchGrid((60, 70), 7), ["60, 70"]),
    "matrix": (matrix, ["float32", "49"]),
    "transposed": (lambda: matrix().T, [".T"]),
    "array reader": (lambda: pt.files.open_image(IMAGE), ["(60, 70)", "float32"]),
    "sink": (lambda: pt.files.NpySink("a.npy"), ["a.npy"]),
    "lightgbm": (sequence, ["PatchSequence", "7, step=1", "batch_size"]),
    "xgboost": (iterator, ["PatchDataIter", "7, step=1"]),
    "torch": (dataset, ["PatchDataset", "7, step=1", "targets"]),
    "torch sampler": (sampler, ["BlockShuffleSampler(1000, 64"]),
    "estimator": (fitted, ["PatchPCA(", "n_components=2"]),
}


@pytest.mark.parametrize(("make", "parts"), SHOWN.values(), ids=SHOWN)
def test_an_object_is_shown_as_one_short_line_without_arrays(make, parts):
    shown = repr(make())
    assert len(shown) < 260
    assert "\n" not in shown
    assert not re.search(r"array\(|\[\[| object at 0x|<function", shown)
    for part in parts:
        assert part in shown


def test_a_notebook_shows_a_plan_as_the_table_that_it_prints():
    drawn = plan()
    page = drawn._repr_html_()
    rows = re.findall(r"<tr><th[^>]*>(.*?)</th><td[^>]*>(.*?)</td></tr>", page)
    said = "\n".join(f"{name:<9} {html.unescape(value)}" for name, value in rows)
    assert said == str(drawn)
    assert html.escape(repr(drawn)) in page


def test_a_name_in_a_plan_is_no_markup():
    class Pool:
        def submit(self, *args):
            raise AssertionError

    Pool.__name__ = "<script>"
    page = pt.plan(blur, IMAGE, 7, executor=Pool())._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_showing_a_plan_reads_nothing_of_the_image(tmp_path):
    class Unread:
        shape, dtype = (10**6, 10**6), np.dtype("u1")

        def __getitem__(self, key):
            raise AssertionError("read")

    drawn = pt.plan(blur, Unread(), 512, 256, out=tmp_path / "a.npy")
    assert "(1000000, 1000000) uint8" in repr(drawn)
    rows, columns = drawn.grid.counts
    assert f"{rows:,} x {columns:,} = {rows * columns:,} of 512x512" in drawn._repr_html_()

"""Selections with gaps as rectangles: each row once, and the same moments whatever the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import pantile as pt
from pantile.geometry.limits import Costs, Limits
from pantile.matrix.estimate import estimate_gram
from pantile.matrix.matrix import with_limits
from pantile.matrix.selection.masks import find_full

masks = array_shapes(min_dims=1, max_dims=3, max_side=9).flatmap(lambda s: arrays(bool, s))


@given(masks, st.sampled_from([1, 2, 9]))
def test_boxes_are_full_and_disjoint(mask, least):
    left = mask.copy()
    for bounds in find_full(mask, least):
        part = tuple(slice(*b) for b in bounds)
        assert left[part].all(), "not full, or in another box too"
        left[part] = False
    if least == 1:
        assert not left.any()


@pytest.mark.parametrize("hole", [False, True])
def test_a_rectangle_is_one_box_and_a_hole_leaves_four(hole):
    mask = np.zeros((200, 300), dtype=bool)
    mask[50:180, 20:290] = True
    boxes = find_full(~mask if hole else mask, 100)
    assert len(boxes) == (4 if hole else 1)
    covered = sum(np.prod([e - b for b, e in box]) for box in boxes)
    assert covered == (~mask if hole else mask).sum()


def circle(shape, radius):
    rows, columns = np.indices(shape)
    return (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2) ** 2 < radius**2


@pytest.mark.parametrize(
    ("least", "streams"), [(0.0, False), (1.0, False), (1e9, True)], ids=["all", "some", "none"]
)
@pytest.mark.parametrize("channels", [None, -1])
def test_moments_do_not_depend_on_the_way(least, streams, channels):
    rng = np.random.default_rng(0)
    shape = (70, 90) if channels is None else (70, 90, 2)
    images = [30_000 + rng.normal(size=shape), 30_000 + rng.normal(size=shape[1:2] + shape[1:])]
    masks = [circle(i.shape[:2], 30) for i in images]
    masks[1][:40, 5:80] = True
    grids = [pt.PatchGrid(i.shape[:2], 4, pad="same", pad_mode="reflect") for i in images]
    X = pt.PatchMatrix(images, grids, channel_axis=channels, where=masks)
    rows = X[np.arange(len(X))]
    X = with_limits(X, Limits(costs=Costs(rectangle_gain=least, cut=1e-6)))
    assert (estimate_gram(X.selection).way == "blocks") == streams
    found = X.cov()
    np.testing.assert_allclose(found, np.cov(rows, rowvar=False), rtol=1e-11, atol=1e-12)


def test_the_way_is_printed():
    where = circle((276, 376), 110)
    said = pt.PatchMatrix(np.zeros((300, 400)), 25, where=where).explain()
    assert "rows in no box" in said.splitlines()[-1]

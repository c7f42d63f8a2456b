"""Limits bound memory and choose ways to compute; results do not depend on them but for rounding."""

from __future__ import annotations

import math
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

import pantile as pt
from pantile.geometry.limits import LIMITS, Costs, Limits
from pantile.matrix.matrix import with_limits

TINY = Limits(
    row_block_bytes=100,
    numbered_rows=3,
    shuffled_rows=4,
    shift_rows=5,
    product_leaf_elements=1,
    product_group_elements=1,
    fft_points=40,
    spectra_elements=50,
    lag_spectra_elements=60,
    face_bytes=150,
    region_bytes=4000,
    tree_sums=2,
)
WAYS = {
    "blocks": Costs(fft=1e9, spectrum=1e9, dot=1e9, multiply_phases=math.inf),
    "boxes": Costs(cut=1e9, dot=1e9, call=0.0, multiply_phases=math.inf, rectangle_gain=0),
    "phases": Costs(cut=1e9, fft=1e9, spectrum=1e9, call=0.0, rectangle_gain=0),
}
IMAGE = np.random.default_rng(0).normal(100, 3, (21, 24, 2))
GRID = pt.PatchGrid((21, 24), (4, 3), (2, 1), pad="same", pad_mode="reflect")


def results(X, E):
    """Results of every kind, by name, and what NumPy makes of the explicit matrix."""
    V, U = np.cos(np.arange(E.shape[1] * 2)).reshape(-1, 2), np.sin(np.arange(len(E)))
    yield "X @ V", X @ V, E @ V
    yield "X.T @ u", X.T @ U, E.T @ U
    yield "gram", X.gram(), E.T @ E
    yield "cov", X.cov(), np.cov(E, rowvar=False)
    for axis in (None, 0, 1):
        yield f"mean({axis})", X.mean(axis), E.mean(axis)
        yield f"var({axis})", X.var(axis), E.var(axis)
    yield "row_norms", X.row_norms(), np.linalg.norm(E, axis=1)
    yield "X[:, 3]", X[:, 3], E[:, 3]
    yield "X[rows]", X[np.arange(0, len(E), 3)], E[::3]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", ["all", "rectangle", "scattered"])
def test_tiny_limits_change_results_by_rounding_only(rows, way):
    where = {"all": None, "rectangle": np.zeros(GRID.counts, bool)}.get(
        rows, np.random.default_rng(1).random(GRID.counts) < 0.4
    )
    if rows == "rectangle":
        where[2:9, 3:20] = True
    X = pt.PatchMatrix(IMAGE, GRID, channel_axis=2, where=where)
    E = np.asarray(X)
    small = with_limits(X, replace(TINY, costs=WAYS[way]))
    np.testing.assert_array_equal(np.asarray(small), E)
    for name, found, expected in results(small, E):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8, err_msg=name)


def test_a_dask_matrix_has_more_regions_where_tasks_may_read_less():
    array = pytest.importorskip("dask.array")
    X = pt.PatchMatrix(array.from_array(IMAGE, chunks=(21, 24, 2)), GRID, channel_axis=2)
    small = with_limits(X, TINY)
    assert repr(X).endswith("dask, 1 region>")
    assert int(repr(small).split("dask, ")[1].split()[0]) > 4
    E = np.asarray(pt.PatchMatrix(IMAGE, GRID, channel_axis=2))
    assert small.gram().name != X.gram().name
    for name, found, expected in results(small, E):
        np.testing.assert_allclose(found.compute(), expected, rtol=1e-9, atol=1e-8, err_msg=name)


def test_slices_keep_limits_and_pickles_do_not():
    X = with_limits(pt.PatchMatrix(IMAGE, GRID, channel_axis=2), TINY)
    assert X[3:90].selection.limits is TINY
    assert pickle.loads(pickle.dumps(X)).selection.limits is LIMITS


def test_every_size_says_its_unit():
    units = (
        *("bytes", "rows", "windows", "elements", "points", "boxes", "sums"),
        *("tiles", "patches", "batches", "seconds", "share"),
    )
    names = [field.name for field in fields(Limits) if field.name != "costs"]
    assert [name for name in names if not name.endswith(units)] == []

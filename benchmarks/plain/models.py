"""Cells of the search for similar patches, and of trees on all windows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.spatial.distance import cdist
from sklearn.tree import DecisionTreeRegressor

import pantile as pt
from benchmarks.cases import Array, Case, Ints
from benchmarks.plain.cell import Cell, Sides
from benchmarks.plain.products import rows_of
from benchmarks.plain.sizes import Kind, Size, sized
from pantile.learn import PatchForestClassifier, PatchForestRegressor

__all__ = ["cells"]

SEARCHED = (
    Kind(2, 7, 1, "float64"),
    Kind(2, 9, 1, "uint8"),
    Kind(2, 39, 1),
    Kind(3, 3, 1, "uint8"),
)
SERIES = (Kind(1, 64, 1, "float64"), Kind(1, 256, 1))
GROWN = (
    Kind(2, 15, 1, "uint8"),
    Kind(2, 3, 1, "uint8"),
    Kind(1, 63, 1, "uint8"),
    Kind(3, 3, 1, "uint8"),
)
RADIUS = 4


def cells(size: Size) -> Iterator[Cell]:
    """Every cell about searches and trees."""
    for kind in SEARCHED:
        yield Cell("similar", f"within {RADIUS}", sized(kind, Size(size.elements / 4)), _near)
        yield Cell(
            "similar", "4 everywhere", sized(kind, size.at_most(2000)), partial(_everywhere, 4)
        )
    for kind in SERIES:
        windows = Size(max(size.elements, 400 * kind.features)).at_most(2000)
        yield Cell("similar", "normalised", sized(kind, windows), _normalised)
    for kind in GROWN:
        case = sized(kind, Size(max(size.elements, 500 * kind.features)))
        yield Cell("forest", "fit one tree", case, _grown)
        yield Cell("forest", "predict, 10 trees", case, _predicted)


def _near(case: Case) -> Sides:
    """The least distance within a radius: for each lag, running sums of the squared differences."""
    image = case.image()
    lags = [lag for lag in np.ndindex(*(2 * RADIUS + 1,) * case.ndim) if set(lag) != {RADIUS}]

    def plain() -> Array:
        least = np.full(case.counts, np.inf)
        for lag in lags:
            _keep_nearer(least, image.astype(np.float64), tuple(np.array(lag) - RADIUS), case)
        return least

    return Sides(
        lambda: pt.similar(image, case.patch, radius=RADIUS).distances[..., 0], {"of lags": plain}
    )


def _keep_nearer(least: Array, values: Array, lag: Ints, case: Case) -> None:
    parts = [
        (slice(max(0, -d), n - max(0, d)), slice(max(0, d), n - max(0, -d)))
        for d, n in zip(lag, values.shape, strict=True)
    ]
    here, there = (tuple(each) for each in zip(*parts, strict=True))
    squares = (values[here] - values[there]) ** 2
    if any(n < p for n, p in zip(squares.shape, case.patch, strict=True)):
        return
    sums = uniform_filter(squares, case.patch, mode="constant") * case.features
    whole = tuple(
        slice(p // 2, p // 2 + n - p + 1) for n, p in zip(squares.shape, case.patch, strict=True)
    )
    goal = least[
        tuple(
            slice(s.start, s.start + n - p + 1)
            for s, n, p in zip(here, squares.shape, case.patch, strict=True)
        )
    ]
    np.minimum(goal, sums[whole], out=goal)


def _everywhere(k: int, case: Case) -> Sides:
    image = case.image()

    def plain() -> Array:
        rows = rows_of(case, image).astype(np.float64)
        pairs = cdist(rows, rows, "sqeuclidean")
        np.fill_diagonal(pairs, np.inf)
        return np.sort(np.partition(pairs, k - 1, axis=1)[:, :k], axis=1).reshape(*case.counts, k)

    return Sides(lambda: pt.similar(image, case.patch, k).distances, {"scipy cdist": plain})


def _normalised(case: Case) -> Sides:
    """The matrix profile, without windows that nearly are the same one."""
    image = case.image()
    apart = case.patch[0] // 4

    def plain() -> Array:
        rows = rows_of(case, image).astype(np.float64)
        rows -= rows.mean(axis=1, keepdims=True)
        rows /= rows.std(axis=1, keepdims=True)
        pairs = cdist(rows, rows, "sqeuclidean")
        lags = np.subtract.outer(np.arange(len(rows)), np.arange(len(rows)))
        pairs[np.abs(lags) <= apart] = np.inf
        found: Array = pairs.min(axis=1)
        return found

    def ours() -> Array:
        return pt.similar(image, case.patch, exclude=apart, normalize=True).distances[:, 0]

    return Sides(ours, {"scipy cdist": plain})


def _expanded(case: Case, image: Array) -> Array:
    """The windows around every element as rows, the image mirrored beyond its borders."""
    padded = np.pad(image, [(p // 2, p // 2) for p in case.patch], mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(padded, case.patch)
    return view.reshape(image.size, case.features)


def _grown(case: Case) -> Sides:
    """Three features say all of the numbers to be learned: both find them, in three levels."""
    image = case.image()
    rows = _expanded(case, image)
    bits = rows[:, [0, case.features // 2, case.features - 1]] > 127
    numbers = (bits @ np.array([1.0, 2.0, 4.0])).reshape(image.shape)

    def ours() -> Array:
        model = PatchForestRegressor(
            case.patch, n_estimators=1, max_features=None, bootstrap=False, max_depth=3
        )
        found: Array = model.fit(image, numbers).predict(image)
        return found

    def plain() -> Array:
        windows = _expanded(case, image)
        found = DecisionTreeRegressor(max_depth=3).fit(windows, numbers.ravel()).predict(windows)
        return np.asarray(found).reshape(image.shape)

    return Sides(ours, {"scikit-learn": plain})


def _predicted(case: Case) -> Sides:
    image = case.image()
    classes = (np.roll(image, 1) > 127).astype(np.int8) + (image > 200)
    model = PatchForestClassifier(case.patch, n_estimators=10, max_depth=8, random_state=0)
    theirs = model.fit(image, classes).to_sklearn()

    def plain() -> Array:
        found: Array = theirs.predict(_expanded(case, image)).reshape(image.shape)
        return found

    return Sides(lambda: model.predict(image), {"scikit-learn": plain})

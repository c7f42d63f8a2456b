"""Label images as small whole numbers: the place of each label among the classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.limits import LIMITS

__all__ = ["UNLABELLED", "encode", "encode_classes"]

Array = NDArray[Any]

UNLABELLED = -1
"""The label of pixels that take no part, as in `sklearn.semi_supervised`."""

_SLAB = LIMITS.label_rows


def encode_classes(labels: list[Array], unlabelled: Any = None) -> tuple[Array, list[Array]]:
    """The classes in ascending order, and each label's place among them; -1 where there is none.

    Unlabelled are -1 among numbers and "" among strings, or the label ``unlabelled`` instead; and NaN
    among floats. Among truth values and unsigned numbers nothing is, unless it is said.

    >>> classes, codes = encode_classes([np.array([7, -1, 3, 7])])
    >>> classes, codes[0]
    (array([3, 7]), array([ 1, -1,  0,  1], dtype=int8))
    """
    for each in labels:
        _check_kind(each)
        _check_unlabelled(each, unlabelled)
    if len({each.dtype.kind in "biuf" for each in labels}) > 1:
        raise TypeError("labels are strings for some images and numbers for others: give one kind")
    classes = np.unique(
        np.concatenate([found for each in labels for found in _iterate_classes(each, unlabelled)])
    )
    if not len(classes):
        mark = UNLABELLED if unlabelled is None else unlabelled
        raise ValueError(f"labels: every pixel is unlabelled ({mark}): label some")
    return classes, [encode(each, classes) for each in labels]


def encode(labels: Array, classes: Array) -> Array:
    """Each label's place among ``classes``, which are sorted; -1 where it is none of them."""
    dtype = np.min_scalar_type(-len(classes))
    flat = np.ascontiguousarray(labels).reshape(-1)
    codes = np.empty(flat.shape, dtype)
    find = _make_finder(classes, labels.dtype)
    for at in range(0, len(flat), _SLAB):
        codes[at : at + _SLAB] = find(flat[at : at + _SLAB])
    return codes.reshape(labels.shape)


def _make_finder(classes: Array, dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    """How labels find their place: in a table, where classes are whole numbers near each other, or by search."""
    span = _span_of(classes) if dtype == classes.dtype else None

    def search(labels: Array) -> Array:
        place = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        return np.where(classes[place] == labels, place, UNLABELLED)

    if span is None:
        return search
    table = np.full(span + 2, UNLABELLED)  # with room for what lies below and above
    table[1 + _beyond(classes, classes[0])] = np.arange(len(classes))

    def look_up(labels: Array) -> Array:
        places: Array = table[_beyond(labels, classes[0]).clip(-1, span) + 1]
        return places

    return look_up


def _span_of(values: Array) -> int | None:
    """How many whole numbers there are from the least to the largest; None where they are other or too far apart."""
    if values.dtype.kind not in "iu" or not len(values):
        return None
    span = int(values.max()) - int(values.min()) + 1
    return span if span <= LIMITS.label_span_elements else None


def _beyond(values: Array, least: Any) -> Array:
    """``values - least`` in 64 bits, where it may wrap around to what no near value has."""
    beyond: Array = np.subtract(values, least, dtype=np.int64, casting="unsafe")
    return beyond


def _unique(values: Array) -> Array:
    """`numpy.unique`, by a table where values are whole numbers near each other."""
    span = _span_of(values)
    if span is None:
        return np.unique(values)
    least, seen = values.min(), np.zeros(span, bool)
    seen[_beyond(values, least)] = True
    found = np.flatnonzero(seen).astype(np.uint64) + np.array(least).astype(np.uint64)
    return found.astype(values.dtype)


def _check_kind(labels: Array) -> None:
    if labels.dtype.kind not in "biufUST":
        raise TypeError(
            f"labels must be whole numbers, truth values or strings, got dtype {labels.dtype}:"
            " convert them, labels.astype(str)"
        )


def _check_unlabelled(labels: Array, unlabelled: Any) -> None:
    if unlabelled is not None and isinstance(unlabelled, str) != (labels.dtype.kind not in "biuf"):
        raise TypeError(
            f"unlabelled={unlabelled!r} is none of the labels' kind, which are {labels.dtype}"
        )


def _iterate_classes(labels: Array, unlabelled: Any) -> Iterator[Array]:
    """The different labels of each slab, without those that mean unlabelled."""
    flat = np.ascontiguousarray(labels).reshape(-1)
    for at in range(0, len(flat), _SLAB):
        values = _unique(flat[at : at + _SLAB])
        if unlabelled is not None:
            values = values[(values != unlabelled) & (values == values)]
        elif labels.dtype.kind in "if":
            values = values[(values != UNLABELLED) & (values == values)]
        elif labels.dtype.kind not in "bu":
            values = values[values != flat.dtype.type("")]
        if labels.dtype.kind == "f" and not (values % 1 == 0).all():
            raise ValueError(
                f"labels must be classes, got {values[values % 1 != 0][0]}: PatchRidge learns numbers"
            )
        yield values

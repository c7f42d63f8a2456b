"""Labels from class scores: ``finalize`` sees all channels of an element, wherever the channel axis stands."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt

SIDES = {3: 800, 21: 300, 150: 120}  # images of more elements than a block may have
LAYOUTS = {"channels first": 0, "channels last": -1, "NCHW": 1}
Array = NDArray[Any]


def network(classes: int, channel: int) -> Callable[[Array], Array]:
    """Scores of ``classes`` from three colours, on the channel axis of a batch of patches."""
    mix = np.random.default_rng(7).normal(size=(classes, 3))
    axis = channel if channel < 0 else 1
    return lambda batch: np.moveaxis(np.moveaxis(batch, axis, -1) @ mix.T, -1, axis)


def image_of(layout: str, side: int) -> Array:
    image = np.random.default_rng(side).normal(size=(side, side + 7, 3))
    image = image if layout == "channels last" else np.moveaxis(image, -1, 0)
    return np.stack([image, image[:, ::-1]]) if layout == "NCHW" else image


def scored(classes: int, layout: str, **options: Any) -> Any:
    channel = LAYOUTS[layout]
    image = image_of(layout, SIDES[classes])
    arguments: dict[str, Any] = {"channel_axis": channel, **options}
    if layout == "NCHW":
        arguments["axes"] = (2, 3)
    return pt.map_patches(network(classes, channel), image, 48, 24, **arguments)


@cache
def scores(classes: int, layout: str) -> Array:
    """What was merged, whole; read only."""
    found = scored(classes, layout)
    found.flags.writeable = False
    return np.asarray(found)


def place(kind: str, folder: Path) -> Any:
    return None if kind == "memory" else folder / f"labels.{kind}"


@pytest.mark.parametrize("kind", ["memory", "npy", "zarr"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", SIDES)
def test_labels_are_those_of_all_classes(
    classes: int, layout: str, kind: str, tmp_path: Path
) -> None:
    axis = LAYOUTS[layout]
    wanted = scores(classes, layout).argmax(axis)
    out = place(kind, tmp_path)
    found = scored(classes, layout, finalize=lambda s: s.argmax(axis), out=out)
    found = found if out is None else pt.files.open_image(out)[(slice(None),) * wanted.ndim]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kept", [2, 21, 30])
def test_chunks_of_channels_do_not_cut_what_finalize_sees(
    layout: str, kept: int, tmp_path: Path
) -> None:
    """A result with fewer, or more, channels than were merged, in a store with few channels to a chunk."""
    axis = LAYOUTS[layout]

    def finalize(slab: Array) -> Array:
        ranked = np.sort(slab, axis=axis)
        return np.concatenate([ranked, ranked], axis=axis).take(range(kept), axis=axis)

    wanted = finalize(scores(21, layout))
    chunks = [160] * wanted.ndim
    chunks[axis] = 2
    out = pt.files.ZarrSink(tmp_path / "a.zarr", chunks=tuple(chunks))
    scored(21, layout, finalize=finalize, out=out)
    found = pt.files.open_image(tmp_path / "a.zarr")[(slice(None),) * wanted.ndim]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_of_finalize_sees_every_channel(layout: str) -> None:
    """The first, which only tells what the result will be, and all others."""
    axis, seen = LAYOUTS[layout], set[int]()

    def finalize(slab: Array) -> Array:
        seen.add(slab.shape[axis])
        return slab.max(axis)

    scored(21, layout, finalize=finalize)
    assert seen == {21}

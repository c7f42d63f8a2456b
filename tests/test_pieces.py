"""Pieces joined in place, wherever they lie in memory, are pieces joined in a copy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import pantile as pt
from fuzz.tiles import tiles_of
from pantile.stream.tile_task import run_tile
from pantile.testing.compare import assert_same_bits

CASES: list[tuple[Any, Any]] = [
    *((merge, None) for merge in ("mean", "sum", "max", "min", "median", "var", "moments", "vote")),
    *((merge, None) for merge in ("first", "last", "center")),
    *((merge, "hann") for merge in ("mean", "sum", "var", "vote")),
]


def turned(patches: Any) -> Any:
    """Values of an element that differ from patch to patch."""
    return patches[:, ::-1, ::-1].copy()


def turned_patches(image: Any, grid: pt.PatchGrid) -> Any:
    patches = pt.extract(image, grid)
    return turned(patches.reshape(-1, *grid.patch)).reshape(patches.shape)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("merge", "weights"), CASES)
def test_a_part_of_a_piece_takes_the_others_in_place(
    merge: Any, weights: Any, dilation: int
) -> None:
    image = np.random.default_rng(0).integers(0, 9, (11, 13)).astype(np.float32)
    grid = pt.PatchGrid(image.shape, 4, 2, dilation=dilation)
    with tiles_of(40):
        plan = pt.plan(turned, image, grid, merge=merge, weights=weights, fill=0)
    job, tiles = plan.job, list(plan.tiling)
    assert len(tiles) > 3
    done = [run_tile(job, tile, job.read(tile)) for tile in tiles]
    merged = job.merged(done[0].kinds[0])
    pieces = [(t.span(merged.frame.axes), d.states[0]) for t, d in zip(tiles, done, strict=True)]
    together = pt.unpatchify(
        turned_patches(image, grid), grid, merge=merge, weights=weights, fill=0
    )
    whole = merged.block(((0, 11), (0, 13)), copy.deepcopy(pieces), ours=True)
    expected = together if merge == "moments" else (together,)
    for found, at_once in zip(whole, expected, strict=True):
        np.testing.assert_allclose(found, at_once, rtol=1e-5, atol=1e-6)
    (low, high), (left, right) = pieces[0][0]
    blocks = [
        ((0, 11), (0, 13)),
        ((3, 8), (2, 9)),
        ((low, high), (left + 1, right)),  # the first piece reaches over more than these
        ((low + 1, high - 1), (left, right - 1)),
    ]
    for bounds in blocks:
        apart = merged.block(bounds, copy.deepcopy(pieces))
        ours = merged.block(bounds, copy.deepcopy(pieces), ours=True)
        for found, expected in zip(ours, apart, strict=True):
            assert_same_bits(np.ascontiguousarray(found), np.ascontiguousarray(expected))

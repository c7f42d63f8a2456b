"""Stretches of padding, against the positions they stand for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pantile.geometry.boundary import MAPPED_MODES, mapped, segments


@pytest.mark.parametrize("mode", sorted(MAPPED_MODES))
def test_stretches_give_the_mapped_positions_and_are_few(mode: str) -> None:
    for size, begin, length in itertools.product((1, 2, 3, 7), range(-16, 9), range(1, 30)):
        found = segments(begin, begin + length, size, mode)
        at = [
            np.arange(size)[s.source][:: -1 if s.reverse else 1].repeat(
                1 if s.source.stop - s.source.start > 1 else s.end - s.begin
            )
            for s in found
        ]
        positions = np.arange(begin, begin + length)
        np.testing.assert_array_equal(np.concatenate(at), mapped(positions, size, mode))
        assert [s.begin for s in found[1:]] == [s.end for s in found[:-1]]
        turns = length // size + 3 if size > 1 else length  # each pass over the image is one
        assert len(found) <= 2 * turns

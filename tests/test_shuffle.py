"""Random orders that need no list of all numbers: permutations, shuffled blocks, distinct numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pantile.geometry.limits import Limits
from pantile.matrix.shuffle import draw_distinct, permute, shuffle_blocks


@given(st.integers(1, 3000), st.integers(0, 9), st.sampled_from([4, 1 << 20]))
def test_a_permutation_has_every_number_once(size, seed, listed):
    order = permute(size, np.random.default_rng(seed), Limits(shuffled_rows=listed))
    assert np.array_equal(np.sort(order(np.arange(size))), np.arange(size))


def test_unlisted_permutations_are_random():
    """Where a number goes is uniform, and neighbours part (chi-square, far in the tail)."""
    size, seeds = 50, 1500
    limits = Limits(shuffled_rows=0)
    orders = np.array(
        [permute(size, np.random.default_rng(s), limits)(np.arange(size)) for s in range(seeds)]
    )
    for position in (0, 1, 49):
        counts = np.bincount(orders[:, position], minlength=size)
        assert ((counts - seeds / size) ** 2 / (seeds / size)).sum() < 110  # 49 degrees of freedom
    gaps = np.bincount((orders[:, 1] - orders[:, 0]) % size, minlength=size)[1:]
    assert ((gaps - seeds / 49) ** 2 / (seeds / 49)).sum() < 110


@given(st.integers(1, 400), st.integers(1, 50), st.integers(1, 120), st.integers(0, 5))
def test_shuffled_blocks_have_every_number_once(size, block, pool, seed):
    found = list(shuffle_blocks(size, block, pool, np.random.default_rng(seed)))
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(size))
    assert max(map(len, found)) <= max(pool, block)


@given(st.integers(0, 200), st.floats(0, 1), st.integers(0, 5))
def test_distinct_numbers(size, part, seed):
    n = int(size * part)
    found = draw_distinct(size, n, np.random.default_rng(seed))
    assert len(found) == n
    assert (np.diff(found) > 0).all()
    assert n == 0 or (found[0] >= 0 and found[-1] < size)


def test_distinct_numbers_are_all_as_likely():
    hits = sum(
        np.bincount(draw_distinct(10, n, np.random.default_rng(s)), minlength=10)
        for s in range(1500)
        for n in (3, 8)
    )
    assert np.abs(hits / 1500 - 1.1).max() < 0.06  # 4 standard deviations

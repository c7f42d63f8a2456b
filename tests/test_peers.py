"""Every installed peer gives pantile's answer wherever it does the same work."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calls import Run, vector
from benchmarks.cases import Array, Case, Pair
from benchmarks.jobs import agree, inputs_of, rows_of
from benchmarks.peers import BASELINE, JOBS, PEERS, Job, Peer, installed, missing, refusal

OTHERS = [peer for peer in PEERS if installed(peer) and peer is not BASELINE[peer.job]]

pairs = st.tuples(st.integers(1, 6), st.integers(1, 6))


@st.composite
def cases(draw: st.DrawFn, peer: Peer) -> Case:
    """Return a case that `peer` does; for all but cuts, one whose patches cover the image."""
    patch, counts = draw(pairs), draw(pairs)
    step = _step(peer, patch, draw(pairs))
    patch = step if peer.steps == "patch" else patch
    rest = draw(pairs) if peer.job == "cut" else (1, 1)
    first, second = (
        p + s * (n - 1) + min(r, s) - 1
        for p, s, n, r in zip(patch, step, counts, rest, strict=True)
    )
    return Case((first, second), patch, step, draw(st.sampled_from(peer.dtypes)))


def _step(peer: Peer, patch: Pair, step: Pair) -> Pair:
    """Return the step nearest to `step` that `peer` takes and, for all but cuts, leaves no hole."""
    if peer.steps == "one":
        return 1, 1
    if peer.job != "cut" or peer.steps == "covering":
        step = min(step[0], patch[0]), min(step[1], patch[1])
    return (step[0], step[0]) if peer.steps in ("equal", "patch") else step


def answer(peer: Peer, case: Case, seed: int = 0) -> Array:
    """Return what `peer` makes of the case's noise, cuts as rows ``(n, features)``."""
    array = inputs_of(case, peer.job, {peer.layout}, seed)[peer.layout]
    before = array.copy()
    found = peer.make(case)(array)
    np.testing.assert_array_equal(array, before)
    return rows_of(found, case) if peer.job == "cut" else found


@pytest.mark.parametrize("peer", OTHERS, ids=str)
def test_peer_gives_the_answer_of_pantile(peer: Peer) -> None:
    @settings(deadline=None, max_examples=40)
    @given(case=cases(peer), seed=st.integers(0, 99))
    def check(case: Case, seed: int) -> None:
        assert not refusal(peer, case)
        found, expected = answer(peer, case, seed), answer(BASELINE[peer.job], case, seed)
        assert agree(found, expected), (found, expected)

    check()


def _twin(case: Case, job: Job) -> Run:
    """Return `job` in plain loops over the patches."""
    regions = [
        tuple(slice(n * s, n * s + p) for n, s, p in zip(at, case.step, case.patch, strict=True))
        for at in np.ndindex(*case.counts)
    ]

    def merge(patches: Array, mean: bool) -> Array:
        total, touched = np.zeros(case.shape), np.zeros(case.shape)
        for region, patch in zip(regions, patches.reshape(-1, *case.patch), strict=True):
            total[region] += patch
            touched[region] += 1
        return total / touched if mean else total

    v = vector(case).reshape(case.patch)

    def cut(image: Array) -> Array:
        return np.array([image[region] for region in regions])

    return {
        "cut": cut,
        "merge": lambda patches: merge(patches, mean=True),
        "sum": lambda patches: merge(patches, mean=False),
        "map": lambda image: merge(cut(image), mean=True),
        "product": lambda image: np.array([(p * v).sum() for p in cut(image).astype(float)]),
        "gram": lambda image: sum(
            np.outer(p, p) for p in cut(image).astype(float).reshape(case.n_patches, -1)
        ),
    }[job]


@pytest.mark.parametrize("job", JOBS)
def test_pantile_gives_the_answer_of_plain_loops(job: Job) -> None:
    @settings(deadline=None, max_examples=40)
    @given(case=cases(BASELINE[job]))
    def check(case: Case) -> None:
        array = inputs_of(case, job, {"patch"})["patch"]
        found, expected = answer(BASELINE[job], case), _twin(case, job)(array)
        expected = rows_of(expected, case) if job == "cut" else expected
        assert agree(found, expected), (found, expected)

    check()


def test_agree_sees_a_difference() -> None:
    array = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert agree(array, array.astype(np.float64))
    assert not agree(array, array + np.float32(1e-3))
    assert not agree(array, array.T)
    assert not agree(np.array([np.nan]), np.array([np.nan]))


def test_every_peer_is_installed() -> None:
    """The peers that the tests above leave out are named in the summary, not passed over."""
    if absent := missing():
        pytest.skip(f"left out, not installed: {', '.join(absent)}")

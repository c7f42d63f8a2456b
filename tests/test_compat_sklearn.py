"""`pantile.compat.sklearn` gives scikit-learn's patches, images, draws and errors, and more."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.feature_extraction import image as original
from sklearn.pipeline import make_pipeline

from conformance.outcomes import assert_same_array, assert_same_outcome, outcome, plain_type
from pantile.compat import sklearn as ours

GRAY = np.arange(20.0).reshape(4, 5)
MISSING = np.where(GRAY == 3, np.nan, GRAY)


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.lists(st.integers(2, 7), min_size=2, max_size=2))
    shape += draw(st.sampled_from([[], [1], [3], [2, 2]]))
    dtype = draw(st.sampled_from(["u1", "f8"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return (rng.random(shape) * 200).astype(dtype)


sizes = st.tuples(st.integers(0, 5), st.integers(1, 8))
limits = st.one_of(st.none(), st.integers(0, 60), st.floats(0, 1.1))


@given(image=images(), size=sizes, limit=limits, seed=st.integers(0, 9))
def test_patches_are_scikit_learns(image, size, limit, seed):
    options = {"max_patches": limit, "random_state": seed}
    before = image.copy()
    found, _ = assert_same_outcome(
        ours.extract_patches_2d, original.extract_patches_2d, image, size, **options
    )
    np.testing.assert_array_equal(image, before)
    if isinstance(found, np.ndarray):
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, image)


@given(image=images(), data=st.data())
def test_images_are_scikit_learns(image, data):
    size = tuple(data.draw(st.integers(1, n)) for n in image.shape[:2])
    patches = original.extract_patches_2d(image, size)
    patches = patches.reshape(len(patches), *size, *image.shape[2:])
    patches = patches + data.draw(st.sampled_from([0, 1])) * np.arange(patches.size).reshape(
        patches.shape
    )
    found, wanted = (m.reconstruct_from_patches_2d(patches, image.shape) for m in (ours, original))
    assert_same_array(found, wanted, rtol=1e-13, atol=1e-12)


def test_the_sequence_of_random_numbers_is_scikit_learns():
    states = [np.random.RandomState(3) for _ in range(2)]
    for module, state in zip((ours, original), states, strict=True):
        module.extract_patches_2d(GRAY, (2, 2), max_patches=0.5, random_state=state)
        module.PatchExtractor(patch_size=(2, 2), max_patches=3, random_state=state).transform(
            GRAY[None]
        )
    assert states[0].randint(2**31) == states[1].randint(2**31)


@pytest.mark.parametrize(
    "arguments",
    [
        (GRAY, 3),
        (GRAY, "ab"),
        (GRAY, (2, 2.0)),
        (GRAY, (2, 2, 2)),
        (GRAY, (-1, 2)),
        (GRAY.tolist(), (2, 2)),
        (MISSING, (2, 2)),
        (GRAY * 1j, (2, 2)),
        (GRAY[0], (2, 2)),
        (GRAY.astype(str), (2, 2)),
        (GRAY.astype(object), (2, 2)),
        (np.zeros((0, 3)), (1, 1)),
    ],
    ids=repr,
)
def test_odd_images_end_as_scikit_learns(arguments):
    assert_same_outcome(ours.extract_patches_2d, original.extract_patches_2d, *arguments)


@pytest.mark.parametrize("limit", ["a", True, 1.0, 1.5, 0.0, np.int64(4), np.float32(0.5)])
def test_odd_limits_end_as_scikit_learns(limit):
    both = ours.extract_patches_2d, original.extract_patches_2d
    assert_same_outcome(*both, GRAY, (2, 2), max_patches=limit, random_state=0)
    assert_same_outcome(*both, GRAY, (2, 2), max_patches=limit, random_state="seed")


@pytest.mark.parametrize(
    "arguments",
    [
        (np.ones((12, 2, 2)).tolist(), (4, 5)),
        (np.ones((12, 2, 2)), 4),
        (np.ones((12, 2, 2)), (4,)),
        (np.ones((12, 2, 2)), [4, 5]),
        (np.ones((12, 2)), (4, 5)),
        (np.ones((12, 2, 2), bool), (4, 5)),
        (np.ones((12, 2, 2), object), (4, 5)),
        (np.ones((12, 2, 2, 3)), (4, 5)),
    ],
    ids=lambda a: f"{np.shape(a[0])}-{a[1]}",
)
def test_odd_patches_end_as_scikit_learns(arguments):
    both = ours.reconstruct_from_patches_2d, original.reconstruct_from_patches_2d
    assert_same_outcome(*both, *arguments)


def test_what_scikit_learn_distorts_is_refused():
    patches = original.extract_patches_2d(GRAY, (2, 2))
    for arguments in [
        (patches[:-1], GRAY.shape),  # zeros where the last patch was
        (np.concatenate([patches, patches]), GRAY.shape),  # half of them unused
        (patches, (4, 5, 2)),  # the columns of a patch taken for channels
        (np.ones((12, 9, 9)), GRAY.shape),  # an image without patches
    ]:
        assert isinstance(outcome(original.reconstruct_from_patches_2d, *arguments), np.ndarray)
        assert plain_type(outcome(ours.reconstruct_from_patches_2d, *arguments)) is ValueError
    masked = np.ma.masked_greater(GRAY, 3)
    assert type(original.extract_patches_2d(masked, (2, 2))) is np.ndarray
    assert plain_type(outcome(ours.extract_patches_2d, masked, (2, 2))) is TypeError
    alias = original.extract_patches_2d(GRAY, GRAY.shape)
    assert np.shares_memory(alias, GRAY)
    assert not np.shares_memory(ours.extract_patches_2d(GRAY, GRAY.shape), GRAY)


EXTRACTORS = [
    {"patch_size": (2, 3)},
    {"patch_size": (1, 2), "max_patches": 7, "random_state": 5},
    {"max_patches": 0.4, "random_state": 5},
]


@pytest.mark.parametrize("parameters", EXTRACTORS, ids=repr)
@pytest.mark.parametrize("shape", [(3, 12, 20), (2, 12, 20, 3), (1, 12, 20, 2, 2)])
def test_extractors_are_scikit_learns(parameters, shape):
    stack = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    found, wanted = (m.PatchExtractor(**parameters).fit_transform(stack) for m in (ours, original))
    assert_same_array(found, wanted)


@pytest.mark.parametrize(
    ("parameters", "stack"),
    [
        ({"patch_size": [2, 2]}, GRAY[None]),
        ({"patch_size": (2, 2), "max_patches": -1}, GRAY[None]),
        ({"patch_size": (2, 2), "random_state": "seed"}, GRAY[None]),
        ({"patch_size": (2, 2, 2)}, GRAY[None]),
        ({"patch_size": (9, 2)}, GRAY[None]),
        ({}, GRAY[None]),
        ({"patch_size": (2, 2)}, GRAY),
        ({"patch_size": (2, 2)}, np.zeros((0, 4, 5))),
        ({"patch_size": (2, 2)}, MISSING[None]),
        ({"patch_size": (2, 2)}, [GRAY, GRAY]),
    ],
    ids=repr,
)
def test_odd_extractors_end_as_scikit_learns(parameters, stack):
    fits = (
        lambda x, m=m: m.PatchExtractor(**parameters).fit_transform(x) for m in (ours, original)
    )
    assert_same_outcome(*fits, stack)


def test_the_extractor_is_an_estimator():
    extractor = ours.PatchExtractor(patch_size=(2, 2), step=2)
    same = clone(extractor)
    assert same.get_params() == extractor.get_params()
    assert repr(same) == "PatchExtractor(patch_size=(2, 2), step=2)"
    assert isinstance(extractor, original.PatchExtractor)
    assert pickle.loads(pickle.dumps(extractor)).step == 2
    assert not extractor.__sklearn_tags__().requires_fit
    assert make_pipeline(same).fit_transform(GRAY[None]).shape == (6, 2, 2)
    assert same.set_params(step=1).fit_transform(GRAY[None]).shape == (12, 2, 2)


@settings(max_examples=15)
@given(data=st.data())
def test_any_step_and_any_number_of_axes_come_back(data):
    ndim = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(ndim))
    size = tuple(data.draw(st.integers(1, n)) for n in shape)
    step = tuple(data.draw(st.integers(1, p)) for p in size)
    channels = data.draw(st.sampled_from([(), (2,)]))
    volume = np.random.default_rng(0).random((*shape, *channels))
    patches = ours.extract_patches_nd(volume, size, step=step)
    merge = data.draw(st.sampled_from(["mean", "median"]))
    back = ours.reconstruct_from_patches_nd(
        patches, volume.shape, ndim=ndim, step=step, merge=merge
    )
    np.testing.assert_allclose(back, volume, rtol=1e-13)


def test_the_median_leaves_an_outlier_out():
    patches = ours.extract_patches_2d(GRAY, (2, 2))
    patches[5] += 1000
    mean = ours.reconstruct_from_patches_2d(patches, GRAY.shape)
    median = ours.reconstruct_from_patches_2d(patches, GRAY.shape, merge="median")
    inside = np.s_[1:3, 2:3]
    assert abs(mean - GRAY)[inside].min() > 100
    np.testing.assert_array_equal(median[1:3, 2], GRAY[1:3, 2])


def test_an_extractor_of_volumes():
    stack = np.random.default_rng(0).random((2, 4, 5, 6))
    found = ours.PatchExtractor(patch_size=(2, 3, 4), step=2, ndim=3).fit_transform(stack)
    wanted = [ours.extract_patches_nd(v, (2, 3, 4), step=2) for v in stack]
    np.testing.assert_array_equal(found, np.concatenate(wanted))

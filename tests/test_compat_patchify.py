"""`pantile.compat.patchify` gives what the package `patchify` gives, and refuses what it distorts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from conformance.outcomes import assert_same_array, outcome
from pantile.compat.patchify import NonUniformStepSizeError, patchify, unpatchify


@pytest.fixture(scope="module")
def original():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("patchify")


@st.composite
def laid(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...], int]:
    """Return an image of two or three axes that patches of a size cover at a step, and these."""
    ndim = draw(st.integers(2, 3))
    size = tuple(draw(st.integers(1, 5)) for _ in range(ndim))
    step = draw(st.integers(1, min(size)))
    shape = tuple(p + step * draw(st.integers(0, 4)) for p in size)
    dtype = draw(st.sampled_from(["u1", "f4"]))
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype), size, step


@given(case=laid(), data=st.data())
def test_the_same_patches_and_image(original, case, data):
    image, size, step = case
    cut = patchify(image, size, step)
    np.testing.assert_array_equal(cut, original.patchify(image, size, step))
    assert np.shares_memory(cut, image)
    back = unpatchify(cut, image.shape)
    assert_same_array(back, image)
    # patches that do not agree: each on top of those before it, the same ones as in the original
    seed = data.draw(st.integers(0, 99))
    other = np.random.default_rng(seed).integers(0, 200, cut.shape).astype(image.dtype)
    found, wanted = unpatchify(other, image.shape), original.unpatchify(other, image.shape)
    assert_same_array(found, wanted)


def _loops_forever(patches: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the original would step on the spot: it goes to the patch that the last one's end is in."""
    n = len(shape)
    rows = zip(shape, patches.shape[:n], patches.shape[n:], strict=True)
    return any(count > 1 and size - p > p * (count - 1) for size, count, p in rows)


@given(case=laid(), data=st.data())
def test_an_image_without_holes_or_an_error(original, case, data):
    """Whatever the shapes: the original's image or its error; an error of ours where it leaves zeros."""
    image, size, step = case
    shape = tuple(n + data.draw(st.integers(0, 2)) for n in image.shape)
    patches = np.ones_like(patchify(image, size, step)) + image.dtype.type(1)
    found = outcome(unpatchify, patches, shape)
    if _loops_forever(patches, shape):
        assert isinstance(found, ValueError | NonUniformStepSizeError)
        return
    wanted = outcome(original.unpatchify, patches, shape)
    if isinstance(wanted, RuntimeError):
        assert isinstance(found, NonUniformStepSizeError)
        for error in (found, wanted):  # of several such axes each names one, not the same
            exact = (error.imsize - error.patch_size) / (error.n_patches - 1)
            assert error.step_size == exact != int(exact)
    elif isinstance(found, Exception):
        assert isinstance(found, ValueError)
        assert isinstance(wanted, np.ndarray)
        assert (wanted == 0).any()
    else:
        assert_same_array(found, wanted)


def test_errors_are_the_originals_types():
    with pytest.raises(AssertionError):
        unpatchify(np.zeros((2, 2, 2)), (3, 3))
    with pytest.raises(ValueError, match="4 axes"):
        unpatchify(np.zeros((2, 2, 2)), (3, 3))
    with pytest.raises(RuntimeError, match="no whole step"):
        unpatchify(np.zeros((2, 3, 4, 4)), (8, 11))
    with pytest.raises(TypeError, match="ndarray"):
        patchify([[1, 2], [3, 4]], 2)


def test_a_dropped_tail_is_seen_in_a_view():
    """Cut 4 apart from 14 elements, patches of 8 stand at 0 and 4; the shapes alone say 0 and 6."""
    cut = patchify(np.arange(14.0), 8, step=4)
    with pytest.raises(ValueError, match="cut 4 apart"):
        unpatchify(cut, (14,))
    back = unpatchify(cut, (14,), step=4, fill=-1)
    np.testing.assert_array_equal(back, [*range(12), -1, -1])


def test_a_dropped_tail_leaves_no_zeros():
    cut = np.ascontiguousarray(patchify(np.arange(10.0), 4, step=4))
    with pytest.raises(
        ValueError, match="fill"
    ):  # the computed step is 6: elements 4 and 5 in none
        unpatchify(cut, (10,))
    with pytest.raises(ValueError, match="fill"):
        unpatchify(cut[:1], (10,))


@pytest.mark.parametrize("tail", ["shift", "respace", "pad"])
@pytest.mark.parametrize("merge", [None, "mean", "median"])
def test_every_tail_comes_back(tail, merge):
    image = np.random.default_rng(0).random((11, 14))
    cut = patchify(image, (4, 5), step=3, tail=tail)
    assert cut.ndim == 4
    back = unpatchify(cut, image.shape, step=3, tail=tail, merge=merge)
    np.testing.assert_allclose(back, image, rtol=1e-13)


def test_averaging_uses_every_patch():
    image = np.arange(12.0).reshape(3, 4)
    cut = patchify(image, 2) + np.random.default_rng(0).random((2, 3, 2, 2))
    touched, total = np.zeros(image.shape), np.zeros(image.shape)
    for i, j in np.ndindex(2, 3):
        total[i : i + 2, j : j + 2] += cut[i, j]
        touched[i : i + 2, j : j + 2] += 1
    np.testing.assert_allclose(unpatchify(cut, image.shape, merge="mean"), total / touched)


@given(case=laid(), axes=st.integers(1, 4))
def test_any_number_of_axes(case, axes):
    image, size, step = case
    image, size = image[0], size[1:]
    for _ in range(axes - image.ndim):
        image, size = np.stack([image, image + 1]), (1, *size)
    assume(image.ndim < 5)
    step = (step,) * len(size) if len(size) == image.ndim else step
    cut = patchify(image, size, tuple(min(step[k], size[k]) for k in range(image.ndim)))
    assert_same_array(unpatchify(cut, image.shape), image)


def test_objects_and_words_come_back():
    for image in (np.array([["a", "bc"], ["d", "e"]]), np.array([[None, 3], [{}, "x"]])):
        assert_same_array(unpatchify(patchify(image, 1), image.shape), image)


def test_the_step_follows_the_patches_not_their_memory():
    """A transposed copy has strides that could be steps; only windows share memory with neighbours."""
    patches = np.random.default_rng(0).random((4, 3, 3, 4)).transpose(2, 1, 3, 0)
    image = np.random.default_rng(1).random((7, 6))
    cut = patchify(image, (4, 4), step=(1, 1))
    for memory in (cut, cut.copy(), np.asfortranarray(cut), cut[..., ::-1][..., ::-1]):
        np.testing.assert_array_equal(unpatchify(memory, image.shape), image)
    assert unpatchify(patches, (6, 8)).shape == (6, 8)

"""`pantile.compat.torch` gives torch's columns and sums, their gradients, and its errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

from conformance.outcomes import outcome, plain_type
from pantile.compat.torch import fold, unfold

original = torch.nn.functional
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
DTYPES = [*FLOATS, torch.complex64, torch.complex128, torch.bool]
# what a sum of a few dozen terms of about 1 may lose in torch, which rounds after each
ATOL = {torch.float32: 1e-5, torch.float64: 1e-13, torch.float16: 0.1, torch.bfloat16: 0.8}
ATOL |= {torch.complex64: 1e-5, torch.complex128: 1e-13, torch.bool: 0}

numbers = st.integers(1, 3)
pairs = st.one_of(numbers, st.tuples(numbers, numbers))


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    padding = st.integers(0, 2)
    return {
        "kernel_size": draw(pairs),
        "dilation": draw(pairs),
        "padding": draw(st.one_of(padding, st.tuples(padding, padding))),
        "stride": draw(pairs),
    }


def tensor(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)
    made = made if dtype.is_complex else made.real
    return (made > 0.5) if dtype == torch.bool else made.to(dtype)


@given(
    shape=st.lists(st.integers(1, 7), min_size=3, max_size=4),
    geometry=geometries(),
    dtype=st.sampled_from(DTYPES),
    turned=st.booleans(),
)
def test_columns_and_sums_are_torchs(shape, geometry, dtype, turned):
    image = tensor(shape, dtype)
    image = image.transpose(-1, -2) if turned else image
    found, wanted = (outcome(m, image, **geometry) for m in (unfold, original.unfold))
    if isinstance(wanted, Exception):
        assert isinstance(found, RuntimeError), found
        return
    assert found.dtype == wanted.dtype
    assert found.is_contiguous()
    assert torch.equal(found, wanted)
    back, theirs = (m(wanted, tuple(image.shape[-2:]), **geometry) for m in (fold, original.fold))
    assert back.dtype == theirs.dtype == dtype
    assert back.shape == theirs.shape == image.shape
    exact = torch.complex128 if dtype.is_complex else torch.float64
    torch.testing.assert_close(back.to(exact), theirs.to(exact), rtol=0, atol=ATOL[dtype])


IMAGE = torch.arange(32.0).reshape(1, 2, 4, 4)
COLUMNS = original.unfold(IMAGE, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        *[(IMAGE, kernel) for kernel in (5, 0, 2.0, "a", (2, 2.0), None)],
        *[(IMAGE, 2, *rest) for rest in ((0,), (1, -1), (1, 0, 0), ((1, 2, 3),), (1, 0, 1.5))],
        (IMAGE.numpy(), 2),
        (IMAGE[:, :0], 2),
        (IMAGE[:0], 2),
        (IMAGE[..., :0], 2),
    ],
    ids=lambda a: str(a[1:]),
)
def test_odd_images_end_as_torchs(arguments):
    assert_alike(outcome(unfold, *arguments), outcome(original.unfold, *arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        (COLUMNS, 4, 2),
        (COLUMNS[0], (4, 4), 2),
        (COLUMNS[:0], (4, 4), 2),
        (COLUMNS, (5, 4), 2),
        (COLUMNS, (4, -4), 2),
        (COLUMNS, (4, 4), 3),
        (COLUMNS[:, :7], (4, 4), 2),
        (COLUMNS[..., :8], (4, 4), 2),
        (COLUMNS[0, 0], (4, 4), 2),
        (COLUMNS.numpy(), (4, 4), 2),
        (COLUMNS, (4.0, 4), 2),
        (COLUMNS.long(), (4, 4), 2),
    ],
    ids=lambda a: f"{tuple(a[0].shape)}-{a[1:]}",
)
def test_odd_columns_end_as_torchs(arguments):
    assert_alike(outcome(fold, *arguments), outcome(original.fold, *arguments))


def assert_alike(found: Any, wanted: Any) -> None:
    if isinstance(wanted, Exception):
        assert isinstance(found, plain_type(wanted)), f"{found!r}, expected {wanted!r}"
    else:
        assert torch.equal(found, wanted)
        assert found.shape == wanted.shape


GEOMETRY = {"kernel_size": (2, 3), "dilation": (2, 1), "padding": (1, 2), "stride": (2, 1)}


def cut(image: Any) -> Any:
    return unfold(image, **GEOMETRY)


def merged(columns: Any) -> Any:
    return fold(columns, (5, 6), **GEOMETRY)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.torch.jit:FutureWarning"
)  # torch's own
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_to_the_second_order_and_forward(dtype):
    options = {"kernel_size": 2, "dilation": (1, 2), "padding": (0, 1), "stride": (2, 1)}
    image = tensor((1, 2, 4, 3), dtype).requires_grad_()
    columns = unfold(image, **options).detach().requires_grad_()
    for function, argument in (
        (lambda x: unfold(x, **options), image),
        (lambda x: fold(x, (4, 3), **options), columns),
    ):
        assert torch.autograd.gradcheck(function, argument, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, argument, fast_mode=True)


def test_a_loss_has_torchs_gradients():
    image = tensor((2, 3, 7, 7), torch.float32)
    gradients = []
    for module in ((unfold, fold), (original.unfold, original.fold)):
        leaf = image.clone().requires_grad_()
        columns = module[0](leaf, 3, padding=1)
        loss = (module[1](columns.sin(), (7, 7), 3, padding=1) ** 2).mean()
        loss.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.torch.jit:FutureWarning"
)  # torch's own
def test_transforms_of_functions():
    image = tensor((1, 2, 5, 6), torch.float64)
    stack = tensor((3, 1, 2, 5, 6), torch.float64)
    torch.testing.assert_close(
        torch.func.jacrev(cut)(image), torch.func.jacfwd(cut)(image), rtol=0, atol=0
    )
    each = torch.stack([cut(one) for one in stack])
    assert torch.equal(torch.func.vmap(cut)(stack), each)
    assert torch.equal(torch.func.vmap(cut, in_dims=1)(stack.movedim(0, 1)), each)
    assert torch.equal(torch.func.vmap(merged)(each), torch.stack([merged(one) for one in each]))


def test_cutting_and_summing_are_adjoint_on_any_number_of_axes():
    for spatial, kernel, options in [
        ((9,), (3,), {"stride": (2,), "padding": (1,)}),
        ((5, 6, 7), (2, 3, 2), {"stride": 2, "dilation": (2, 1, 1)}),
        ((3, 4, 3, 4), (2, 2, 2, 2), {"padding": 1}),
    ]:
        image = tensor((2, 3, *spatial), torch.float64)
        columns = unfold(image, kernel, **options)
        other = tensor(tuple(columns.shape), torch.float64, 1)
        left = (columns * other).sum()
        right = (image * fold(other, spatial, kernel, **options)).sum()
        torch.testing.assert_close(left, right)
        assert columns.shape[1] == 3 * np.prod(kernel)
    volume = tensor((2, 3, 5, 5, 5), torch.float64)
    assert torch.equal(unfold(volume, 2), unfold(volume, (2, 2, 2)))
    one = unfold(volume[:, :, 0], (2, 2)).reshape(2, 3, 4, 16)
    first = unfold(volume, (1, 2, 2)).reshape(2, 3, 4, 5, 16)[..., 0, :]
    assert torch.equal(one, first)


def test_half_precision_sums_are_rounded_once():
    """4096 ones in one element: torch, adding in float16, stays at 2048."""
    ones = torch.ones(1, 64 * 64, 64 * 64, dtype=torch.float16)
    assert fold(ones, (127, 127), 64)[0, 0, 63, 63] == 4096
    assert original.fold(ones, (127, 127), 64)[0, 0, 63, 63] == 2048


def test_the_examples_of_the_docstrings():
    rows = unfold(torch.arange(9.0).reshape(1, 3, 3), 2)
    assert rows.tolist() == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    touched = fold(unfold(torch.ones(1, 3, 3), 2), (3, 3), 2)
    assert touched.tolist() == [[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.int16])
def test_integers_are_cut_which_torch_does_not(dtype):
    image = IMAGE.to(dtype)
    assert isinstance(outcome(original.unfold, image, 2), NotImplementedError)
    assert torch.equal(unfold(image, 2), COLUMNS.to(dtype))


def test_memory_is_read_in_place_and_never_written():
    image = tensor((1, 2, 5, 6), torch.complex64)
    before = image.clone()
    assert torch.equal(cut(image.conj()), original.unfold(image.conj(), **GEOMETRY))
    result = cut(image)
    result.zero_()
    assert torch.equal(image, before)


@pytest.mark.parametrize("place", [{"device": "meta"}, {"layout": torch.sparse_coo}])
def test_other_devices_and_layouts_are_refused_in_words(place):
    image = torch.zeros((1, 1, 4, 4), **place)
    with pytest.raises(RuntimeError, match="on the CPU"):
        unfold(image, 2)

"""torch's own sample inputs for `unfold` and `Tensor.unfold`, as its installed test database has them, given to ours.

Not collected with pantile's tests: ``python -m pytest conformance/torch_samples.py``.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    database = pytest.importorskip("torch.testing._internal.common_methods_invocations")

import pantile as pt
from pantile.compat.torch import fold, unfold

pytestmark = pytest.mark.filterwarnings("ignore")
UNFOLD = next(op for op in database.op_db if op.name == "nn.functional.unfold")
DTYPES = sorted(UNFOLD.dtypes, key=str)


def samples(dtype: Any, grad: bool = False) -> list[Any]:
    torch.manual_seed(0)
    return list(UNFOLD.sample_inputs("cpu", dtype, requires_grad=grad))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unfold_of_every_sample(dtype: Any) -> None:
    for sample in samples(dtype):
        found = unfold(sample.input, *sample.args, **sample.kwargs)
        assert torch.equal(found, UNFOLD.op(sample.input, *sample.args, **sample.kwargs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_gradient_of_every_sample(dtype: Any) -> None:
    for sample in samples(dtype, grad=True):
        gradients = []
        for function in (unfold, UNFOLD.op):
            columns = function(sample.input, *sample.args, **sample.kwargs)
            weights = torch.linspace(-1, 1, columns.numel(), dtype=dtype).reshape(columns.shape)
            gradients += torch.autograd.grad(columns, sample.input, weights)
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_fold_of_the_columns_of_every_sample(dtype: Any) -> None:
    for sample in samples(dtype):
        columns = UNFOLD.op(sample.input, *sample.args, **sample.kwargs)
        size = sample.input.shape[-2:]
        found = fold(columns, size, *sample.args, **sample.kwargs)
        wanted = torch.nn.functional.fold(columns, size, *sample.args, **sample.kwargs)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


# the verbs themselves, on tensors: columns are patches in feature layout, and windows are views

WINDOWS = next(op for op in database.op_db if op.name == "unfold")


def filled(dtype: Any, grad: bool = False) -> list[Any]:
    """The samples that have elements: the verbs refuse empty images, `compat.torch` does not."""
    found = [sample for sample in samples(dtype, grad) if sample.input.numel()]
    assert len(found) > 50
    return found


def numbers(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def grid_of(sample: Any) -> pt.PatchGrid:
    names = ("kernel_size", "dilation", "padding", "stride")
    given = dict(zip(names, sample.args, strict=False)) | sample.kwargs
    pads = [(p, p) for p in numbers(given.get("padding", 0))]
    return pt.PatchGrid(
        tuple(sample.input.shape[-2:]),
        numbers(given["kernel_size"]),
        numbers(given.get("stride", 1)),
        dilation=numbers(given.get("dilation", 1)),
        pad=pads,
        tail="drop",
    )


def columns_of(sample: Any) -> Any:
    grid, image = grid_of(sample), sample.input
    patches = pt.extract(image, grid, channel_axis=image.ndim - 3, layout="feature")
    return patches.flatten(-3).mT


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extract_of_every_sample(dtype: Any) -> None:
    for sample in filled(dtype):
        found = columns_of(sample)
        assert torch.equal(found, UNFOLD.op(sample.input, *sample.args, **sample.kwargs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_first_and_second_gradients_of_extract(dtype: Any) -> None:
    for sample in filled(dtype, grad=True):
        found = []
        for function in (columns_of, lambda s: UNFOLD.op(s.input, *s.args, **s.kwargs)):
            loss = function(sample).abs().pow(3).sum()
            (first,) = torch.autograd.grad(loss, sample.input, create_graph=True)
            found.append((first, *torch.autograd.grad(first.abs().square().sum(), sample.input)))
        torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.complex128], ids=str)
def test_unpatchify_of_the_columns_of_every_sample(dtype: Any) -> None:
    for sample in filled(dtype):
        columns = UNFOLD.op(sample.input, *sample.args, **sample.kwargs)
        size, grid = sample.input.shape[-2:], grid_of(sample)
        image = pt.unpatchify(
            columns.mT, grid, channel_axis=sample.input.ndim - 3, merge="sum", fill=0
        )
        wanted = torch.nn.functional.fold(columns, size, *sample.args, **sample.kwargs)
        torch.testing.assert_close(image, wanted)


@pytest.mark.parametrize("dtype", sorted(WINDOWS.dtypes, key=str), ids=str)
def test_patchify_of_every_sample(dtype: Any) -> None:
    """Their views are ours, of the same memory, wherever a patch holds something and moves."""
    torch.manual_seed(0)
    compared = 0
    for sample in WINDOWS.sample_inputs("cpu", dtype):
        dimension, size, step = sample.args
        if sample.input.ndim == 0 or sample.input.numel() == 0 or size == 0:
            continue  # no axis, no element, no sample: refused by `patchify`
        found = pt.patchify(sample.input, (size,), step, axes=(dimension,))
        wanted = WINDOWS.op(sample.input, dimension, size, step)
        bits = torch.view_as_real if dtype is torch.complex32 else torch.clone
        assert torch.equal(bits(found), bits(wanted))
        assert found.data_ptr() == wanted.data_ptr()
        compared += 1
    assert compared >= 5

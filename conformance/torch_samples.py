"""torch's own sample inputs for `unfold`, as its installed test database has them, given to ours.

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

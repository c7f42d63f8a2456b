"""torch: one node of autograd per verb, its backward the adjoint verb; vmap, compile and opcheck, over random grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pantile as pt
from pantile.testing import slow
from pantile.testing import strategies as some

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

FEW = settings(max_examples=max(4, settings().max_examples // 4))
MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def tensor(shape: Any, seed: int, dtype: Any = None) -> Any:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype or torch.float64, generator=made).requires_grad_()


@st.composite
def cases(draw: st.DrawFn) -> tuple[pt.PatchGrid, tuple[int, ...], int | None]:
    """A grid, the shape of an image with a batch axis, and its channel axis."""
    grid = draw(some.grids(pad_modes=MODES))
    shape = [2, *grid.shape]
    channel = draw(st.one_of(st.none(), st.integers(0, grid.ndim + 1)))
    if channel is not None:
        shape.insert(channel, 2)
    assume(np.prod(shape) <= 250 and grid.n_patches * grid.features <= 400)
    return grid, tuple(shape), channel


@FEW
@given(cases(), st.integers(0, 9))
def test_gradients_of_extract(case: Any, seed: int) -> None:
    grid, shape, channel = case
    image = tensor(shape, seed)
    rows = np.random.default_rng(seed).integers(0, len(grid), 3)

    for indices in (None, rows):

        def cut(x: Any, indices: Any = indices) -> Any:
            return pt.extract(x, grid, channel_axis=channel, indices=indices)

        wanted = pt.extract(image.detach().numpy(), grid, channel_axis=channel, indices=indices)
        np.testing.assert_array_equal(cut(image).detach().numpy(), wanted)
        assert torch.autograd.gradcheck(cut, image, fast_mode=True)
        assert torch.autograd.gradgradcheck(cut, image, fast_mode=True)


@FEW
@given(cases(), st.data())
def test_gradients_of_unpatchify(case: Any, data: st.DataObject) -> None:
    grid, shape, channel = case
    merge = data.draw(st.sampled_from(["mean", "sum"]))
    weights = data.draw(st.one_of(st.none(), some.tapers(grid.patch)))
    each = data.draw(st.one_of(st.none(), some.patch_weights(len(grid))))
    seed = data.draw(st.integers(0, 9))
    patches = pt.extract(np.zeros(shape), grid, channel_axis=channel)
    given_patches = tensor(patches.shape, seed)
    options = {"merge": merge, "weights": weights, "patch_weights": each, "fill": 0.5}

    def merged(y: Any) -> Any:
        return pt.unpatchify(y, grid, channel_axis=channel, **options)

    wanted = pt.unpatchify(given_patches.detach().numpy(), grid, channel_axis=channel, **options)
    np.testing.assert_array_equal(merged(given_patches).detach().numpy(), wanted)
    assert torch.autograd.gradcheck(merged, given_patches, fast_mode=True)
    assert torch.autograd.gradgradcheck(merged, given_patches, fast_mode=True)


@FEW
@given(
    cases(), st.integers(0, 9), st.sampled_from(["max", "min", "first", "last", "center", "var"])
)
def test_gradients_of_other_merges(case: Any, seed: int, merge: str) -> None:
    grid, shape, channel = case
    patches = pt.extract(np.zeros(shape), grid, channel_axis=channel)
    given_patches = tensor(patches.shape, seed)
    options = {"merge": merge, "channel_axis": channel, "fill": 0.5}
    found = pt.unpatchify(given_patches, grid, **options)
    wanted = pt.unpatchify(given_patches.detach().numpy(), grid, **options)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda y: pt.unpatchify(y, grid, **options), given_patches, fast_mode=True, atol=1e-4
    )


@FEW
@given(some.grids(pads=False, tails=("drop", "center")), st.integers(0, 9))
def test_gradients_of_views(grid: pt.PatchGrid, seed: int) -> None:
    """There and back: patches that stand on the grid, whose gradient is a view."""
    assume(grid.regular and grid.n_patches * grid.features <= 400)
    image = tensor(grid.shape, seed)
    for function in (
        lambda x: pt.patchify(x, grid),
        lambda x: pt.unpatchify(pt.patchify(x, grid) ** 2, grid, weights="hann", fill=0),
    ):
        assert torch.autograd.gradcheck(function, image, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, image, fast_mode=True)


def test_the_gradient_of_patches_on_the_grid_is_a_view() -> None:
    patches = pt.patchify(torch.rand(30, 30).double(), 7).clone().requires_grad_()
    image = pt.unpatchify(patches, (30, 30))
    (found,) = torch.autograd.grad(image.sum(), patches)
    assert found.untyped_storage().nbytes() <= 30 * 30 * 8
    np.testing.assert_allclose(found.numpy()[0, 0, 0, 0], 1)
    np.testing.assert_allclose(found.sum().item(), 900, rtol=1e-5)


@FEW
@given(cases(), st.integers(0, 9))
def test_a_merger_is_one_node(case: Any, seed: int) -> None:
    grid, shape, channel = case
    patches = tensor(pt.extract(np.zeros(shape), grid, channel_axis=channel).shape, seed)
    rows = np.random.default_rng(seed).permutation(len(grid))[: max(1, len(grid) - 1)]

    def merged(y: Any) -> Any:
        merger = pt.Merger(grid, weights="hann", channel_axis=channel, fill=0)
        for part in np.array_split(rows, 2):
            merger.add(y.narrow(1, 0, y.shape[1])[:, part], part)
        return merger.result()

    np.testing.assert_allclose(
        merged(patches).detach().numpy(), merged(patches.detach()).numpy(), rtol=1e-12, atol=1e-14
    )
    assert torch.autograd.gradcheck(merged, patches, fast_mode=True)


@FEW
@given(cases(), st.integers(0, 9))
def test_gradients_of_products(case: Any, seed: int) -> None:
    grid, shape, channel = case
    assume(grid.pad_mode == "constant")
    image = tensor(shape, seed)
    X = pt.PatchMatrix(image.detach().numpy(), grid, channel_axis=channel)
    V, U = tensor((X.shape[1], 2), seed + 1), tensor((X.shape[0], 2), seed + 2)

    def product(x: Any, v: Any) -> Any:
        return pt.PatchMatrix(x, grid, channel_axis=channel) @ v

    def adjoint(x: Any, u: Any) -> Any:
        return pt.PatchMatrix(x, grid, channel_axis=channel).T @ u

    np.testing.assert_allclose(product(image, V).detach().numpy(), X @ V.detach().numpy())
    for function, other in ((product, V), (adjoint, U)):
        assert torch.autograd.gradcheck(function, (image, other), fast_mode=True)
        assert torch.autograd.gradgradcheck(function, (image, other), fast_mode=True)


@FEW
@given(cases(), st.integers(0, 9))
def test_vmap_is_one_more_batch_axis(case: Any, seed: int) -> None:
    grid, shape, channel = case
    images = tensor((3, *shape), seed).detach()
    found = torch.vmap(lambda x: pt.extract(x, grid, channel_axis=channel))(images)
    wanted = torch.stack([pt.extract(x, grid, channel_axis=channel) for x in images])
    assert torch.equal(found, wanted)
    for merge in ("mean", "max"):

        def merged(y: Any, merge: Any = merge) -> Any:
            return pt.unpatchify(y, grid, channel_axis=channel, merge=merge, fill=0)

        assert torch.equal(torch.vmap(merged)(wanted), torch.stack([merged(y) for y in wanted]))
    moved = torch.vmap(torch.func.grad(lambda y: merged(y, "mean").square().sum()))(wanted)
    each = [torch.func.grad(lambda y: merged(y, "mean").square().sum())(y) for y in wanted]
    torch.testing.assert_close(moved, torch.stack(each))


@settings(max_examples=max(3, settings().max_examples // 10))
@given(cases(), st.data())
def test_opcheck(case: Any, data: st.DataObject) -> None:
    from pantile.tensors.linear import Linear
    from pantile.tensors.torch_ops import operators

    grid, shape, channel = case
    batch = 2 if channel != 0 else 0
    shape = shape if channel != 0 else (shape[1], shape[0], *shape[2:])
    linear = Linear(
        grid, None if channel is None else max(channel, 1) - 1, mean=data.draw(st.booleans()),
        weights=data.draw(st.sampled_from([None, "hann"])), fill=0,
        layout=data.draw(st.sampled_from(["patch", "feature"])), listed=data.draw(st.booleans()),
    )  # fmt: skip
    assert batch in (0, 2)
    image = tensor(shape, 0)
    for rows in (None, torch.tensor([0, len(grid) - 1, 0])):
        torch.library.opcheck(operators().cut, (image, None, rows, linear.text))
        patches = operators().cut(image, None, rows, linear.text).detach().contiguous()
        torch.library.opcheck(operators().add, (patches.requires_grad_(), None, rows, linear.text))
    whole = operators().cut(image, None, None, linear.text).detach()
    torch.library.opcheck(operators().merge, (whole, None, "moments", linear.text))


@settings(max_examples=3)
@given(cases(), st.data())
def test_compile_keeps_one_graph(case: Any, data: st.DataObject) -> None:
    grid, shape, channel = case
    weights = data.draw(st.sampled_from([None, "hann", ("kaiser", 8.0)]))

    def there_and_back(x: Any) -> Any:
        patches = pt.extract(x * 2, grid, channel_axis=channel).sin()
        return pt.unpatchify(patches, grid, channel_axis=channel, weights=weights, fill=0).cos()

    torch._dynamo.reset()
    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")
    image, same = tensor(shape, 0), tensor(shape, 0)
    found, wanted = compiled(image), there_and_back(same)
    torch.testing.assert_close(found, wanted)
    found.sum().backward()
    wanted.sum().backward()
    torch.testing.assert_close(image.grad, same.grad)


def test_compile_takes_the_shorthand_other_merges_and_views() -> None:
    def run(x: Any) -> Any:
        view = pt.patchify(x, 4, 2)
        return pt.unpatchify(view * 2, (12, 12), 2), pt.unpatchify(view, (12, 12), 2, merge="max")

    torch._dynamo.reset()
    image = torch.rand(12, 12)
    found = torch.compile(run, fullgraph=True, backend="aot_eager")(image)
    torch.testing.assert_close(found, run(image))
    torch.testing.assert_close(found[0], image * 2)


@FEW
@given(cases(), st.integers(0, 9))
def test_map_patches_has_gradients_when_the_image_wants_them(case: Any, seed: int) -> None:
    grid, shape, channel = case
    image, same = tensor(shape, seed), tensor(shape, seed)
    options = {"channel_axis": channel, "weights": "hann", "fill": 0.0}
    found = pt.map_patches(torch.sin, image, grid, batch_bytes=300, **options)
    wanted = pt.unpatchify(pt.extract(same, grid, channel_axis=channel).sin(), grid, **options)
    torch.testing.assert_close(found, wanted)
    found.sin().sum().backward()
    wanted.sin().sum().backward()
    torch.testing.assert_close(image.grad, same.grad)


def test_cutting_and_merging_are_adjoint_in_the_slow_twin_too() -> None:
    """The gradient of a sum of squares of patches is twice the image times how many patches touch each element."""
    grid = pt.PatchGrid((9, 10), (3, 4), (2, 3))
    image = tensor((9, 10), 0)
    pt.extract(image, grid).square().sum().backward()
    wanted = 2 * image.detach().numpy() * slow.coverage(grid)
    np.testing.assert_allclose(image.grad.numpy(), wanted, rtol=1e-12)


def test_complex_and_half_gradients() -> None:
    grid = pt.PatchGrid((8, 9), 3, 2)
    image = tensor((8, 9), 0, torch.complex128)
    assert torch.autograd.gradcheck(lambda x: pt.extract(x, grid), image)
    patches = tensor((len(grid), 3, 3), 0, torch.complex128)
    assert torch.autograd.gradcheck(lambda y: pt.unpatchify(y, grid, weights="hann"), patches)
    half = torch.rand(len(grid), 3, 3).bfloat16().requires_grad_()
    pt.unpatchify(half, grid).sum().backward()
    assert half.grad.dtype == torch.bfloat16
    wanted = half.detach().double().requires_grad_()
    pt.unpatchify(wanted, grid).sum().backward()
    torch.testing.assert_close(half.grad.double(), wanted.grad, rtol=1e-2, atol=1e-2)

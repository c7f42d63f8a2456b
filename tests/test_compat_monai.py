"""`pantile.compat.monai` agrees with MONAI, where that is installed, and with `map_patches`."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pantile as pt

torch = pytest.importorskip("torch")

from pantile.compat.monai import AvgMerger, sliding_window_inference  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the others warn about is not ours to judge


@pytest.fixture(scope="module")
def monai() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("monai")
        import monai.inferers

        return monai.inferers


def curved(x: Any) -> Any:
    """What a window makes of itself depends on where its elements are in it."""
    place = torch.linspace(1, 2, x.shape[-1], dtype=x.dtype)
    return torch.cat([x * place, x.flip(-1).square()], dim=1)


CASES = [
    ((2, 3, 16), (4,), 3, 0.25),
    ((2, 1, 9, 8, 7, 5), 4, 3, 0.25),
    ((2, 3, 16, 15, 7), (4, -1, 7), 3, 0.25),
    ((3, 3, 16, 15, 7), (4, 10, 7), 3, 0.5),
    ((1, 3, 16, 15, 7), (20, 22, 23), 10, 0.25),
    ((2, 3, 15, 7), (2, 6), 1000, 0.25),
    ((1, 3, 16, 7), (80, 50), 7, 0.5),
    ((1, 3, 16, 15), (4, 1), 3, 0.25),
    ((2, 3, 51, 37), (16, 12), (0.4, 0.0), 5),
    ((2, 3, 10, 11), (15, 12), 2, 0),
    ((1, 2, 33, 30), 8, 4, 0.9),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scores_are_monais(monai: Any, case: Any, mode: str, dtype: Any) -> None:
    shape, roi, batch, overlap = case
    if isinstance(batch, tuple):
        batch, overlap = overlap, batch
    inputs = torch.from_numpy(np.random.default_rng(0).random(shape)).to(dtype)
    options = {"overlap": overlap, "mode": mode, "cval": 0.3}
    calls: list[list[tuple[int, ...]]] = [[], []]

    def scores(k: int, function: Any) -> Any:
        def predictor(x: Any) -> Any:
            calls[k].append(tuple(x.shape))
            return curved(x)

        return function(inputs, roi, batch, predictor, **options)

    found, wanted = scores(0, sliding_window_inference), scores(1, monai.sliding_window_inference)
    assert calls[0] == calls[1]
    assert found.dtype == wanted.dtype
    tolerance = 1e-11 if (dtype, mode) == (torch.float64, "constant") else 1e-5
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("padding", ["constant", "reflect", "replicate", "circular"])
def test_small_images_are_padded_as_there(monai: Any, padding: str) -> None:
    inputs = torch.rand(1, 2, 9, 20)
    for roi in ((14, 6), (12, 22)):
        cval = -1.0 if padding == "constant" else 0.0  # else MONAI raises
        options = {"padding_mode": padding, "cval": cval, "sigma_scale": (0.2, 0.1)}
        found, wanted = (
            f(inputs, roi, 3, curved, 0.5, "gaussian", **options)
            for f in (sliding_window_inference, monai.sliding_window_inference)
        )
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def several(x: Any) -> Any:
    return x + 1, x[:, ::3, ::2, ::2] * 2


def named(x: Any) -> Any:
    return dict(zip((2, 7), several(x), strict=True))


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("size", [(20, 20), (6, 20)])
def test_several_results_of_other_sizes(monai: Any, mode: str, size: tuple[int, int]) -> None:
    inputs = torch.rand(2, 6, *size)
    for predictor in (several, named, lambda x: list(several(x)), lambda x: (several(x)[1],)):
        found, wanted = (
            f(inputs, (8, 8), 10, predictor, 0.5, mode)
            for f in (sliding_window_inference, monai.sliding_window_inference)
        )
        assert isinstance(found, dict) == isinstance(wanted, dict)
        assert len(found) == len(wanted)
        for key in found if isinstance(found, dict) else range(len(found)):
            torch.testing.assert_close(found[key], wanted[key], rtol=1e-5, atol=1e-5)


def test_a_result_of_full_size_after_a_smaller_one() -> None:
    """MONAI shrinks its weights for the first, and then has none that fit the second."""
    inputs = torch.rand(1, 3, 20, 20)
    small, whole = sliding_window_inference(
        inputs, (8, 8), 4, lambda x: (x[..., ::2, ::2], x), 0.5, "gaussian"
    )
    torch.testing.assert_close(whole, inputs)
    torch.testing.assert_close(small, inputs[..., ::2, ::2])


def test_arguments_conditions_and_coordinates_reach_the_predictor(monai: Any) -> None:
    inputs, condition = torch.rand(2, 1, 9, 7), torch.rand(2, 1, 9, 7)

    def predictor(x: Any, windows: Any, one: Any, *, condition: Any, two: Any) -> Any:
        return x * condition + one + two + windows[0][2].start

    found, wanted = (
        f(
            inputs, (5, 8), 3, predictor, 0.5, "constant", 1.0, "constant", 0.0, None, None, True,
            None, None, None, 0, True, torch.ones(1), two=torch.ones(1), condition=condition,
        )
        for f in (sliding_window_inference, monai.sliding_window_inference)
    )  # fmt: skip
    torch.testing.assert_close(found, wanted)


def test_weights_of_the_callers_own_and_changed_by_a_function(monai: Any) -> None:
    inputs, weights = torch.rand(1, 2, 20, 18), torch.rand(8, 8)

    def change(results: Any, data: Any, importance: Any) -> Any:
        return tuple(r + data[:, :1] for r in results), importance + 1

    for options in ({"roi_weight_map": weights}, {"process_fn": change}, {"buffer_steps": 2}):
        found, wanted = (
            f(inputs, (8, 8), 4, curved, 0.5, "gaussian", **options)
            for f in (sliding_window_inference, monai.sliding_window_inference)
        )
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_monai(monai: Any) -> None:
    gradients = []
    for f in (sliding_window_inference, monai.sliding_window_inference):
        inputs = (
            torch.linspace(0, 1, 400, dtype=torch.float64).reshape(1, 1, 20, 20).requires_grad_()
        )
        out = f(inputs, (8, 8), 4, curved, 0.5, "gaussian")
        gradients += torch.autograd.grad(out.square().sum(), inputs)
    torch.testing.assert_close(*gradients)


def test_inferers_of_monai_run_on_it(monai: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = torch.rand(1, 1, 30, 28)
    inferer = monai.SlidingWindowInferer((8, 8), 4, 0.5, "gaussian", cache_roi_weight_map=True)
    wanted = inferer(inputs, curved)
    monkeypatch.setattr("monai.inferers.inferer.sliding_window_inference", sliding_window_inference)
    torch.testing.assert_close(inferer(inputs, curved), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("monai")
def test_meta_tensors_keep_what_they_know() -> None:
    from monai.data import MetaTensor

    inputs = MetaTensor(torch.rand(1, 1, 12, 12), affine=torch.eye(4) * 2, meta={"name": "x"})
    found = sliding_window_inference(inputs, (8, 8), 4, lambda x: x * 2)
    assert isinstance(found, MetaTensor)
    assert found.meta["name"] == "x"
    torch.testing.assert_close(found.as_tensor(), inputs.as_tensor() * 2)


# without MONAI


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(5, 30), st.integers(5, 30)),
    roi=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    batch=st.integers(1, 9),
    overlap=st.sampled_from([0, 0.25, 0.5, 0.75]),
    mode=st.sampled_from(["constant", "gaussian"]),
)
def test_what_is_given_back_is_merged_to_what_it_was(
    size: Any, roi: Any, batch: int, overlap: float, mode: str
) -> None:
    inputs = torch.rand(2, 3, *size)
    found = sliding_window_inference(inputs, roi, batch, lambda x: x, overlap, mode)
    torch.testing.assert_close(found, inputs, rtol=1e-5, atol=1e-6)
    odd = sliding_window_inference(inputs.requires_grad_(), roi, batch, lambda x: x, overlap, mode)
    torch.testing.assert_close(odd, inputs, rtol=1e-5, atol=1e-6)


def test_windows_are_merged_here_unless_they_cannot_be() -> None:
    """The predictor is called for each window once, wherever its results are merged."""
    inputs = torch.rand(2, 1, 20, 20)
    weight = torch.ones(1, requires_grad=True)
    for factor, grad in ((torch.ones(1), False), (weight, True)):
        seen: list[int] = []

        def predictor(x: Any, factor: Any = factor, seen: Any = seen) -> Any:
            seen.append(len(x))
            return x * factor

        found = sliding_window_inference(inputs, 8, 4, predictor, 0.5)
        assert found.requires_grad is grad
        assert sum(seen) == 2 * 16
        assert set(seen) == {4}


def test_a_mean_of_patches_anywhere() -> None:
    merger = AvgMerger((2, 3, 6, 5))
    image = torch.rand(2, 3, 6, 5)
    for i, j in itertools.product(range(4), range(4)):
        merger.aggregate(image[..., i : i + 3, j : j + 2], (i, j))
    counts = merger.get_counts()
    assert counts.shape == image.shape
    assert counts.dtype == torch.uint8
    np.testing.assert_array_equal(counts[0, 0], pt.PatchGrid((6, 5), (3, 2)).coverage())
    found = merger.finalize()
    assert found is merger.finalize()
    torch.testing.assert_close(found, image)
    with pytest.raises(ValueError, match="finalized"):
        merger.aggregate(image, (0, 0))


def test_counts_do_not_wrap_nor_sums_overflow() -> None:
    merger = AvgMerger((1, 1, 2, 3), cropped_shape=(1, 1, 2, 2), value_dtype=torch.float16)
    for _ in range(300):
        merger.aggregate(torch.full((1, 1, 2, 2), 1000.0), (0, 0))
    with pytest.raises(OverflowError, match="300 patches meet"):
        merger.get_counts()
    assert merger.get_output().dtype == torch.float16
    np.testing.assert_array_equal(merger.get_output(), np.full((1, 1, 2, 2), 1000))
    empty = AvgMerger((1, 1, 2))
    empty.aggregate(torch.ones(1, 1, 1), (0,))
    np.testing.assert_array_equal(empty.finalize(), [[[1, np.nan]]])


def test_averages_are_monais_and_its_patch_inferer_takes_it(monai: Any) -> None:
    monai.Merger.register(AvgMerger)
    splitter = monai.SlidingWindowSplitter(patch_size=(4, 4), overlap=0.5)
    image = torch.rand(1, 2, 12, 12)
    found, wanted = (
        monai.PatchInferer(splitter=splitter, merger_cls=merger)(image, torch.sin)
        for merger in (AvgMerger, monai.AvgMerger)
    )
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"roi_size": (4, 4, 4)}, "inputs must have 5 dimensions"),
        ({"overlap": 1.0}, "overlap must be"),
        ({"mode": "hann"}, "mode must be"),
        ({"roi_size": 20, "padding_mode": "wrap"}, "padding_mode must be"),
        ({"buffer_steps": 2, "buffer_dim": 5}, "buffer_dim must be"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], error: str) -> None:
    known: dict[str, Any] = {"roi_size": 4, "sw_batch_size": 2, "predictor": lambda x: x}
    with pytest.raises(ValueError, match=error):
        sliding_window_inference(torch.rand(1, 1, 12, 12), **{**known, **options})
    with pytest.raises(ValueError, match="merged_shape"):
        AvgMerger(None)  # type: ignore[arg-type]

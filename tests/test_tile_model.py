"""A torch model over tiles: what it gets, where its channels go, what turned copies average to."""

from __future__ import annotations

import pickle
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pantile as pt

torch = pytest.importorskip("torch")

from pantile.integrations.torch import TileModel  # noqa: E402

RNG = np.random.default_rng(0)
PICTURE = RNG.random((60, 52, 3)).astype(np.float32)


def conv(inputs: int, outputs: int, ndim: int = 2) -> Any:
    torch.manual_seed(0)
    kind = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[ndim - 1]
    return kind(inputs, outputs, 3, padding=1)


def by_hand(model: Any, batch: Any) -> Any:
    """What the model makes of patches with their channels last."""
    with torch.no_grad():
        return model(torch.from_numpy(np.moveaxis(batch, -1, 1).copy())).movedim(1, -1).numpy()


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("workers", [None, 1])
def test_scores_are_those_of_the_model_by_hand(channel: int, workers: int | None) -> None:
    model = conv(3, 4)
    wanted = pt.map_patches(lambda b: by_hand(model, b), PICTURE, 16, 8, channel_axis=2)
    image = np.moveaxis(PICTURE, 2, channel)
    options: dict[str, Any] = {"channel_axis": channel, "batch": 8, "workers": workers}
    found = pt.map_patches(TileModel(model), image, 16, 8, **options)
    np.testing.assert_allclose(np.moveaxis(found, channel, 2), wanted, atol=1e-5)
    labels = pt.map_patches(
        TileModel(model), image, 16, 8, finalize=lambda s: s.argmax(channel), **options
    )
    np.testing.assert_array_equal(labels, found.argmax(channel))


def test_grey_images_and_volumes() -> None:
    grey = PICTURE[..., 0]
    one = pt.map_patches(TileModel(conv(1, 1)), grey, 16, 8, batch=3)
    assert one.shape == grey.shape
    several = pt.map_patches(TileModel(conv(1, 5)), grey, 16, 8, batch=3)
    assert several.shape == (*grey.shape, 5)
    wanted = pt.map_patches(lambda b: by_hand(conv(1, 5), b[..., None]), grey, 16, 8)
    np.testing.assert_allclose(several, wanted, atol=1e-5)
    volume = RNG.random((20, 18, 22)).astype(np.float32)
    assert pt.map_patches(TileModel(conv(1, 2, 3)), volume, 8, 4, batch=4).shape == (20, 18, 22, 2)


def test_batches_are_exact_and_on_the_cpu_nothing_is_copied() -> None:
    sizes, places = [], []

    def look(x: Any) -> Any:
        sizes.append(len(x))
        places.append(x)
        return x

    batch = RNG.random((4, 16, 16, 3)).astype(np.float32)
    found = TileModel(look, channels="last")(batch)
    assert np.shares_memory(found, batch)
    assert places[0].data_ptr() == batch.ctypes.data
    planned = pt.plan(TileModel(look), PICTURE, 16, 8, channel_axis=2, batch=8)
    sizes.clear()
    planned.run()
    assert sizes == [n for n, times in planned.batches.items() for _ in range(times)]


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_turned_copies_are_undone_before_they_are_averaged(tta: str) -> None:
    shift = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    with (
        torch.no_grad()
    ):  # looks one to the left: the mean over all turns is the mean of neighbours
        shift.weight.zero_()[0, 0, 1, 0] = 1
    batch = RNG.random((2, 8, 8)).astype(np.float32)
    padded = np.pad(batch, ((0, 0), (1, 1), (1, 1)))
    sides = [padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]]
    if tta == "d4":
        sides += [padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]]
    model = TileModel(shift, tta=tta, channels="none", spread=True)
    mean, variance = model(batch)
    np.testing.assert_allclose(mean, np.mean(sides, axis=0), atol=1e-6)
    np.testing.assert_allclose(variance, np.var(sides, axis=0), atol=1e-6)
    np.testing.assert_allclose(TileModel(shift, tta=tta, channels="none")(batch), mean)


def test_a_model_that_does_not_care_gives_the_same_with_tta() -> None:
    same = torch.nn.Identity()
    for tta in ("flips", "d4", [(lambda x: x + 1, lambda y: y - 1)]):
        found = pt.map_patches(TileModel(same, tta=tta), PICTURE, 16, 8, channel_axis=2, batch=5)
        np.testing.assert_allclose(found, PICTURE, atol=1e-6)


def test_one_call_at_a_time_on_each_device() -> None:
    lock, inside, most = threading.Lock(), [0], [0]

    def count(x: Any) -> Any:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        torch.randn(200, 200) @ torch.randn(200, 200)
        with lock:
            inside[0] -= 1
        return x

    for devices, workers in (("cpu", 4), (["cpu", "cpu"], 6)):
        most[0] = 0
        model = TileModel(count, devices)
        options: dict[str, Any] = {"channel_axis": 2, "batch": 2, "workers": workers}
        found = pt.map_patches(model, PICTURE, 16, 4, **options)
        np.testing.assert_allclose(found, PICTURE, atol=1e-6)
        assert most[0] <= model.calls_at_once


def test_modules_are_in_eval_and_inference_mode_and_have_their_own_dtype() -> None:
    class Watch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            assert not self.training
            assert torch.is_inference_mode_enabled()
            assert x.dtype == torch.float64
            return x * self.weight

    found = TileModel(Watch(), channels="none")(np.ones((2, 4, 4), np.uint8))
    assert found.dtype == np.float64
    half = TileModel(conv(1, 1), amp=True, channels="none")(np.ones((2, 4, 4), np.float32))
    assert half.dtype == np.float32


def test_several_outputs_and_numbers_per_patch() -> None:
    def both(x: Any) -> Any:
        return x * 2, x.mean(dim=(1, 2, 3))[:, None]

    twice, means = TileModel(both, channels="last")(PICTURE[None, :16, :16])
    np.testing.assert_allclose(twice[0], PICTURE[:16, :16] * 2)
    np.testing.assert_allclose(means[0, 0], PICTURE[:16, :16].mean(), rtol=1e-5)


def test_it_travels_to_other_processes() -> None:
    model = TileModel(conv(3, 2), tta="flips").with_channel(2)
    other = pickle.loads(pickle.dumps(model))
    batch = PICTURE[None, :16, :16]
    np.testing.assert_array_equal(other(batch), model(batch))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tta": "rotate"}, "tta must be one of flips, d4"),
        ({"tta": [len]}, "not iterable|pairs"),
        ({"channels": "middle"}, "channels must be"),
        ({"dtype": "float32"}, "dtype must be a torch dtype"),
        ({"spread": True}, "spread=True"),
        ({"device": []}, "empty list"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        TileModel(torch.nn.Identity(), **options)


def test_errors_of_the_model_name_the_place() -> None:
    model = TileModel(torch.nn.Identity(), tta="d4")
    with pytest.raises(ValueError, match="square") as caught:
        pt.map_patches(model, PICTURE, (16, 12), 8, channel_axis=2, batch=4)
    assert any("image region" in note for note in caught.value.__notes__)
    with pytest.raises(TypeError, match="dictionary with out"):
        TileModel(lambda x: {"out": x})(PICTURE)


def test_the_page_on_models_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile, zarr = pytest.importorskip("tifffile"), pytest.importorskip("zarr")
    ndimage = pytest.importorskip("scipy.ndimage")
    monkeypatch.chdir(tmp_path)
    slide = (RNG.random((300, 280, 3)) * 255).astype(np.uint8)
    tifffile.imwrite("slide.tif", slide)
    torch.save(conv(3, 4), "model.pt")

    def segment(batch: Any) -> Any:
        return np.stack([ndimage.label(each.min(-1) > 200)[0] for each in batch])

    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text()
    code = "\n".join(re.findall(r"```py\n(.*?)```", page, re.DOTALL)).replace(
        "1024, 896", "128, 96"
    )
    assert code.count("map_patches") == 3
    names: dict[str, Any] = {"segment": segment}
    labels = tmp_path / "labels.zarr"
    first, rest = code.split("\nimage = ", 1)
    exec(compile(first, "docs/models.md", "exec"), names)
    scores = pt.map_patches(
        lambda b: by_hand(conv(3, 4), b.astype(np.float32)), slide, 256, 128, channel_axis=-1,
        weights="gaussian",
    )  # fmt: skip
    np.testing.assert_array_equal(zarr.open(str(labels))[:], scores.argmax(-1))
    exec(compile("image = " + rest, "docs/models.md", "exec"), names)
    whole = ndimage.label(slide.min(-1) > 200)[0]
    np.testing.assert_array_equal(zarr.open(str(labels))[:], whole)
    assert names["within"].shape == names["between"].shape == (300, 280, 4)
    assert (names["effective"] <= names["tiles"] + 1e-9).all()

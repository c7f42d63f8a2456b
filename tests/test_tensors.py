"""Torch tensors: those in memory are taken as arrays, by every verb; others get one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt

torch = pytest.importorskip("torch")

GRID = pt.PatchGrid((20, 24), 6, 2)
IMAGE = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32)
PATCHES = pt.extract(IMAGE, GRID)


def merged(patches: Any) -> NDArray[Any]:
    merger = pt.Merger(GRID)
    merger.add(patches, np.arange(len(GRID)))
    return merger.result()


VERBS: dict[str, tuple[Callable[[Any], Any], NDArray[Any]]] = {
    "map_patches": (lambda x: pt.map_patches(lambda b: b * 2, x, 6, 2), IMAGE),
    "plan": (lambda x: pt.plan(lambda b: b * 2, x, 6, 2).run(), IMAGE),
    "patchify": (lambda x: pt.patchify(x, 6, 2), IMAGE),
    "extract": (lambda x: pt.extract(x, 6, 2), IMAGE),
    "unpatchify": (lambda x: pt.unpatchify(x, GRID), PATCHES),
    "similar": (lambda x: pt.similar(x, 6, step=2).indices, IMAGE),
    "Merger": (merged, PATCHES),
    "PatchMatrix": (lambda x: pt.PatchMatrix(x, 6, 2).gram(), IMAGE),
    "masked_patchify": (lambda x: pt.masked_patchify(x, 6)[0], IMAGE),
}


@pytest.mark.parametrize("verb", VERBS)
def test_tensors_are_taken_as_arrays(verb: str) -> None:
    """`map_patches` said: Cannot interpret 'torch.float32' as a data type."""
    call, array = VERBS[verb]
    found, wanted = call(torch.from_numpy(array)), call(array)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda t: t.requires_grad_(), "detach"),
        (lambda t: t.to("meta"), r"\.cpu\(\)"),
        (lambda t: t.bfloat16(), r"\.float\(\)"),
    ],
)
def test_tensors_that_are_no_arrays_get_one_clear_error(verb: str, make: Any, advice: str) -> None:
    call, array = VERBS[verb]
    with pytest.raises(TypeError, match=advice):
        call(make(torch.from_numpy(array.copy())))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_network_may_return_tensors(workers: int) -> None:
    net = torch.nn.Conv2d(1, 3, 3, padding=1)

    def labels(slab: Any) -> Any:
        return torch.from_numpy(slab).argmax(0)

    def func(batch: Any) -> Any:
        with torch.inference_mode():
            return net(torch.from_numpy(batch)[:, None])

    found = pt.map_patches(
        lambda b: func(b[:, 0]), IMAGE[None], 6, 2, channel_axis=0, workers=workers
    )
    with torch.inference_mode():
        assert found.shape == (3, 20, 24)
    called = pt.map_patches(
        lambda b: func(b[:, 0]), IMAGE[None], 6, 2, channel_axis=0, finalize=labels, workers=workers
    )
    np.testing.assert_array_equal(called, found.argmax(0))


def test_a_result_with_gradients_says_where_to_end_them() -> None:
    """`torch.no_grad()` around the call does not hold in other threads."""
    net = torch.nn.Conv2d(1, 1, 3, padding=1)
    image = np.zeros((200, 200), np.float32)
    with pytest.raises(TypeError, match=r"inference_mode\(\) inside func"), torch.no_grad():
        pt.map_patches(
            lambda b: net(torch.from_numpy(b)[:, None])[:, 0],
            image,
            6,
            2,
            workers=2,
            batch_bytes=20000,
        )


def test_the_row_of_sliding_window_inference_runs_as_it_is_written() -> None:
    """It was given a tensor, and lacked the channel axis."""
    page = Path(__file__).parent.parent / "docs" / "compat.md"
    row = next(
        line for line in page.read_text().splitlines() if "sliding_window_inference(x, p" in line
    )
    code = row.split("|")[2].strip().strip("`")
    net = torch.nn.Conv2d(2, 4, 3, padding=1).eval()
    x, p, s, w = torch.randn(2, 2, 40, 44), (16, 16), (8, 8), "gaussian"
    names = {"map_patches": pt.map_patches, "PatchGrid": pt.PatchGrid, "torch": torch}
    found = eval(code, names | {"f": net, "x": x, "p": p, "s": s, "w": w})
    grid = pt.PatchGrid((40, 44), p, s)
    with torch.inference_mode():
        wanted = [
            pt.unpatchify(
                net(torch.from_numpy(pt.extract(one, grid, channel_axis=0))).numpy(), grid,
                channel_axis=0, weights=w,
            )
            for one in x.numpy()
        ]  # fmt: skip
    np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-5, atol=1e-6)

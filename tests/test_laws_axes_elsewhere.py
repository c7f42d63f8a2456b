"""Law 12 for what is not `map_patches`, a matrix or a model: verbs on stacks, tiles, pictures, trainers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt
from tests._law_calls import module

Array = NDArray[Any]

# batch, rows, columns, channels
STACK = np.random.default_rng(0).random((2, 12, 14, 3))
GRID = pt.PatchGrid((12, 14), (4, 3), (2, 3))
ORDERS = [(0, 1, 2, 3), (3, 2, 0, 1), (2, 3, 1, 0), (1, 0, 3, 2)]
Roles = dict[str, Any]


def tops(batch: Array) -> Array:
    """Other values, by their place in a patch and the patch they are in, whatever the axes."""
    return np.asarray(batch - batch.min(tuple(range(1, batch.ndim)), keepdims=True))


def merged(x: Array, roles: Roles, _: Path) -> Array:
    return pt.unpatchify(tops(pt.extract(x, GRID, **roles)), GRID, weights="hann", **roles)


def added(x: Array, roles: Roles, _: Path) -> Array:
    merger = pt.Merger(GRID, merge="max", **roles)
    merger.add(tops(pt.extract(x, GRID, **roles)), np.arange(len(GRID)))
    return merger.result()


def tiled(x: Array, roles: Roles, folder: Path) -> Array:
    pt.tileset.write_tiles(x, folder / "tiles.npy", GRID, **roles)
    found = pt.tileset.read_manifest(folder / "tiles.npy")
    assert (found.channel_axis, found.axes) == (roles["channel_axis"], roles["axes"])
    return np.asarray(pt.tileset.merge_tiles(folder / "tiles.npy", merge="max"))


def in_files(x: Array, roles: Roles, folder: Path) -> Array:
    pt.tileset.write_tiles(x, folder / "tiles", GRID, suffix=".npy", **roles)
    return np.asarray(pt.tileset.merge_tiles(folder / "tiles", weights="hann"))


def by_name(name: str) -> Callable[[Array, Roles, Path], Array]:
    def call(x: Array, roles: Roles, _: Path) -> Array:
        return np.asarray(getattr(pt.denoise, name)(x, 0.1, 4, channel_axis=roles["channel_axis"]))

    return call


def weighted(x: Array, roles: Roles, _: Path) -> Array:
    func = lambda b: pt.Weighted(b, 1 + b.max(tuple(range(1, b.ndim))))  # noqa: E731
    return np.asarray(pt.map_patches(func, x, GRID, **roles))


def planned(x: Array, roles: Roles, _: Path) -> Array:
    return np.asarray(pt.plan(tops, x, GRID, merge="sum", **roles).run())


def by_a_merge(x: Array, roles: Roles, _: Path) -> Array:
    def add(state: Any, values: Array, _: Array | None) -> None:
        state[0][...] += values**2

    def join(state: Any, other: Any) -> None:
        state[0][...] += other[0]

    squares = pt.Merge(
        init=lambda shape, _: (np.zeros(shape),), accumulate=add, combine=join, finalize=lambda s: s[0]
    )  # fmt: skip
    return np.asarray(pt.map_patches(tops, x, GRID, merge=squares, **roles))


ON_IMAGES: dict[str, Callable[[Array, Roles, Path], Array]] = {
    "Merger": added,
    "Merge": by_a_merge,
    "Weighted": weighted,
    "plan & Plan": planned,
    "tileset.write_tiles & tileset.merge_tiles & tileset.read_manifest & tileset.Manifest": tiled,
    "tileset.write_tiles, files": in_files,
}
ON_PICTURES = {
    "extract & unpatchify": merged,
    "denoise.dct": by_name("dct"),
    "denoise.groups": by_name("groups"),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ON_IMAGES)
def test_a_result_has_the_axes_of_the_image(
    name: str, order: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    plain = ON_IMAGES[name](STACK, {"channel_axis": 3, "axes": (1, 2)}, tmp_path / "plain")
    roles = {"channel_axis": order.index(3), "axes": (order.index(1), order.index(2))}
    turned = np.ascontiguousarray(STACK.transpose(order))
    found = ON_IMAGES[name](turned, roles, tmp_path)
    np.testing.assert_allclose(found, plain.transpose(order), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("name", ON_PICTURES)
def test_a_picture_may_have_its_channels_anywhere(name: str, channel: int, tmp_path: Path) -> None:
    call, image = ON_PICTURES[name], STACK[0]
    plain = call(image, {"channel_axis": 2}, tmp_path)
    found = call(np.moveaxis(image, 2, channel), {"channel_axis": channel}, tmp_path)
    np.testing.assert_allclose(np.moveaxis(found, channel, 2), plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("normalize", [False, True])
def test_similar_patches_are_the_same_with_axes_in_any_order(
    order: tuple[int, ...], normalize: bool
) -> None:
    options: dict[str, Any] = {"k": 3, "normalize": normalize, "radius": (6, 9)}
    plain = pt.similar(STACK, GRID, **options, channel_axis=3, axes=(1, 2))
    turned = np.ascontiguousarray(STACK.transpose(order))
    roles = {"channel_axis": order.index(3), "axes": (order.index(1), order.index(2))}
    found = pt.similar(turned, GRID, **options, **roles)
    rest = [axis for axis in order if axis != 3]
    back = [rest.index(axis) for axis in (0, 1, 2)]
    np.testing.assert_allclose(found.distances.transpose(*back, 3), plain.distances, rtol=1e-9)
    np.testing.assert_array_equal(found.indices.transpose(*back, 3), plain.indices)


def test_similar_patches_of_the_transposed_image_are_the_transposed_ones() -> None:
    image, turned = STACK[0, ..., 0], pt.PatchGrid((14, 12), (3, 4), (3, 2))
    plain = pt.similar(image, GRID, 2)
    found = pt.similar(np.ascontiguousarray(image.T), turned, 2)
    np.testing.assert_allclose(found.distances.swapaxes(0, 1), plain.distances, rtol=1e-12)
    at = np.unravel_index(found.indices.swapaxes(0, 1), turned.counts)
    np.testing.assert_array_equal(np.ravel_multi_index(at[::-1], GRID.counts), plain.indices)


def test_labels_of_transposed_tiles_are_the_transposed_objects() -> None:
    from scipy import ndimage

    image = np.random.default_rng(3).random((60, 50)) > 0.6
    grid = pt.PatchGrid(image.shape, (16, 12), (10, 7))
    tiles = np.stack([ndimage.label(patch)[0] for patch in pt.extract(image, grid)])
    turned = pt.PatchGrid(image.shape[::-1], (12, 16), (7, 10))
    order = np.arange(len(grid)).reshape(grid.counts).T.ravel()
    plain = pt.join_labels(tiles, grid)
    found = pt.join_labels(tiles[order].swapaxes(1, 2), turned).T
    assert plain.max() == found.max() > 20
    pairs = np.unique(np.stack([plain.ravel(), found.ravel()]), axis=1)
    assert pairs.shape[1] == plain.max() + 1, "an object has one number in both"


# rows of matrices for trainers


@pytest.mark.parametrize("channel", [0, 1])
def test_labelled_rows_have_their_features_where_the_channels_are(channel: int) -> None:
    image, labels = STACK[0], (STACK[0, ..., 0] > 0.5).astype(int)
    X, y = pt.integrations.labelled_rows(image, labels, GRID, channel_axis=2)
    moved = np.moveaxis(image, 2, channel)
    found, z = pt.integrations.labelled_rows(moved, labels, GRID, channel_axis=channel)
    np.testing.assert_array_equal(z, y)
    rows = np.moveaxis(np.asarray(found).reshape(-1, *found.patch_shape), 1 + channel, -1)
    np.testing.assert_array_equal(rows.reshape(len(y), -1), np.asarray(X))
    means = [pt.integrations.predict_rows(lambda rows: rows.max(1), each) for each in (X, found)]
    np.testing.assert_array_equal(*means)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_model_on_tiles_finds_the_channels_where_they_are(channel: int) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Conv2d(3, 2, 3, padding=1)
    model = module("integrations.torch").TileModel(net)
    image = STACK[0].astype(np.float32)
    plain = pt.map_patches(model, image, 6, 3, channel_axis=2)
    moved = np.moveaxis(image, 2, channel)
    found = pt.map_patches(model, moved, 6, 3, channel_axis=channel)
    np.testing.assert_allclose(np.moveaxis(found, channel, 2), plain, rtol=1e-5, atol=1e-6)


# pictures


def drawn(call: Callable[..., Any]) -> Any:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    return call(ax=Figure().subplots())


@pytest.mark.parametrize("channel", [0, 1])
def test_pictures_show_channels_wherever_they_are(channel: int) -> None:
    moved = np.moveaxis(STACK[0], 2, channel)
    patches = pt.extract(STACK[0], 4, channel_axis=2, indices=range(6))
    model = pt.learn.PatchPCA(3, n_components=2, channel_axis=2).fit(STACK[0])
    other = pt.learn.PatchPCA(3, n_components=2, channel_axis=channel).fit(moved)
    pairs: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (
            lambda ax: pt.plot.grid(STACK[0], 4, 2, channel_axis=2, ax=ax),
            lambda ax: pt.plot.grid(moved, 4, 2, channel_axis=channel, ax=ax),
        ),
        (
            lambda ax: pt.plot.montage(patches, channel_axis=-1, ax=ax),
            lambda ax: pt.plot.montage(
                np.moveaxis(patches, -1, 1 + channel), channel_axis=1 + channel, ax=ax
            ),
        ),
        (lambda ax: pt.plot.components(model, ax=ax), lambda ax: pt.plot.components(other, ax=ax)),
    ]
    for plainly, turned in pairs:
        plain, found = drawn(plainly).images[0].get_array(), drawn(turned).images[0].get_array()
        np.testing.assert_allclose(found, plain, atol=1e-6)


@pytest.mark.parametrize("name", ["coverage", "weight_sum"])
def test_maps_of_the_transposed_grid_are_the_transposed_maps(name: str) -> None:
    turned = pt.PatchGrid((14, 12), (3, 4), (3, 2))
    more = ["hann"] if name == "weight_sum" else []
    plain, found = (
        drawn(lambda ax, g=g: getattr(pt.plot, name)(g, *more, ax=ax)).images[0].get_array()  # type: ignore[misc]
        for g in (GRID, turned)
    )
    np.testing.assert_allclose(np.asarray(found).T, plain)

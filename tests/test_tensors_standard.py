"""Arrays of the array API standard, and of JAX: the leaves give the numbers of NumPy's verbs, over random grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pantile as pt
from pantile.testing import strategies as some

pytestmark = pytest.mark.filterwarnings("ignore")
FEW = settings(max_examples=max(4, settings().max_examples // 5))
MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def strict() -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = pytest.importorskip("array_api_strict").asarray
    return made


def jax() -> Callable[[Any], Any]:
    library = pytest.importorskip("jax")
    library.config.update("jax_enable_x64", True)
    made: Callable[[Any], Any] = library.numpy.asarray
    return made


LIBRARIES = {"strict": strict, "jax": jax}
each_library = pytest.mark.parametrize("library", LIBRARIES)


@st.composite
def cases(draw: st.DrawFn) -> tuple[pt.PatchGrid, tuple[int, ...], int | None]:
    """A grid, the shape of an image with a batch axis, and its channel axis."""
    grid = draw(some.grids(pad_modes=MODES))
    shape = [2, *grid.shape]
    channel = draw(st.one_of(st.none(), st.integers(0, grid.ndim + 1)))
    if channel is not None:
        shape.insert(channel, 3)
    return grid, tuple(shape), channel


def close(found: Any, wanted: Any) -> None:
    assert not isinstance(found, np.ndarray)
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-10, atol=1e-12)


@each_library
@FEW
@given(case=cases(), seed=st.integers(0, 9))
def test_extract(library: str, case: Any, seed: int) -> None:
    make, (grid, shape, channel) = LIBRARIES[library](), case
    rng = np.random.default_rng(seed)
    image = rng.normal(size=shape)
    for indices in (None, rng.integers(0, len(grid), 4)):
        options = {"channel_axis": channel, "indices": indices}
        close(pt.extract(make(image), grid, **options), pt.extract(image, grid, **options))


@each_library
@FEW
@given(case=cases(), data=st.data())
def test_unpatchify(library: str, case: Any, data: st.DataObject) -> None:
    make, (grid, shape, channel) = LIBRARIES[library](), case
    merges = ["mean", "sum", "max", "min", "first", "last", "center", "var", "moments"]
    merge = data.draw(st.sampled_from(merges))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    options: dict[str, Any] = {"channel_axis": channel, "merge": merge, "fill": 0.5}
    if merge in ("mean", "sum", "moments"):
        options["weights"] = data.draw(st.one_of(st.none(), some.tapers(grid.patch)))
    if merge in ("mean", "sum"):
        options["patch_weights"] = data.draw(st.one_of(st.none(), some.patch_weights(len(grid))))
    patches = rng.normal(size=pt.extract(np.zeros(shape), grid, channel_axis=channel).shape)
    found = pt.unpatchify(make(patches), grid, **options)
    wanted = pt.unpatchify(patches, grid, **options)
    pairs = zip(found, wanted, strict=True) if merge == "moments" else [(found, wanted)]
    for mine, theirs in pairs:
        close(mine, theirs)


@each_library
@FEW
@given(case=cases(), dtype=st.sampled_from(["uint8", "int16", "int64"]), seed=st.integers(0, 9))
def test_whole_numbers(library: str, case: Any, dtype: str, seed: int) -> None:
    make, (grid, shape, channel) = LIBRARIES[library](), case
    image = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    patches = pt.extract(image, grid, channel_axis=channel)
    for options in ({}, {"merge": "sum"}, {"dtype": "uint8"}, {"merge": "max", "dtype": "int8"}):
        named: dict[str, Any] = {"channel_axis": channel, "fill": 1, **options}
        wanted = pt.unpatchify(patches, grid, **named)
        found = pt.unpatchify(make(patches), grid, **named)
        assert str(found.dtype).rpartition(".")[2] == str(wanted.dtype)
        close(found, wanted)


@each_library
@FEW
@given(grid=some.grids(pads=False, tails=("drop", "center")), seed=st.integers(0, 9))
def test_patchify(library: str, grid: pt.PatchGrid, seed: int) -> None:
    make = LIBRARIES[library]()
    assume(grid.regular)
    image = np.random.default_rng(seed).normal(size=(*grid.shape, 2))
    axes = tuple(range(grid.ndim))
    close(pt.patchify(make(image), grid, axes=axes), pt.patchify(image, grid, axes=axes))


@each_library
@FEW
@given(case=cases(), seed=st.integers(0, 9))
def test_merger(library: str, case: Any, seed: int) -> None:
    make, (grid, shape, channel) = LIBRARIES[library](), case
    rng = np.random.default_rng(seed)
    patches = rng.normal(size=pt.extract(np.zeros(shape), grid, channel_axis=channel).shape)
    mine, theirs = (pt.Merger(grid, weights="hann", channel_axis=channel, fill=0) for _ in range(2))
    for rows in np.array_split(rng.permutation(len(grid))[: max(1, len(grid) - 1)], 2):
        part = np.take(patches, rows, axis=1)
        mine.add(make(part), rows)
        theirs.add(part, rows)
    close(mine.result(), theirs.result())
    np.testing.assert_array_equal(mine.coverage(), theirs.coverage())


@each_library
@FEW
@given(case=cases(), data=st.data())
def test_map_patches(library: str, case: Any, data: st.DataObject) -> None:
    make, (grid, shape, channel) = LIBRARIES[library](), case
    image = np.random.default_rng(data.draw(st.integers(0, 9))).normal(size=shape)
    options: dict[str, Any] = {"channel_axis": channel, "fill": 0.5, "batch_bytes": 400}
    options["merge"] = data.draw(st.sampled_from(["mean", "sum", None]))
    if options["merge"] is not None:
        options["weights"] = data.draw(st.one_of(st.none(), some.tapers(grid.patch)))
    if data.draw(st.booleans()):
        options["where"] = data.draw(some.wheres(grid))
        assume(options["where"].any())

    def func(batch: Any) -> Any:
        return batch * 2 + 1

    close(
        pt.map_patches(func, make(image), grid, **options),
        pt.map_patches(func, image, grid, **options),
    )


@each_library
@FEW
@given(case=cases(), seed=st.integers(0, 9))
def test_products(library: str, case: Any, seed: int) -> None:
    make, (grid, shape, channel) = LIBRARIES[library](), case
    rng = np.random.default_rng(seed)
    image = rng.normal(size=shape)
    X = pt.PatchMatrix(image, grid, channel_axis=channel)
    Y = pt.PatchMatrix(make(image), grid, channel_axis=channel)
    assert Y.shape == X.shape
    V, U = rng.normal(size=(X.shape[1], 2)), rng.normal(size=X.shape[0])
    np.testing.assert_allclose(np.asarray(Y @ make(V)), X @ V, atol=1e-10)
    np.testing.assert_allclose(np.asarray(Y.T @ make(U)), X.T @ U, atol=1e-10)


# JAX's transforms


@FEW
@given(case=cases(), merge=st.sampled_from(["mean", "sum", "max", "first"]), seed=st.integers(0, 9))
def test_jit_grad_and_vmap(case: Any, merge: str, seed: int) -> None:
    make, (grid, shape, channel) = jax(), case
    import jax as library

    rng = np.random.default_rng(seed)
    images = make(rng.normal(size=(2, *shape)))
    weights = "hann" if merge in ("mean", "sum") else None
    options: dict[str, Any] = {
        "channel_axis": channel,
        "merge": merge,
        "weights": weights,
        "fill": 0,
    }

    def there_and_back(image: Any) -> Any:
        patches = pt.extract(image, grid, channel_axis=channel)
        return pt.unpatchify(library.numpy.sin(patches), grid, **options)

    def loss(image: Any) -> Any:
        return (there_and_back(image) ** 2).sum()

    plain = [there_and_back(image) for image in images]
    close(library.jit(there_and_back)(images[0]), plain[0])
    close(library.vmap(there_and_back)(images), np.stack(plain))
    gradient = library.jit(library.vmap(library.grad(loss)))(images)
    direction = make(rng.normal(size=shape))
    step = 1e-6
    numerical = (loss(images[0] + step * direction) - loss(images[0] - step * direction)) / (
        2 * step
    )
    np.testing.assert_allclose((gradient[0] * direction).sum(), numerical, rtol=1e-4, atol=1e-6)


def test_jit_of_map_patches_and_products() -> None:
    make = jax()
    import jax as library

    image = np.random.default_rng(0).normal(size=(20, 24))
    V = np.random.default_rng(1).normal(size=(36, 2))
    found = library.jit(lambda x: pt.map_patches(lambda b: b * 2, x, 6, 4, batch_bytes=5000))(image)
    close(found, image * 2)
    found = library.jit(lambda x, v: pt.PatchMatrix(x, 6, 4) @ v)(make(image), make(V))
    close(found, pt.PatchMatrix(image, 6, 4) @ V)


def test_bfloat16_of_jax_comes_back_as_bfloat16() -> None:
    make = jax()
    import jax.numpy as jnp

    image = make(np.random.default_rng(0).normal(size=(20, 24))).astype(jnp.bfloat16)
    patches = pt.extract(image, 6, 4)
    found = pt.unpatchify(patches, pt.PatchGrid((20, 24), 6, 4), weights="hann")
    assert patches.dtype == found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(float), image.astype(float), rtol=1e-2)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "median": lambda x: pt.unpatchify(
        pt.extract(x, 6, 2), pt.PatchGrid((20, 24), 6, 2), merge="median"
    ),
    "max in map": lambda x: pt.map_patches(lambda b: b, x, 6, 2, merge="max"),
    "workers": lambda x: pt.map_patches(lambda b: b, x, 6, 2, workers=2),
    "plan": lambda x: pt.plan(lambda b: b, x, 6, 2),
    "padding": lambda x: pt.extract(x, pt.PatchGrid((20, 24), 6, pad=2, pad_mode="mean")),
    "where of a matrix": lambda x: pt.PatchMatrix(x, 6, where=np.ones((20, 24), bool)),
    "writeable": lambda x: pt.patchify(x, 6, writeable=True),
}


@each_library
@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_main_memory_says_so(library: str, case: str) -> None:
    image = LIBRARIES[library]()(np.zeros((20, 24)))
    with pytest.raises(ValueError, match=r"main memory|have no views|map_patches has|goes by"):
        REFUSED[case](image)


def test_nothing_is_imported_for_the_user() -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np, pantile as pt\n"
        "grid = pt.PatchGrid((20, 24), 6, 2)\n"
        "x = np.zeros((20, 24), np.float32)\n"
        "pt.unpatchify(pt.extract(x, grid), grid); pt.map_patches(lambda b: b, x, grid)\n"
        "pt.PatchMatrix(x, grid) @ np.ones(36); pt.Merger(grid).add(pt.extract(x, grid), range(len(grid)))\n"
        "names = 'torch', 'jax', 'cupy', 'array_api_compat', 'array_api_strict', 'pantile.tensors'\n"
        "print([n for n in names if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

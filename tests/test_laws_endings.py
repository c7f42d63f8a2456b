"""Law 14 beyond `map_patches`: user code that raises in a reader, a sink, a matrix, an estimator, an iterator.

The caller gets its own exception; no thread of ours works on; nothing half-written is left under the
result's name; and the same objects work in the next call.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pantile as pt

Array = NDArray[Any]
IMAGE = np.random.default_rng(0).random((60, 64))
X = pt.PatchMatrix(IMAGE, 8, 4)


class Broken(Exception):
    """The user's own."""


def same(batch: Array) -> Array:
    return batch


def breaking(after: int, error: type[BaseException] = Broken) -> Callable[..., Any]:
    """A function of anything that gives its argument back so many times, and raises then."""
    calls = 0
    lock = threading.Lock()

    def call(*given: Any) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            if calls > after:
                raise error("mine")
        return given[0] if given else None

    return call


class Reader:
    """A source whose reads raise after some."""

    def __init__(self, after: int, error: type[BaseException] = Broken) -> None:
        self.shape, self.dtype, self._check = IMAGE.shape, IMAGE.dtype, breaking(after, error)

    def __getitem__(self, key: Any) -> Array:
        self._check()
        return IMAGE[key]


class Place:
    """A place for results whose writes raise after some."""

    def __init__(self, after: int, error: type[BaseException] = Broken) -> None:
        self.array, self._check = np.zeros(IMAGE.shape), breaking(after, error)
        self.shape, self.dtype, self.chunks = self.array.shape, self.array.dtype, (16, 64)

    def __setitem__(self, key: Any, values: Array) -> None:
        self._check()
        self.array[key] = values


class Refusing(ThreadPoolExecutor):
    """A pool that takes no more tasks after some."""

    def __init__(self, after: int) -> None:
        super().__init__(2)
        self._check = breaking(after)

    def submit(self, *args: Any, **options: Any) -> Any:
        self._check()
        return super().submit(*args, **options)


def merge_of(**broken: Any) -> pt.Merge:
    def add(state: Any, values: Array, _: Any) -> None:
        state[0][...] += values

    def combine(state: Any, other: Any) -> None:
        state[0][...] += other[0]

    parts: dict[str, Any] = {
        "init": lambda shape, _: (np.zeros(shape),),
        "accumulate": add,
        "combine": combine,
        "finalize": lambda state: state[0],
    }
    return pt.Merge(**(parts | broken))


def broken_result(after: int) -> pt.Merge:
    """A sum whose finalize gives the sums so many times, and raises then."""
    call = breaking(after)
    return merge_of(finalize=lambda state: call(state[0]))


def labels() -> Array:
    return (IMAGE > 0.5).astype(int)


def tree() -> Any:
    from sklearn.tree import DecisionTreeClassifier

    class Bad(DecisionTreeClassifier):  # type: ignore[misc]
        def predict(self, rows: Any) -> Any:
            raise Broken("mine")

    return pt.learn.PatchEstimator(Bad(max_depth=2), 5, step=4).fit(IMAGE, labels()).predict(IMAGE)


def lazily(func: Any, **options: Any) -> Any:
    da = pytest.importorskip("dask.array")
    lazy = da.from_array(IMAGE, (20, 20))
    return pt.map_patches(func, lazy, 8, 4, **options).compute(scheduler="threads")


def adding(after: int) -> Any:
    """An estimator that learns batch by batch, and raises in one of them."""
    from sklearn.naive_bayes import GaussianNB

    check = breaking(after)

    class Adding(GaussianNB):  # type: ignore[misc]
        def partial_fit(self, *given: Any, **options: Any) -> Any:
            check()
            return super().partial_fit(*given, **options)

    return Adding()


def predicting(after: int) -> Any:
    """Predictions on several threads, one of which raises."""
    model = pt.learn.PatchEstimator(adding(1000), 5, n_jobs=3).fit(IMAGE, labels())
    model.estimator_.predict = breaking(after)
    return model.predict(IMAGE, memory="1MB")


def joined(**options: Any) -> Any:
    grid = pt.PatchGrid(IMAGE.shape, 8, 4)
    return pt.join_labels(pt.extract(labels(), grid), grid, **options)


@cache
def ridge() -> Any:
    return pt.learn.PatchRidge(5).fit(IMAGE, IMAGE)


def vanished() -> Any:
    """A reader of a file, whose reads raise."""
    np.save("image-of-test.npy", IMAGE)
    reader = pt.files.open_image("image-of-test.npy")
    os.remove("image-of-test.npy")
    broken = {"__getitem__": lambda *_: breaking(0)()}
    reader.__class__ = type("Vanished", (type(reader),), broken)
    return reader


def kept_tiles(**options: Any) -> Any:
    """Tiles of a folder beside the test's own, merged."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        pt.tileset.write_tiles(IMAGE, f"{folder}/kept", 8, 4, suffix=".npy")
        return pt.tileset.merge_tiles(f"{folder}/kept", **options)


class Several:
    """A list of images, whose second cannot be had."""

    def __iter__(self) -> Iterator[Array]:
        yield IMAGE
        raise Broken("mine")


def to_file(func: Any = same, **options: Any) -> Any:
    with_tiles = {"batch_bytes": "20kB"} | options
    return pt.map_patches(func, IMAGE, 8, 2, out="result.npy", **with_tiles)


BROKEN: dict[str, Callable[[], Any]] = {
    "reader, first": lambda: pt.map_patches(same, Reader(0), 8, 4),
    "reader, later": lambda: pt.map_patches(same, Reader(2), 8, 2, out="result.npy", workers=2),
    "reader of extract": lambda: pt.extract(Reader(0)[:], 8),
    "place, first": lambda: pt.map_patches(same, IMAGE, 8, 2, out=Place(0)),
    "place, later": lambda: pt.map_patches(same, IMAGE, 8, 2, out=Place(2), workers=2),
    "progress, first": lambda: to_file(progress=breaking(0)),
    "progress, later": lambda: to_file(progress=breaking(1), workers=2),
    "finalize": lambda: to_file(finalize=breaking(0)),
    "finalize, later": lambda: to_file(finalize=breaking(2), workers=2),
    "executor, first": lambda: to_file(executor=Refusing(0)),
    "executor, later": lambda: to_file(executor=Refusing(2)),
    "a merge's init": lambda: to_file(merge=merge_of(init=breaking(0))),
    "a merge's accumulate": lambda: to_file(merge=merge_of(accumulate=breaking(30))),
    "a merge's combine": lambda: to_file(merge=merge_of(combine=breaking(0))),
    "a merge's finalize": lambda: to_file(merge=broken_result(1)),
    "dask, func": lambda: lazily(breaking(3)),
    "dask, finalize": lambda: lazily(same, finalize=breaking(3)),
    "predict_rows": lambda: pt.integrations.predict_rows(breaking(1), X, nbytes=5000),
    "estimator": tree,
    "estimator, partial_fit": lambda: pt.learn.PatchEstimator(adding(3), 5, batch_size=64).fit(
        IMAGE, labels()
    ),
    "estimator, threads": lambda: predicting(0),
    "join_labels, tiles": lambda: pt.join_labels(
        lambda k: breaking(0)() if k == 5 else np.zeros((8, 8), int), pt.PatchGrid(IMAGE.shape, 8, 4)
    ),
    "join_labels, place": lambda: joined(out=Place(2)),
    "join_labels, place, first": lambda: joined(out=Place(0), workers=1),
    "join_labels, progress": lambda: joined(out="result.npy", progress=breaking(210)),
    "predict to a place": lambda: ridge().predict(IMAGE, out=Place(0)),
    "predict of a reader": lambda: ridge().predict(vanished(), out="result.npy", memory="1MB"),
    "denoise": lambda: pt.denoise.dct(IMAGE, 0.1, 4, watch=breaking(0)),
    "denoise, groups": lambda: pt.denoise.groups(IMAGE, 0.1, 4, watch=breaking(0)),
    "Indexed": lambda: to_file(pt.Indexed(lambda b, _: breaking(0)(b))),
    "Weighted": lambda: to_file(lambda b: pt.Weighted(b, breaking(0)(np.ones(len(b))))),
    "plan": lambda: pt.plan(breaking(1), IMAGE, 8, 4, out="result.npy", workers=2).run(),
    "merge_tiles, progress": lambda: kept_tiles(progress=breaking(0), out="result.npy"),
    "merge_tiles, place": lambda: kept_tiles(out=Place(0)),
    "list of images": lambda: pt.PatchMatrix(list(Several()), 8),
    "write_tiles, reader": lambda: pt.tileset.write_tiles(Reader(0), "tiles", 8, 8, suffix=".npy"),
    "write_tiles, progress": lambda: pt.tileset.write_tiles(
        IMAGE, "tiles", 8, 4, suffix=".tif", progress=breaking(0)
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiles_of: Any) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with tiles_of(300):
        yield


def ours() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("pantile-")]


@pytest.mark.parametrize("name", BROKEN)
def test_what_user_code_raises_is_what_the_caller_gets(name: str) -> None:
    with pytest.raises(Broken, match="mine"):
        BROKEN[name]()
    assert not ours(), "a thread works on"
    assert not os.path.exists("result.npy"), "half a result has the name of a whole one"
    assert not os.path.exists("tiles"), "half a folder of tiles has the name of a whole one"
    # what is left is for resume=True, and the next run works
    np.testing.assert_allclose(pt.map_patches(same, IMAGE, 8, 4), IMAGE)
    to_file()
    np.testing.assert_allclose(np.load("result.npy"), IMAGE)
    assert sorted(os.listdir()) in (["result.npy"], ["result.npy", "tiles.partial"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", ["reader", "place", "finalize", "progress", "predict"])
def test_being_asked_to_stop_ends_everything(place: str, error: type[BaseException]) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "reader": lambda: pt.map_patches(same, Reader(2, error), 8, 2, workers=2),
        "place": lambda: pt.map_patches(same, IMAGE, 8, 2, out=Place(1, error), workers=2),
        "finalize": lambda: to_file(finalize=breaking(2, error), workers=2),
        "progress": lambda: to_file(progress=breaking(1, error), workers=2),
        "predict": lambda: pt.integrations.predict_rows(breaking(1, error), X, nbytes=5000),
    }
    with pytest.raises(error):
        calls[place]()
    assert not ours()
    assert not os.path.exists("result.npy")


def test_a_merge_that_raises_leaves_the_merger_as_it_was() -> None:
    grid = pt.PatchGrid(IMAGE.shape, 8, 4)
    patches = pt.extract(IMAGE, grid)
    whole = pt.Merger(grid, merge=merge_of(), fill=0)
    whole.add(patches[:5], range(5))
    merger = pt.Merger(grid, merge=merge_of(accumulate=_third_raises()), fill=0)
    merger.add(patches[:2], range(2))
    with pytest.raises(Broken):
        merger.add(patches[2:5], range(2, 5))
    merger.add(patches[2:5], range(2, 5))
    np.testing.assert_allclose(merger.result(), whole.result())


def _third_raises() -> Callable[..., None]:
    calls = 0

    def add(state: Any, values: Array, _: Any) -> None:
        nonlocal calls
        calls += 1
        state[0][...] += values
        if calls == 4:
            raise Broken("mine")

    return add


PROGRAM = """
import numpy as np, pantile as pt, sys
image = np.ones((200, 200))
class Reader:
    shape, dtype = image.shape, image.dtype
    def __getitem__(self, key):
        if key[0].start: raise ValueError("my reader")
        return image[key]
def bad(rows): raise ValueError("my predict")
{call}
print("not reached")
"""
PROGRAMS = {
    "reader": "pt.map_patches(lambda b: b, Reader(), 8, 2, batch_bytes=9000, workers=2, out='r.npy')",
    "predict": "pt.integrations.predict_rows(bad, pt.PatchMatrix(image, 8))",
    "exit": "pt.map_patches(lambda b: sys.exit(3), image, 8, workers=2)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_with_its_own_traceback_and_status(name: str) -> None:
    code = PROGRAM.format(call=PROGRAMS[name])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == ""
    assert "terminate called" not in done.stderr
    if name == "exit":
        assert done.returncode == 3, done.stderr
    else:
        assert done.returncode == 1
        assert f"ValueError: my {name}" in done.stderr
    assert not os.path.exists("r.npy")

"""What hostile files, arguments and neighbours do: one clear error, the right answer, nothing lost."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import threading
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import pantile as pt
from pantile.tileset import merge_tiles, write_tiles
from pantile.tileset.manifest import MANIFEST

IMAGE = np.random.default_rng(0).integers(0, 200, (60, 80), dtype=np.uint8)


class TestTiles:
    def test_two_runs_to_one_folder_never_mix_their_tiles(self, tmp_path: Path) -> None:
        place = tmp_path / "tiles"
        begun, go_on = threading.Event(), threading.Event()

        def wait(*_: int) -> None:
            begun.set()
            assert go_on.wait(30)

        first = threading.Thread(
            target=write_tiles, args=(IMAGE, place, 20, 4), kwargs={"progress": wait}
        )
        first.start()
        try:
            assert begun.wait(30)
            with pytest.raises(BlockingIOError, match="another run is writing"):
                write_tiles(IMAGE + 1, place, 20, 4)
        finally:
            go_on.set()
            first.join()
        assert np.array_equal(merge_tiles(place, dtype=np.uint8), IMAGE)
        assert sorted(os.listdir(tmp_path)) == ["tiles"]

    def test_a_manifest_of_more_tiles_than_there_are_files_is_refused_at_once(
        self, tmp_path: Path
    ) -> None:
        place = tmp_path / "tiles"
        write_tiles(IMAGE, place, 20, 20)
        _edit(place, shape=[10**9, 10**9], grid={"shape": [10**9, 10**9], "step": [1, 1]})
        with pytest.raises(
            ValueError, match=r"lacks 999999962000000\d+ of 999999962000000\d+ tiles: tile-1\d,"
        ):
            merge_tiles(place)

    def test_what_is_missing_is_still_named(self, tmp_path: Path) -> None:
        place = tmp_path / "tiles"
        write_tiles(IMAGE, place, 20, 20)
        for number in (3, 7):
            (place / f"tile-{number:02d}.png").unlink()
        with pytest.raises(ValueError, match=r"lacks 2 of 12 tiles: tile-03, tile-07$"):
            merge_tiles(place)

    @pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000])
    def test_a_manifest_nested_beyond_measure_is_damaged(self, tmp_path: Path, text: str) -> None:
        write_tiles(IMAGE, tmp_path / "tiles", 20, 20)
        (tmp_path / "tiles" / MANIFEST).write_text(text)
        with pytest.raises(ValueError, match=f"{MANIFEST}: no JSON"):
            merge_tiles(tmp_path / "tiles")

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"dtype": "x"}, "dtype='x' is no dtype"),
            ({"grid": {"pad_value": {}}}, "pad_value must be a number"),
        ],
    )
    def test_what_a_manifest_cannot_say_is_a_value_error(
        self, tmp_path: Path, change: dict[str, Any], match: str
    ) -> None:
        write_tiles(IMAGE, tmp_path / "tiles", 20, 20)
        _edit(tmp_path / "tiles", **change)
        with pytest.raises(ValueError, match=f"{MANIFEST}: {match}"):
            merge_tiles(tmp_path / "tiles")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_in_the_place_of_a_tile_is_not_waited_for(self, tmp_path: Path) -> None:
        write_tiles(IMAGE, tmp_path / "tiles", 20, 20)
        tile = tmp_path / "tiles" / "tile-03.png"
        tile.unlink()
        os.mkfifo(tile)
        with pytest.raises(ValueError, match=r"tile-03\.png is no file"):
            merge_tiles(tmp_path / "tiles")


LINES: list[Any] = [
    3, [], "x", None, {"done": 3}, {"done": None}, {"done": [3]}, {"done": [[5, 0, 0]]}, {"done": [["a", 0, 0]]},
    {"done": [[-1, 0, 0]]}, {"done": "000"}, {"whole": 3}, {"whole": {"earlier": []}},
]  # fmt: skip


def _double(batch: Any) -> Any:
    return 2 * batch


class _Stop(Exception):
    pass


def _stop(done: int, total: int) -> None:
    if 2 * done > total:
        raise _Stop


class Store:
    """Something with a shape, a dtype and slices, which says one thing and gives another."""

    def __init__(self, given: Any, shape: tuple[int, ...] = (60, 80), dtype: Any = "f8") -> None:
        self.given, self.shape, self.dtype = given, shape, np.dtype(dtype)
        self.array = np.random.default_rng(0).normal(size=(60, 80))

    def __getitem__(self, key: Any) -> Any:
        return self.given(self.array[key])


class TestStores:
    @pytest.mark.parametrize(
        ("given", "dtype"),
        [
            (np.transpose, "f8"),
            (lambda a: a[1:], "f8"),
            (lambda a: np.pad(a, 1), "f8"),
            (lambda _: None, "f8"),
            (lambda _: 3.0, "f8"),
            (lambda a: a + 1j, "f8"),
            (lambda a: 100 * a, "u1"),
        ],
    )
    def test_blocks_that_are_not_what_was_asked_for_are_refused(
        self, given: Any, dtype: str
    ) -> None:
        with pytest.raises(ValueError, match="Store says shape"):
            pt.map_patches(lambda b: b, Store(given, dtype=dtype), 8, 4)

    def test_a_mask_is_not_dropped(self) -> None:
        with pytest.raises(
            TypeError, match="gives a masked array, and patches would lose its mask"
        ):
            pt.map_patches(lambda b: b, Store(lambda a: np.ma.masked_greater(a, 0)), 8, 4)

    @pytest.mark.parametrize(
        "given", [lambda a: a, lambda a: a.tolist(), lambda a: a.astype(">f8"), np.float32]
    )
    def test_what_is_as_good_is_taken(self, given: Any) -> None:
        store = Store(given)
        np.testing.assert_allclose(pt.map_patches(lambda b: b, store, 8, 4), store.array, atol=1e-6)


class TestFarPlaces:
    @pytest.mark.parametrize("mode", ["constant", "edge", "wrap", "reflect", "symmetric"])
    @pytest.mark.parametrize("step", [1, 2**31 + 1, 2**60 + 1])
    def test_no_position_is_past_64_bits(self, mode: Any, step: int) -> None:
        with pytest.raises(
            ValueError, match=r"axis 0 would reach over \d+ elements .* at most 2\^62"
        ):
            pt.PatchGrid(5, 3, step, pad=2**63 - 10, pad_mode=mode)

    def test_the_farthest_are_read_right(self) -> None:
        grid = pt.PatchGrid(5, 3, 2**40, pad=2**60, pad_mode="wrap")
        rows = pt.extract(np.arange(5), grid, indices=[0, -1])
        assert rows.tolist() == [
            [(k - 2**60) % 5 for k in range(3)],
            [(2 + k + 2**60) % 5 for k in range(3)],
        ]

    def test_evenly_spread_patches_stand_where_they_should_on_a_long_axis(self) -> None:
        grid = pt.PatchGrid(2**40, 3, 2**10 - 1, tail="respace")
        axis = grid.axis_grids[0]
        rows = [1, axis.count // 3, axis.count - 2, axis.count - 1]
        assert axis.starts_at(np.array(rows)).tolist() == [axis.start(i) for i in rows]

    def test_some_patches_of_a_huge_grid_cost_what_they_are(self) -> None:
        grid = pt.PatchGrid((10**9, 10**9), 2)
        last = 10**18 - 1
        assert grid.flat_indices([0, -1]).tolist() == [
            [0, 1, 10**9, 10**9 + 1],
            [last - 10**9 - 1, last - 10**9, last - 1, last],
        ]

    def test_what_no_int64_can_number_is_said_so(self) -> None:
        grid = pt.PatchGrid((2**33, 2**33), 1)
        with pytest.raises(ValueError, match="more than int64 numbers"):
            grid.as_rows([0])
        with pytest.raises(ValueError, match="more elements than int64 numbers"):
            pt.PatchGrid((2**33, 2**33), 2**32, 2**32).flat_indices([0])


class TestJournals:
    JOB: ClassVar[dict[str, Any]] = {
        "patch": 16, "step": 4, "batch_bytes": "20kB", "memory": "2MB", "workers": 1,
    }  # fmt: skip

    @pytest.fixture
    def image(self) -> Any:
        return np.random.default_rng(0).normal(size=(90, 120)).astype(np.float32)

    @pytest.fixture
    def out(self, tmp_path: Path, image: Any) -> Path:
        """A result that was begun, its staging file and journal beside it."""
        with pytest.raises(_Stop):
            pt.map_patches(_double, image, out=tmp_path / "o.npy", progress=_stop, **self.JOB)
        assert sorted(os.listdir(tmp_path)) == ["o.npy.journal", "o.npy.partial"]
        return tmp_path / "o.npy"

    def resumed(self, image: Any, out: Path) -> None:
        pt.map_patches(_double, image, out=out, resume=True, **self.JOB)
        assert np.array_equal(np.load(out), pt.map_patches(_double, image, **self.JOB))
        assert not any(name.startswith("o.npy.") for name in os.listdir(out.parent))

    @pytest.mark.parametrize("resume", [False, True])
    def test_a_link_in_the_place_of_the_journal_is_not_followed(
        self, tmp_path: Path, image: Any, resume: bool
    ) -> None:
        (tmp_path / "precious").write_text("precious")
        os.symlink(tmp_path / "precious", tmp_path / "o.npy.journal")
        with pytest.raises(FileExistsError, match="in the way of the journal"):
            pt.map_patches(_double, image, out=tmp_path / "o.npy", resume=resume, **self.JOB)
        assert (tmp_path / "precious").read_text() == "precious"

    @pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)])
    def test_nor_is_a_pipe_waited_for(self, tmp_path: Path, image: Any, make: Any) -> None:
        make(tmp_path / "o.npy.journal")
        for resume in (False, True):
            with pytest.raises(FileExistsError, match="in the way of the journal"):
                pt.map_patches(_double, image, out=tmp_path / "o.npy", resume=resume, **self.JOB)

    @pytest.mark.parametrize("entry", [*LINES, "deep"], ids=str)
    def test_a_line_with_a_good_checksum_that_no_run_writes_is_torn(
        self, image: Any, out: Path, entry: Any
    ) -> None:
        journal = Path(f"{out}.journal")
        header = journal.read_bytes().splitlines(keepends=True)[0]
        journal.write_bytes(header + _line(entry))
        self.resumed(image, out)

    @pytest.mark.parametrize("entry", [3, [], {"results": 3}, "deep"], ids=str)
    def test_so_is_a_first_line(self, image: Any, out: Path, entry: Any) -> None:
        Path(f"{out}.journal").write_bytes(_line(entry))
        self.resumed(image, out)

    @pytest.mark.parametrize(
        "change",
        [
            {"tiles": None},
            {"tiles": [0, 0]},
            {"batch": "x"},
            {"batch": -1},
            {"results": []},
            {"results": [{}]},
        ],
        ids=str,
    )
    def test_so_is_a_header_that_cannot_be(self, image: Any, out: Path, change: Any) -> None:
        journal = Path(f"{out}.journal")
        header = json.loads(journal.read_bytes().splitlines()[0][9:])
        journal.write_bytes(_line(header | change))
        self.resumed(image, out)

    def test_tiles_of_another_number_of_axes_are_refused(self, image: Any, out: Path) -> None:
        journal = Path(f"{out}.journal")
        header = json.loads(journal.read_bytes().splitlines()[0][9:])
        journal.write_bytes(_line(header | {"tiles": [1]}))
        with pytest.raises(ValueError, match="damaged, its tiles have 1 axes: begin again"):
            pt.map_patches(_double, image, out=out, resume=True, **self.JOB)

    @pytest.mark.parametrize("size", [0, 10, 1000])
    def test_a_staging_file_that_was_cut_off_is_said_to_be(
        self, image: Any, out: Path, size: int
    ) -> None:
        os.truncate(f"{out}.partial", size)
        with pytest.raises(
            ValueError, match=r"o\.npy\.partial: is damaged: begin again, with resume=False"
        ):
            pt.map_patches(_double, image, out=out, resume=True, **self.JOB)

    def test_a_link_in_the_place_of_the_staging_file_is_not_written_through(
        self, image: Any, out: Path
    ) -> None:
        partial, precious = Path(f"{out}.partial"), out.parent / "precious.npy"
        partial.rename(precious)
        before = precious.read_bytes()
        partial.symlink_to(precious)
        self.resumed(image, out)
        assert precious.read_bytes() == before

    @pytest.mark.parametrize("name", ["q.npy.partial", "q.npy.journal", "q.npy.partial/in.npy"])
    def test_an_image_under_a_name_that_the_run_removes_is_kept(
        self, tmp_path: Path, image: Any, name: str
    ) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            np.save(file, image)
        with pytest.raises(
            (ValueError, FileExistsError),
            match=r"(is|would be) written by way of .*q\.npy\.(partial|journal)",
        ):
            pt.map_patches(_double, path, out=tmp_path / "q.npy", **self.JOB)
        assert np.array_equal(np.load(path), image)


def _line(entry: Any) -> bytes:
    text = b"[" * 100_000 if entry == "deep" else json.dumps(entry).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _edit(place: Path, **changes: Any) -> None:
    found = json.loads((place / MANIFEST).read_text())
    grid = changes.pop("grid", {})
    (place / MANIFEST).write_text(json.dumps(found | changes | {"grid": found["grid"] | grid}))


def test_a_grid_is_described_by_a_dict() -> None:
    with pytest.raises(TypeError, match="described by a dict of the keys"):
        pt.PatchGrid.from_dict(None)  # type: ignore[arg-type]


class TestMasks:
    """A mask says what must not be used: whatever would drop it refuses."""

    image: ClassVar[Any] = np.random.default_rng(0).normal(size=(12, 15))
    grid: ClassVar[Any] = pt.PatchGrid((12, 15), 5)
    masked: ClassVar[Any] = np.ma.masked_greater(image, 0)

    @pytest.mark.parametrize(
        ("name", "call"),
        [
            ("what func returned", lambda s: pt.map_patches(lambda b: np.ma.masked_greater(b, 0), s.image, 5)),
            ("what finalize returned", lambda s: pt.map_patches(
                lambda b: b, s.image, 5, finalize=lambda a: np.ma.masked_greater(a, 0))),
            ("where", lambda s: pt.map_patches(lambda b: b, s.image, 5, fill=0, where=s.masked > 0)),
            ("weights", lambda s: pt.unpatchify(pt.extract(s.image, 5), s.grid, weights=np.ma.ones((5, 5)))),
            ("patch_weights", lambda s: pt.unpatchify(
                pt.extract(s.image, 5), s.grid, patch_weights=np.ma.ones(88))),
            ("patch_weights", lambda s: pt.Merger(s.grid).add(
                pt.extract(s.image, 5), np.arange(88), np.ma.ones(88))),
            ("indices", lambda s: pt.extract(s.image, 5, indices=np.ma.masked_equal([1, 2], 2))),
            ("array", lambda s: s.grid.centers(s.masked)),
            ("X @ V", lambda s: pt.PatchMatrix(s.image, 5) @ np.ma.ones(25)),
        ],
    )  # fmt: skip
    def test_it_is_refused(self, name: str, call: Any) -> None:
        with pytest.raises(
            TypeError,
            match=f"^(the operand of )?{name} is a masked array, and its mask would be lost",
        ):
            call(self)

    def test_so_are_masked_labels(self) -> None:
        learn = pytest.importorskip("pantile.learn")
        labels = np.ma.masked_equal((self.image > 0).astype(int), 1)
        with pytest.raises(TypeError, match="labels is a masked array"):
            learn.PatchLDA(3).fit(self.image, labels)


class TestWeights:
    image: ClassVar[Any] = np.random.default_rng(0).normal(size=(12, 15))
    grid: ClassVar[Any] = pt.PatchGrid((12, 15), 5)

    @pytest.mark.parametrize("factor", [1e-160, 1e160])
    def test_weights_per_patch_whose_products_leave_float64_are_refused(
        self, factor: float
    ) -> None:
        patches = pt.extract(self.image, self.grid)
        votes = np.full(len(patches), factor)
        with pytest.raises(ValueError, match="patch_weights must be 0, or between 1e-100 and 1e"):
            pt.unpatchify(patches, self.grid, patch_weights=votes)
        with pytest.raises(ValueError, match="patch_weights must be 0, or between 1e-100 and 1e"):
            pt.Merger(self.grid).add(patches, np.arange(len(patches)), votes)

    @pytest.mark.parametrize("factor", [5e-324, 1e-200, 1e200, 1e308])
    @pytest.mark.parametrize("vote", [1e-99, 1.0, 1e99])
    def test_the_size_of_all_others_cancels(self, factor: float, vote: float) -> None:
        patches = pt.extract(self.image, self.grid)
        votes = np.full(len(patches), vote)
        for weights in (np.full((5, 5), factor), [np.full(5, factor)] * 2):
            back = pt.unpatchify(patches, self.grid, weights=weights, patch_weights=votes)
            np.testing.assert_allclose(back, self.image)
            back = pt.map_patches(lambda b: b, self.image, self.grid, weights=weights)
            np.testing.assert_allclose(back, self.image)

    def test_a_narrow_taper_gives_the_corners_their_value(self) -> None:
        image = np.random.default_rng(0).normal(size=(70, 70))
        back = pt.unpatchify(pt.extract(image, 64), image.shape, weights=("gaussian", 1))
        np.testing.assert_allclose(back, image)


class TestOut:
    def test_an_out_of_no_elements_has_none_in_one_place(self) -> None:
        out = np.lib.stride_tricks.as_strided(np.zeros(1), (0, 1, 2), (0, 0, 0))
        assert pt.extract(np.ones((1, 2)), (1, 2), indices=[], out=out) is out

    @pytest.mark.parametrize("strides", [(0, 0), (0, 8), (8, 0), (8, 8), (-8, 16)])
    def test_an_out_whose_elements_lie_in_one_place_is_refused(
        self, strides: tuple[int, int]
    ) -> None:
        image, grid = np.ones((12, 15)), pt.PatchGrid((12, 15), 5)

        def out(*shape: int) -> Any:
            steps = (0,) * (len(shape) - 2) + strides
            return np.lib.stride_tricks.as_strided(np.zeros(1000)[200:], shape, steps)

        calls = [
            lambda: pt.extract(image, grid, out=out(88, 5, 5)),
            lambda: pt.unpatchify(pt.extract(image, grid), grid, out=out(12, 15)),
            lambda: pt.map_patches(lambda b: b, image, grid, out=out(12, 15)),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="elements of out lie in the same memory"):
                call()

    @pytest.mark.parametrize(
        "turn", [lambda a: a.T, lambda a: a[::-1, ::-2], lambda a: a[1::2, ::3]]
    )
    def test_all_others_are_filled(self, turn: Any) -> None:
        out = turn(np.zeros((60, 80)))
        image = np.random.default_rng(0).normal(size=out.shape)
        pt.map_patches(lambda b: b, image, 5, out=out)
        np.testing.assert_allclose(out, image)


@pytest.mark.parametrize("value", [{3, 4}, {3: 1, 4: 2}, b"39", frozenset({3, 4})])
def test_what_has_no_order_is_no_patch(value: Any) -> None:
    with pytest.raises(TypeError, match="patch must be a whole number"):
        pt.PatchGrid((10, 10), value)


class Unpicklable(Exception):
    """An exception as people write them: its own arguments, other ones to the base."""

    def __init__(self, code: int, place: str) -> None:
        super().__init__(f"code {code} at {place}")


def _fail(batch: Any) -> Any:
    raise Unpicklable(len(batch), "here")


def test_an_exception_that_does_not_unpickle_still_arrives_from_a_process() -> None:
    with pytest.raises(RuntimeError, match=r"^Unpicklable: code \d+ at here") as caught:
        pt.map_patches(_fail, np.ones((20, 20)), 5, executor="processes", workers=1)
    assert any("in _fail" in note for note in caught.value.__notes__)


def _merge(**changes: Any) -> pt.Merge:
    def add(mine: Any, other: Any, *_: Any) -> None:
        mine[0][...] += other if isinstance(other, np.ndarray) else other[0]

    functions: dict[str, Any] = {
        "init": lambda shape, _: (np.zeros(shape),),
        "accumulate": add,
        "combine": add,
        "finalize": lambda state: state[0],
    }
    return pt.Merge(**(functions | changes))


class TestCustomMerges:
    image: ClassVar[Any] = np.random.default_rng(0).normal(size=(12, 15))
    grid: ClassVar[Any] = pt.PatchGrid((12, 15), 5)

    def calls(self, merge: pt.Merge) -> list[Any]:
        patches = pt.extract(self.image, self.grid)

        def piecemeal() -> Any:
            merger = pt.Merger(self.grid, merge=merge)
            merger.add(patches, np.arange(len(patches)))
            return merger.result()

        return [
            piecemeal,
            lambda: pt.unpatchify(patches, self.grid, merge=merge),
            lambda: pt.map_patches(lambda b: b, self.image, self.grid, merge=merge),
        ]

    @pytest.mark.parametrize(
        "finalize",
        [
            lambda _: None,
            lambda _: 3,
            lambda state: state[0][:1],
            lambda state: state[0][..., None],
            lambda state: state[0].astype(object),
            lambda state: state[0].astype("U5"),
        ],
    )
    def test_a_finalize_that_gives_no_image_is_refused(self, finalize: Any) -> None:
        for call in self.calls(_merge(finalize=finalize)):
            with pytest.raises(TypeError, match=r"Merge\.finalize must return numbers of shape"):
                call()

    @pytest.mark.parametrize(
        "init",
        [
            lambda *_: None,
            lambda shape, _: np.zeros(shape),
            lambda *_: (),
            lambda *_: (np.zeros((2, 2)),),
            lambda *_: ([0],),
        ],
    )
    def test_so_is_an_init_that_gives_no_state(self, init: Any) -> None:
        for call in self.calls(_merge(init=init)):
            with pytest.raises(TypeError, match=r"Merge\.init must return a tuple of arrays"):
                call()


class TestMatrix:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(("patch", "step"), [(3, 1), (3, 5), (1, 4)])
    def test_what_is_not_finite_is_in_the_features_that_see_it_alone(
        self, value: float, patch: int, step: int
    ) -> None:
        for place in ((0, 0), (3, 3), (10, 20)):  # a corner; in no patch of the second grid; inside
            image = np.random.default_rng(0).normal(size=(23, 28))
            image[place] = value
            grid = pt.PatchGrid(image.shape, patch, step, tail="drop")
            X, rows = pt.PatchMatrix(image, grid), pt.extract(image, grid).reshape(-1, patch**2)
            with np.errstate(invalid="ignore"):
                for axis in (0, 1, None):
                    for name in ("sum", "mean", "std"):
                        wanted = getattr(np, name)(rows, axis=axis)
                        np.testing.assert_allclose(
                            getattr(X, name)(axis), wanted, atol=1e-9, err_msg=name
                        )

    def test_a_gram_matrix_that_cannot_fit_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pantile.matrix.guard.EXPANSION_LIMIT", 10_000)
        X = pt.PatchMatrix(np.ones((20, 20)), 6)
        for call in (X.gram, X.cov):
            with pytest.raises(MemoryError, match=r"the Gram matrix would take 10\.4 KB"):
                call()

    def test_statistics_of_few_patches_do_not_read_what_is_in_none(self) -> None:
        image = np.full((2001, 2001), np.nan)  # whoever adds these up gets no mean
        image[::1000, ::1000] = rows = np.arange(9.0).reshape(3, 3) + 1e9
        X = pt.PatchMatrix(image, 1, 1000)
        assert X.mean(0).tolist() == [rows.mean()]
        np.testing.assert_allclose(X.std(0), [rows.std()])
        np.testing.assert_allclose(X.cov(), np.cov(rows.ravel()).reshape(1, 1))

    def test_a_product_with_no_columns_has_none(self) -> None:
        X = pt.PatchMatrix(np.ones((9, 9)), 3)
        assert (X.T @ np.ones((49, 0))).shape == (9, 0)
        assert (np.ones((0, 49)) @ X).shape == (0, 9)
        assert (X @ np.ones((9, 0))).shape == (49, 0)

    @pytest.mark.skipif(os.name == "nt", reason="modes of another kind")
    def test_a_memory_map_is_as_open_as_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "other").touch()
        pt.PatchMatrix(np.ones((9, 9)), 3).to_memmap(tmp_path / "x.npy")
        assert (tmp_path / "x.npy").stat().st_mode == (tmp_path / "other").stat().st_mode
        assert sorted(os.listdir(tmp_path)) == ["other", "x.npy"]


class TestLongNumbers:
    @pytest.fixture
    def patches(self) -> Any:
        if np.finfo(np.longdouble).nmant <= 52:
            pytest.skip("no longer floats here")
        image = np.arange(30, dtype=np.longdouble).reshape(5, 6) + np.longdouble(1) / 3
        return pt.extract(image * np.longdouble(10) ** 400, pt.PatchGrid((5, 6), 3, 2))

    @pytest.mark.parametrize("merge", ["max", "min", "median", "vote"])
    def test_a_merge_that_would_round_them_says_so(self, patches: Any, merge: Any) -> None:
        with pytest.raises(
            TypeError, match=f"merge='{merge}' cannot hold .* convert the patches to float64"
        ):
            pt.unpatchify(patches, pt.PatchGrid((5, 6), 3, 2), merge=merge)

    @pytest.mark.parametrize("merge", ["first", "last", "center"])
    def test_others_keep_them(self, patches: Any, merge: Any) -> None:
        grid = pt.PatchGrid((5, 6), 3, 2)
        back = pt.unpatchify(patches, grid, merge=merge)
        assert np.array_equal(pt.extract(back, grid), patches)
        with pytest.raises(TypeError, match="convert the patches to complex128"):
            pt.unpatchify(patches * 1j, grid, merge=merge)


def test_a_merger_can_be_copied_half_full() -> None:
    image = np.random.default_rng(0).normal(size=(12, 15))
    grid = pt.PatchGrid(image.shape, 5)
    patches = pt.extract(image, grid)
    merger = pt.Merger(grid)
    merger.add(patches[:40], np.arange(40))
    for other in (copy.copy(merger), copy.deepcopy(merger)):
        other.add(patches[40:], np.arange(40, 88))
        np.testing.assert_allclose(other.result(), image)
    merger.add(patches[40:], np.arange(40, 88))  # none of them has changed it
    np.testing.assert_allclose(merger.result(), image)
    assert merger.coverage().max() == 25
    with pytest.raises(TypeError, match="a Merger cannot be pickled: send it patches"):
        pickle.dumps(merger)


class TestFiles:
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_is_no_image(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.npy")
        with pytest.raises(ValueError, match=r"a\.npy is no file, and images are read in blocks"):
            pt.map_patches(_double, tmp_path / "a.npy", 5)

    def test_a_tiff_without_pages_holds_no_image(self, tmp_path: Path) -> None:
        pytest.importorskip("tifffile")
        (tmp_path / "a.tif").write_bytes(b"II*\0\0\0\0\0")
        with pytest.raises(ValueError, match=r"a\.tif holds no image"):
            pt.map_patches(_double, tmp_path / "a.tif", 5)

    def test_a_zarr_result_that_someone_took_away_is_missed(self, tmp_path: Path) -> None:
        pytest.importorskip("zarr")

        def take_away(batch: Any) -> Any:
            shutil.rmtree(tmp_path / "a.zarr.partial", ignore_errors=True)
            return batch

        with pytest.raises(FileNotFoundError, match=r"took .*a\.zarr\.partial away"):
            pt.map_patches(
                take_away, np.ones((40, 50)), 5, out=tmp_path / "a.zarr", batch_bytes="20kB"
            )
        assert not (tmp_path / "a.zarr").exists()


def test_a_budget_of_more_digits_than_there_are_bytes() -> None:
    with pytest.raises(ValueError, match="memory must be a number of bytes"):
        pt.map_patches(_double, np.ones((9, 9)), 3, memory="9" * 400 + "MB")

"""What hostile files, arguments and neighbours do: one clear error, the right answer, nothing lost."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

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


def _edit(place: Path, **changes: Any) -> None:
    found = json.loads((place / MANIFEST).read_text())
    grid = changes.pop("grid", {})
    (place / MANIFEST).write_text(json.dumps(found | changes | {"grid": found["grid"] | grid}))


def test_a_grid_is_described_by_a_dict() -> None:
    with pytest.raises(ValueError, match="described by the keys"):
        pt.PatchGrid.from_dict(None)  # type: ignore[arg-type]

"""Cut an image into tiles on disk."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import open_image
from ..files.write.staging import check_directory
from ..geometry import PatchGrid
from ..geometry.frame import Frame, frame_of
from ..stream import map_patches
from ..stream.job import Indexed
from ..stream.resume.journal import Journal, journal_path
from ..stream.tile_task import Cancelled
from .formats import check_format, write_tile
from .manifest import MANIFEST, Manifest, is_array, manifest_path

__all__ = ["plan_tiles", "write_tiles"]

Array = NDArray[Any]


def write_tiles(
    image: Any,
    place: str | os.PathLike[str],
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    suffix: str = ".png",
    **options: Any,
) -> Manifest:
    """Every patch of an image as a file in a folder, or all in one array; with a manifest beside.

    Parameters
    ----------
    image : array_like or path
        Anything `map_patches` takes.
    place : path
        A new folder; or one array, ``.npy`` or ``.zarr``, of shape ``(*batch, *counts, *patch)``.
    patch, step, axes, channel_axis
        As in `map_patches`.
    suffix : {".png", ".tif", ".npy"}
        The kind of file, for a folder.
    **options
        ``memory``, ``workers``, ``progress`` of `map_patches`; and ``resume``, for one array.

    Returns
    -------
    Manifest
        What was written; `read_manifest` reads it back.

    Raises
    ------
    FileExistsError
        The folder exists already. It appears under its name only when all tiles are in it; until
        then it is ``place + ".partial"``, which goes away when the run is stopped. What a killed
        run left there goes with the next one.
    BlockingIOError
        Another run is writing this folder.
    ValueError, TypeError
        Tiles do not fit the kind of file; the grid does not fit the image.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pantile.tileset import merge_tiles, write_tiles
    >>> image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = write_tiles(image, folder + "/tiles", 4, 2)
    ...     back = merge_tiles(folder + "/tiles", dtype=np.uint8)
    >>> found.n_tiles, bool((back == image).all())
    (6, True)
    """
    manifest, path = (
        plan_tiles(image, place, patch, step, axes=axes, channel_axis=channel_axis, suffix=suffix),
        Path(place),
    )
    if is_array(path):
        _write_array(manifest, image, path, options)
    elif options.pop("resume", False):
        raise ValueError(
            "resume=True goes with one array, .npy or .zarr: a folder of tiles is always begun anew"
        )
    else:
        _write_folder(manifest, image, path, suffix, options)
    return manifest


def plan_tiles(
    image: Any,
    place: str | os.PathLike[str],
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    suffix: str = ".png",
) -> Manifest:
    """The manifest that `write_tiles` would write; raises the errors that it would."""
    reader = open_image(image)
    frame = frame_of(tuple(reader.shape), patch, step, axes=axes, channel_axis=channel_axis)
    dtype = np.dtype(reader.dtype)
    manifest = Manifest(
        tuple(reader.shape), dtype.str, frame.grid, *_axes_of(frame),
        digits=len(str(frame.n_patches - 1)),
    )  # fmt: skip
    if not is_array(Path(place)):
        check_format(suffix, frame.patch_shape, dtype)
        _check_folder(Path(place))
    return manifest


def _axes_of(frame: Frame) -> tuple[tuple[int, ...], int | None]:
    """The patched axes and the channel axis, as positions in the image."""
    inner = range(frame.n_batch, len(frame.order))
    axes = tuple(frame.order[k] for k in inner if k != frame.channel)
    return axes, None if frame.channel is None else frame.order[frame.channel]


def _map_tiles(manifest: Manifest, func: Any, image: Any, options: dict[str, Any]) -> Any:
    axes, channel_axis = manifest.axes, manifest.channel_axis
    return map_patches(
        func, image, manifest.grid, axes=axes, channel_axis=channel_axis, merge=None, **options
    )


def _write_array(manifest: Manifest, image: Any, path: Path, options: dict[str, Any]) -> None:
    _map_tiles(manifest, _return_batch, image, {**options, "out": path})
    _write_text(manifest_path(path), manifest.to_json())


def _return_batch(batch: Array) -> Array:
    return batch


def _check_folder(folder: Path) -> None:
    """Raise where the folder exists, cannot be made, or its staging name is taken by something else."""
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} exists already: name a new folder for the tiles")
    if not folder.absolute().parent.is_dir():
        raise FileNotFoundError(f"{folder}: there is no folder {folder.absolute().parent}")
    check_directory(os.path.abspath(folder))
    staging = _staging_path(folder)
    ours = staging.is_dir() and ((staging / MANIFEST).is_file() or not any(staging.iterdir()))
    if os.path.lexists(staging) and (staging.is_symlink() or not ours):
        raise FileExistsError(
            f"{staging} is in the way, and no run that was cut short left it: move it, or name another folder"
        )


def _staging_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def _write_folder(
    manifest: Manifest, image: Any, folder: Path, suffix: str, options: dict[str, Any]
) -> None:
    staging = _staging_path(folder)
    with _lock_out_others(folder):
        _check_folder(folder)  # another run may have ended in between
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        writer = _Writer(manifest, staging, suffix)
        try:
            # first: it marks the folder as ours
            _write_text(staging / MANIFEST, manifest.to_json())
            _map_tiles(manifest, Indexed(writer), image, options)
            staging.rename(folder)
        except BaseException:
            writer.stop()
            shutil.rmtree(staging, ignore_errors=True)
            raise


@contextmanager
def _lock_out_others(folder: Path) -> Iterator[None]:
    """A context that only one run at a time may be in for this folder: two would mix their tiles."""
    # an empty journal, which goes when it is closed
    lock = Journal(journal_path(os.path.realpath(folder)))
    try:
        yield
    finally:
        lock.close()


class _Writer:
    """Writes each patch of a batch to the file of its number."""

    def __init__(self, manifest: Manifest, folder: Path, suffix: str) -> None:
        self.manifest, self.folder, self.suffix = manifest, folder, suffix
        self._writing, self._stopped, self._idle = 0, False, threading.Condition()

    def __call__(self, batch: Array, numbers: NDArray[np.int64]) -> Array:
        for tile, number in zip(batch, numbers.tolist(), strict=True):
            with self._while_running():
                write_tile(self.folder / (self.manifest.stem(number) + self.suffix), tile)
        return np.zeros(len(batch), bool)

    @contextmanager
    def _while_running(self) -> Iterator[None]:
        """A context for writing one file; raises `Cancelled` once this is stopped."""
        with self._idle:
            if self._stopped:
                raise Cancelled
            self._writing += 1
        try:
            yield
        finally:
            with self._idle:
                self._writing -= 1
                self._idle.notify_all()

    def stop(self) -> None:
        """Let no further file be begun, and return when those under way are written."""
        with self._idle:
            self._stopped = True
            while self._writing:
                self._idle.wait()


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)

"""tiler's `Tiler` and `Merger`, with sums in float64."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Merger", "Tiler"]

Array = NDArray[Any]
_PADDED = ("constant", "reflect", "edge", "wrap")


class Tiler:
    """Tiles of an array by their numbers, as `tiler.Tiler`.

    Parameters
    ----------
    data_shape, tile_shape : sequence of int
        Of the array and of a tile; a tile with fewer axes has 1 along the first ones.
    overlap : int, float or sequence of int
        Elements, or a share of the tile, that neighbours have in common.
    channel_dimension : int, optional
        An axis that is not cut.
    mode : {"constant", "drop", "irregular", "reflect", "edge", "wrap"}
        What becomes of a last tile that does not fit: it is padded (the names of `numpy.pad`), left
        out, or smaller.
    constant_value : float
        What the padding holds with ``"constant"``.

    Examples
    --------
    >>> tiler = Tiler(data_shape=(5,), tile_shape=(2,))
    >>> [tile.tolist() for _, tile in tiler(np.arange(5))]
    [[0, 1], [2, 3], [4, 0]]
    """

    TILING_MODES = ("constant", "drop", "irregular", "reflect", "edge", "wrap")

    def __init__(
        self,
        data_shape: Any,
        tile_shape: Any,
        overlap: Any = 0,
        channel_dimension: int | None = None,
        mode: str = "constant",
        constant_value: float = 0.0,
    ) -> None:
        self.recalculate(data_shape, tile_shape, overlap, channel_dimension, mode, constant_value)

    def recalculate(
        self,
        data_shape: Any = None,
        tile_shape: Any = None,
        overlap: Any = None,
        channel_dimension: int | None = None,
        mode: str | None = None,
        constant_value: float | None = None,
    ) -> None:
        """Lay tiles anew; what is None stays as it was."""
        if data_shape is not None:
            self.data_shape = np.asarray(data_shape, dtype=np.int64)
        ndim = len(self.data_shape)
        if tile_shape is not None:
            self.tile_shape = _lengthened(np.atleast_1d(np.asarray(tile_shape, np.int64)), ndim)
        if len(self.tile_shape) != ndim:
            raise ValueError(
                f"tile_shape must have at most the {ndim} axes of data_shape, got {len(self.tile_shape)}"
            )
        if (self.tile_shape < 1).any() or (self.data_shape < 1).any():
            raise ValueError(
                f"data_shape and tile_shape must be positive, got {data_shape} and {tile_shape}"
            )
        if mode is not None:
            self.mode = mode
        if self.mode not in self.TILING_MODES:
            raise ValueError(f"mode must be one of {', '.join(self.TILING_MODES)}, got {mode!r}")
        if constant_value is not None:
            self.constant_value = constant_value
        if channel_dimension is not None or not hasattr(self, "channel_dimension"):
            self.channel_dimension = _as_axis(channel_dimension, ndim)
        if overlap is not None:
            self.overlap = overlap
        self._lay()

    def _lay(self) -> None:
        cut = np.arange(len(self.data_shape)) != self.channel_dimension
        shared = _overlaps(self.overlap, self.tile_shape, cut)
        self._tile_overlap, step = shared, self.tile_shape - shared
        rooms, rest = np.divmod(self.data_shape - shared, step)
        counts = rooms if self.mode == "drop" else rooms + (rest != 0)
        counts = np.where(cut, counts, 1)
        self._indexing_shape = counts
        self._tile_step = np.where(cut, step, 0)
        padded = np.where(cut, counts * step + shared, self.data_shape)
        irregular = self.mode == "irregular"
        self._new_shape = self.data_shape.copy() if irregular else padded
        self._shape_diff = self._new_shape - self.data_shape
        self.n_tiles = math.prod(max(0, int(n)) for n in counts)
        if not self.n_tiles:
            warnings.warn(
                f"no tile of {tuple(self.tile_shape)} fits into {tuple(self.data_shape)} with mode={self.mode!r}",
                stacklevel=4,
            )

    def __len__(self) -> int:
        return self.n_tiles

    def __repr__(self) -> str:
        facts = {
            "Mosaic shape": self._indexing_shape.tolist(),
            "Padded shape": self._new_shape.tolist(),
            "Tile overlap": self.overlap,
            "Element step": self._tile_step.tolist(),
            "Mode": self.mode,
            "Channel dimension": self.channel_dimension,
        }
        head = (
            f"Tiler split {self.data_shape.tolist()} data into {len(self)} tiles of"
            f" {self.tile_shape.tolist()}."
        )
        return head + "".join(f"\n\t{name}: {value}" for name, value in facts.items())

    def __call__(self, *args: Any, **options: Any) -> Iterator[tuple[int, Array]]:
        """The same as `iterate`."""
        return self.iterate(*args, **options)

    def iterate(
        self,
        data: Array | Callable[..., Array],
        progress_bar: bool = False,
        batch_size: int = 0,
        drop_last: bool = False,
        copy_data: bool = True,
    ) -> Iterator[tuple[int, Array]]:
        """Numbers and tiles, one at a time, or with ``batch_size`` numbers of batches and batches."""
        if batch_size < 0:
            raise ValueError(f"batch_size must be 0 or more, got {batch_size}")
        most = self.n_tiles - (self.n_tiles % batch_size if drop_last and batch_size else 0)
        begins: Any = range(0, most, max(1, batch_size))
        if progress_bar:
            from tqdm.auto import tqdm  # type: ignore[import-untyped]

            begins = tqdm(begins)
        for begin in begins:
            if not batch_size:
                yield begin, self.get_tile(data, begin, copy_data)
                continue
            some = range(begin, min(begin + batch_size, most))
            yield begin // batch_size, np.stack([self.get_tile(data, k, copy_data) for k in some])

    def get_tile(
        self, data: Array | Callable[..., Array], tile_id: int, copy_data: bool = True
    ) -> Array:
        """A tile, padded where it must be; of a function, what ``data(*corner, *sizes)`` gives."""
        corner = self._corner(tile_id)
        sizes = np.minimum(self.tile_shape, self.data_shape - corner)
        if callable(data):
            tile = np.asarray(data(*corner, *sizes))
        else:
            if tuple(data.shape) != tuple(self.data_shape):
                raise ValueError(
                    f"data has shape {tuple(data.shape)}, but this Tiler is for {tuple(self.data_shape)}"
                )
            tile = data[tuple(slice(c, c + n) for c, n in zip(corner, sizes, strict=True))]
        if copy_data:
            tile = tile.copy()
        missing = self.tile_shape - tile.shape
        if self.mode in _PADDED and (missing > 0).any():
            more: Any = {"constant_values": self.constant_value} if self.mode == "constant" else {}
            tile = np.pad(tile, [(0, int(n)) for n in missing], mode=self.mode, **more)  # type: ignore[call-overload]
        return tile

    def get_all_tiles(
        self, data: Array | Callable[..., Array], axis: int = 0, copy_data: bool = True
    ) -> Array:
        """All tiles along a new axis."""
        if self.mode == "irregular":
            raise ValueError("tiles of mode='irregular' have several shapes, and are no one array")
        tiles = [self.get_tile(data, k, copy_data) for k in range(self.n_tiles)]
        return np.stack(tiles, axis=axis)

    def _corner(self, tile_id: int, all_axes: bool = True) -> NDArray[np.int64]:
        return self._position(tile_id) * self._tile_step

    def _position(self, tile_id: int) -> NDArray[np.int64]:
        if not 0 <= tile_id < self.n_tiles:
            raise IndexError(f"tile_id must be from 0 to {self.n_tiles - 1}, got {tile_id}")
        return np.array(np.unravel_index(tile_id, tuple(self._indexing_shape)))

    def _without_channel(self, values: Array, with_channel_dim: bool) -> Array:
        if with_channel_dim or self.channel_dimension is None:
            return values
        return np.delete(values, self.channel_dimension)

    def get_tile_bbox(
        self, tile_id: int, with_channel_dim: bool = False, all_corners: bool = False
    ) -> Any:
        """The first element of a tile and the one behind its last; or all of its corners."""
        begin = self._without_channel(self._corner(tile_id), with_channel_dim)
        end = begin + self._without_channel(self.tile_shape, with_channel_dim)
        if not all_corners:
            return begin, end
        turns = np.indices((2,) * len(begin)).reshape(len(begin), -1).T
        return begin + turns * (end - begin)

    get_tile_bbox_position = get_tile_bbox

    def get_tile_mosaic_position(self, tile_id: int, with_channel_dim: bool = False) -> Array:
        """Where a tile stands among the others."""
        return self._without_channel(self._position(tile_id), with_channel_dim)

    def get_mosaic_shape(self, with_channel_dim: bool = False) -> Array:
        """How many tiles there are along each axis."""
        return self._without_channel(self._indexing_shape, with_channel_dim)

    def calculate_padding(self) -> tuple[Array, list[tuple[int, int]]]:
        """The shape that data must be padded to for windows that fall to 0 at edges, and the padding of each axis."""
        before = np.maximum(self._tile_step // 2, self._tile_overlap // 2)
        after = before + np.mod(self._tile_step, 2)
        return before + self.data_shape + after, list(zip(before, after, strict=True))


def _lengthened(tile: NDArray[np.int64], ndim: int) -> NDArray[np.int64]:
    if len(tile) >= ndim:
        return tile
    found = np.concatenate([np.ones(ndim - len(tile), np.int64), tile])
    warnings.warn(
        f"tile_shape={tuple(tile.tolist())} is taken for {tuple(found.tolist())}", stacklevel=4
    )
    return found


def _as_axis(axis: int | None, ndim: int) -> int | None:
    if axis is None:
        return None
    if not -ndim <= axis < ndim:
        raise ValueError(f"channel_dimension must be from {-ndim} to {ndim - 1}, got {axis}")
    return axis % ndim


def _overlaps(overlap: Any, tile: NDArray[np.int64], cut: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Elements that neighbours share, per axis."""
    if isinstance(overlap, float):
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap as a share must be from 0 to 1, and not 1, got {overlap}")
        shared = np.where(cut, np.ceil(overlap * tile), 0).astype(np.int64)
        if (shared >= tile).any():
            raise ValueError(
                f"overlap={overlap} of a tile {tuple(tile.tolist())}, rounded up, is all of it along an axis"
            )
        return shared
    if isinstance(overlap, int | np.integer):
        if overlap < 0 or (overlap >= tile[cut]).any():
            raise ValueError(f"overlap must be 0 or more and less than the tile, got {overlap}")
        return np.where(cut, overlap, 0).astype(np.int64)
    if not isinstance(overlap, list | tuple | np.ndarray):
        raise ValueError(f"overlap must be a number or one per axis, got {overlap!r}")
    found = np.asarray(overlap, dtype=np.int64)
    if found.shape != tile.shape or (found < 0).any() or (found >= tile).any():
        raise ValueError(f"overlap must be 0 or more and less than the tile, got {overlap}")
    return found


class Merger:
    """Tiles merged by their numbers with weights, as `tiler.Merger`.

    Parameters
    ----------
    tiler : Tiler
    window : str or ndarray, optional
        What the elements of a tile weigh: a name of `SUPPORTED_WINDOWS`, or an array of a tile's
        shape; by default all the same.
    logits : int
        With more than 0, tiles have an axis of so many in front.
    save_visits : bool
        Whether `data_visits` counts tiles.
    data_dtype, weights_dtype : dtype
        Of the result, and of the window. Sums are float64.

    Notes
    -----
    Elements that no tile has given weight to are 0, as there.

    Examples
    --------
    >>> tiler = Tiler((6,), (4,), overlap=2)
    >>> merger = Merger(tiler)
    >>> for number, tile in tiler(np.arange(6.0)):
    ...     merger.add(number, tile)
    >>> merger.merge()
    array([0., 1., 2., 3., 4., 5.], dtype=float32)
    """

    SUPPORTED_WINDOWS = (
        "boxcar", "triang", "blackman", "hamming", "hann", "bartlett", "parzen", "bohman", "blackmanharris", "nuttall",
        "barthann", "overlap-tile",
    )  # fmt: skip

    def __init__(
        self,
        tiler: Tiler,
        window: str | Array | None = None,
        logits: int = 0,
        save_visits: bool = True,
        data_dtype: DTypeLike = np.float32,
        weights_dtype: DTypeLike = np.float32,
    ) -> None:
        if not isinstance(logits, int) or logits < 0:
            raise ValueError(f"logits must be a whole number, 0 or more, got {logits!r}")
        self.tiler, self.logits = tiler, logits
        self.data_dtype, self.weights_dtype = data_dtype, weights_dtype
        self.reset(save_visits)
        self.set_window(window)

    def reset(self, save_visits: bool = True) -> None:
        """Begin again."""
        shape = tuple(int(n) for n in self.tiler._new_shape)
        front = (self.logits,) if self.logits else ()
        self.data = np.zeros((*front, *shape))
        self.weights_sum = np.zeros(shape)
        self.data_visits = np.zeros(shape, np.uint32) if save_visits else None

    def set_window(self, window: str | Array | None = None) -> None:
        """Weigh tiles that are added from now on by another window."""
        if self.data_visits is not None and self.data_visits.any():
            warnings.warn("tiles that were added before keep their window", stacklevel=2)
        shape = tuple(int(n) for n in self.tiler.tile_shape)
        if isinstance(window, np.ndarray):
            if window.shape != shape:
                raise ValueError(
                    f"window must have the shape of a tile, {shape}, got {window.shape}"
                )
            self.window = window.astype(self.weights_dtype)
            return
        name = "boxcar" if window is None else window
        if not isinstance(name, str) or name not in self.SUPPORTED_WINDOWS:
            names = ", ".join(self.SUPPORTED_WINDOWS)
            raise ValueError(f"window must be an array or one of {names}, got {window!r}")
        self.window = self._weights(name, shape).astype(self.weights_dtype)

    def _weights(self, name: str, shape: Sequence[int]) -> NDArray[np.float64]:
        """The product of a window along each axis; the channel axis weighs the same everywhere."""
        from scipy.signal import get_window

        total = np.ones(())
        for axis, n in enumerate(shape):
            if axis == self.tiler.channel_dimension:
                along = np.ones(n)
            elif name == "overlap-tile":
                edge = int(self.tiler._tile_overlap[axis]) // 2
                along = np.zeros(n)
                along[edge : n - edge if edge else 0] = 1
            else:
                along = np.asarray(get_window(name, n, fftbins=False))
            total = total[..., None] * along
        return total

    def add(self, tile_id: int, data: Array) -> None:
        """Add a tile, ``(logits, *tile_shape)`` or ``tile_shape``; with mode ``"irregular"`` it may be smaller."""
        begin, _ = self.tiler.get_tile_bbox(tile_id, with_channel_dim=True)
        front = (self.logits,) if self.logits else ()
        expected = (*front, *(int(n) for n in self.tiler.tile_shape))
        shape, irregular = tuple(np.shape(data)), self.tiler.mode == "irregular"
        fits = len(shape) == len(expected) and all(
            n <= m if irregular else n == m for n, m in zip(shape, expected, strict=True)
        )
        if not fits:
            raise ValueError(f"data must have shape {expected}, got {shape}")
        sizes = shape[len(front) :]
        place = tuple(slice(int(b), int(b) + n) for b, n in zip(begin, sizes, strict=True))
        weights = self.window[tuple(slice(n) for n in sizes)].astype(np.float64)
        everything: Any = (..., *place)
        self.data[everything] += data * weights
        self.weights_sum[place] += weights
        if self.data_visits is not None:
            self.data_visits[place] += 1

    def add_batch(self, batch_id: int, batch_size: int, data: Array) -> None:
        """Add the tiles of a batch of `Tiler.iterate`."""
        batches = -(-len(self.tiler) // batch_size)
        if not 0 <= batch_id < batches:
            raise IndexError(f"batch_id must be from 0 to {batches - 1}, got {batch_id}")
        begin = batch_id * batch_size
        for k, number in enumerate(range(begin, min(begin + batch_size, len(self.tiler)))):
            self.add(number, data[k])

    def merge(
        self,
        unpad: bool = True,
        extra_padding: Sequence[tuple[int, int]] | None = None,
        argmax: bool = False,
        normalize_by_weights: bool = True,
        dtype: DTypeLike | None = None,
    ) -> Array:
        """What was added so far: divided by the weights, without padding, or the number of the largest logit."""
        data: Any = self.data
        if normalize_by_weights:
            data = np.divide(
                data, self.weights_sum, out=np.zeros_like(data), where=self.weights_sum != 0
            )
        if unpad:
            sizes = [int(n) for n in self.tiler.data_shape]
            pads = extra_padding or [(0, 0)] * len(sizes)
            place = tuple(slice(int(a), n - int(b)) for n, (a, b) in zip(sizes, pads, strict=True))
            data = data[..., *place]
        if argmax:
            data = np.argmax(data, axis=0)
        result: Array = data.astype(self.data_dtype if dtype is None else dtype)
        return result

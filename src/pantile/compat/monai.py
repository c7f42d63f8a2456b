"""MONAI's `sliding_window_inference` and `AvgMerger`, on pantile's `map_patches`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..stream.map import map_patches

__all__ = ["AvgMerger", "sliding_window_inference"]

Tensor = Any  # torch is imported by the functions that need it
_LEAST_WEIGHT = 1e-3  # in the importance map, where its own least is smaller
_PADDING = ("constant", "reflect", "replicate", "circular")


def sliding_window_inference(
    inputs: Tensor,
    roi_size: Sequence[int] | int,
    sw_batch_size: int,
    predictor: Callable[..., Any],
    overlap: Sequence[float] | float = 0.25,
    mode: str = "constant",
    sigma_scale: Sequence[float] | float = 0.125,
    padding_mode: str = "constant",
    cval: float = 0.0,
    sw_device: Any = None,
    device: Any = None,
    progress: bool = False,
    roi_weight_map: Tensor | None = None,
    process_fn: Callable[..., Any] | None = None,
    buffer_steps: int | None = None,
    buffer_dim: int = -1,
    with_coord: bool = False,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """A predictor over overlapping windows, as `monai.inferers.sliding_window_inference`.

    Parameters
    ----------
    inputs : Tensor
        ``(N, C, *spatial)``.
    roi_size : int or sequence of int
        Of a window; where None or not positive, that of the image.
    sw_batch_size : int
        Windows per call of ``predictor``, of one image or several.
    predictor : callable
        Takes a tensor ``(n, C, *roi_size)`` and gives one ``(n, K, *any size)``, or a tuple, list or
        dictionary of them. ``args`` and ``kwargs`` are passed on; of ``condition=``, an image of the
        inputs' spatial size, its windows are.
    overlap, mode, sigma_scale, roi_weight_map
        How windows overlap (as a share of them), and what their elements weigh: ``"constant"``,
        ``"gaussian"``, or the map itself.
    padding_mode, cval
        What stands around an image that is smaller than a window.
    sw_device, device
        Where the predictor gets its windows, and where the result is; by default that of the inputs.
    progress : bool
        A bar, by tqdm.
    process_fn, with_coord
        As in MONAI.
    buffer_steps, buffer_dim
        Accepted and checked; nothing is buffered apart, so windows keep their order.

    Returns
    -------
    Tensor, tuple of them, or dict
        ``(N, K, *spatial)`` of the inputs' dtype, with gradients where the predictor's results have
        them.

    Raises
    ------
    ValueError
        Where MONAI raises: axes that do not match, an overlap outside [0, 1).

    Notes
    -----
    On the CPU, without gradients, and for results of the windows' own size, windows are cut and
    merged by `map_patches`: summed in float64, and rounded once. Everything else is merged by torch.
    """
    torch = _import_torch()
    images = _Images.of(
        inputs, roi_size, overlap, padding_mode, cval, kwargs.pop("condition", None)
    )
    _check_buffers(buffer_steps, buffer_dim, len(images.roi))
    job = _Job(
        images, int(sw_batch_size), predictor, args, kwargs, sw_device or inputs.device,
        device or inputs.device, process_fn, with_coord,
        _weights(images, mode, sigma_scale, roi_weight_map, inputs.dtype), progress,
    )  # fmt: skip
    found = _merge_here(job) if job.may_stay else None
    if found is None:
        found = _merge_by_torch(job)
    results = [_like(images.cropped(result), inputs, torch) for result in found]
    return job.packed(results)


def _import_torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise ImportError(
            'pantile.compat.monai needs torch: pip install "pantile[torch]"'
        ) from error


def _like(result: Tensor, inputs: Tensor, torch: Any) -> Tensor:
    """A result as what the inputs are: of a MetaTensor, one with its metadata."""
    if type(inputs) is torch.Tensor:
        return result
    convert = import_module("monai.utils").convert_to_dst_type
    plain = inputs.detach() if inputs.requires_grad else inputs
    return convert(result, plain, dtype=result.dtype, device=result.device)[0]


# What is cut


@dataclass(frozen=True)
class _Images:
    """The inputs, padded where they are smaller than a window, and where windows lie."""

    tensor: Tensor
    condition: Tensor | None
    size: tuple[int, ...]  # before they were padded
    before: tuple[int, ...]  # elements of padding before the image, per axis
    grid: PatchGrid

    @property
    def roi(self) -> tuple[int, ...]:
        return self.grid.patch

    @classmethod
    def of(
        cls, inputs: Tensor, roi_size: Any, overlap: Any, padding: str, cval: float, condition: Any
    ) -> _Images:
        size = tuple(int(n) for n in inputs.shape[2:])
        if isinstance(roi_size, Sequence) and len(roi_size) != len(size):
            raise ValueError(
                f"inputs must have {len(roi_size) + 2} dimensions (N, C, *spatial) for roi_size={tuple(roi_size)},"
                f" got shape {tuple(inputs.shape)}: move the channels to the front, and add a batch axis"
            )
        given = _per_axis(roi_size, len(size))
        roi = tuple(
            int(r) if r is not None and r > 0 else n for r, n in zip(given, size, strict=True)
        )
        shares = _per_axis(overlap, len(size))
        if any(o < 0 or o >= 1 for o in shares):
            raise ValueError(f"overlap must be >= 0 and < 1, got {overlap}")
        missing = [max(r - n, 0) for r, n in zip(roi, size, strict=True)]
        pads = [(m // 2, m - m // 2) for m in missing]
        shape = tuple(n + m for n, m in zip(size, missing, strict=True))
        step = [
            r if r == n else max(1, int(r * (1 - o)))
            for r, n, o in zip(roi, shape, shares, strict=True)
        ]
        plain = _plain(inputs)
        if any(missing):
            plain = _padded(plain, pads, padding, cval)
            condition = None if condition is None else _padded(condition, pads, padding, cval)
        return cls(plain, condition, size, tuple(b for b, _ in pads), PatchGrid(shape, roi, step))

    def windows(self) -> list[tuple[slice, ...]]:
        """All windows of all images, in the order of the calls, as slices of the tensor."""
        regions = [self.grid[k] for k in range(len(self.grid))]
        rows = range(self.tensor.shape[0])
        return [(slice(n, n + 1), slice(None), *region) for n in rows for region in regions]

    def cropped(self, result: Tensor) -> Tensor:
        """A result without what stands for the padding, whatever its resolution."""
        if self.size == self.grid.shape:
            return result
        cut = []
        for n, b, size, roi in zip(self.size, self.before, result.shape[2:], self.roi, strict=True):
            zoom = size / max(roi, n) if n < roi else size / n
            cut.append(slice(round(b * zoom), round((b + n) * zoom)))
        return result[(slice(None), slice(None), *cut)]


def _plain(tensor: Tensor) -> Tensor:
    torch = _import_torch()
    return tensor if type(tensor) is torch.Tensor else tensor.as_subclass(torch.Tensor)


def _per_axis(value: Any, ndim: int) -> list[Any]:
    items = list(value) if isinstance(value, Sequence) else [value] * ndim
    if len(items) != ndim:
        raise ValueError(f"expected one number or {ndim}, one per spatial axis, got {value!r}")
    return items


def _padded(tensor: Tensor, pads: list[tuple[int, int]], mode: str, cval: float) -> Tensor:
    mode = str(getattr(mode, "value", mode))
    if mode not in _PADDING:
        raise ValueError(f"padding_mode must be one of {', '.join(_PADDING)}, got {mode!r}")
    flat = [n for pair in reversed(pads) for n in pair]
    more = {"value": cval} if mode == "constant" else {}
    return _import_torch().nn.functional.pad(tensor, flat, mode=mode, **more)


def _weights(images: _Images, mode: Any, sigma_scale: Any, given: Any, dtype: Any) -> Tensor:
    """What the elements of a window weigh."""
    torch, roi = _import_torch(), images.roi
    if given is not None:
        return _plain(torch.as_tensor(given)).to(dtype)
    name = str(getattr(mode, "value", mode))
    if name not in ("constant", "gaussian"):
        raise ValueError(f"mode must be constant or gaussian, got {mode!r}")
    if name == "constant":
        return torch.ones(roi, dtype=dtype)
    weights = np.ones(())
    for n, share in zip(roi, _per_axis(sigma_scale, len(roi)), strict=True):
        distance = np.arange(n) - (n - 1) / 2
        weights = weights[..., None] * np.exp(-(distance**2) / (2 * (share * n) ** 2))
    least = max(float(weights.min()), _LEAST_WEIGHT)
    return torch.from_numpy(np.maximum(weights, least)).to(dtype)


def _check_buffers(steps: int | None, axis: int, ndim: int) -> None:
    if steps is not None and steps > 0 and not -ndim <= axis <= ndim:
        raise ValueError(f"buffer_dim must be in [{-ndim}, {ndim}], got {axis}")


# Calls


@dataclass
class _Job:
    """What is called, with what, and what came of the first call."""

    images: _Images
    batch: int
    predictor: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sw_device: Any
    device: Any
    process_fn: Callable[..., Any] | None
    with_coord: bool
    weights: Tensor
    progress: bool
    keys: list[Any] | None = None  # of a dictionary
    single: bool = False
    first: tuple[Tensor, list[Tensor]] | None = None  # a call whose results are not merged yet

    @property
    def may_stay(self) -> bool:
        """Whether nothing but what the predictor gives can keep `map_patches` from merging."""
        torch = _import_torch()
        here = all(torch.device(d).type == "cpu" for d in (self.sw_device, self.device))
        tensor, weights = self.images.tensor, self.weights
        plain = tensor.dtype in (torch.float32, torch.float64) and not tensor.requires_grad
        alike = tuple(weights.shape) == self.images.roi and bool(weights.min() >= 0)
        special = self.process_fn or self.with_coord or self.images.condition is not None
        return here and plain and alike and not special and tensor.device.type == "cpu"

    def call(self, data: Tensor, windows: list[Any], more: Mapping[str, Any]) -> list[Tensor]:
        """The results of the predictor for some windows."""
        where = (windows,) if self.with_coord else ()
        value = self.predictor(data, *where, *self.args, **{**self.kwargs, **more})
        if isinstance(value, Mapping):
            self.keys = sorted(value.keys())
            return [value[key] for key in self.keys]
        self.single = not isinstance(value, tuple | list)
        return [value] if self.single else list(value)

    def packed(self, results: list[Tensor]) -> Any:
        """Results in the form in which the predictor gives them."""
        if self.keys is not None:
            return dict(zip(self.keys, results, strict=True))
        return results[0] if self.single or len(results) == 1 else tuple(results)

    def bar(self, total: int) -> Any:
        return import_module("tqdm").tqdm(total=total) if self.progress else _NoBar()


class _NoBar:
    """Progress that nobody asked for, so that it needs no tqdm."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, n: int = 1) -> None:
        """Tell nobody."""


class _Elsewhere(Exception):
    """What the predictor gives is to be merged by torch."""


def _merge_here(job: _Job) -> list[Tensor] | None:
    """Merged by `map_patches`; None where the first results say that it cannot be (they are kept)."""
    torch, images = _import_torch(), job.images
    tensor = images.tensor.detach()

    def func(batch: NDArray[Any]) -> Any:
        found = job.call(torch.from_numpy(batch), [], {})
        if any(
            r.requires_grad or r.is_complex() or r.shape[2:] != images.roi or r.device.type != "cpu"
            for r in found
        ):
            job.first = torch.from_numpy(batch.copy()), found
            raise _Elsewhere
        return tuple([_plain(r).to(tensor.dtype).numpy() for r in found])

    steps = math.ceil(tensor.shape[0] * len(images.grid) / job.batch)
    try:
        with job.bar(steps) as bar:
            merged = map_patches(
                func, tensor.numpy(), images.grid, axes=tuple(range(2, tensor.ndim)), channel_axis=1,
                weights=job.weights.double().numpy(), batch=job.batch, workers=1, layout="patch",
                progress=(lambda *_: bar.update()) if job.progress else None,
            )  # fmt: skip
    except _Elsewhere:
        return None
    results = merged if isinstance(merged, tuple) else (merged,)
    return [torch.from_numpy(result) for result in results]


def _merge_by_torch(job: _Job) -> list[Tensor]:
    """Merged by additions of torch, on any device, with gradients."""
    torch, dtype = _import_torch(), job.images.tensor.dtype
    sums: list[_Sum] = []
    weights = job.weights.to(job.sw_device)
    for windows, data, found in _calls(job):
        each = weights
        if job.process_fn is not None:
            found, each = job.process_fn(tuple(found), data, weights)
        each = _plain(each).to(dtype=dtype, device=job.sw_device)
        each = each[None, None] if each.ndim == len(job.images.roi) else each
        for k, result in enumerate(found):
            if len(sums) <= k:
                sums.append(_Sum.of(job, result))
            sums[k].add(windows, _plain(result), each)
    return [total.mean() for total in sums] or [torch.empty(0)]


def _calls(job: _Job) -> Iterator[tuple[list[Any], Tensor, list[Tensor]]]:
    """Windows, the predictor's data, and its results, a batch at a time."""
    torch, windows = _import_torch(), job.images.windows()
    with job.bar(math.ceil(len(windows) / job.batch)) as bar:
        for begin in range(0, len(windows), job.batch):
            some = windows[begin : begin + job.batch]
            data = torch.cat([job.images.tensor[w] for w in some]).to(job.sw_device)
            more = {}
            if job.images.condition is not None:
                parts = [job.images.condition[w] for w in some]
                more["condition"] = torch.cat(parts).to(job.sw_device)
            kept, job.first = job.first, None
            # `map_patches` goes tile by tile: its first patches need not be these
            if kept is not None and torch.equal(kept[0], data):
                found = kept[1]
            else:
                found = job.call(data, [list(w) for w in some], more)
            yield some, data, found
            bar.update()


class _Sum:
    """Weighted sums of windows at a resolution of their own, and the sums of their weights."""

    def __init__(self, job: _Job, total: Tensor, count: Tensor, zoom: list[float]) -> None:
        self.job, self.total, self.count, self.zoom = job, total, count, zoom

    @classmethod
    def of(cls, job: _Job, result: Tensor) -> _Sum:
        torch, images = _import_torch(), job.images
        sizes = tuple(result.shape[2:])
        zoom = [a / b for a, b in zip(sizes, images.roi, strict=True)]
        shape = [int(n * z) for n, z in zip(images.grid.shape, zoom, strict=True)]
        made = {"dtype": images.tensor.dtype, "device": job.device}
        total = torch.zeros(images.tensor.shape[0], result.shape[1], *shape, **made)
        return cls(job, total, torch.zeros(images.tensor.shape[0], 1, *shape, **made), zoom)

    def add(self, windows: list[Any], result: Tensor, weights: Tensor) -> None:
        if tuple(result.shape[2:]) != tuple(weights.shape[2:]):
            resize = _import_torch().nn.functional.interpolate
            weights = resize(weights, tuple(result.shape[2:]), mode="nearest-exact")
        values = (result * weights).to(self.job.device, self.total.dtype)
        weights = weights.expand(len(windows), *weights.shape[1:]).to(self.job.device)
        for k, (n, _, *region) in enumerate(windows):
            place = [
                slice(int(s.start * z), int(s.stop * z))
                for s, z in zip(region, self.zoom, strict=True)
            ]
            self.total[(n, slice(None), *place)] += values[k : k + 1]
            self.count[(n, slice(None), *place)] += weights[k : k + 1, :1].detach()

    def mean(self) -> Tensor:
        return self.total / self.count


class AvgMerger:
    """The mean of patches at any places, as `monai.inferers.AvgMerger`.

    Parameters
    ----------
    merged_shape : sequence of int
        ``(N, C, *spatial)``.
    cropped_shape : sequence of int, optional
        Of the result; by default that of all.
    value_dtype, count_dtype : torch.dtype
        Of the result, and of what `get_counts` gives. Sums are held in float64, counts in int64, and
        one for all channels, so that neither overflows.
    device : device or str
        Where they are held.

    Notes
    -----
    Elements without a patch are NaN. ``PatchInferer(merger_cls=AvgMerger)`` takes it where
    `monai.inferers` was imported before.
    """

    def __init__(
        self,
        merged_shape: Sequence[int],
        cropped_shape: Sequence[int] | None = None,
        value_dtype: Any = None,
        count_dtype: Any = None,
        device: Any = "cpu",
    ) -> None:
        torch = _import_torch()
        if not merged_shape:
            raise ValueError(
                f"merged_shape must be the shape of what patches merge into, got {merged_shape!r}"
            )
        self.merged_shape = tuple(merged_shape)
        self.cropped_shape = tuple(cropped_shape or merged_shape)
        self.value_dtype = torch.float32 if value_dtype is None else value_dtype
        self.count_dtype = torch.uint8 if count_dtype is None else count_dtype
        self.device, self.is_finalized = device, False
        wide = torch.complex128 if self.value_dtype.is_complex else torch.float64
        self.values = torch.zeros(self.merged_shape, dtype=wide, device=device)
        self.counts = torch.zeros(self.merged_shape[2:], dtype=torch.int64, device=device)

    def aggregate(self, values: Tensor, location: Sequence[int]) -> None:
        """Add a patch ``(N, C, *patch)`` whose first element goes to ``location``."""
        if self.is_finalized:
            raise ValueError("this merger is finalized: make a new one for other patches")
        place = tuple(slice(at, at + n) for at, n in zip(location, values.shape[2:], strict=True))
        self.values[(..., *place)] += values.to(self.device)
        self.counts[place] += 1

    def finalize(self) -> Tensor:
        """The mean of all patches; the same tensor every time."""
        if not self.is_finalized:
            crop = tuple(slice(0, end) for end in self.cropped_shape)
            self.values = (self.values / self.counts).to(self.value_dtype)[crop]
            self.is_finalized = True
        return self.values

    def get_output(self) -> Tensor:
        """The same as `finalize`."""
        return self.finalize()

    def get_values(self) -> Tensor:
        """Sums, before `finalize`; then the mean."""
        return self.values.to(self.value_dtype)

    def get_counts(self) -> Tensor:
        """How many patches there were, element by element; an OverflowError where ``count_dtype`` cannot hold it."""
        torch = _import_torch()
        most = int(self.counts.max()) if self.counts.numel() else 0
        plain = not (self.count_dtype.is_floating_point or self.count_dtype == torch.bool)
        if plain and most > torch.iinfo(self.count_dtype).max:
            raise OverflowError(
                f"{most} patches meet in an element, more than count_dtype={self.count_dtype} holds: give torch.int32"
            )
        return self.counts.to(self.count_dtype).expand(self.merged_shape)


if "monai.inferers" in sys.modules and hasattr(sys.modules["monai.inferers"], "Merger"):
    sys.modules["monai.inferers"].Merger.register(AvgMerger)

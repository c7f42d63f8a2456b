"""A torch model as the function of a batch that `map_patches` calls."""

from __future__ import annotations

import copy
import queue
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .augment import pairs_of

if TYPE_CHECKING:
    import torch

__all__ = ["TileModel"]

_FEW = 8  # classes up to which they are merged as they lie: from far apart in memory
_CHANNELS = (None, "first", "last", "none")


class TileModel:
    """A model on tensors ``(n, channels, *spatial)`` as ``func`` of `map_patches`.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Takes a tensor ``(n, channels, *patch)`` and gives one ``(n, classes, *patch)`` (smaller
        patches stand in the middle), or ``(n, k)``, or a tuple of such tensors. A module is put into
        eval mode, and stays there.
    device : device, str, or list of them, optional
        Where the model runs; by default where its parameters are, else on the CPU. With a list each
        device has a copy of the model, and as many batches are worked on at a time.
    dtype : torch.dtype, optional
        Of the tensors the model gets; by default that of its parameters, else the image's. The
        model itself is not converted.
    amp : bool or torch.dtype, optional
        Run under autocast, in this dtype; True is bfloat16 on the CPU and float16 elsewhere.
    tta : "flips", "d4" or list of pairs of callables, optional
        Test-time augmentation: the model also gets mirrored batches (every combination of the
        spatial axes), or the 8 symmetries of the last two axes, or what ``do`` of each pair
        ``(do, undo)`` makes of a batch; what it gives is undone and averaged.
    channels : "first", "last" or "none", optional
        Where the channel axis is in the batch's patches; by default where ``channel_axis`` of
        `map_patches` is. Results have theirs in the same place; without one in the image, several
        classes become a last axis and one class none.
    spread : bool
        Give two results, the mean over the copies of ``tta`` and their variance (divided by their
        number): how much the answer depends on how a patch is turned.

    Notes
    -----
    On the CPU nothing is copied on the way in or out where the dtype is the model's. To a device,
    batches go by pinned memory and come back the same way, each on a stream of its own, so that
    transfers overlap with the model.

    However many ``workers`` there are, a device has one call at a time. While it works, `map_patches`
    cuts the next batches and merges the last results; on the CPU, where the model has all cores, it
    does so between calls. ``device=["cpu"] * n`` shares the cores out to ``n`` calls at a time, which
    took 0.8 to 0.9 of the time of one call on all cores, and ``n`` times the memory of the model.
    Give ``batch=`` for the number of patches per call. A plan calls the model once, on a made-up
    patch, since only its result tells how many classes there are, and so how large tiles may be.

    Without a GPU at hand while this was written, device transfers were not measured.

    Examples
    --------
    ::

        from pantile.integrations.torch import TileModel

        labels = pt.map_patches(
            TileModel(model, tta="flips"), image, 256, 128, channel_axis=-1,
            batch=8, weights="gaussian", finalize="argmax",
        )
    """

    def __init__(
        self,
        model: Any,
        device: Any = None,
        dtype: torch.dtype | None = None,
        amp: bool | torch.dtype | None = None,
        tta: Any = None,
        channels: str | None = None,
        *,
        spread: bool = False,
    ) -> None:
        library = _import_torch()
        if not callable(model):
            raise TypeError(f"model must be a module or a function of tensors, got {model!r}")
        if dtype is not None and not isinstance(dtype, library.dtype):
            raise TypeError(f"dtype must be a torch dtype, such as torch.float32, got {dtype!r}")
        if channels not in _CHANNELS:
            raise ValueError(f"channels must be 'first', 'last' or 'none', got {channels!r}")
        if spread and tta is None:
            raise ValueError("spread=True is the variance over the copies of tta=: give one")
        self._pairs = pairs_of(tta)
        self.tta, self.channels, self.spread, self.amp = tta, channels, spread, amp
        first = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
        self.dtype = dtype if dtype is not None or first is None else first.dtype
        if device is None:
            device = "cpu" if first is None else first.device
        several = isinstance(device, list | tuple)
        self.devices = [library.device(d) for d in (device if several else [device])]
        if not self.devices:
            raise ValueError("device is an empty list: name one, or leave it out")
        self._models = _replicas(model, self.devices)
        self._channel: int | str | None = "as it is"
        self._fill()

    def _fill(self) -> None:
        self._free: queue.LifoQueue[tuple[Any, Any]] = queue.LifoQueue()
        for replica in zip(self._models, self.devices, strict=True):
            self._free.put(replica)

    def __getstate__(self) -> dict[str, Any]:
        made = ("_free", "_pairs")  # again where it is unpickled
        return {name: value for name, value in self.__dict__.items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pairs = pairs_of(self.tta)
        self._fill()

    def __repr__(self) -> str:
        where = ", ".join(map(str, self.devices))
        more = "" if self.tta is None else f", tta={self.tta!r}"
        return f"TileModel({type(self._models[0]).__name__} on {where}{more})"

    @property
    def calls_at_once(self) -> int:
        """How many calls may run at a time: one on each device."""
        return len(self.devices)

    @property
    def on_cores(self) -> bool:
        """Whether the model works on the cores of this machine, where other work would be in its way."""
        return all(device.type == "cpu" for device in self.devices)

    def with_channel(self, channel: int | None) -> TileModel:
        """The same, told where the channel axis of a patch is; None for patches without."""
        other = copy.copy(self)
        other._free, other._channel = self._free, channel  # one call at a time for both
        return other

    def __call__(self, batch: NDArray[Any]) -> Any:
        """Results of the model for a batch of patches, as arrays."""
        channel = self._place(batch.ndim - 1)
        given = _as_tensor(batch)
        given = given.unsqueeze(1) if channel is None else given.movedim(channel + 1, 1)
        with ExitStack() as held:
            device = self._run_on(held)
            found = self._run(given, device)
        results = [_as_array(tensor, channel, given.ndim) for tensor in found]
        return results[0] if len(results) == 1 else tuple(results)

    def _place(self, ndim: int) -> int | None:
        """The channel axis among those of a patch, None for none."""
        if self.channels is not None:
            return {"first": 0, "last": ndim - 1, "none": None}[self.channels]
        return 0 if isinstance(self._channel, str) else self._channel

    def _run_on(self, held: ExitStack) -> tuple[Any, Any]:
        free = self._free.get()
        held.callback(self._free.put, free)
        return free

    def _run(self, given: Any, on: tuple[Any, Any]) -> list[Any]:
        library = _import_torch()
        model, device = on
        with library.inference_mode(), self._autocast(device), _stream(device) as stream:
            tensors = _averaged(
                model, _put(given, device, self.dtype), self._pairs(given.ndim - 2), self.spread
            )
            found = [_fetch(tensor, device) for tensor in tensors]
            if stream is not None:
                stream.synchronize()
        return found

    def _autocast(self, device: Any) -> AbstractContextManager[Any]:
        library = _import_torch()
        if not self.amp:
            return nullcontext()
        usual = library.bfloat16 if device.type == "cpu" else library.float16
        dtype = usual if self.amp is True else self.amp
        return library.autocast(device.type, dtype=dtype)  # type: ignore[no-any-return]


def _replicas(model: Any, devices: Sequence[Any]) -> list[Any]:
    """The model on every device: itself on the first, copies on the others."""
    if not hasattr(model, "to"):
        return [model] * len(devices)
    model.eval()
    copies = [copy.deepcopy(model) for _ in devices[1:]]
    return [each.to(device) for each, device in zip([model, *copies], devices, strict=True)]


def _averaged(model: Any, given: Any, pairs: Sequence[Any], spread: bool) -> list[Any]:
    """The mean over the copies (and their variance), of each tensor that the model gives.

    One copy is worked on at a time; what is held beside it are the mean and the sum of squares
    (Welford 1962).
    """
    means: list[Any] = []
    squares: list[Any] = []
    for k, (do, undo) in enumerate(pairs):
        for j, tensor in enumerate(_tensors(model(do(given)))):
            value = undo(tensor) if tensor.ndim > 2 else tensor
            if k == 0:
                means.append(value.clone() if value is given and len(pairs) > 1 else value)
                squares.extend([value.new_zeros(value.shape)] if spread else [])
                continue
            change = value - means[j]
            means[j] = means[j] + change / (k + 1)
            if spread:
                squares[j] += change * (value - means[j])
    return [*means, *(total / len(pairs) for total in squares)]


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, dict):
        raise TypeError(
            f"the model gives a dictionary with {', '.join(map(str, value))}: wrap it in a function that picks"
            " what is to be merged, such as lambda x: model(x)['out']"
        )
    return list(value) if isinstance(value, tuple | list) else [value]


def _as_tensor(batch: NDArray[Any]) -> Any:
    if not batch.dtype.isnative:
        batch = batch.astype(batch.dtype.newbyteorder("="))
    return _import_torch().from_numpy(batch)


def _put(tensor: Any, device: Any, dtype: Any) -> Any:
    """``tensor`` on a device; by pinned memory, so that nobody waits, where that has some."""
    if device.type == "cpu":
        return tensor if dtype is None else tensor.to(dtype)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, dtype, non_blocking=True)


def _fetch(tensor: Any, device: Any) -> Any:
    """What the model gave, in memory."""
    library = _import_torch()
    if tensor.dtype == library.bfloat16:
        tensor = tensor.float()  # NumPy has no such dtype
    if device.type != "cuda":
        return tensor.cpu()
    room = library.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return room.copy_(tensor, non_blocking=True)


def _stream(device: Any) -> AbstractContextManager[Any]:
    if device.type != "cuda":
        return nullcontext()
    return _OwnStream(device)


class _OwnStream:
    """A CUDA stream of its own around a call, which knows it."""

    def __init__(self, device: Any) -> None:
        self.stream = _import_torch().cuda.Stream(device)

    def __enter__(self) -> Any:
        self._inside = _import_torch().cuda.stream(self.stream)
        self._inside.__enter__()
        return self.stream

    def __exit__(self, *error: Any) -> None:
        self._inside.__exit__(*error)


def _as_array(tensor: Any, channel: int | None, ndim: int) -> NDArray[np.generic]:
    """A result as `map_patches` takes it, its channel axis where the image has its own."""
    if tensor.ndim == ndim and ndim > 2:
        if channel is not None:
            tensor = tensor.movedim(1, channel + 1)
        else:
            tensor = tensor.squeeze(1) if tensor.shape[1] == 1 else tensor.movedim(1, -1)
        if tensor.shape[-1] > _FEW and tensor.stride(-1) > tensor.stride(-2):
            tensor = tensor.contiguous()
    found: NDArray[np.generic] = tensor.detach().resolve_conj().resolve_neg().numpy()
    return found


def _import_torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError(
            'pantile.integrations.torch needs torch: pip install "pantile[torch]"'
        ) from None
    return torch

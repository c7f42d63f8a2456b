"""`map_patches` and `plan`, as users call them: the options put together, the plan drawn up, and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from numpy.typing import DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.tensors import tensor_verbs
from ..merge.custom import Merge
from ..merge.spec import MergeName
from ..ops.arrays import unlabelled
from ..ops.chunked import check_chunks, is_dask
from ..ops.extract import Layout
from .draw import draw_plan
from .options import Options, check_lazy_options
from .plan import Plan
from .runners.threads import SupportsSubmit

__all__ = ["map_patches", "plan"]

Array = NDArray[Any]
Out = TypeVar("Out")

if TYPE_CHECKING:

    class _ArrayPlan(Plan):
        """A plan whose result is in memory, as type checkers see it."""

        def run(self) -> Array: ...


@overload
def map_patches(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | Literal["argmax"] | None = None,
    out: None = None,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | str | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | str | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
    batch: int | None = None,
) -> Array: ...


@overload
def map_patches(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | Literal["argmax"] | None = None,
    out: Out,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | str | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | str | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
    batch: int | None = None,
) -> Out: ...


def map_patches(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | Literal["argmax"] | None = None,
    out: Any = None,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | str | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | str | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
    batch: int | None = None,
) -> Any:
    """The image that ``func`` makes of an image, patch by patch: cut, call, merge, never expanded.

    Parameters
    ----------
    func : callable
        ``func(batch) -> result``. ``batch`` is an array ``(n, *patch)``, with the channel axis
        among the patch axes where the image has it; a buffer that is used again, so write to it and
        return it, but copy what you keep. The result has one patch per patch: of the same shape or
        smaller (it stands in the middle), of any dtype, with other channels, with none, or with a
        new last axis; or a tuple of such arrays, for several images; a `Weighted` says what its patches count.
        Called exactly once per patch; `Indexed` also gets their numbers.
    image : array_like or path
        An array, or a tensor of another library (then ``func`` gets such tensors, and the result is
        one); a path that `pantile.files.open_image` knows; an
        `xarray.DataArray`; or anything with ``shape``, ``dtype`` and slice access (Zarr arrays, HDF5
        datasets), which is read a tile at a time.
    patch, step
        The shape of a patch and the elements between patches, or a `PatchGrid`.
    axes, channel_axis : optional
        The patched axes (by default the last ones), and one that travels inside each patch. All
        others are batch axes. By number, or by name where the image's axes have names.
    merge : str, Merge or None
        As in `unpatchify`; ``"moments"`` gives four images for each result of ``func``, one after
        the other. With None the results stand on the grid: ``(n,)`` gives ``(*counts,)``, ``(n, k)``
        gives ``(*counts, k)``.
    weights : optional
        As in `unpatchify`, for the shape of the patches that ``func`` returns.
    where : array of bool or callable, optional
        Of the image's shape (patches that touch a True) or of the counts (exactly those). Or a
        function of a batch, ``where(batch) -> (n,) bool``: it sees all patches in a pass of its own
        before (the image is read twice), and ``func`` only those it wants.
    finalize : callable or "argmax", optional
        ``finalize(slab) -> array`` reduces a finished piece of the image before it is written;
        ``"argmax"`` is the number of the largest channel, in the smallest unsigned dtype. It
        may drop or resize the channel axis. It is called once more, on what the first tile made,
        where only its result tells what the image will be.
    out : path, array, or tuple of them, optional
        Where to put the result: a path ending in ``.npy``, ``.zarr``, ``.tif``, or ``.png``,
        ``.jpg``, ``.webp`` where a picture holds its dtype and shape; ``result.zarr/name``, a group
        that xarray opens (or a sink of `pantile.files`, which has options); or anything with
        ``shape``, ``dtype`` and slice assignment, whose dtype is the result's. Blocks follow the
        chunks (or shards) of what is written to, so that each has exactly one writer.
    dtype : dtype, optional
        Of the result. Integers are rounded half to even and saturated.
    fill : number, optional
        What elements (or, with ``merge=None``, patches) hold that no selected patch touches;
        without it they are an error.
    layout : {"patch", "feature"}, optional
        How the batch lies in memory; by default the faster one for the step.
    batch_bytes : int or str, optional
        Size of a batch, 2 MiB by default.
    memory : int or str, optional
        A budget beside the image, like ``"2GB"``, for what pantile holds (the interpreter and what
        ``func`` allocates are not in it): tiles, batches and workers are chosen to keep it; a job
        that cannot fit is refused before it starts.
    workers : int, optional
        How many threads, or tiles that an executor works on at a time; by default one per core. The
        result does not depend on it. While several are at work, BLAS, OpenMP and torch are held to
        cores / workers threads each, so that theirs do not multiply with these; then they have back
        what they had. ``workers=1`` leaves all cores to the library that ``func`` calls.
        A ``func`` that is a loop of Python holds the interpreter's lock, and its threads slow each
        other: its calls are made one at a time once that has proved faster. ``executor="processes"``
        puts all cores to work on it, for what takes longer than a few seconds.
    executor : "threads", "processes", or an object with ``submit``, optional
        Threads by default. A process pool gets tasks that carry places, not elements (an array in
        memory goes to a temporary file once; what a killed run leaves of it goes with the next one),
        and blocks are written here. The workers of a
        ``dask.distributed`` client also write blocks, so paths must be theirs too. ``func`` must
        be picklable for processes; a lambda will do for a client.
    progress : bool or callable, optional
        True for a bar, or a function of (patches done, patches in all).
    resume : bool
        Go on with a run to the same paths that was cut short, by an exception or a crash: blocks
        that are on disk stay, and the result has the bits of a run that was never interrupted.
        Another image, function, parameter or version is refused. Where nothing was begun, begin.
    scale : int or one per axis
        How many times larger the output is than the image.
    batch : int, optional
        Instead of ``batch_bytes``: exactly so many patches per call, the last one aside. Batches are
        filled across tiles, and while ``func`` works on some the next ones are cut and what the last
        ones gave is merged. Where tiles are worked on elsewhere (processes, a cluster, dask) each
        tile has its own batches, and the last of a tile may be smaller.

    Returns
    -------
    ndarray, or ``out``, or a tuple of them. A dask array gives a dask array (or a tuple of them):
    nothing is computed, but ``func`` (and ``finalize``) are called once on two made-up patches, ones,
    to learn what they return; how it is run is up to dask, so ``out``, ``memory``, ``workers``,
    ``executor``, ``progress`` and ``resume`` are refused. Of a DataArray come DataArrays, with dims
    and coordinates (of the patches' centres with ``merge=None``), dask-backed where it is.

    Raises
    ------
    ValueError, TypeError, MemoryError, OSError
        Before any work where it can be known then. An exception of ``func`` stops the run and is
        raised with the region in its notes, once the other threads have returned from ``func``; so
        is a KeyboardInterrupt (Ctrl-C). A call that does not return is waited for 10 seconds.

    Notes
    -----
    ``map_patches(lambda b: b, x, p) == x``. Each tile of the grid sums its patches in float64, by
    ascending index; each block of the image is the sum of the few tiles that reach into it, in a
    fixed order: the same bits for any number of workers.

    A result at a path has its final name only when it is whole, and replaces an earlier one in one
    step. Until then it grows in ``path + ".partial"``, beside the journal ``path + ".journal"``.
    Both are kept when a run is cut short and any block is done, else removed; the next run to the
    same path goes on from them with ``resume=True``, and replaces them without it.

    Where ``where`` selects nothing, ``func`` is not called, and the result is ``fill`` in the shape
    it has if ``func`` returns what it gets; of a dask array, in the shape that the made-up patches told.

    Examples
    --------
    >>> import numpy as np
    >>> import pantile as pt
    >>> image = np.arange(20.0).reshape(4, 5)
    >>> smooth = pt.map_patches(lambda b: b - b.mean((1, 2), keepdims=True), image, 3)
    >>> smooth.shape
    (4, 5)
    >>> pt.map_patches(lambda b: b.max(axis=(1, 2)), image, 3, merge=None)
    array([[12., 13., 14.],
           [17., 18., 19.]])
    """
    options = Options(
        axes, channel_axis, merge, weights, where, finalize, out, dtype, fill, layout, batch_bytes,
        memory, workers, executor, progress, resume, scale, batch,
    )  # fmt: skip
    if (tensors := tensor_verbs(image)) is not None:
        return tensors.map_patches(func, image, patch, step, options)
    lazy = unlabelled(image)
    if not is_dask(lazy):
        return draw_plan(func, image, patch, step, options).run()
    from .runners.dask_graph import lazy_map

    check_chunks(lazy)
    check_lazy_options(where, options)
    drawn = draw_plan(func, image, patch, step, options)
    return drawn.destination.labels.put_on(lazy_map(drawn, lazy))


@overload
def plan(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | Literal["argmax"] | None = None,
    out: None = None,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | str | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | str | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
    batch: int | None = None,
    trial: bool = False,
) -> _ArrayPlan: ...


@overload
def plan(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | Literal["argmax"] | None = None,
    out: Out,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | str | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | str | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
    batch: int | None = None,
    trial: bool = False,
) -> Plan: ...


def plan(
    func: Callable[[Array], Any],
    image: Any,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge | None = "mean",
    weights: Any = None,
    where: Any = None,
    finalize: Callable[[Array], Any] | Literal["argmax"] | None = None,
    out: Any = None,
    dtype: DTypeLike | None = None,
    fill: Any = None,
    layout: Layout | None = None,
    batch_bytes: int | str | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    executor: SupportsSubmit | str | None = None,
    progress: Any = None,
    resume: bool = False,
    scale: int | Sequence[int] = 1,
    batch: int | None = None,
    trial: bool = False,
) -> Plan:
    """What `map_patches` would do with these arguments, as a `Plan` to print, ask and run.

    With ``trial=True`` a patch (``batch`` of them, where that is given) goes through ``func`` now, and
    then a batch. The first tells what ``func`` returns. Without it a plan takes results to be as large
    as patches: a ``func`` that gives less (the middle of a patch, a few channels) gets smaller tiles
    than it could have, or a MemoryError where the job would fit, and one that gives more (a hundred
    channels) gets tiles that take more than ``memory``. The second tells how many ``seconds`` the run
    will take: that of a batch times the batches that each worker has. It is an estimate: patches may
    differ, and blocks are still to be written. Tiles of another size may round sums of floats
    otherwise, as another ``memory`` may.

    Examples
    --------
    >>> import numpy as np
    >>> import pantile as pt
    >>> p = pt.plan(lambda b: b, np.zeros((100, 100), np.float32), 39)
    >>> p.n_patches, p.expanded_bytes
    (3844, 23386896)
    >>> print(p)  # doctest: +ELLIPSIS
    patches   62 x 62 = 3,844 of 39x39
    expanded  23.4 MB that are never held
    held      ... MB beside the image
    read      ... kB, each element ... times
    written   40 kB in ... blocks of up to ...
    tiles     ... patches
    batches   ... patches, ... MB, feature layout
    workers   ... threads
    """
    options = Options(
        axes, channel_axis, merge, weights, where, finalize, out, dtype, fill, layout, batch_bytes,
        memory, workers, executor, progress, resume, scale, batch, trial,
    )  # fmt: skip
    draw = draw_plan if (tensors := tensor_verbs(image)) is None else tensors.plan
    drawn: Plan = draw(func, image, patch, step, options)
    return drawn

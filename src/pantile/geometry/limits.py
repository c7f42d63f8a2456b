"""Every size that was measured, in one frozen value that is passed down: a test passes another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["LIMITS", "Costs", "Limits", "current_limits", "using_limits"]


@dataclass(frozen=True)
class Costs:
    """How long the steps of a matrix product take, in seconds, on two cores that are idle otherwise.

    `pantile.matrix` compares ways to compute by them. Only their ratios matter: a factor of two in
    any of them moves the border between two ways that take about as long there.
    """

    cut: float = 2.5e-9
    """To cut an element of a patch and convert it to float64."""
    read: float = 1.0e-9
    """To read a cut element again, for a product with few columns."""
    multiply: float = 3e-11
    """A multiplication and addition in BLAS."""
    multiply_phases: float = 3e-11
    """The same where phases of the image are multiplied with each other."""
    dot: float = 0.4e-9
    """To multiply an element of a patch where it lies in the image."""
    line: float = 4e-9
    """What a line of such a patch takes in addition."""
    row: float = 40e-9
    """To find such a patch."""
    fft: float = 1.1e-9
    """Per point and log2(points) of an FFT, in blocks, on two threads."""
    spectrum: float = 1.0e-9
    """One pass over a point of a spectrum."""
    spectrum_phases: float = 8.0e-9
    """The same where the image is sorted into phases, or the products of phases are summed."""
    call: float = 300e-6
    """What a box takes in addition, however small."""
    rectangle_gain: float = 16
    """Rectangles of a mask are looked for where streaming them takes this many times what a box takes
    however small."""


@dataclass(frozen=True)
class Limits:
    """Sizes that bound memory or keep work in cache. The defaults were measured; results do not depend
    on them but for rounding.

    Each name ends with its unit.
    """

    # pantile.matrix: rows
    row_block_bytes: int = 16_000_000
    """A block of cut rows: it stays in cache, and BLAS is at full speed."""
    estimator_block_bytes: int = 32_000_000
    """A block of rows for an estimator: forests with ``n_jobs`` start threads anew for each (5 ms)."""
    numbered_rows: int = 1 << 20
    """Rows whose numbers are made at a time."""
    shuffled_rows: int = 1 << 20
    """Up to so many rows are shuffled as a list (8 bytes each); beyond, their order is computed."""
    shift_rows: int = 256
    """Rows whose mean is near enough to the mean of all."""

    # pantile.matrix: products
    product_leaf_elements: int = 1 << 19
    """Elements multiplied by one thread: with fewer, a second thread costs more than it brings."""
    product_group_elements: int = 16_000_000
    """Elements of a product for whole images, made at a time where only some of their rows are wanted."""

    # pantile.matrix: boxes and Fourier transforms
    rectangle_boxes: int = 512
    """Boxes that one rectangle of patches may be split into."""
    fft_points: int = 3 << 17
    """Points of an FFT: 3 MB of float64."""
    spectra_elements: int = 1 << 23
    """Elements of the spectra of several columns, held together."""
    lag_spectra_elements: int = 1 << 22
    """Elements of the spectra of all pairs of phases, held together."""
    face_bytes: int = 16_000_000
    """Patches on the face of a box, cut at a time."""

    # pantile.matrix: dask arrays
    region_bytes: int = 128 << 20
    """What one task reads, in float64; larger chunks are cut."""
    tree_sums: int = 8
    """Partial sums that one task adds."""

    # pantile.learn
    slab_bytes: int = 64 << 20
    """Results for some rows, held together."""
    gathered_bytes: int = 512_000_000
    """Labelled rows may be copied into an array of this size (and a quarter of the free memory): products
    are then BLAS in memory."""
    pool_bytes: int = 64 << 20
    """Rows that are shuffled together in a pass."""
    pool_run_rows: int = 64
    """Neighbouring rows that enter the pool together: cutting them is copying lines."""
    pool_numbered_rows: int = 1 << 16
    """Rows whose numbers are drawn at a time to fill the pool."""
    label_span_elements: int = 1 << 16
    """Whole-number labels that lie within so many are looked up in a table."""
    label_rows: int = 1 << 20
    """Labels that are looked at together."""
    chunk_rows: int = 1 << 13
    """Rows worked on together by one thread: temporaries stay in cache (1 << 15 took 2.5 times as long)."""
    task_rows: int = 1 << 17
    """Rows that one thread takes."""

    # pantile.learn: trees
    tree_subtree_windows: int = 1 << 16
    """Windows of a node that one thread grows a whole subtree of; larger nodes are shared by all threads."""
    tree_task_windows: int = 1 << 16
    """Windows that one thread moves to the children of their node, or sends down trees."""
    tree_histogram_bytes: int = 256 << 20
    """Histograms held together: of a node, and of those that wait for their sibling's to be subtracted."""
    tree_strip_windows: int = 1 << 20
    """Windows predicted at a time."""

    # patches cut and merged in memory
    cut_leaf_elements: int = 1 << 20
    """Elements cut (or put side by side) by one thread: with fewer, a second thread costs more than it brings."""
    cut_band_patches: int = 1 << 17
    """Patches of which one feature after the other is copied: what they reach over stays in cache."""
    long_line_elements: int = 32
    """Lines of so many samples are copied at the speed of memory, where they lie side by side."""
    long_line_share: int = 4
    """Times as many elements of them that one thread copies: two took 1.3 to 2.6 times as long for 2 million."""
    padded_block_bytes: int = 16_000_000
    """A block of the image with its padding, of which patches are cut."""
    turned_block_elements: int = 1 << 16
    """A block copied of an image that kernels cannot walk over (reversed), of which few patches are cut."""
    merge_leaf_elements: int = 3 << 20
    """Patch elements merged by one thread."""
    merge_tile_elements: int = 1 << 26
    """Patch elements that keep a thread busy long enough."""
    merge_state_bytes: int = 32_000_000
    """Accumulators of a tile."""

    gather_elements: int = 1 << 17
    """Sums of lines that are gathered together: they stay in the second cache."""
    gather_together_rows: int = 64
    """Lines that are gathered together, where they are not too long: patches are read in larger parts."""
    gather_leaf_elements: int = 1 << 20
    """Patch elements gathered by one thread at a time."""
    gather_least_elements: int = 16
    """Shorter lines are not gathered, where there is more than one: each costs a search for its patches."""

    band_elements: int = 1 << 16
    """A part of a Merger's result that is finalized at a time: it stays in cache."""

    # pantile.stream: tiles, batches, blocks
    batch_bytes: int = 2 << 20
    """A batch: it and what func makes of it stay in cache, and it is worth a call. With 8 MiB a function that makes
    several arrays took 1.2 to 2.2 times as long and twice the memory; with 1 MiB an identity took 1.2 times as long."""
    grid_batch_bytes: int = 3 << 18
    """A batch where results stand on the grid: there are no sums that tiles share, and functions that make features
    make several arrays of the batch's size (of an ECG: 0.8 of the time and a third of the memory of 2 MiB). A function
    that makes next to nothing takes 1.1 to 1.3 times as long: 0.1 ms more per call."""
    tile_state_bytes: int = 16 << 20
    """Accumulators of a tile."""
    least_tiles: int = 16
    """Tiles where the work is worth it, so that workers end together."""
    tile_batches: int = 2
    """Batches that make a tile worth its overhead."""
    block_elements: int = 1 << 20
    """A block of a result that is more than one chunk."""
    strip_elements: int = 1 << 18
    """A part of a block that is made values at a time."""

    kept_chunk_bytes: int = 128 << 20
    """Decoded chunks kept for later tiles, where no budget says more or less."""

    # pantile.stream: what processes and clusters share
    job_bytes: int = 1 << 14
    """A job that goes with each task to a process; a larger one goes by a file."""
    cluster_job_bytes: int = 1 << 20
    """A job that goes with each task to a cluster; a larger one is copied to every worker."""

    # pantile.stream: journals
    journal_seconds: float = 1.0
    """Between two lines of the journal."""
    journal_share: float = 10
    """How many times as long as seeing blocks to the disk takes, at least."""

    # dask arrays
    graph_state_bytes: int = 64 << 20
    """Accumulators of a tile; larger chunks are cut into several tiles."""
    graph_read_bytes: int = 1 << 30
    """What one task may read of the image."""

    costs: Costs = field(default_factory=Costs)
    """How ways to compute a product are compared."""

    def copy_leaf(self, leaf: int, line: int) -> int:
        """Elements that one thread copies in lines of ``line`` samples, where others are worth it from ``leaf`` on."""
        return leaf * (self.long_line_share if line >= self.long_line_elements else 1)


LIMITS = Limits()
"""What is used where nothing else is passed."""

_now: ContextVar[Limits] = ContextVar("limits", default=LIMITS)


def current_limits() -> Limits:
    """The limits that a public function passes down: `LIMITS`, or what `using_limits` says."""
    return _now.get()


@contextmanager
def using_limits(limits: Limits) -> Iterator[None]:
    """Have public functions pass down other limits, in this context: how tests make small arrays large."""
    token = _now.set(limits)
    try:
        yield
    finally:
        _now.reset(token)

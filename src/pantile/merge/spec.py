"""How overlapping values meet: one row per merge, compiled once for each job.

A row of `MERGES` says all that the rest of the library asks of a merge: how it accumulates, whether
it takes weights, which dtype it has, what its accumulators take. To add a merge, write its
`Reduction` in a file of its own, and a row here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..geometry import AxisGrid
from ..geometry.arrays import as_dtype
from ..geometry.frame import Frame
from ..kernels.memory import as_bits, to_native
from .alone import Alone, never_meet
from .casts import check_fill
from .compiled import CompiledMerge
from .custom import Custom, Merge, check_state
from .extrema import Extremum
from .keep_all import KeepAll
from .moments import MeanVarianceCount
from .owned import Owned, are_boxes
from .pick import PickOne
from .reduction import Reduction
from .sums import Mean, Sum, keeps_one
from .variance import Variance
from .weights import Profile, Taper, as_weights, check_weight_values, normalise, resolve_weights

__all__ = ["MERGES", "Image", "MergeName", "MergeRule", "MergeSpec", "resolve_rule", "spec_of"]

MergeName = Literal[
    "mean", "sum", "max", "min", "median", "var", "moments", "vote", "first", "last", "center"
]  # fmt: skip
Dtype = np.dtype[Any]


class Image(NamedTuple):
    """One of the images that a merge makes; what is None is as the caller wants it."""

    name: str = "merged"
    dtype: Dtype | None = None
    fill: Any = None


class Ingredients(NamedTuple):
    """What a row makes its reduction of: the patches, and what they weigh."""

    frame: Frame
    dtype: Dtype
    taper: NDArray[np.float64] | None  # per sample
    patch_weights: bool
    # per axis, where they are products: sums of weights, and the taper itself
    profiles: tuple[Profile, ...] | None
    vectors: tuple[NDArray[np.float64], ...] | None = None
    whole: bool = False  # every patch of the grid takes part once

    @property
    def patches(self) -> tuple[tuple[AxisGrid, ...], tuple[int, ...], Dtype]:
        return self.frame.axes, self.frame.patch, self.dtype


class Case(NamedTuple):
    """What a row's facts depend on: the patches, and how they are merged."""

    dtype: Dtype  # of the patches
    weighted: bool
    frame: Frame | None = None
    whole: bool = True  # every patch of the grid takes part
    held: float = 0.0  # bytes of accumulators per element
    result: Dtype = np.dtype(np.float64)


@dataclass(frozen=True)
class MergeSpec:
    """One merge, as a row of facts.

    ``make`` gives the reduction, ``natural`` the dtype of what patches of a dtype merge to where
    the caller asks for none. ``held`` is how many bytes of accumulators there are per element, and
    ``finishing`` how many more while they become values of a dtype (given the bytes held).
    """

    make: Callable[[Ingredients], Reduction]
    natural: Callable[[Case], Dtype]
    held: Callable[[Case], float]
    finishing: Callable[[Case], float]
    takes_weights: bool = False
    real_only: bool = False
    alone: bool = True  # a patch that meets no other comes back as it is
    any_dtype: bool = False  # of patches, not only numbers
    exact_dtype: bool = (
        True  # values stay what they are, and must not be rounded; else they are summed in float64
    )
    weights_cancel: bool = False  # only their ratios matter
    images: tuple[Image, ...] = field(default=(Image(),))


def _same(case: Case) -> Dtype:
    return case.dtype.newbyteorder("=")


def _floating(case: Case) -> Dtype:
    return _same(case) if case.dtype.kind in "fc" else np.dtype(np.float64)


def _sum_dtype(case: Case) -> Dtype:
    if case.dtype.kind in "fc" or case.weighted:
        return _floating(case)
    return np.dtype(np.uint64 if case.dtype.kind == "u" else np.int64)


def _sums(n: int, case: Case) -> float:
    """Bytes of ``n`` sums."""
    return 16.0 if case.dtype.kind == "c" else 8.0 * n


def _mean_held(case: Case) -> float:
    """A sum, and the weights where their sums are no product of one vector per axis."""
    assert case.frame is not None
    product = case.whole and (not case.weighted or case.frame.covers)
    return _sums(1 if product else 2, case)


def _one_value(case: Case) -> float:
    return 16.0 if case.dtype.kind == "c" else float(to_native(np.zeros(1, case.dtype)).itemsize)


def _picked(case: Case) -> float:
    """A value, and where it is set; or its distance and its patch, where these tell whose value it is."""
    assert case.frame is not None
    known = case.whole and are_boxes(case.frame.axes)
    return case.dtype.itemsize + (1.0 if known else 16.0)


def _all_kept(case: Case) -> float:
    assert case.frame is not None
    depth = math.prod([axis.most for axis in case.frame.axes])
    return depth * (_one_value(case) + 8.0 * case.weighted) + 8.0


def _division(case: Case) -> float:
    """A divisor and a quotient; of whole numbers, the rest and what rounding compares too."""
    if case.result.kind in "biu":
        return 64.0 if case.dtype.kind in "biu" else 32.0
    return 16.0


def _conversion(case: Case) -> float:
    return 32.0 if case.result.kind in "biu" else 16.0


def _sorting(case: Case) -> float:
    """Values that are sorted, and where they came from."""
    return 5 * case.held


def _exact(_: Case) -> float:
    """Products and sums in double-double."""
    return 160.0


def _unknown(_: Case) -> float:
    return 32.0


def _make_sum(made_of: Ingredients) -> Reduction:
    return Sum(*made_of.patches, made_of.taper, made_of.patch_weights, vectors=made_of.vectors)


def _make_mean(made_of: Ingredients) -> Reduction:
    weights = made_of.taper, made_of.patch_weights
    return Mean(*made_of.patches, *weights, vectors=made_of.vectors, profiles=made_of.profiles)


def _make_extremum(largest: bool, made_of: Ingredients) -> Reduction:
    return Extremum(*made_of.patches, largest)


def _make_pick(by: str, made_of: Ingredients) -> Reduction:
    known = made_of.whole and are_boxes(made_of.frame.axes) and as_bits(made_of.dtype) is not None
    return (Owned if known else PickOne)(*made_of.patches, by)


def _make_median(made_of: Ingredients) -> Reduction:
    return KeepAll(*made_of.patches)


def _make_vote(made_of: Ingredients) -> Reduction:
    return KeepAll(*made_of.patches, True, made_of.taper, made_of.patch_weights)


def _make_variance(made_of: Ingredients) -> Reduction:
    return Variance(*made_of.patches, made_of.taper)


def _pick(by: str) -> MergeSpec:
    return MergeSpec(partial(_make_pick, by), _same, _picked, _conversion)


def _extremum(largest: bool) -> MergeSpec:
    return MergeSpec(
        partial(_make_extremum, largest), _same, _one_value, _conversion, real_only=True
    )


def _make_moments(made_of: Ingredients) -> Reduction:
    weighted = made_of.taper is not None or made_of.patch_weights
    return MeanVarianceCount(*made_of.patches, made_of.taper, weighted)


def _moments_held(case: Case) -> float:
    return _sums(8 if case.weighted else 7, case)


MOMENTS = (
    Image("mean"),
    Image("variance"),
    Image("patches", np.dtype(np.int64), fill=0),
    Image("effective", np.dtype(np.float64), fill=0),
)

_summed = partial(MergeSpec, takes_weights=True, exact_dtype=False)
_spread = partial(_summed, real_only=True, alone=False, weights_cancel=True)

# fmt: off
MERGES: dict[str, MergeSpec] = {
    "mean": _summed(_make_mean, _floating, _mean_held, _division, weights_cancel=True),
    "sum": _summed(_make_sum, _sum_dtype, partial(_sums, 1), _conversion),
    "max": _extremum(True),
    "min": _extremum(False),
    "median": MergeSpec(_make_median, _floating, _all_kept, _sorting, real_only=True),
    "var": _spread(_make_variance, _floating, partial(_sums, 6), _exact),
    "moments": _spread(_make_moments, _floating, _moments_held, _exact, images=MOMENTS),
    "vote": MergeSpec(_make_vote, _same, _all_kept, _sorting, True, True, alone=False, weights_cancel=True),
    "first": _pick("first"),
    "last": _pick("last"),
    "center": _pick("center"),
}
# fmt: on
_TRIMMED = MERGES["center"]  # what weights="trim" makes of a mean or a sum


def _custom_spec(merge: Merge) -> MergeSpec:
    """The row of a merge of the user's own."""

    def make(made_of: Ingredients) -> Reduction:
        return Custom(*made_of.patches, merge, made_of.taper)

    def natural(case: Case) -> Dtype:
        return merge.result_dtype(case.dtype)

    def held(case: Case) -> float:
        assert case.frame is not None
        shape = (1,) * len(case.frame.axes)
        one = check_state(merge.init(shape, case.dtype), shape)
        return float(sum([array.nbytes for array in one]))

    return MergeSpec(make, natural, held, _unknown, True, alone=False, any_dtype=True)


def spec_of(merge: MergeName | Merge) -> MergeSpec:
    """The row of a merge."""
    return _custom_spec(merge) if isinstance(merge, Merge) else MERGES[merge]


@dataclass(frozen=True)
class MergeRule:
    """What the caller asks of a merge: which one, its weights, what holes hold, and the dtype wanted."""

    merge: MergeName | Merge
    weights: Any = None
    patch_weights: bool = False
    fill: Any = None
    dtype: Dtype | None = None

    @property
    def spec(self) -> MergeSpec:
        return spec_of(self.merge)

    @property
    def images(self) -> int:
        """How many images it makes of one kind of patches."""
        return len(self.spec.images)

    @property
    def trims(self) -> bool:
        return isinstance(self.weights, str) and self.weights == "trim"

    @property
    def weighted(self) -> bool:
        return self.patch_weights or not (self.weights is None or self.trims)

    def natural_dtype(self, dtype: Dtype) -> Dtype:
        """What patches of ``dtype`` give when the caller asks for nothing."""
        return self.spec.natural(Case(dtype, self.weighted))

    def result_dtype(self, dtype: Dtype) -> Dtype:
        return self.natural_dtype(dtype) if self.dtype is None else self.dtype

    def held_bytes(self, frame: Frame, dtype: Dtype, whole: bool) -> float:
        """Bytes of accumulators per element, as far as is known before patches are there."""
        named = not self.trims and isinstance(self.weights, str)
        spec = _TRIMMED if self.trims else self.spec
        return spec.held(Case(dtype, named, frame, whole))

    def held_alone(self, frame: Frame, dtype: Dtype, whole: bool) -> float:
        """The same of a tile of one patch."""
        held = self.held_bytes(frame, dtype, whole)
        one_sum = self.merge in ("mean", "sum") and held == _sums(1, Case(dtype, False))
        return float(dtype.itemsize) if one_sum and keeps_one(dtype, self.weighted) else held

    def finishing_bytes(self, held: float, dtype: Dtype, result: Dtype) -> float:
        """Bytes per element while accumulators of ``held`` bytes become values."""
        return self.spec.finishing(Case(dtype, self.weighted, held=held, result=result))

    def keeps_alone(self) -> bool:
        """Whether patches that meet no other come back as they are."""
        return self.spec.alone and self.weights is None and not self.patch_weights

    def compile(self, frame: Frame, dtype: Dtype, whole: bool) -> CompiledMerge:
        """The merge of patches of ``dtype`` on ``frame``; ``whole`` when every patch takes part once.

        Raises what is wrong with it, before any work.
        """
        spec = self.spec
        self._check(spec, dtype)
        patch = tuple([p for p, cut in zip(frame.patch, frame.patched, strict=True) if cut])
        taper = resolve_weights(None if self.trims else self.weights, patch)
        if spec.weights_cancel:
            taper = normalise(taper)  # their size must not overflow before it cancels
        profiles = _profiles(taper, frame) if whole and not self.patch_weights else None
        made_of = Ingredients(
            frame,
            dtype.newbyteorder("="),
            _flattened(taper, frame),
            self.patch_weights,
            profiles,
            _vectors(taper, frame),
            whole,
        )
        if whole and self.keeps_alone() and as_bits(dtype) is not None and never_meet(frame.axes):
            reduction: Reduction = Alone(*made_of.patches)
        else:
            reduction = (_TRIMMED if self.trims else spec).make(made_of)
        wanted = self.result_dtype(dtype)
        dtypes = tuple([wanted if image.dtype is None else image.dtype for image in spec.images])
        fills = tuple([self.fill if image.fill is None else image.fill for image in spec.images])
        return CompiledMerge(frame, reduction, dtypes, fills)

    def _check(self, spec: MergeSpec, dtype: Dtype) -> None:
        if spec.any_dtype:
            return
        if dtype.kind not in "biufc":
            raise TypeError(f"patches must hold numbers to be merged, got dtype {dtype}")
        if dtype.kind == "c" and spec.real_only:
            raise TypeError(
                f"merge={self.merge!r} needs an order, which complex numbers have not:"
                " merge real and imaginary parts apart"
            )
        long = dtype.itemsize > (16 if dtype.kind == "c" else 8)
        if long and spec.exact_dtype and (dtype.kind == "c" or spec.real_only):
            raise TypeError(
                f"merge={self.merge!r} cannot hold {dtype}, and would round it: convert the patches to"
                f" {'complex128' if dtype.kind == 'c' else 'float64'}"
            )
        if self.dtype is not None and self.dtype.kind not in "biufc":
            raise TypeError(f"dtype must be a number's, got {self.dtype}")
        if self.natural_dtype(dtype).kind == "c" and self.result_dtype(dtype).kind != "c":
            raise TypeError(
                f"dtype={self.dtype} cannot hold complex results: use complex64 or complex128"
            )
        if self.fill is not None:
            check_fill(self.fill, self.result_dtype(dtype))

    def check_weights(self) -> None:
        """Raise what is wrong with the weights whatever the patches will be."""
        if self.trims:
            if self.merge not in ("mean", "sum"):
                raise ValueError(
                    f"weights='trim' goes with merge 'mean' or 'sum', got merge={self.merge!r}"
                )
            return
        if (self.weights is not None or self.patch_weights) and not self.spec.takes_weights:
            able = sorted(name for name, spec in MERGES.items() if spec.takes_weights)
            raise ValueError(
                f"merge={self.merge!r} takes no weights: leave out weights= and patch_weights=,"
                f" or merge by one of {', '.join(able)}"
            )
        check_weight_values(self.weights)

    def with_patch_weights(self, per: str = "patch") -> MergeRule:
        """The same for patches that have weights, each one or (``per`` sample) many."""
        if per == "sample" and self.merge not in ("mean", "sum"):
            raise ValueError(
                f"merge={self.merge!r} takes no weights per sample: give one per patch, or merge by mean or sum"
            )
        if self.trims:
            raise ValueError(
                "weights='trim' takes one patch per element, and needs no other weights"
            )
        rule = replace(self, patch_weights=True)
        rule.check_weights()
        return rule


def resolve_rule(
    merge: Any, weights: Any, patch_weights: bool, fill: Any, dtype: DTypeLike | None
) -> MergeRule:
    """A `MergeRule` from what the caller gave."""
    named = isinstance(merge, str) and merge in MERGES
    if not named and not isinstance(merge, Merge):
        raise ValueError(
            f"merge must be one of {', '.join(MERGES)} or a pantile.Merge, got {merge!r}"
        )
    known = None if dtype is None else as_dtype(dtype)
    rule = MergeRule(merge, as_weights(weights), patch_weights, fill, known)
    rule.check_weights()
    return rule


def _flattened(taper: Taper | None, frame: Frame) -> NDArray[np.float64] | None:
    """The taper over all samples of a canonical patch, channels included, in C order."""
    if taper is None:
        return None
    if isinstance(taper, tuple):
        whole = np.ones(())
        for vector in taper:
            whole = whole[..., None] * vector
    else:
        whole = taper
    if frame.channel is not None:
        whole = np.expand_dims(whole, frame.channel - frame.n_batch)
    return np.broadcast_to(whole, frame.patch_shape).flatten()


def _vectors(taper: Taper | None, frame: Frame) -> tuple[NDArray[np.float64], ...] | None:
    """The taper as one vector per canonical axis; None for none, or one that is no product."""
    if not isinstance(taper, tuple):
        return None
    vectors = iter(taper)
    return tuple(
        [
            next(vectors) if cut else np.ones(axis.patch)
            for axis, cut in zip(frame.axes, frame.patched, strict=True)
        ]
    )


def _profiles(taper: Taper | None, frame: Frame) -> tuple[Profile, ...] | None:
    """Per axis, the sum of weights over each element; None for a taper that is no product."""
    if taper is not None and not isinstance(taper, tuple):
        return None
    vectors = iter(taper) if taper is not None else itertools.repeat(None)
    found = [
        Profile(axis, next(vectors) if cut else None)
        for axis, cut in zip(frame.axes, frame.patched, strict=True)
    ]
    if taper is not None and not all(profile.positive for profile in found):
        return None  # zeros in the taper leave elements without weight, which must be found
    return tuple(found)

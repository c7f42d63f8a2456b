"""scikit-learn's patch functions and `PatchExtractor` on pantile's verbs: any step, any number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.feature_extraction.image import PatchExtractor as _Original
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils._param_validation import InvalidParameterError
except ImportError as error:
    raise ImportError(
        'pantile.compat.sklearn needs scikit-learn: pip install "pantile[learn]"'
    ) from error

from ..geometry import PatchGrid
from ..geometry.arguments import as_shape
from ..merge.spec import MergeName
from ..ops.extract import extract
from ..ops.unpatchify import unpatchify

__all__ = [
    "PatchExtractor",
    "extract_patches_2d",
    "extract_patches_nd",
    "reconstruct_from_patches_2d",
    "reconstruct_from_patches_nd",
]


def extract_patches_2d(
    image: NDArray[Any],
    patch_size: Sequence[int],
    *,
    max_patches: float | None = None,
    random_state: Any = None,
    step: int | Sequence[int] = 1,
) -> NDArray[Any]:
    """Patches of an image as a new array, as scikit-learn's `extract_patches_2d`.

    Parameters
    ----------
    image : ndarray
        ``(height, width)`` or ``(height, width, channels)``, finite.
    patch_size : sequence of int
        Height and width of a patch.
    max_patches : int or float, optional
        So many patches, or that fraction of all, drawn at random with repeats: the same as
        scikit-learn draws from the same ``random_state``. All in order without it.
    random_state : int, RandomState or None
        Where the draw comes from.
    step : int or sequence of int
        Elements between patches. Where it does not divide, the last patch ends at the edge.

    Returns
    -------
    ndarray
        ``(n, height, width)``, with channels last if there is more than one; of the image's dtype,
        never an alias of it.

    Raises
    ------
    ValueError, TypeError
        Where scikit-learn raises.

    Examples
    --------
    >>> extract_patches_2d(np.arange(12).reshape(3, 4), (2, 3))[-1]
    array([[ 5,  6,  7],
           [ 9, 10, 11]])
    """
    if len(_as_sizes(patch_size)) != 2:
        raise ValueError(
            f"patch_size must be a tuple of two integers, got {patch_size!r}:"
            " extract_patches_nd takes any number of axes"
        )
    return extract_patches_nd(
        image, patch_size, max_patches=max_patches, random_state=random_state, step=step
    )


def extract_patches_nd(
    image: NDArray[Any],
    patch_size: Sequence[int],
    *,
    max_patches: float | None = None,
    random_state: Any = None,
    step: int | Sequence[int] = 1,
) -> NDArray[Any]:
    """Patches along the first axes of an array, as many as ``patch_size`` names; the rest are channels.

    Parameters and results are those of `extract_patches_2d`, for any number of axes.

    Examples
    --------
    >>> extract_patches_nd(np.zeros((4, 4, 4)), (2, 3, 4), step=(2, 1, 1)).shape
    (4, 2, 3, 4)
    """
    grid = _lay_grid(image, patch_size, step)
    pixels = _check_numbers(image, ensure_2d=False).reshape(*grid.shape, -1)
    rows = _draw_patches(grid, max_patches, random_state)
    patches = extract(pixels, grid, channel_axis=-1, indices=rows)
    return patches[..., 0] if patches.shape[-1] == 1 else patches


def reconstruct_from_patches_2d(
    patches: NDArray[Any],
    image_size: Sequence[int],
    *,
    step: int | Sequence[int] = 1,
    merge: MergeName = "mean",
    weights: Any = None,
) -> NDArray[np.float64]:
    """The image that all its patches average to, as scikit-learn's `reconstruct_from_patches_2d`.

    Parameters
    ----------
    patches : ndarray
        ``(n, height, width)`` or ``(n, height, width, channels)``: all patches, in order.
    image_size : sequence of int
        The image's shape, with channels last if it has them.
    step : int or sequence of int
        As given to `extract_patches_2d`.
    merge : str
        ``"mean"``, or ``"median"`` and the other names of `pantile.unpatchify`.
    weights : optional
        Of the samples of a patch, as in `pantile.unpatchify`.

    Returns
    -------
    ndarray of float64 (complex128 for complex patches)
        The image.

    Raises
    ------
    ValueError, TypeError
        Where scikit-learn raises; and when there are more or fewer patches than the image has, or
        channels do not match, where scikit-learn leaves zeros or repeats what it was given.

    Examples
    --------
    >>> image = np.arange(12.0).reshape(3, 4)
    >>> patches = extract_patches_2d(image, (2, 2))
    >>> bool(np.allclose(reconstruct_from_patches_2d(patches, image.shape), image))
    True
    """
    return _reconstruct(patches, image_size, 2, step, merge, weights)


def reconstruct_from_patches_nd(
    patches: NDArray[Any],
    image_size: Sequence[int],
    *,
    ndim: int | None = None,
    step: int | Sequence[int] = 1,
    merge: MergeName = "mean",
    weights: Any = None,
) -> NDArray[np.float64]:
    """The image that patches along its first ``ndim`` axes (all by default) average to.

    The inverse of `extract_patches_nd`; the other parameters are those of `reconstruct_from_patches_2d`.

    Examples
    --------
    >>> volume = np.arange(60.0).reshape(3, 4, 5)
    >>> patches = extract_patches_nd(volume, (2, 2, 2))
    >>> bool(np.allclose(reconstruct_from_patches_nd(patches, volume.shape), volume))
    True
    """
    n = len(_as_sizes(image_size, "image_size")) if ndim is None else ndim
    return _reconstruct(patches, image_size, n, step, merge, weights)


class PatchExtractor(_Original):  # type: ignore[misc, unused-ignore]
    """Patches of a stack of images, as scikit-learn's `PatchExtractor`, whose subclass it is.

    Parameters
    ----------
    patch_size : tuple of int, optional
        The shape of a patch; by default a tenth of the image's.
    max_patches : int or float, optional
        So many patches of each image, or that fraction, drawn at random with repeats.
    random_state : int, RandomState or None
        Where the draw comes from.
    step : int or tuple of int
        Elements between patches. Where it does not divide, the last patch ends at the edge.
    ndim : int
        How many axes are patched: 3 for a stack of volumes.

    Examples
    --------
    >>> PatchExtractor(patch_size=(2, 2), step=2).fit_transform(np.zeros((3, 4, 4))).shape
    (12, 2, 2)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_Original._parameter_constraints,
        "step": "no_validation",  # PatchGrid checks them
        "ndim": "no_validation",
    }

    def __init__(
        self,
        *,
        patch_size: tuple[int, ...] | None = None,
        max_patches: float | None = None,
        random_state: Any = None,
        step: int | tuple[int, ...] = 1,
        ndim: int = 2,
    ) -> None:
        super().__init__(patch_size=patch_size, max_patches=max_patches, random_state=random_state)
        self.step = step
        self.ndim = ndim

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Patches of all images: float64, ``(n_images * n, *patch_size)``, channels last if there are any."""
        images = _check_numbers(X, ensure_2d=False, estimator=self)
        if images.ndim < self.ndim + 1:
            raise ValueError(
                f"X must be a stack of images with {self.ndim} axes or more, got shape {images.shape}"
            )
        sizes = images.shape[1 : self.ndim + 1]
        patch = tuple(n // 10 for n in sizes) if self.patch_size is None else self.patch_size
        if len(patch) != self.ndim:
            number = {1: "one integer", 2: "two integers"}.get(self.ndim, f"{self.ndim} integers")
            raise ValueError(f"patch_size must be a tuple of {number}, got {patch!r}")
        grid = _lay_grid(images[0], patch, self.step)
        # scikit-learn's patches are float64, whatever the images are
        stack = images.reshape(len(images), *sizes, -1).astype(np.float64, copy=False)
        patches = self._cut(stack, grid)
        return patches[..., 0] if patches.shape[-1] == 1 else patches

    def _cut(self, stack: NDArray[np.float64], grid: PatchGrid) -> NDArray[np.float64]:
        state = check_random_state(self.random_state)
        rows = [_draw_patches(grid, self.max_patches, state) for _ in stack]
        if rows[0] is None:
            axes = tuple(range(1, grid.ndim + 1))
            patches = extract(stack, grid, axes=axes, channel_axis=-1)
            return patches.reshape(-1, *patches.shape[2:])
        n = len(rows[0])
        found = np.empty((len(stack) * n, *grid.patch, stack.shape[-1]))
        for k, (image, drawn) in enumerate(zip(stack, rows, strict=True)):
            extract(image, grid, channel_axis=-1, indices=drawn, out=found[k * n : (k + 1) * n])
        return found


def _check_numbers(image: Any, **options: Any) -> NDArray[Any]:
    """What scikit-learn accepts: real finite numbers; a mask, which it drops, is refused."""
    if isinstance(image, np.ma.MaskedArray):
        raise TypeError(
            "the image is a masked array, and patches would lose its mask: fill it first (image.filled(...))"
        )
    array: NDArray[Any] = check_array(image, allow_nd=True, **options)
    return array


def _as_sizes(value: Any, name: str = "patch_size") -> tuple[int, ...]:
    if not isinstance(value, tuple | list):
        raise InvalidParameterError(
            f"{name} must be a tuple or a list of whole numbers, got {value!r}"
        )
    return as_shape(value, name)


def _lay_grid(image: Any, patch_size: Any, step: Any) -> PatchGrid:
    if not isinstance(image, np.ndarray):
        raise InvalidParameterError(f"image must be a NumPy array, got {type(image).__name__}")
    patch = _as_sizes(patch_size)
    if image.ndim < len(patch):
        raise ValueError(
            f"image has {image.ndim} axes, but patch_size={patch!r} needs {len(patch)}"
        )
    return PatchGrid(image.shape[: len(patch)], patch, step)


def _draw_patches(grid: PatchGrid, max_patches: Any, random_state: Any) -> NDArray[np.int64] | None:
    """Flat indices of patches drawn as scikit-learn draws them: one axis after the other."""
    state = check_random_state(random_state)
    if max_patches is None:
        return None
    n = _count_patches(grid.n_patches, max_patches)
    rows = np.zeros(n, np.int64)
    for count in grid.counts:
        rows = rows * count + state.randint(count, size=n)
    return rows


def _count_patches(n_patches: int, max_patches: Any) -> int:
    whole = isinstance(max_patches, int | np.integer) and not isinstance(max_patches, bool)
    if whole and max_patches >= 1:
        return min(int(max_patches), n_patches)
    if isinstance(max_patches, float) and 0 < max_patches < 1:
        return int(max_patches * n_patches)
    raise InvalidParameterError(
        "max_patches must be a whole number of at least 1, a fraction between 0 and 1, or None,"
        f" got {max_patches!r}"
    )


def _reconstruct(
    patches: Any, image_size: Any, ndim: int, step: Any, merge: Any, weights: Any
) -> NDArray[Any]:
    if not isinstance(patches, np.ndarray):
        raise InvalidParameterError(f"patches must be a NumPy array, got {type(patches).__name__}")
    sizes = _as_sizes(image_size, "image_size")
    if len(sizes) < ndim or patches.ndim < ndim + 1:
        raise ValueError(
            f"image_size={sizes!r} and patches of shape {patches.shape} must have at least {ndim} and"
            f" {ndim + 1} axes"
        )
    grid = PatchGrid(sizes[:ndim], patches.shape[1 : ndim + 1], step)
    channels, held = math.prod(sizes[ndim:]), math.prod(patches.shape[ndim + 1 :])
    if len(patches) != grid.n_patches or channels != held:
        raise ValueError(
            f"image_size={sizes!r} has {grid.n_patches} patches of {grid.patch} with {channels} channels at"
            f" step {grid.step}, got {len(patches)} with {held}: reconstruction needs every patch, in order"
        )
    dtype = np.complex128 if patches.dtype.kind == "c" else np.float64
    image = unpatchify(
        patches.reshape(*patches.shape[: ndim + 1], held),
        grid,
        channel_axis=-1,
        merge=merge,
        weights=weights,
        dtype=dtype,
    )
    return image.reshape(sizes)

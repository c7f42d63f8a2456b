"""`PatchMatrix` of arrays of other libraries: products, with gradients, as arrays of the same library."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from ..geometry import PatchGrid
from ..geometry.frame import frame_of
from ..geometry.tensors import library_of, refuse_mixed
from ..matrix.matrix import PatchMatrix
from ..matrix.product.operands import LazyMatrix, times, transposed_times
from ..matrix.selection.selection import Selection
from . import leaves, torch_work
from .namespaces import dtype_name, namespace_of
from .tiles import part
from .verbs import check_tensor, numpy_dtype, permuted, reshaped, to_host, wants_grad

__all__ = ["TensorPatchMatrix", "TensorTransposed"]

Tensor = Any
_SLAB_BYTES = 1 << 26  # of the rows that are cut at once, beside compiled kernels


class TensorPatchMatrix(PatchMatrix):
    """The matrix of an array of torch, JAX or another library: ``X @ V`` and ``X.T @ U`` give arrays of it.

    Of a torch tensor in main memory it is the matrix of the memory that the tensor shows: products
    go the fastest way, statistics come as float64 tensors, estimators work on it. Products have the
    dtype that image and operand promote to, and gradients of any order with respect to both, as long
    as there is no ``where``, ``center`` or ``scale``. Of other arrays there are products, ``shape``,
    and no more.
    """

    def __init__(
        self, image: Any, patch: Any, step: Any = 1, *, axes: Any = None, channel_axis: Any = None,
        where: Any = None, center: bool = False, scale: bool = False,
    ) -> None:  # fmt: skip
        images = image if isinstance(image, list | tuple) else [image]
        for each in images:
            check_tensor(each, "image")
            refuse_mixed(images[0], "the first image", {"another one": each})
        self.library = library_of(images[0])
        self.image = images[0] if len(images) == 1 else None
        self.plain = where is None and not center and not scale and self.image is not None
        options = {"axes": axes, "channel_axis": channel_axis}
        if self.library == "torch" and all(i.device.type == "cpu" for i in images):
            memory = [torch_work.as_array(i) for i in images]
            given: Any = memory if isinstance(image, list | tuple) else memory[0]
            super().__init__(
                given, patch, step, where=to_host(where), center=center, scale=scale, **options
            )
        elif not self.plain:
            raise ValueError(
                f"where=, center=, scale= and lists of images of {self.library} are for arrays in main memory: give"
                " NumPy arrays or tensors on the CPU"
            )
        if self.image is not None and not isinstance(patch, list):
            self.frame = frame_of(tuple(self.image.shape), patch, step, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "selection":
            raise AttributeError(
                f"a PatchMatrix of an array of {self.library} that is not in main memory has products only: give the"
                " image as a NumPy array for the rest"
            )
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (
            self.image,
            self.frame.grid,
            self.frame.order,
            self.plain,
            super().__reduce__(),
        )

    @property
    def in_memory(self) -> bool:
        return "selection" in self.__dict__

    @property
    def shape(self) -> tuple[int, int]:
        if self.in_memory:
            return super().shape
        return self.frame.n_patches, self.frame.features

    @property
    def dtype(self) -> Any:
        """The image's, a dtype of its library."""
        image: Any = self.image
        return super().dtype if image is None else image.dtype

    @property
    def nbytes(self) -> int:
        own = self.selection.dtype if self.in_memory else numpy_dtype(self.image)
        return self.size * own.itemsize

    @property
    def T(self) -> Any:
        """The transpose, for ``X.T @ U``."""
        return TensorTransposed(self)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        if self.in_memory:
            return super().__repr__().replace("<PatchMatrix", f"<PatchMatrix of {self.library}:")
        rows, features = self.shape
        return f"<PatchMatrix of {self.library}: {rows} x {features} {self.dtype}; {self.frame.grid!r}>"

    def __matmul__(self, right: Any) -> Any:
        return _multiply(self, right, False, "X @ V")

    def __rmatmul__(self, left: Any) -> Any:
        return _turned(_multiply(self, _turned(left), True, "V @ X"))

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(to_host(key))
        if not isinstance(found, PatchMatrix):
            return self._wrap(found, dtype_name(self.dtype))
        smaller: TensorPatchMatrix = object.__new__(TensorPatchMatrix)
        smaller.__dict__.update(self.__dict__, selection=found.selection, plain=False)
        return smaller

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return super().__array__(self.selection.dtype if dtype is None else dtype, copy)

    def _wrap(self, array: Any, name: str | None = None) -> Any:
        if not isinstance(array, np.ndarray | np.generic):
            return array
        held = np.asarray(array)
        return torch_work.as_tensor(held, name or held.dtype.name)

    def _statistic(self, name: str, *args: Any, **options: Any) -> Any:
        if self.image is not None and wants_grad(self.image):
            raise ValueError(
                f"X.{name}() has no gradient: give image.detach(), or products, as X.T @ (X @ V)"
            )
        _ = self.selection  # says what is missing where that is
        return self._wrap(getattr(super(), name)(*args, **options))

    def gram(self) -> Any:
        """``conj(X).T @ X`` in float64, as a tensor."""
        return self._statistic("gram")

    def cov(self, ddof: int = 1) -> Any:
        """Covariance of the features in float64, as a tensor."""
        return self._statistic("cov", ddof)

    def sum(self, axis: Any = None) -> Any:
        """Sum over rows (0), features (1), or everything (None), as a tensor."""
        return self._statistic("sum", axis)

    def mean(self, axis: Any = None) -> Any:
        """Mean over rows (0), features (1), or everything (None), as a tensor."""
        return self._statistic("mean", axis)

    def var(self, axis: Any = None, ddof: float = 0) -> Any:
        """Variance over rows (0), features (1), or everything (None), as a tensor."""
        return self._statistic("var", axis, ddof)

    def std(self, axis: Any = None, ddof: float = 0) -> Any:
        """Standard deviation over rows (0), features (1), or everything (None), as a tensor."""
        return self._statistic("std", axis, ddof)

    def row_norms(self) -> Any:
        """Euclidean norm of each row, as a tensor."""
        return self._statistic("row_norms")

    def sample(self, n: int, rng: Any = None) -> Any:
        """``n`` different rows at random, and their indices, as tensors."""
        rows, indices = super().sample(n, rng)
        return rows, self._wrap(indices)

    def blocks(self, *args: Any) -> Iterator[tuple[slice, Any]]:
        """Consecutive rows as ``(rows, tensor)``, in a buffer that is used again."""
        for rows, block in super().blocks(*args):
            yield (
                rows,
                self._wrap(block, dtype_name(self.dtype) if self.image is not None else None),
            )


class TensorTransposed(LazyMatrix):
    """``X.T`` of such a matrix, for products."""

    def __init__(self, matrix: TensorPatchMatrix) -> None:
        self.T = matrix
        self.shape = matrix.shape[::-1]

    def __repr__(self) -> str:
        return f"{self.T!r}.T"

    def __matmul__(self, right: Any) -> Any:
        if right is self.T:
            return right.gram()
        return _multiply(self.T, right, True, "X.T @ U")

    def __rmatmul__(self, left: Any) -> Any:
        return _turned(_multiply(self.T, _turned(left), False, "V @ X.T"))


def _rebuild(
    image: Tensor, grid: PatchGrid, order: tuple[int, ...], plain: bool, held: tuple[Any, ...]
) -> TensorPatchMatrix:
    make, parts = held
    matrix: TensorPatchMatrix = object.__new__(TensorPatchMatrix)
    inner = make(*parts)
    frame = inner.selection.stack.images[0].frame
    assert (frame.grid, frame.order) == (grid, order), "the pickle is of one matrix"
    matrix.__dict__.update(
        library="torch", image=image, plain=plain, frame=frame, selection=inner.selection
    )
    return matrix


def _turned(array: Tensor) -> Tensor:
    if library_of(array) is None or array.ndim < 2:
        return array
    return permuted(array, tuple(range(array.ndim))[::-1])


def _multiply(matrix: TensorPatchMatrix, other: Any, transposed: bool, expression: str) -> Tensor:
    """``X @ other``, or ``X.T @ other``, for a vector or a matrix."""
    n = matrix.shape[0] if transposed else matrix.shape[1]
    if library_of(other) is None:
        found = "numpy" if isinstance(other, np.ndarray) else type(other).__name__
        raise TypeError(
            f"{expression}: the image is an array of {matrix.library} and the operand is of {found}: give both of one"
            " library"
        )
    if matrix.image is not None:
        refuse_mixed(matrix.image, "the image", {f"the operand of {expression}": other})
    if other.ndim not in (1, 2) or other.shape[0] != n:
        name = "row" if transposed else "feature"
        raise ValueError(
            f"{expression}: one row per {name} is needed, {n} of them, got shape {tuple(other.shape)}"
        )
    columns = other if other.ndim == 2 else reshaped(other, (n, 1))
    multiply = _multiply_in_memory if matrix.in_memory else _multiply_by_slabs
    found = multiply(matrix, columns, transposed)
    return found if other.ndim == 2 else found[:, 0]


# torch in main memory: the ways of the matrix of arrays, as nodes of autograd


def _multiply_in_memory(matrix: TensorPatchMatrix, other: Tensor, transposed: bool) -> Tensor:
    product, adjoint = _products()
    if matrix.image is None:
        return _work(matrix.selection, other, transposed, dtype_name(other.dtype))
    if wants_grad(matrix.image) and not matrix.plain:
        raise ValueError(
            "gradients with respect to the image are for whole matrices, without where, center, scale and slices of"
            " rows: give image.detach()"
        )
    return (adjoint if transposed else product).apply(matrix.image, other, matrix)


def _work(selection: Selection, other: Tensor, transposed: bool, name: str) -> Tensor:
    array = torch_work.as_array(other)
    found = (transposed_times if transposed else times)(selection, array)
    return torch_work.as_tensor(np.ascontiguousarray(found), name)


@cache
def _products() -> tuple[Any, Any]:
    """``X @ V`` and ``X.T @ U`` as functions of image and operand; each is linear in both."""
    torch: Any = sys.modules["torch"]

    def forward(
        transposed: bool, image: Tensor, other: Tensor, matrix: TensorPatchMatrix
    ) -> Tensor:
        dtype = torch.promote_types(image.dtype, other.dtype)
        if not (dtype.is_floating_point or dtype.is_complex):
            dtype = torch.float64
        return _work(matrix.selection, other, transposed, dtype_name(dtype))

    class Linear(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def setup_context(ctx: Any, inputs: Any, _output: Any) -> None:
            image, other, ctx.matrix = inputs
            ctx.save_for_backward(image, other)

    class Product(Linear):
        @staticmethod
        def forward(image: Tensor, other: Tensor, matrix: TensorPatchMatrix) -> Tensor:
            return forward(False, image, other, matrix)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            image, other = ctx.saved_tensors
            first = second = None
            if ctx.needs_input_grad[0]:
                first = _image_gradient(ctx.matrix, grad, other.conj()).to(image.dtype)
            if ctx.needs_input_grad[1]:
                second = Adjoint.apply(_conj(image), grad, _conj_matrix(ctx.matrix, image)).to(
                    other.dtype
                )
            return first, second, None

    class Adjoint(Linear):
        @staticmethod
        def forward(image: Tensor, other: Tensor, matrix: TensorPatchMatrix) -> Tensor:
            return forward(True, image, other, matrix)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            image, other = ctx.saved_tensors
            first = second = None
            if ctx.needs_input_grad[0]:
                first = _image_gradient(ctx.matrix, other.conj(), grad).to(image.dtype)
            if ctx.needs_input_grad[1]:
                second = Product.apply(_conj(image), grad, _conj_matrix(ctx.matrix, image)).to(
                    other.dtype
                )
            return first, second, None

    return Product, Adjoint


def _conj(image: Tensor) -> Tensor:
    return image.conj() if image.is_complex() else image


def _conj_matrix(matrix: TensorPatchMatrix, image: Tensor) -> TensorPatchMatrix:
    if not image.is_complex():
        return matrix
    frame = matrix.frame
    channel = None if frame.channel is None else frame.order[frame.channel]
    places = [a for k, a in enumerate(frame.order) if frame.patched[k]]
    return TensorPatchMatrix(
        image.detach().conj().resolve_conj(), frame.grid, axes=places, channel_axis=channel
    )


def _image_gradient(matrix: TensorPatchMatrix, rows: Tensor, features: Tensor) -> Tensor:
    """The image that the patches ``rows @ features.T`` are summed to, by a product and without those patches.

    Rows are put where their patches end; what reaches an element are then the rows in a patch around
    it, in the reversed order of samples: again a patch matrix, times the reversed features.
    """
    frame, grid = matrix.frame, matrix.frame.grid
    if grid.pad_mode != "constant" and not frame.inside:
        raise ValueError(
            f"gradients of products through pad_mode={grid.pad_mode!r}: pad the image first"
        )
    k, torch = rows.shape[1], sys.modules["torch"]
    placed = rows.mT.reshape(k, *frame.batch_shape, *grid.counts)
    n_batch = frame.n_batch
    for a, axis in enumerate(grid.axis_grids):
        placed = _place(torch, placed, 1 + n_batch + a, axis)
    placed = placed.movedim(0, n_batch)
    channel = None if frame.channel is None else frame.channel - n_batch
    patch = list(grid.patch)
    if channel is not None:
        patch.insert(channel, frame.patch_shape[channel])
    kernel = features.reshape(*patch, k)
    kernel = kernel[..., None, :] if channel is None else kernel.movedim(channel, -2)
    flipped = kernel.flip(tuple(range(grid.ndim)))  # (*patch, channels, k)
    weights = flipped.movedim(-1, 0).reshape(k * grid.features, -1)
    sizes = placed.shape[n_batch + 1 :]
    around = PatchGrid(sizes, grid.patch, 1, dilation=grid.dilation)
    inner = TensorPatchMatrix(placed, around, channel_axis=n_batch)
    found = (inner @ weights).reshape(*frame.batch_shape, *grid.shape, -1)
    found = found[..., 0] if channel is None else found.movedim(-1, n_batch + channel)
    return found.permute(frame.back)


def _place(torch: Any, array: Tensor, at: int, axis: Any) -> Tensor:
    """Entries along an axis where their patches start, with room for a patch before the first element."""
    table = np.full(axis.size + axis.extent - 1, axis.count)
    goals = axis.starts() + axis.extent - 1
    inside = (goals >= 0) & (goals < len(table))
    table[goals[inside]] = np.flatnonzero(inside)
    nothing = array.new_zeros((*array.shape[:at], 1, *array.shape[at + 1 :]))
    return torch.cat([array, nothing], at).index_select(at, torch.from_numpy(table))


# anywhere else: some rows at a time


def _multiply_by_slabs(matrix: TensorPatchMatrix, other: Tensor, transposed: bool) -> Tensor:
    xp = namespace_of(matrix.image)
    found = [
        xp.matmul(_turned(block), other[rows, ...]) if transposed else xp.matmul(block, other)
        for rows, block in _slabs(xp, matrix)
    ]
    if not transposed:
        return xp.concat(found, axis=0)
    total = found[0]
    for each in found[1:]:
        total = total + each
    return total


def _slabs(xp: Any, matrix: TensorPatchMatrix) -> Iterator[tuple[slice, Tensor]]:
    """Consecutive rows, cut when they are asked for: some of the first patched axis at a time."""
    frame, grid = matrix.frame, matrix.frame.grid
    canonical = permuted(matrix.image, frame.order)
    channel = None if frame.channel is None else frame.channel - frame.n_batch
    images = math.prod(frame.batch_shape)
    flat = reshaped(canonical, (images, *canonical.shape[frame.n_batch :]))
    first, *others = grid.axis_grids
    line = math.prod(grid.counts[1:]) * frame.features * numpy_dtype(matrix.image).itemsize
    many = max(1, _SLAB_BYTES // line)
    begin = 0
    for i in range(images):
        for low in range(0, first.count, many):
            high = min(low + many, first.count)
            axes = [part(first, low, high), *others]
            patches = leaves.cut_axes(xp, flat[i, ...], axes, channel, grid)
            block = reshaped(patches, (-1, frame.features))
            yield slice(begin, begin + block.shape[0]), block
            begin += block.shape[0]

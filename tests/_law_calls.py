"""Calls of every public name of the public subpackages on an image, for the laws that hold for all of them."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pantile as pt

Array = NDArray[Any]
Call = Callable[[Array], Any]

PACKAGES = ("compat", "denoise", "files", "integrations", "learn", "plot", "tileset")
BELOW = {
    "compat": ("matlab", "monai", "numpy", "patchify", "skimage", "sklearn", "tiler", "torch"),
    "integrations": ("lightgbm", "torch", "xgboost"),
}
# not in every environment
NEEDS = {"compat.monai": "torch", "compat.torch": "torch", "integrations.torch": "torch"}


def same(batch: Array) -> Array:
    return batch


def labels(x: Array) -> Array:
    return (x > 0.5).astype(int)


def module(name: str) -> Any:
    return importlib.import_module(f"pantile.{name}")


def named() -> set[str]:
    """The names that the calls are about."""
    return {each for key in CALLS for each in key.partition(",")[0].split(" & ")}


def public_names() -> set[str]:
    """``package.name`` of everything public in a public subpackage."""
    found = set()
    for package in PACKAGES:
        below = BELOW.get(package, ())
        found |= {f"{package}.{name}" for name in module(package).__all__ if name not in below}
        for name in below:
            source = module(f"{package}.{name}") if f"{package}.{name}" not in NEEDS else None
            listed = source.__all__ if source else _listed(package, name)
            found |= {f"{package}.{name}.{each}" for each in listed}
    return found


def _listed(package: str, name: str) -> list[str]:
    """``__all__`` as the source says it, where importing needs a library that may not be there."""
    import ast
    from pathlib import Path

    text = (Path(pt.__file__).parent / package / f"{name}.py").read_text()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise AssertionError(name)


def to_sink(sink: Any) -> Call:
    return lambda x: pt.map_patches(same, x, 8, 4, out=sink(), dtype="uint8")


def drawn(draw: Callable[[Array, Any], Any]) -> Call:
    def call(x: Array) -> None:
        from matplotlib.figure import Figure

        draw(x, Figure().subplots())

    return call


def lazily(x: Array) -> Any:
    import dask.array as da

    return pt.map_patches(same, da.from_array(x, (20, 22)), 8, 4).compute(scheduler="synchronous")


def lazy_matrix(x: Array) -> Any:
    import dask.array as da

    return pt.PatchMatrix(da.from_array(x, (20, 22)), 8, 4).gram().compute(scheduler="synchronous")


def tree(x: Array) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    estimator = DecisionTreeClassifier(max_depth=2)
    return pt.learn.PatchEstimator(estimator, 5, step=4).fit(x, labels(x)).predict(x)


def boosted(x: Array) -> Any:
    sequence = module("integrations.lightgbm").PatchSequence(pt.PatchMatrix(x, 8, 4))
    return len(sequence), sequence[0], sequence[1:4], sequence[[1, 2]]


def iterated(x: Array) -> Any:
    import xgboost

    X = pt.PatchMatrix(x, 8, 4)
    return xgboost.QuantileDMatrix(module("integrations.xgboost").PatchDataIter(X, np.ones(len(X))))


def tensors(x: Array) -> Any:
    dataset = module("integrations.torch").PatchDataset(pt.PatchMatrix(x, 8, 4))
    return dataset[0], dataset[[1, 2]]


def sampled(x: Array) -> Any:
    return list(module("integrations.torch").BlockShuffleSampler(x.size, 100))


def folded(x: Array) -> Any:
    import torch

    compat = module("compat.torch")
    columns = compat.unfold(torch.from_numpy(x)[None, None], 8, stride=4)
    return compat.fold(columns, x.shape, 8, stride=4)


def inferred(x: Array) -> Any:
    import torch

    inputs = torch.from_numpy(x)[None, None]
    return module("compat.monai").sliding_window_inference(inputs, (16, 16), 4, lambda b: b * 2)


def averaged(x: Array) -> Any:
    import torch

    merger = module("compat.monai").AvgMerger((1, 1, *x.shape))
    merger.aggregate(torch.from_numpy(x)[None, None], (0, 0))
    return merger.finalize()


def retiled(x: Array) -> Any:
    compat = module("compat.tiler")
    tiler = compat.Tiler(x.shape, (16, 16), 0.5)
    merger = compat.Merger(tiler)
    for number, tile in tiler(x):
        merger.add(number, tile)
    return merger.merge()


def modelled(x: Array) -> Any:
    import torch

    model = module("integrations.torch").TileModel(torch.nn.Conv2d(1, 2, 3, padding=1))
    image = x.astype(np.float32)[None]
    return pt.map_patches(model, image, 16, 8, channel_axis=0, batch=4)


def grown(name: str) -> Call:
    def call(x: Array) -> Any:
        estimator = getattr(pt.learn, name)(5, max_depth=3, random_state=0, **_FEW[name[:10]])
        return estimator.fit(x, x if name.endswith("Regressor") else labels(x)).predict(x)

    return call


_FEW = {"PatchFores": {"n_estimators": 2}, "PatchBoost": {"max_iter": 2}}


def reader(x: Array) -> Any:
    np.save("image.npy", x)
    return pt.files.open_image("image.npy")


def tiled(x: Array) -> Any:
    folder = tempfile.mkdtemp()
    pt.tileset.write_tiles(x, f"{folder}/tiles", (20, 22), 20, suffix=".tif")
    return pt.tileset.read_manifest(f"{folder}/tiles"), pt.tileset.merge_tiles(f"{folder}/tiles")


def cut(x: Array) -> Any:
    return module("compat.sklearn").extract_patches_2d(x, (8, 8), step=4)


CALLS: dict[str, Call] = {
    "compat.matlab.im2col": lambda x: module("compat.matlab").im2col(x, (8, 8), "distinct"),
    "compat.matlab.col2im": lambda x: (m := module("compat.matlab")).col2im(
        m.im2col(x, (8, 11), "distinct"), (8, 11), x.shape, "distinct"
    ),
    "compat.numpy.sliding_window_view": lambda x: (
        module("compat.numpy").sliding_window_view(x, (8, 8)).sum()
    ),
    "compat.patchify.patchify": lambda x: module("compat.patchify").patchify(x, (8, 8), 4).sum(),
    "compat.patchify.unpatchify": lambda x: (m := module("compat.patchify")).unpatchify(
        m.patchify(x, (8, 8), 4), x.shape
    ),
    "compat.patchify.NonUniformStepSizeError": lambda x: refused(x),
    "compat.skimage.view_as_blocks": lambda x: module("compat.skimage").view_as_blocks(x, (8, 4)),
    "compat.skimage.view_as_windows": lambda x: module("compat.skimage").view_as_windows(x, 8, 4),
    "compat.sklearn.extract_patches_2d & compat.sklearn.reconstruct_from_patches_2d": lambda x: (
        module("compat.sklearn").reconstruct_from_patches_2d(cut(x), x.shape, step=4)
    ),
    "compat.sklearn.extract_patches_nd & compat.sklearn.reconstruct_from_patches_nd": lambda x: (
        m := module("compat.sklearn")
    ).reconstruct_from_patches_nd(m.extract_patches_nd(x, (8, 8), step=4), x.shape, step=4),
    "compat.sklearn.PatchExtractor": lambda x: (
        module("compat.sklearn").PatchExtractor(patch_size=(8, 8), step=4).fit_transform(x[None])
    ),
    "compat.torch.fold & compat.torch.unfold": folded,
    "compat.monai.sliding_window_inference": inferred,
    "compat.monai.AvgMerger": averaged,
    "compat.tiler.Tiler & compat.tiler.Merger": retiled,
    "denoise.dct & denoise.Pass": lambda x: pt.denoise.dct(x, 0.1, 4),
    "denoise.groups": lambda x: pt.denoise.groups(x, 0.1, 4),
    "files.NpySink & files.Sink & files.Writer & files.sink_of": to_sink(
        lambda: pt.files.sink_of(pt.files.NpySink("a.npy"))
    ),
    "files.PictureSink": to_sink(lambda: pt.files.PictureSink("a.png")),
    "files.TiffSink": to_sink(lambda: pt.files.TiffSink("a.tif")),
    "files.ZarrSink": to_sink(lambda: pt.files.ZarrSink("a.zarr", chunks=(20, 44))),
    "files.Reader & files.open_image": lambda x: pt.map_patches(same, reader(x), 8, 4),
    "files, an array": lambda x: pt.files.open_image(x)[:4, :5],
    "dask": lazily,
    "dask, matrix": lazy_matrix,
    "integrations.labelled_rows": lambda x: pt.integrations.labelled_rows(
        x, labels(x), pt.PatchGrid(x.shape, 8, 4)
    ),
    "integrations.predict_rows": lambda x: pt.integrations.predict_rows(
        lambda rows: rows.max(1), pt.PatchMatrix(x, 8, 4)
    ),
    "integrations.lightgbm.PatchSequence": boosted,
    "integrations.torch.BlockShuffleSampler": sampled,
    "integrations.torch.PatchDataset": tensors,
    "integrations.torch.TileModel": modelled,
    "integrations.xgboost.PatchDataIter": iterated,
    "learn.PatchEstimator": tree,
    "learn.PatchForestClassifier": grown("PatchForestClassifier"),
    "learn.PatchForestRegressor": grown("PatchForestRegressor"),
    "learn.PatchBoostingClassifier": grown("PatchBoostingClassifier"),
    "learn.PatchBoostingRegressor": grown("PatchBoostingRegressor"),
    "learn.PatchKMeans": lambda x: (
        pt.learn.PatchKMeans(5, step=4, n_clusters=3, random_state=0).fit(x).predict(x)
    ),
    "learn.PatchLDA": lambda x: pt.learn.PatchLDA(5).fit(x, labels(x)).predict(x),
    "learn.PatchLogisticRegression": lambda x: (
        pt.learn.PatchLogisticRegression(3, tol=1e-2).fit(x, labels(x)).predict(x)
    ),
    "learn.PatchPCA": lambda x: pt.learn.PatchPCA(8, n_components=3).fit(x).transform(x),
    "learn.PatchPCA, denoise": lambda x: pt.learn.PatchPCA(4, pad=0).fit(x).denoise(x, 0.1),
    "learn.PatchRidge": lambda x: pt.learn.PatchRidge(5).fit(x, x).predict(x),
    "plot.components": drawn(
        lambda x, ax: pt.plot.components(pt.learn.PatchPCA(4, n_components=2).fit(x), ax=ax)
    ),
    "plot.coverage": drawn(lambda x, ax: pt.plot.coverage(pt.PatchGrid(x.shape, 8, 4), ax=ax)),
    "plot.grid": drawn(lambda x, ax: pt.plot.grid(x, 8, 4, ax=ax)),
    "plot.montage": drawn(lambda x, ax: pt.plot.montage(pt.extract(x, 8, 4)[:3], ax=ax)),
    "plot.weight_sum": drawn(
        lambda x, ax: pt.plot.weight_sum(pt.PatchGrid(x.shape, 8, 4), "hann", ax=ax)
    ),
    "tileset.write_tiles & tileset.merge_tiles & tileset.read_manifest & tileset.Manifest": tiled,
}


def refused(x: Array) -> None:
    """The error is raised, and keeps nothing of the patches."""
    compat = module("compat.patchify")
    cut = compat.patchify(x, (8, 8), 3).copy()
    try:
        compat.unpatchify(cut, (x.shape[0], x.shape[1]))
    except compat.NonUniformStepSizeError:
        return
    raise AssertionError("no step divides, and nothing was said")

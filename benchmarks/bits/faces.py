"""Cases of what is thin over the verbs: the names of other libraries, estimators, trainers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import pantile as pt

from .digest import Record
from .draw import DTYPES, Draw, array, restrided

__all__ = ["compat", "learn", "rows"]


def compat(draw: Draw, record: Record) -> None:
    """Calls as other libraries have them."""
    nd = draw.pick((1, 2, 2, 3))
    shape = [draw.whole(3, (60, 20, 9)[nd - 1]) for _ in range(nd)]
    patch = tuple(draw.whole(1, min(n, 6)) for n in shape)
    image = restrided(draw, array(draw, shape, draw.pick(DTYPES)))
    step = draw.whole(1, 4)
    record("sliding_window_view", lambda: pt.compat.numpy.sliding_window_view(image, patch))
    record("view_as_windows", lambda: pt.compat.skimage.view_as_windows(image, patch, step))
    record("view_as_blocks", lambda: pt.compat.skimage.view_as_blocks(image, patch))
    _patchify(draw, record, image, patch, step)
    _matlab(draw, record, image, patch)
    if nd == 2:
        _sklearn(draw, record, image, patch, step)
        _torch(draw, record, image, patch, step)


def _patchify(draw: Draw, record: Record, image: Any, patch: Any, step: int) -> None:
    theirs, tail = pt.compat.patchify, draw.pick(("drop", "shift", "respace", "pad"))
    patches = record("patchify", lambda: theirs.patchify(image, patch, step, tail=tail))
    if patches is None:
        return
    options = {
        "step": step,
        "tail": tail,
        "merge": draw.pick((None, "mean")),
        "fill": draw.maybe(0.7, 0),
    }
    record("unpatchify", lambda: theirs.unpatchify(patches, image.shape, **options))
    record("unpatchify, no step", lambda: theirs.unpatchify(patches, image.shape))


def _matlab(draw: Draw, record: Record, image: Any, patch: Any) -> None:
    kind = draw.pick(("sliding", "distinct"))
    columns = record("im2col", lambda: pt.compat.matlab.im2col(image, patch, kind))
    merge = draw.pick((None, "mean", "sum"))
    if columns is not None:
        record(
            "col2im",
            lambda: pt.compat.matlab.col2im(columns, patch, image.shape, kind, merge=merge),
        )


def _sklearn(draw: Draw, record: Record, image: Any, patch: Any, step: int) -> None:
    theirs, seed = pt.compat.sklearn, draw.whole(0, 9)
    most = draw.pick((None, 5, 0.3))
    few = {"max_patches": most, "random_state": seed}
    record("extract_patches_2d", lambda: theirs.extract_patches_2d(image, patch, **few))
    patches = record("all patches", lambda: theirs.extract_patches_2d(image, patch, step=step))
    if patches is not None:
        record(
            "reconstruct",
            lambda: theirs.reconstruct_from_patches_2d(patches, image.shape, step=step),
        )
    extractor = theirs.PatchExtractor(patch_size=patch, max_patches=most, random_state=seed)
    record("PatchExtractor", lambda: extractor.transform(np.stack([image, image])))


def _torch(draw: Draw, record: Record, image: Any, patch: Any, step: int) -> None:
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(image, "f4"))[None, None]
    padding = draw.whole(0, 1)
    columns = record("unfold", lambda: pt.compat.torch.unfold(tensor, patch, 1, padding, step))
    if columns is not None:
        record("fold", lambda: pt.compat.torch.fold(columns, image.shape, patch, 1, padding, step))
    record(
        "a tensor",
        lambda: np.asarray(pt.map_patches(lambda b: b, tensor[0, 0], patch, step, fill=0)),
    )


def rows(draw: Draw, record: Record) -> None:
    """What trainers are given."""
    shape = (draw.whole(6, 20), draw.whole(6, 20))
    image = array(draw, (*shape, 2), draw.pick(("f4", "u1", "f8")))
    labels = draw.rng.integers(-1, 3, shape)
    chosen = pt.PatchGrid(shape, draw.pick((3, 4, 5)), pad="same", pad_mode="reflect")
    made = record(
        "labelled_rows",
        lambda: pt.integrations.labelled_rows(image, labels, chosen, channel_axis=2),
    )
    if made is not None:
        nbytes = draw.whole(100, 10_000)
        record(
            "predict_rows", lambda: pt.integrations.predict_rows(_largest, made[0], nbytes=nbytes)
        )


def _largest(block: Any) -> Any:
    return block.max(axis=1)


def learn(draw: Draw, record: Record) -> None:
    """Estimators on a small image, or on two."""
    shape = (draw.whole(12, 26), draw.whole(12, 26))
    channel = draw.pick((None, None, 2))
    whole = shape if channel is None else (*shape, 2)
    image: Any = array(draw, whole, draw.pick(("f4", "f8", "u1")))
    labels: Any = (array(draw, shape, "f8") > 0).astype(int) + (draw.rng.random(shape) < 0.2)
    targets: Any = draw.rng.standard_normal(shape)
    if draw.often(0.2):
        image, labels, targets = [image, image[::-1]], [labels, labels[::-1]], [targets, targets]
    given = {"step": draw.pick((1, 1, 2, 3)), "channel_axis": channel}
    if given["step"] == 1 and draw.often(0.3):
        given["pad"] = 0
    patch = draw.pick((3, 4, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _FITS[draw.pick(sorted(_FITS))](draw, record, (image, labels, targets), patch, given)


def _pca(draw: Draw, record: Record, data: Any, patch: int, given: Any) -> None:
    image = data[0]
    model = pt.learn.PatchPCA(
        patch, n_components=draw.pick((2, 4, 0.9)), whiten=draw.often(0.3), **given
    )
    _fitted(
        record, model, lambda: model.fit(image), ("mean_", "components_", "explained_variance_")
    )
    codes = record("transform", lambda: model.transform(image))
    if codes is not None and not isinstance(image, list):
        record("inverse", lambda: model.inverse_transform(codes))
    record("denoise", lambda: model.denoise(image, 0.5))
    record("score", lambda: model.score(image))


def _ridge(draw: Draw, record: Record, data: Any, patch: int, given: Any) -> None:
    image, _, targets = data
    model = pt.learn.PatchRidge(patch, alpha=draw.pick((0.1, 1.0, 30.0)), **given)
    _fitted(record, model, lambda: model.fit(image, targets), ("coef_", "intercept_"))
    record("predict", lambda: model.predict(image))
    record("score", lambda: model.score(image, targets))


def _classes(draw: Draw, record: Record, data: Any, patch: int, given: Any) -> None:
    image, labels, _ = data
    model = draw.pick((
        pt.learn.PatchLDA(patch, shrinkage=draw.pick((None, "auto", 0.3)), **given),
        pt.learn.PatchLogisticRegression(patch, C=draw.pick((0.1, 1.0)), max_iter=8, **given),
    ))  # fmt: skip
    _fitted(record, model, lambda: model.fit(image, labels), ("coef_", "intercept_", "classes_"))
    record("predict", lambda: model.predict(image))
    record("predict_proba", lambda: model.predict_proba(image))


def _kmeans(draw: Draw, record: Record, data: Any, patch: int, given: Any) -> None:
    image = data[0]
    model = pt.learn.PatchKMeans(patch, n_clusters=draw.whole(2, 4), max_iter=6, n_init=1,
                                 random_state=draw.whole(0, 9), **given)  # fmt: skip
    _fitted(record, model, lambda: model.fit(image), ("cluster_centers_", "inertia_", "n_iter_"))
    record("predict", lambda: model.predict(image))
    record("transform", lambda: model.transform(image))


def _wrapped(draw: Draw, record: Record, data: Any, patch: int, given: Any) -> None:
    from sklearn.linear_model import SGDClassifier
    from sklearn.naive_bayes import GaussianNB

    image, labels, _ = data
    estimator = draw.pick((GaussianNB(), SGDClassifier(random_state=0)))
    model = pt.learn.PatchEstimator(estimator, patch, random_state=draw.whole(0, 9), batch_size=64,
                                    epochs=draw.pick((None, 2)), n_jobs=1, **given)  # fmt: skip
    _fitted(record, model, lambda: model.fit(image, labels), ())
    record("predict", lambda: model.predict(image))


def _fitted(record: Record, model: Any, fit: Callable[[], Any], names: tuple[str, ...]) -> None:
    record("fit", lambda: fit() is model)
    for name in names:
        record(name, lambda name=name: np.asarray(getattr(model, name)))


_FITS: dict[str, Callable[[Draw, Record, Any, int, Any], None]] = {
    "classes": _classes,
    "kmeans": _kmeans,
    "pca": _pca,
    "ridge": _ridge,
    "wrapped": _wrapped,
}

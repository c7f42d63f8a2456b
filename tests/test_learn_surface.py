"""No estimator and no adapter makes the expanded matrix, or scores of all classes, unless it is the result."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("sklearn")

from tests._limited import LIMIT, finishes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="address-space limits are a matter of the system"
)

# 490 000 patches of 289 elements: 1.1 GB as float64, and 392 MB the scores of 100 classes
BEGIN = """
import pickle, warnings
import numpy as np
import pantile as pt
from pantile.learn import *

image = np.random.default_rng(0).random((700, 700), dtype=np.float32)
labels = (image * 3).astype(np.int8)
few = np.where(np.random.default_rng(1).random(image.shape) < 0.01, labels, -1)
small, known = image[:40, :40], labels[:40, :40]
"""

ESTIMATORS = """
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier

warnings.simplefilter("ignore", ConvergenceWarning)
ridge, pca, km = PatchRidge(17), PatchPCA(17, n_components=2), PatchKMeans(17, n_clusters=3, max_iter=2)
lda, log = PatchLDA(17), PatchLogisticRegression(17, max_iter=2)
any_ = PatchEstimator(SGDClassifier(loss="log_loss"), 17, n_samples=1000)
lda.fit(small, known).predict(small), log.fit(small, known).predict(small), km.fit(small)
ridge.fit(small, small), pca.fit(small).denoise(small, 1.0), any_.fit(small, known).predict(small)
"""

SURFACE = """
f4 = np.float32
pca.fit([image[:500], image[500:]]), pca.score(image)
codes = pca.transform(image, f4)
assert codes.shape == (700, 700, 2)
back = pca.inverse_transform(codes)
assert np.corrcoef(back.ravel()[::9], image.ravel()[::9])[0, 1] > 0.05
pca.denoise(image[:300], 1.0)
ridge.fit(image, image)
assert np.allclose(ridge.predict(image), image, atol=1e-3)
ridge.fit(image, np.where(few < 0, np.nan, image))
lda.fit(image, labels), PatchLDA(17, shrinkage="auto").fit(image, few), lda.score(image, few)
lda.predict(image), lda.transform(image, f4), lda.decision_function(image, f4)
lda.predict_proba(image, f4), lda.score(image, labels)
log.fit(image, labels), log.score(image, few)
km.fit(image), km.predict(image), km.transform(image, f4), km.score(image)
any_.fit(image, few), any_.predict(image), any_.score(image, few)
for model in (lda, log):
    model.classes_, model.intercept_ = np.arange(100), np.zeros(100)
    model.coef_ = np.random.default_rng(0).random((100, 289))
    assert len(np.unique(model.predict(image))) > 1
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        try:
            getattr(model, name)(image)
        except MemoryError as error:
            assert f"the result of {name} would take 392 MB" in str(error), error
        else:
            raise AssertionError(name)
assert all(len(pickle.dumps(model)) < 2e6 for model in (pca, ridge, lda, log, any_))
print("done")
"""

ADAPTERS = """
from pantile.integrations import labelled_rows, predict_rows
from pantile.integrations.torch import BlockShuffleSampler, PatchDataset
grid = pt.PatchGrid(image.shape, 17, pad="same", pad_mode="reflect")
X, y = labelled_rows(image, labels, grid)
predict_rows(lambda rows: rows[:, 0], X[:9])  # loads what compiles
kinds = {kinds}
if "torch" in kinds: import torch
if "lightgbm" in kinds: from pantile.integrations.lightgbm import PatchSequence
if "xgboost" in kinds: from pantile.integrations.xgboost import PatchDataIter
"""

READ = """
assert X.nbytes > 560e6
assert np.array_equal(predict_rows(lambda rows: rows[:, 144], X).reshape(image.shape), image)
if "torch" in kinds:
    dataset, sampler = PatchDataset(X, y), BlockShuffleSampler(len(X), 256)
    rows = next(iter(sampler))
    patches, classes = dataset[rows]
    assert np.array_equal(patches[:, 8, 8], image.ravel()[rows])
    assert len(pickle.dumps(dataset)) < 8e6
if "lightgbm" in kinds:
    sequence = PatchSequence(X)
    assert sequence[5][144] == image[0, 5]
    assert sequence[10:20].shape == (10, 289)
if "xgboost" in kinds:
    blocks, seen = PatchDataIter(X, y), []
    while blocks.next(lambda data, label: seen.append(len(data))):
        pass
    assert sum(seen) == len(X)
print("done")
"""


def test_estimators_never_expand():
    finishes(BEGIN + ESTIMATORS + LIMIT.format(nbytes=560_000_000) + SURFACE)


def test_adapters_never_expand():
    kinds = [name for name in ("torch", "lightgbm", "xgboost") if _installed(name)]
    begin = BEGIN + ADAPTERS.format(kinds=kinds)
    finishes(begin + LIMIT.format(nbytes=250_000_000) + READ)


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None

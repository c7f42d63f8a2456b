"""Pictures, labels, and ways to read rows, for the tests of estimators that iterate."""

from __future__ import annotations

import contextlib
from unittest import mock

import numpy as np

from pantile.geometry.limits import Limits
from pantile.learn import base, curvature, passes, points

__all__ = ["DTYPES", "WAYS", "by", "classes_of", "explicit", "picture"]

DTYPES = {"u1": (1, 0), "u2": (20, 30_000), "f4": (1 / 255, 0), "f8": (1, -1e4)}
WAYS = ("gathered", "cut", "fft")


@contextlib.contextmanager
def by(way, sample=None, slab=None):
    """Read rows in one way, learn the curvature from a sample of about so many, in slabs of so many bytes."""
    with contextlib.ExitStack() as stack:

        def put(module, name, value):
            stack.enter_context(mock.patch.object(module, name, value))

        sizes = {} if way == "gathered" else {"gathered_bytes": 0}
        if slab:
            sizes["slab_bytes"] = slab
        put(base.PatchModel, "limits", Limits(**sizes))
        for module in (passes, points):
            put(module, "cutting_is_cheaper", lambda *_: way != "fft")
        if sample:
            put(curvature, "_LEAST", sample)
            put(curvature, "_PER_FEATURE", 1)
        yield


def picture(shape=(24, 30), dtype="f8", seed=0):
    """Smooth noise, as pictures are, from 0 to 255 times the dtype's scale."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal(shape)
    for axis in range(found.ndim):
        found = found + 0.9 * np.roll(found, 1, axis)
    found = (found - found.min()) / np.ptp(found) * 255
    scale, offset = DTYPES[dtype]
    return (found * scale + offset).astype(dtype)


def classes_of(image, n, seed=1):
    """Noisy labels that depend on the pixel."""
    values = image.astype(float)
    noisy = values + values.std() * np.random.default_rng(seed).standard_normal(image.shape)
    return np.digitize(noisy, np.quantile(noisy, np.arange(1, n) / n))


def explicit(model, image):
    return np.asarray(model._matrix(image)).astype(np.float64)

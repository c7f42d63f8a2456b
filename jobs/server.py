"""(j) A server with 64 threads that calls everything at once."""

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import pantile as pt
from pantile.learn import PatchPCA

SIZES = {"small": {"side": 40, "requests": 128}, "full": {"side": 128, "requests": 512}}
DATA = "{requests} requests of eight kinds on images of {side}x{side}, 64 threads"


def soften(patches):
    mean = patches.mean(axis=(1, 2), keepdims=True)
    return mean + 0.5 * (patches - mean)


def spread(patches):
    return patches.std(axis=(1, 2))


def merged(image):
    grid = pt.PatchGrid(image.shape, 16, 8)
    merger = pt.Merger(grid)
    for rows in np.array_split(np.random.default_rng(0).permutation(len(grid)), 5):
        merger.add(soften(pt.extract(image, grid, indices=rows)), rows)
    return merger.result()


SERVED = {
    "soften": lambda image: pt.map_patches(soften, image, 8, 2),
    "spread": lambda image: pt.map_patches(spread, image, 9, merge=None),
    "sample": lambda image: pt.extract(image, 16, indices=np.arange(0, 400, 7)),
    "stitch": lambda image: pt.unpatchify(
        pt.patchify(image, 16, 4), image.shape, 4, weights="hann"
    ),
    "merge": merged,
    "score": lambda image: pt.PatchMatrix(image, 9) @ np.arange(81.0),
    "gram": lambda image: pt.PatchMatrix(image, 7).gram(),
    "variances": lambda image: PatchPCA(5, n_components=3, pad=0).fit(image).explained_variance_,
}


def _rows(image, p):
    return sliding_window_view(image, (p, p)).reshape(-1, p * p)


def _put(patches, shape, p, step):
    """The mean of patches ``(n0, n1, p, p)``, one sample of all patches at a time."""
    total, times = np.zeros(shape), np.zeros(shape)
    for i in range(p):
        for j in range(p):
            place = tuple(
                slice(at, at + step * (n - 1) + 1, step)
                for at, n in zip((i, j), patches.shape[:2], strict=True)
            )
            total[place] += patches[:, :, i, j]
            times[place] += 1
    return total / times


def _softened(image, p, step):
    patches = sliding_window_view(image, (p, p))[::step, ::step]
    return _put(soften(patches.reshape(-1, p, p)).reshape(patches.shape), image.shape, p, step)


PLAIN = {
    "soften": lambda image: _softened(image, 8, 2),
    "spread": lambda image: sliding_window_view(image, (9, 9)).std(axis=(2, 3)),
    "sample": lambda image: _rows(image, 16)[np.arange(0, 400, 7)].reshape(-1, 16, 16),
    "stitch": lambda image: image.copy(),  # what cutting and merging must give
    "merge": lambda image: _softened(image, 16, 8),
    "score": lambda image: _rows(image, 9) @ np.arange(81.0),
    "gram": lambda image: _rows(image, 7).T @ _rows(image, 7),
    "variances": lambda image: np.linalg.eigvalsh(np.cov(_rows(image, 5).T))[: -4 : -1],
}  # fmt: skip


def with_pantile(images):
    return serve(SERVED, images)


def plainly(images):
    return serve(PLAIN, images)


def serve(handlers, images):
    kinds = list(handlers)
    with ThreadPoolExecutor(64) as pool:
        asked = [
            (kinds[k % len(kinds)], pool.submit(handlers[kinds[k % len(kinds)]], image))
            for k, image in enumerate(images)
        ]
        return [(kind, answer.result()) for kind, answer in asked]


WAYS = {"pantile": with_pantile, "NumPy": plainly}


def make(_: Path, side: int, requests: int):
    rng = np.random.default_rng(0)
    several = [rng.random((side, side)) for _ in range(16)]
    return {"images": [several[k // 8 % 16] for k in range(requests)]}


def agree(mine, its) -> str:
    for (kind, a), (_, b) in zip(mine, its, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10, err_msg=kind)
    return f"all {len(mine)}"


def also(folder: Path, side: int, requests: int) -> str:
    """The second and later rounds keep no memory, and have the bits of the first."""
    images = make(folder, side, requests)["images"]
    first = with_pantile(images)
    with_pantile(images)
    before = _resident()
    for _ in range(4):
        again = with_pantile(images)
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
        del again
    grown = _resident() - before
    assert grown < 64e6
    return f"four more rounds: the same bits, {grown / 1e6:+.1f} MB resident"


def _resident():
    from jobs.measure import at_rest

    gc.collect()
    return at_rest()

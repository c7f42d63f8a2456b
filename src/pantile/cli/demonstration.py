"""The demonstration: a photograph with noise is denoised, and each pass is timed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

import pantile as pt
from pantile.denoise.shrink import FloatArray
from pantile.denoise.sliding_dct import Pass, Progress, Watch, dct

__all__ = ["PHOTOGRAPHS", "Demonstration", "PassRecord", "demonstrate", "photograph", "psnr"]

PHOTOGRAPHS = ("china", "flower")
SHAPE = (427, 640)
SEED = 0
PEAK = 255.0


@dataclass(frozen=True)
class PassRecord:
    """What one pass over an image did, and how long it took."""

    name: str
    patch: int
    channels: int
    n_patches: int
    seconds: float

    @property
    def elements(self) -> int:
        """Patch elements that went through the pass."""
        return self.n_patches * self.patch**2 * self.channels

    @property
    def expanded(self) -> int:
        """Bytes of the float32 matrix that would hold all patches at once."""
        return self.elements * np.dtype(np.float32).itemsize

    @property
    def rate(self) -> float:
        """Patch elements a nanosecond (Gel/s): cutting, transforms and merging together."""
        return self.elements / self.seconds / 1e9


@dataclass(frozen=True)
class Demonstration:
    """A photograph, the same with noise, and what came out, in 0..255; one record per pass."""

    name: str
    sigma: float
    clean: FloatArray
    noisy: FloatArray
    denoised: FloatArray
    records: list[PassRecord] = field(default_factory=list)

    @property
    def before(self) -> float:
        """PSNR of the noisy photograph, dB."""
        return psnr(self.noisy, self.clean)

    @property
    def after(self) -> float:
        """PSNR of the denoised photograph, dB."""
        return psnr(self.denoised, self.clean)


def demonstrate(
    name: str, sigma: float, patch: int, workers: int | None, watch: Watch
) -> Demonstration:
    """The photograph `name` with noise of `sigma`, denoised."""
    clean = photograph(name)
    noise = np.random.default_rng(SEED).normal(0, sigma, clean.shape)
    noisy = (clean + noise).astype(clean.dtype)
    records: list[PassRecord] = []

    @contextmanager
    def time_pass(stage: Pass) -> Iterator[Progress | None]:
        with watch(stage) as progress:
            start = time.perf_counter()
            yield progress
            records.append(_record(stage, clean.shape, time.perf_counter() - start))

    # What the first call compiles, and loads, is no part of the rates.
    dct(noisy[: 3 * patch, : 3 * patch], sigma, patch, channel_axis=-1, workers=workers)
    denoised = dct(noisy, sigma, patch, channel_axis=-1, workers=workers, watch=time_pass)
    return Demonstration(name, sigma, clean, noisy, denoised, records)


def photograph(name: str) -> FloatArray:
    """One of the two photographs that scikit-learn ships, (427, 640, 3), float32 in 0..255."""
    from sklearn.datasets import load_sample_image

    image: FloatArray = load_sample_image(f"{name}.jpg").astype(np.float32)
    return image


def psnr(image: FloatArray, truth: FloatArray) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255^2 / mean((image - truth)^2)).

    >>> round(psnr(np.full((8, 8), 25.5), np.zeros((8, 8))), 6)
    20.0
    """
    error = np.mean(np.square(image - truth, dtype=np.float64))
    return float(10 * np.log10(PEAK**2 / error))


def _record(stage: Pass, shape: tuple[int, ...], seconds: float) -> PassRecord:
    n_patches = pt.PatchGrid(shape[:2], stage.patch).n_patches
    return PassRecord(stage.name, stage.patch, stage.channels(shape[-1]), n_patches, seconds)

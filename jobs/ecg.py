"""(g) ECG windows: features of 10 seconds, one second apart, with ``merge=None``."""

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import pantile as pt

SIZES = {"small": {"minutes": 1, "leads": 3}, "full": {"minutes": 120, "leads": 12}}
DATA = "synthetic ECG, {leads} leads, {minutes} minutes at 360 Hz, float32"
RATE = 360
WINDOW = 10 * RATE


def with_pantile(ecg):  # three windows a call: no more memory than a loop takes
    return pt.map_patches(features, ecg, (WINDOW,), RATE, channel_axis=0, merge=None, batch=3)


def at_once(ecg):
    windows = sliding_window_view(ecg, WINDOW, axis=1)[:, ::RATE]
    return features(windows.swapaxes(0, 1))


def one_by_one(ecg):
    starts = range(0, ecg.shape[1] - WINDOW + 1, RATE)
    return np.concatenate([features(ecg[None, :, s : s + WINDOW]) for s in starts])


def features(windows):
    """Spread, steepness, beats and three bands of the spectrum of ``(n, leads, samples)``."""
    centred = windows - windows.mean(axis=-1, keepdims=True)
    high = centred > 0.5 * centred.max(axis=-1, keepdims=True)
    beats = np.count_nonzero(high[..., 1:] & ~high[..., :-1], axis=-1)
    power = np.abs(np.fft.rfft(centred, axis=-1)) ** 2
    bands = [power[..., a * 10 : b * 10].sum(axis=-1) for a, b in ((0, 5), (5, 15), (15, 45))]
    steep = np.abs(np.diff(centred, axis=-1)).max(axis=-1)
    columns = [centred.std(axis=-1), steep, beats, *np.log1p(bands)]
    return np.stack(columns, axis=-1).reshape(len(windows), -1)


WAYS = {"pantile": with_pantile, "NumPy, all at once": at_once, "NumPy, one by one": one_by_one}


def make(_: Path, minutes: int, leads: int):
    """Beats at 60 to 90 a minute: a P wave, a QRS complex and a T wave each, seen by every lead."""
    rng = np.random.default_rng(0)
    time = np.arange(minutes * 60 * RATE) / RATE
    beat = np.cumsum(1.25 + 0.25 * np.sin(time / 17)) / RATE % 1
    waves = [(0.2, 0.02, 0.15), (0.37, 0.01, -0.1), (0.4, 0.01, 1.0), (0.43, 0.01, -0.2)]
    waves += [(0.65, 0.04, 0.3)]
    signal = sum(a * np.exp(-(((beat - at) / width) ** 2) / 2) for at, width, a in waves)
    ecg = np.empty((leads, len(time)), np.float32)
    for lead, size in zip(ecg, rng.uniform(0.4, 1.5, leads), strict=True):
        lead[:] = size * signal + rng.normal(scale=0.03, size=len(time)) + 0.2 * np.sin(time * 1.4)
    return {"ecg": ecg}


def agree(mine, its) -> str:
    np.testing.assert_allclose(mine, its, rtol=1e-5)
    return f"to {(np.abs(mine - its) / np.maximum(1e-9, np.abs(its))).max():.0e}"

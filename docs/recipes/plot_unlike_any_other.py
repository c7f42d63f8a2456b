"""
The window least like any other
===============================

A heartbeat that is like no other, a flaw in a weave: patches whose best match is far away (*discords*). In one axis,
the root of the distances of normalised windows is the *matrix profile*. Nothing is trained, and one number is chosen:
how long a window is.
"""

import matplotlib.pyplot as plt
import numpy as np

import pantile as pt

# %%
# A signal of beats, one of which is early, and in which the baseline wanders; the windows are normalised.

rng = np.random.default_rng(0)
starts = np.cumsum(rng.integers(95, 106, 40))
starts[17] -= 30
t = np.arange(starts[-1] + 100.0)
signal = sum(
    np.exp(-((t - s) ** 2) / 18) - 0.3 * np.exp(-((t - s - 25) ** 2) / 200) for s in starts
)
signal = signal + np.sin(t / 300) + 0.02 * rng.normal(size=len(t))

found = pt.similar(signal, 100, exclude=25, normalize=True)
profile = np.sqrt(found.distances[:, 0])
discord = int(profile.argmax())

# %%
# A weave with one thread that is missing for a while: the same in two axes.

rows, columns = np.mgrid[:160, :200]
weave = np.sin(rows * 0.9) * np.sin(columns * 0.7) + 0.1 * rng.normal(size=rows.shape)
weave[90:97, 120:150] *= 0.2
unlike = pt.similar(weave.astype(np.float32), 12, exclude=6).distances[..., 0]
flaw = np.unravel_index(unlike.argmax(), unlike.shape)

figure, axes = plt.subplots(2, 2, figsize=(12, 5), layout="constrained")
axes[0, 0].plot(signal, lw=0.7)
axes[0, 0].axvspan(discord, discord + 100, color="tab:red", alpha=0.3)
axes[0, 0].set_title("signal, and the window least like any other")
axes[1, 0].plot(profile, lw=0.7, color="tab:green")
axes[1, 0].set_title("distance of each window from its best match")
axes[0, 1].imshow(weave, cmap="gray")
axes[0, 1].set_title("weave")
axes[1, 1].imshow(unlike)
axes[1, 1].plot(flaw[1], flaw[0], "o", mec="w", mfc="none", ms=14)
axes[1, 1].set_title("distance from the best match")
for ax in axes[:, 1]:
    ax.axis("off")

assert starts[17] - 170 < discord < starts[17] + 70
assert 78 <= flaw[0] <= 97
assert 108 <= flaw[1] <= 150

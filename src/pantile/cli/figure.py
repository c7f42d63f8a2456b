"""The picture of a demonstration: clean, noisy and denoised side by side, and a detail of each."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from pantile.cli.demonstration import Demonstration
from pantile.cli.files import check_target, replace_file
from pantile.denoise.shrink import FloatArray

__all__ = ["check_figure", "save"]

FORMATS = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".tif", ".tiff", ".webp")
# First row, first column of what is enlarged: roof and foliage, the anthers.
DETAILS = {"china": (165, 250), "flower": (150, 290)}
DETAIL_SHAPE = (80, 120)  # the photographs' proportions, so that all panels are of one size
WIDTH = 13.0  # inches
ROW_HEIGHT = 3.05


def check_figure(path: Path) -> None:
    """Raise a `ValueError` that says why, where the figure cannot be written to `path`."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"{path}: unknown extension {path.suffix!r}: use one of {', '.join(FORMATS)}"
        )
    check_target(path)


def save(path: Path, demonstrations: list[Demonstration]) -> None:
    """Two rows of three panels for each of `demonstrations`, in the file `path`."""
    rows = 2 * len(demonstrations)
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * rows), layout=layout)
    panels = figure.subplots(rows, 3)
    for index, demonstration in enumerate(demonstrations):
        _draw(panels[2 * index : 2 * index + 2], demonstration)
    with replace_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=110)


def _draw(panels: Any, demonstration: Demonstration) -> None:
    columns = {
        f"clean ({demonstration.name}.jpg)": demonstration.clean,
        f"noisy, σ = {demonstration.sigma:g}: {demonstration.before:.2f} dB": demonstration.noisy,
        f"denoised: {demonstration.after:.2f} dB": demonstration.denoised,
    }
    for (top, bottom), (title, image) in zip(panels.T, columns.items(), strict=True):
        _draw_image(top, image)
        top.set_title(title, fontsize=13)
        _draw_image(bottom, _cut_detail(image, demonstration.name))
        top.add_patch(_frame_detail(demonstration.name))


def _draw_image(panel: Any, image: FloatArray) -> None:
    panel.imshow(np.clip(np.rint(image), 0, 255).astype(np.uint8), interpolation="antialiased")
    panel.set_axis_off()


def _cut_detail(image: FloatArray, name: str) -> FloatArray:
    row, column = DETAILS[name]
    return image[row : row + DETAIL_SHAPE[0], column : column + DETAIL_SHAPE[1]]


def _frame_detail(name: str) -> Rectangle:
    row, column = DETAILS[name]
    return Rectangle(
        (column, row), *DETAIL_SHAPE[::-1], fill=False, edgecolor="white", linewidth=1.5
    )

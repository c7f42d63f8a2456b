"""The worked examples run as programs, find what they say, and leave a picture."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """What an example's names hold after ``python examples/NAME.py --out DIR``, and its picture."""
    matplotlib = pytest.importorskip("matplotlib")
    pyplot = pytest.importorskip("matplotlib.pyplot")

    def run(name):
        monkeypatch.setattr(sys, "argv", [name, "--out", str(tmp_path / "new" / "folder")])
        names = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        picture = pyplot.imread(tmp_path / "new" / "folder" / f"{name}.png")
        return names, picture

    with matplotlib.rc_context({"backend": "agg"}):
        yield run
    pyplot.close("all")


def test_land_sky_roof(run):
    found, picture = run("land_sky_roof")
    labels, held_out, predicted = found["labels"], found["held_out"], found["predicted"]
    assert 0.03 < (labels >= 0).mean() < 0.06  # a few scribbles
    assert not ((labels >= 0) & (held_out >= 0)).any()
    right = (predicted == held_out)[held_out >= 0].mean()
    assert right == pytest.approx(found["accuracy"]["random forest"])
    assert right > 0.82
    assert found["accuracy"]["forest on windows"] > 0.82
    for name, least in (("linear discriminant", 0.6), ("logistic regression", 0.62)):
        assert least < found["accuracy"][name] < right
    for code, least in enumerate((0.85, 0.95, 0.5)):  # land, sky, roof
        assert (predicted == code)[held_out == code].mean() > least
    probabilities = found["probabilities"]
    assert probabilities.shape == (*labels.shape, 3)
    assert np.allclose(probabilities.sum(axis=-1), 1)
    assert (predicted[:20] == 1).mean() > 0.97  # the sky is above
    assert (predicted[-20:] == 0).mean() > 0.95  # and trees below
    is_a_picture(picture, panels=3)


def test_forest_all_windows(run):
    found, picture = run("forest_all_windows")
    accuracy, importances = found["accuracy"], found["importances"]
    assert accuracy["all windows"] > accuracy["a sample of 5000"] > 0.5
    assert importances.shape == (13, 13)
    assert importances[5:8, 5:8].sum() > 9 / 169  # the middle says more than the rest
    assert (found["predicted"]["all windows"] == found["classes"]).mean() > 0.6
    is_a_picture(picture, panels=6)


def test_patch_pca(run):
    found, picture = run("patch_pca")
    photo, model, psnr = found["photo"], found["model"], found["psnr"]
    assert np.allclose(model.components_ @ model.components_.T, np.eye(54), atol=1e-8)
    assert (
        np.ptp(model.filters_[0]) < 0.1 * model.filters_[0].mean()
    )  # how bright it is comes first
    assert 0.95 < found["explained"] < 0.98
    assert np.allclose(found["whitened_codes"].std(axis=(0, 1)), 1, atol=1e-3)
    assert psnr(found["compressed"]) > 24
    assert psnr(found["noisy"]) == pytest.approx(20.2, abs=0.2)
    assert psnr(found["denoised"]) > psnr(found["noisy"]) + 5
    flat = np.corrcoef(photo[:, 1:].ravel(), photo[:, :-1].ravel())[0, 1]
    whitened = found["whitened"]
    white = np.corrcoef(whitened[:, 1:].ravel(), whitened[:, :-1].ravel())[0, 1]
    assert white < 0.75 * flat  # neighbours have less in common
    is_a_picture(picture, panels=6)


def is_a_picture(picture, panels):
    """Large enough, and none of its panels is blank."""
    height, width = picture.shape[:2]
    assert width > 1000
    rows = panels // 3
    for k in range(panels):
        top, left = height * (k // 3) // rows, width * (k % 3) // 3
        panel = picture[top : top + height // rows, left : left + width // 3, :3]
        assert panel.std() > 0.05

"""A MONAI UNet over a large picture: pantile, MONAI and the model alone, in turns, each in a process of its own.

``python -m benchmarks.network [--size 3000 2000] [--classes 2] [--runs 5]``. Tiles of 256 that overlap by half, MONAI's
importance map, batches of 8, labels. Prints seconds (and how many times those of the model alone), and the peak of
memory beside image, labels and what the model takes for one batch.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main"]

TILE, STEP, BATCH = 256, 128, 8
WAYS = ("model", "pantile", "pantile, 2 calls", "monai")


def network(classes: int) -> Any:
    import torch
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    net = UNet(
        2, 3, classes, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2
    )
    return net.eval()


def run(way: str, size: tuple[int, int], classes: int) -> tuple[float, float, Any]:
    """Seconds, peak bytes beside what there was before, and labels (of the model alone: None)."""
    import torch
    from monai.data.utils import compute_importance_map

    image = np.random.default_rng(0).random((3, *size), dtype=np.float32)
    net = network(classes)
    with torch.inference_mode():
        for _ in range(2):
            net(torch.rand(BATCH, 3, TILE, TILE))
    weights = compute_importance_map((TILE, TILE), mode="gaussian").numpy()
    ways = {
        "model": lambda x: _alone(net, x),
        "pantile": lambda x: _pantile(net, x, weights, 1),
        "pantile, 2 calls": lambda x: _pantile(net, x, weights, 2),
        "monai": lambda x: _monai(net, x),
    }
    ways[way](image[:, :512, :512])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    found = ways[way](image)
    seconds = time.perf_counter() - begin
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1e3
    if isinstance(found, float):
        return found, peak, None
    return seconds, peak - found.nbytes, found


def _alone(net: Any, image: Any) -> float:
    """Seconds in the model, for the same batches."""
    import torch

    import pantile as pt

    grid = pt.PatchGrid(image.shape[1:], TILE, STEP)
    spent = 0.0
    with torch.inference_mode():
        for k in range(0, len(grid), BATCH):
            rows = range(k, min(k + BATCH, len(grid)))
            batch = torch.from_numpy(pt.extract(image, grid, channel_axis=0, indices=list(rows)))
            begin = time.perf_counter()
            net(batch)
            spent += time.perf_counter() - begin
    return spent


def _pantile(net: Any, image: Any, weights: Any, calls: int) -> Any:
    import pantile as pt
    from pantile.integrations.torch import TileModel

    model = TileModel(net, ["cpu"] * calls)
    return pt.map_patches(
        model, image, TILE, STEP, channel_axis=0, batch=BATCH, weights=weights, finalize="argmax"
    )


def _monai(net: Any, image: Any) -> Any:
    import torch
    from monai.inferers import sliding_window_inference

    with torch.inference_mode():
        inputs = torch.from_numpy(image[None])
        scores = sliding_window_inference(inputs, TILE, BATCH, net, overlap=0.5, mode="gaussian")
        return scores.argmax(1)[0].to(torch.uint8).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(3000, 2000))
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--way", help="one of them, here, as JSON")
    parser.add_argument("--labels", type=Path, help="where to put its labels")
    options = parser.parse_args()
    size = tuple(options.size)
    if options.way:
        seconds, peak, labels = run(options.way, size, options.classes)
        if options.labels and labels is not None:
            np.save(options.labels, labels)
        print(json.dumps([seconds, peak]))
        return
    for number in range(options.runs):
        found = {way: _elsewhere(way, options) for way in WAYS}
        base = found["model"][0]
        said = [
            f"{way} {s:.2f} s ({s / base:.2f}) +{p / 1e6:.0f} MB" for way, (s, p) in found.items()
        ]
        print(f"run {number}: {'; '.join(said)}", flush=True)


def _elsewhere(way: str, options: Any) -> list[float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.network", "--way", way]
    command += ["--size", *map(str, options.size), "--classes", str(options.classes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()

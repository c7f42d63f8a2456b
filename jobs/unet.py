"""(a) A torch UNet on tiles, channels first: the class of every pixel."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import nn

import pantile as pt

SIZES = {"small": {"side": 300, "width": 4}, "full": {"side": 2048, "width": 16}}
DATA = "photograph enlarged to 3x{side}x{side}, UNet of width {width}, 8 classes, tiles of 256 every 192"
TILE, STEP, CLASSES = 256, 192, 8


def with_pantile(image, net):
    @torch.inference_mode()
    def scores(tiles):  # (n, 3, 256, 256) in, (n, 8, 256, 256) out
        return net(torch.from_numpy(tiles)).numpy()

    return pt.map_patches(
        scores, image, TILE, STEP, channel_axis=0, weights="hann", workers=1, batch_bytes="3.2 MB",
        finalize=lambda slab: slab.argmax(0).astype(np.uint8),
    )  # fmt: skip


@torch.inference_mode()
def plainly(image, net):
    _, height, width = image.shape
    line = torch.hann_window(TILE + 2, periodic=False)[1:-1]
    taper = line[:, None] * line
    total, weight = torch.zeros(CLASSES, height, width), torch.zeros(height, width)
    places = [(y, x) for y in _starts(height) for x in _starts(width)]
    for k in range(0, len(places), 4):
        tiles = np.stack([image[:, y : y + TILE, x : x + TILE] for y, x in places[k : k + 4]])
        for (y, x), scores in zip(places[k : k + 4], net(torch.from_numpy(tiles)), strict=True):
            total[:, y : y + TILE, x : x + TILE] += scores * taper
            weight[y : y + TILE, x : x + TILE] += taper
    return (total / weight).argmax(0).numpy().astype(np.uint8)


WAYS = {"pantile": with_pantile, "torch": plainly}


def make(_: Path, side: int, width: int):
    photo = load_sample_image("china.jpg")[:400, :400].astype(np.float32) / 255
    at = np.arange(side) * 400 // side
    image = np.ascontiguousarray(np.moveaxis(photo[at][:, at], -1, 0))
    torch.manual_seed(0)
    net = UNet(width).eval()
    with torch.inference_mode():  # in place of training: on the average all classes are as likely
        scores = net(torch.from_numpy(image[None, :, :TILE, :TILE]))
        net.head.bias -= scores.mean(dim=(0, 2, 3))
    return {"image": image, "net": net}


def agree(mine, its) -> str:
    assert mine.shape == its.shape
    assert mine.dtype == its.dtype == np.uint8
    different = np.mean(mine != its)  # float32 sums there, float64 here: ties may fall otherwise
    assert different < 1e-4
    assert len(np.unique(its)) > 2
    return f"{1 - different:.4%} of the labels"


class UNet(nn.Module):
    """Two levels down, two up, with skips; the weights are random, but fixed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(3, width), _block(width, 2 * width)])
        self.bottom = _block(2 * width, 4 * width)
        self.up = nn.ModuleList([_block(6 * width, 2 * width), _block(3 * width, width)])
        self.head = nn.Conv2d(width, CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.down:
            skips.append(x := block(x))
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for block in self.up:
            x = nn.functional.interpolate(x, scale_factor=2)
            x = block(torch.cat([x, skips.pop()], 1))
        return self.head(x)


def _block(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(),
        nn.Conv2d(outside, outside, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def _starts(size: int) -> list[int]:
    return [*range(0, size - TILE, STEP), size - TILE]

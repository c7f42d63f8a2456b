"""Tensors: merging and its gradient beside torch's `fold` and `unfold`, on the CPU, and on a CUDA device where one is.

``python -m benchmarks.tensors [--runs 5] [--cuda]``. Numbers are ratios to what torch takes on the
same patches, in turns, with the number of threads that torch has; above 1, torch is slower.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pantile as pt

CASES = {  # image, patch, step
    "39x39 step 1 of 400x400": ((400, 400), 39, 1),
    "7x7 step 1 of 1024x1024": ((1024, 1024), 7, 1),
    "7x7x7 step 1 of 64x64x64": ((64, 64, 64), 7, 1),
    "32x32x32 step 16 of 160x160x160": ((160, 160, 160), 32, 16),
}


def unfolded(image: Any, patch: int, step: int) -> Any:
    """All windows with torch's own view; copied, as its users have them."""
    for k in range(image.ndim):
        image = image.unfold(k, patch, step)
    return image


def fold(torch: Any, patches: Any, shape: tuple[int, ...], patch: int, step: int) -> Any:
    """The sum of the patches ``(*counts, *patch)`` as a user of torch adds them.

    In two dimensions `fold`, of columns ``(features, n)``; in three, `fold` over the last two axes, and then over
    the first and all the others as one.
    """
    run = torch.nn.functional.fold
    if len(shape) == 2:
        return run(patches, shape, patch, stride=step)[0, 0]
    n = patches.shape[0]
    planes = run(patches.reshape(n * patch, patch**2, -1), shape[1:], patch, stride=step)
    lines = planes.reshape(n, patch, -1).permute(2, 1, 0)  # (elements, patch, n)
    out = run(lines, (shape[0], 1), (patch, 1), stride=(step, 1))
    return out.reshape(shape[1], shape[2], shape[0]).permute(2, 0, 1)


def seconds(work: Callable[[], Any], sync: Callable[[], None]) -> float:
    sync()
    begin = time.perf_counter()
    work()
    sync()
    return time.perf_counter() - begin


def compare(torch: Any, name: str, device: str, runs: int) -> None:
    shape, patch, step = CASES[name]
    grid = pt.PatchGrid(shape, patch, step)
    image = torch.rand(shape, device=device)
    views = unfolded(image, patch, step)
    ndim = len(shape)
    mine = {
        "patch layout": pt.extract(image, grid).requires_grad_(),
        "feature layout": pt.extract(image, grid, layout="feature").requires_grad_(),
    }
    same = mine["patch layout"].detach().reshape(*grid.counts, *grid.patch)
    mine["on the grid"] = same.requires_grad_()
    if ndim == 2:  # columns, as fold takes them
        theirs = mine["feature layout"].detach().reshape(1, len(grid), -1).mT.contiguous()
    else:  # (n0, p0, p1, p2, n1, n2)
        theirs = views.permute(0, 3, 4, 5, 1, 2).contiguous()
    theirs.requires_grad_()
    gradient = torch.rand(shape, device=device)
    sync = torch.cuda.synchronize if device != "cpu" else (lambda: None)
    found: dict[str, list[float]] = {}

    def note(label: str, work: Callable[[], Any]) -> None:
        found.setdefault(label, []).append(seconds(work, sync))

    def run_all() -> None:
        out = fold(torch, theirs, shape, patch, step)
        note("torch forward", lambda: fold(torch, theirs.detach(), shape, patch, step))
        note("torch backward", lambda: torch.autograd.grad(out, theirs, gradient))
        for layout, patches in mine.items():
            image = pt.unpatchify(patches, grid, merge="sum")
            note(
                f"{layout} forward", lambda p=patches: pt.unpatchify(p.detach(), grid, merge="sum")
            )
            note(
                f"{layout} backward",
                lambda p=patches, i=image: torch.autograd.grad(i, p, gradient, retain_graph=True),
            )
            note(
                f"{layout} backward, copied",
                lambda p=patches, i=image: torch.autograd.grad(i, p, gradient, retain_graph=True)[
                    0
                ].contiguous(),
            )
        note("extract, feature layout", lambda: pt.extract(gradient, grid, layout="feature"))
        note("extract", lambda: pt.extract(gradient, grid))
        if ndim == 2:
            one = gradient[None, None]
            note("torch unfold", lambda: torch.nn.functional.unfold(one, patch, stride=step))
        else:
            note(
                "torch Tensor.unfold, copied",
                lambda: unfolded(gradient, patch, step).contiguous(),
            )
        note("copy of the patches", lambda: theirs.detach().clone())

    for _ in range(runs + 1):
        run_all()
    print(f"\n{name}, {device}, {len(grid):,} patches, {theirs.nbytes / 1e6:,.0f} MB")
    for label, times in found.items():
        side = "forward" if "forward" in label else "backward" if "backward" in label else None
        ratio = ""
        if side and not label.startswith("torch"):
            each = zip(found[f"torch {side}"][1:], times[1:], strict=True)
            ratios = sorted(t / m for t, m in each)
            ratio = f"  torch takes {statistics.median(ratios):.3g} times as long ({ratios[0]:.3g} to {ratios[-1]:.3g})"
        print(f"  {label:34s} {statistics.median(times[1:]) * 1e3:10.3f} ms{ratio}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--cuda", action="store_true", help="only on a CUDA device")
    options = parser.parse_args(arguments)
    try:
        import torch
    except ImportError:
        print("skipped: torch is not installed")
        return 0
    devices = ([] if options.cuda else ["cpu"]) + ["cuda"] * torch.cuda.is_available()
    if not torch.cuda.is_available():
        print("skipped on CUDA: no device here")
    for device in devices:
        for name in options.cases:
            compare(torch, name, device, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())

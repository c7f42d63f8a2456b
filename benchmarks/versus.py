"""Time two source trees against each other: ``python -m benchmarks.versus --old PATH [--quick]``.

Two processes, one for each tree, take turns at every case of `benchmarks.timed`: one sample each, and
who goes first changes from round to round, so that a machine that is busy for a while slows both. A
case is slower where both its medians and its best times say so by more than ``--allow``; such cases are
timed again at the end, for noise does not come twice in the same place. PATH is another checkout, or
the Python of an environment with another version.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.bits.trees import HOME, Tree
from benchmarks.report import digits, duration, print_table

__all__ = ["Race", "main", "race"]

WORKER = "benchmarks.clock"
HEAD = ("new / old", "of the best", "round by round", "old", "new", "case")


@dataclass
class Race:
    """One case under both trees: seconds a call, round by round."""

    name: str
    old: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    trouble: str = ""

    @property
    def ratio(self) -> float:
        """The median time of the new tree over that of the old one."""
        return median(self.new) / median(self.old) if self.old and self.new else float("inf")

    @property
    def best(self) -> float:
        return min(self.new) / min(self.old) if self.old and self.new else float("inf")

    def slower(self, allow: float) -> bool:
        """Whether the new tree is slower by more than a share, whichever way it is looked at."""
        return bool(self.trouble) or min(self.ratio, self.best) > 1 + allow

    def cells(self) -> tuple[str, ...]:
        if self.trouble:
            return ("", "", "", "", "", f"{self.name}: {self.trouble}")
        rounds = sorted(new / old for old, new in zip(self.old, self.new, strict=True))
        spread = f"{rounds[0]:.2f} to {rounds[-1]:.2f}"
        times = duration(median(self.old)), duration(median(self.new))
        return (f"{self.ratio:.3f}", f"{self.best:.3f}", spread, *times, self.name)


def race(
    trees: tuple[Tree, Tree],
    name: str,
    rounds: int,
    sample: float,
    begin: int = 0,
    clock: str = "wall",
) -> Race:
    """Time a case under both trees in turns, samples of about so many seconds."""
    found = Race(name)
    first = [
        _ask(tree, f"1 {name}", found, "wall") for tree in trees
    ]  # compiles, and is not counted
    second = [_ask(tree, f"1 {name}", found, "wall") for tree in trees]
    if found.trouble:
        return found
    loops = max(1, round(sample / max(1e-7, min(*first, *second))))
    for turn in range(rounds):
        order = (0, 1) if (turn + begin) % 2 == 0 else (1, 0)
        for k in order:
            seconds = _ask(trees[k], f"{loops} {name}", found, clock)
            (found.old, found.new)[k].append(max(seconds, 1e-9))
    return found


def _ask(tree: Tree, line: str, found: Race, clock: str) -> float:
    answer: dict[str, Any] = tree.ask(line)
    if "died" in answer:
        found.trouble = f"{tree.place}: {answer['died']}"
    return float(answer.get(clock, 0.0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print the worst first, and return 1 if a case is slower."""
    options = _parse(arguments)
    trees = Tree(options.old, WORKER, patience=600), Tree(options.new, WORKER, patience=600)
    start = time.monotonic()
    try:
        names = _names(trees, options)
        rounds, sample = options.rounds, options.sample / 1000
        clock = "cpu" if options.cpu else "wall"
        found: dict[str, Race] = {}
        for k, name in enumerate(names):
            found[name] = race(trees, name, rounds, sample, k, clock)
            print(
                f"{k + 1}/{len(names)} {' '.join(found[name].cells())}", file=sys.stderr, flush=True
            )
        for k, name in enumerate([n for n, each in found.items() if each.slower(options.allow)]):
            again = race(trees, name, rounds, sample, k + 1, clock)
            found[name] = min(found[name], again, key=lambda each: min(each.ratio, each.best))
    finally:
        for tree in trees:
            tree.close()
    _print(list(found.values()), options, trees, time.monotonic() - start)
    return int(any(each.slower(options.allow) for each in found.values()))


def _names(trees: tuple[Tree, Tree], options: Namespace) -> list[str]:
    asked = "quick names" if options.quick else "names"
    old, new = (tree.ask(asked) for tree in trees)
    for tree, answer in zip(trees, (old, new), strict=True):
        if "died" in answer:
            raise SystemExit(f"{tree.place}: {answer['died']}")
    return [name for name in old["names"] if name in new["names"] and options.only in name]


def _print(found: list[Race], options: Namespace, trees: tuple[Tree, Tree], seconds: float) -> None:
    worst = sorted(found, key=lambda each: -each.ratio)
    shown = worst if options.all else [*worst[:25], *worst[-5:]] if len(worst) > 30 else worst
    print_table(f"old {trees[0].told}\nnew {trees[1].told}", HEAD, [each.cells() for each in shown])
    for what, start in (("small calls", "small:"), ("all", "")):
        ratios = [each.ratio for each in found if each.name.startswith(start) and not each.trouble]
        if ratios:
            print(
                f"{what}: {len(ratios)} cases, median ratio {median(ratios):.3f},"
                f" from {min(ratios):.3f} to {max(ratios):.3f}"
            )
    slower = [each for each in found if each.slower(options.allow)]
    print(
        f"{len(slower)} cases slower by more than {digits(100 * options.allow)} %, twice; {seconds:.0f} s"
    )


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks.versus", description=__doc__)
    parser.add_argument(
        "--old", required=True, metavar="PATH", help="a checkout, or a Python executable"
    )
    parser.add_argument("--new", default=str(HOME), metavar="PATH", help="this checkout")
    parser.add_argument("--quick", action="store_true", help="fewer cases: under 4 minutes")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="cases whose name has it")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument(
        "--sample", type=float, default=30.0, metavar="MS", help="a sample lasts about so long"
    )
    parser.add_argument(
        "--allow", type=float, default=0.05, metavar="SHARE", help="slower by more is too slow"
    )
    parser.add_argument("--cpu", action="store_true",
                        help="processor time, of all threads: for a machine on which others work")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="print every case")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

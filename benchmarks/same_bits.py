"""Hold two source trees to the same bits: ``python -m benchmarks.same_bits --old PATH [--cases 3000]``.

The same random calls of everything public are made under both, each tree in a process of its own, and
the bytes of what they give are compared, with dtypes, shapes, files and types of exceptions; see
`benchmarks.bits`. PATH is another checkout (or its ``src``), or the Python of an environment in which
another version is installed. What differs is printed as a command that shows it again.
"""

from __future__ import annotations

import pickle
import random
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bits.digest import Plain, summary
from benchmarks.bits.trees import HOME, Answer, Tree
from benchmarks.report import print_table

__all__ = ["WEIGHTS", "Comparison", "codes", "compare", "main"]

WEIGHTS = {
    "map": 160, "unpatchify": 120, "extract": 90, "files": 90, "matrix": 90, "grid": 80, "merger": 70,
    "resume": 50, "compat": 40, "patchify": 40, "dask": 40, "mistakes": 40, "custom": 20, "images": 20,
    "dask-matrix": 15, "threads": 15, "large": 15, "tileset": 15, "masked": 12, "rows": 10, "learn": 25,
    "distributed": 8, "processes": 4,
}  # fmt: skip
"""How often each family is drawn."""

AHEAD = 40  # cases that one tree may be ahead of the other
WORKER = "benchmarks.bits.worker"


def codes(seed: int, only: Sequence[str] = ()) -> Iterator[str]:
    """Cases without end, ``FAMILY:SEED:NUMBER``."""
    families = [name for name in WEIGHTS if not only or name in only]
    rng = random.Random(seed)
    number = 0
    while True:
        (family,) = rng.choices(families, [WEIGHTS[name] for name in families])
        yield f"{family}:{seed}:{number}"
        number += 1


@dataclass
class Comparison:
    """What was compared so far, and what differs."""

    cases: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    differences: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def add(self, code: str, old: Answer, new: Answer) -> None:
        family = code.partition(":")[0]
        self.cases[family] += 1
        for k, answer in enumerate((old, new)):
            self.seconds[family][k] += answer.get("seconds", 0.0)
        if "died" in old or "died" in new:
            ends = (answer.get("died", "works") for answer in (old, new))
            self.differences.append((code, "old: {}; new: {}".format(*ends)))
            return
        self.steps[family] += len(new["steps"])
        self.raised[family] += sum(each[1].startswith("raises") for each in new["steps"].values())
        for name in [*old["steps"], *(name for name in new["steps"] if name not in old["steps"])]:
            self._step(code, name, old["steps"].get(name), new["steps"].get(name))

    def _step(self, code: str, name: str, old: list[str] | None, new: list[str] | None) -> None:
        if old is None or new is None or old[0] != new[0]:
            said = (
                ("not there" if each is None else f"{each[1]} {each[2]:.100}").strip()
                for each in (old, new)
            )
            self.differences.append((code, "{}: {}, was {}".format(name, *reversed(list(said)))))
        elif old[2] != new[2]:
            self.messages.append(f"{code} {name}: {new[2]!r:.150}, was {old[2]!r:.150}")

    @property
    def codes_that_differ(self) -> list[str]:
        return list(dict.fromkeys(code for code, _ in self.differences))


def compare(
    trees: tuple[Tree, Tree], cases: Iterator[str], count: int, seconds: float | None = None
) -> Comparison:
    """Make so many cases under both trees (or as many as there is time for) and compare what they give."""
    race = _Race(cases, count, time.monotonic() + seconds if seconds else None)
    threads = [threading.Thread(target=race.run, args=(k, tree)) for k, tree in enumerate(trees)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if race.error is not None:
        raise race.error
    return race.found


class _Race:
    """Two trees at the same list of cases, neither far ahead of the other."""

    def __init__(self, cases: Iterator[str], count: int, deadline: float | None) -> None:
        self.cases, self.count, self.deadline = cases, count, deadline
        self.drawn: list[str] = []
        self.answers: tuple[dict[int, Answer], dict[int, Answer]] = ({}, {})
        self.at = [0, 0]
        self.found = Comparison()
        self.error: BaseException | None = None
        self.turn = threading.Condition()

    def run(self, k: int, tree: Tree) -> None:
        try:
            while (code := self._next(k)) is not None:
                self._keep(k, code, tree.ask(code))
        except BaseException as error:
            with self.turn:
                self.error = self.error or error
                self.turn.notify_all()

    def _next(self, k: int) -> str | None:
        with self.turn:
            self.turn.wait_for(lambda: self.error or self.at[k] < self.at[1 - k] + AHEAD)
            if self.deadline and time.monotonic() > self.deadline:
                self.count = min(self.count, max(self.at))  # the other one catches up
            if self.error or self.at[k] >= self.count:
                return None
            if self.at[k] == len(self.drawn):
                self.drawn.append(next(self.cases))
            return self.drawn[self.at[k]]

    def _keep(self, k: int, code: str, answer: Answer) -> None:
        with self.turn:
            number = self.at[k]
            self.at[k] += 1
            other = self.answers[1 - k].pop(number, None)
            if other is None:
                self.answers[k][number] = answer
            else:
                self.found.add(code, *((answer, other) if k == 0 else (other, answer)))
            self.turn.notify_all()


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print what was compared, and return 1 if anything differs."""
    options = _parse(arguments)
    trees = Tree(options.old, WORKER), Tree(options.new, WORKER)
    start = time.monotonic()
    try:
        if options.only.count(":") == 2:
            return _show(trees, options.only)
        names = [name for name in options.only.split(",") if name]
        unknown = sorted(set(names) - set(WEIGHTS))
        if unknown:
            raise SystemExit(f"--only: no family {unknown[0]!r}; there are {', '.join(WEIGHTS)}")
        limit = 60 * options.minutes if options.minutes else None
        found = compare(trees, codes(options.seed, names), options.cases, limit)
    finally:
        for tree in trees:
            tree.close()
    _print(found, options, trees, time.monotonic() - start)
    return int(bool(found.differences))


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks.same_bits", description=__doc__)
    parser.add_argument(
        "--old", required=True, metavar="PATH", help="a checkout, or a Python executable"
    )
    parser.add_argument("--new", default=str(HOME), metavar="PATH", help="this checkout")
    parser.add_argument("--cases", type=int, default=3000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="stop then, whatever --cases says"
    )
    parser.add_argument("--only", default="", metavar="WHAT",
                        help="families, with commas; or one FAMILY:SEED:NUMBER, shown step by step")  # fmt: skip
    return parser.parse_args(arguments)


def _print(found: Comparison, options: Namespace, trees: tuple[Tree, Tree], seconds: float) -> None:
    rows = []
    differing = Counter(code.partition(":")[0] for code in found.codes_that_differ)
    for family, n in found.cases.most_common():
        old, new = found.seconds[family]
        rows.append((family, str(n), str(found.steps[family]), str(found.raised[family]),
                     f"{old:.1f} s", f"{new:.1f} s", str(differing[family] or "-")))  # fmt: skip
    head = ("family", "cases", "results", "of them raised", "old", "new", "cases that differ")
    print_table(f"old {trees[0].told}\nnew {trees[1].told}", head, rows)
    for code, what in found.differences[:40]:
        print(f"\n{what}\n    python -m benchmarks.same_bits --old {options.old} --only {code}")
    for message in found.messages[:5]:
        print(f"\nanother message: {message}")
    total = found.cases.total()
    print(
        f"\n{total} cases, {found.steps.total()} results compared, {len(found.codes_that_differ)} cases differ,"
        f" {len(found.messages)} messages differ; {seconds:.0f} s, {total / seconds:.1f} cases a second"
    )


def _show(trees: tuple[Tree, Tree], code: str) -> int:
    """Print each step of one case under both trees; return 1 if one differs."""
    values: list[dict[str, Plain]] = []
    with tempfile.TemporaryDirectory() as folder:
        for k, tree in enumerate(trees):
            path = Path(folder, str(k))
            answer = tree.ask(f"{code} {path}")
            if "died" in answer:
                raise SystemExit(f"{tree.place}: {answer['died']}")
            values.append(pickle.loads(path.read_bytes()))
            values[-1] |= {f"{n} says": each[2] for n, each in answer["steps"].items() if each[2]}
    old, new = values
    unlike = 0
    for name in dict.fromkeys([*old, *new]):
        same = _equal(old.get(name), new.get(name))
        unlike += not same
        print(f"{'      ' if same else 'DIFFERS'} {name}: {summary(new.get(name))}")
        if not same:
            print(f"        was {summary(old.get(name))}{_how(old.get(name), new.get(name))}")
    return int(unlike > 0)


def _equal(old: Plain, new: Plain) -> bool:
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(_equal, old, new))
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        return old.shape == new.shape and old.tobytes() == new.tobytes()
    return type(old) is type(new) and bool(old == new)


def _how(old: Plain, new: Plain) -> str:
    """Where two arrays of one shape differ, and by how much."""
    for mine, theirs in _arrays(old, new):
        if (
            mine.shape != theirs.shape
            or mine.dtype != theirs.dtype
            or mine.tobytes() == theirs.tobytes()
        ):
            continue
        places = np.argwhere(~((mine == theirs) | ((mine != mine) & (theirs != theirs))))
        if not len(places) or mine.dtype.kind not in "biufc":
            return "; other bits of equal values"
        kind = np.complex128 if mine.dtype.kind == "c" else np.float64
        most = np.nanmax(np.abs(mine.astype(kind) - theirs.astype(kind)), initial=0.0)
        return f"; {len(places)} of {mine.size} elements, first {tuple(places[0].tolist())}, by up to {most:.3g}"
    return ""


def _arrays(old: Plain, new: Plain) -> Iterator[tuple[Any, Any]]:
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        yield old, new
    elif isinstance(old, tuple) and isinstance(new, tuple):
        for mine, theirs in zip(old, new, strict=False):
            yield from _arrays(mine, theirs)


if __name__ == "__main__":
    sys.exit(main())

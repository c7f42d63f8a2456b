"""One process that makes cases under one source tree: a line in is a case, a line out what it gave."""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np

import pantile as pt

from . import faces, matrices, stored, verbs
from .digest import Record, digest, summary
from .draw import Draw

__all__ = ["FAMILIES", "made", "main", "order_sums"]

FAMILIES: Mapping[str, Callable[[Draw, Record], None]] = {
    "grid": verbs.grids,
    "patchify": verbs.patchify,
    "extract": verbs.extract,
    "unpatchify": verbs.unpatchify,
    "merger": verbs.merger,
    "custom": verbs.custom,
    "map": verbs.map_,
    "large": verbs.large,
    "masked": verbs.masked,
    "mistakes": verbs.mistakes,
    "matrix": matrices.matrix,
    "images": matrices.images,
    "dask-matrix": matrices.lazy_matrix,
    "dask": stored.lazy,
    "files": stored.files,
    "resume": stored.resume,
    "threads": stored.pools,
    "processes": stored.processes,
    "distributed": stored.distributed,
    "tileset": stored.tileset,
    "compat": faces.compat,
    "rows": faces.rows,
    "learn": faces.learn,
}


def made(code: str) -> Record:
    """The steps of a case, ``FAMILY:SEED:NUMBER``; what cannot be drawn is a step as well."""
    family, seed, number = code.split(":")
    rng = np.random.default_rng([int(seed), int(number), zlib.crc32(family.encode())])
    with tempfile.TemporaryDirectory(prefix="bits-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = Record(Path(folder))
        with np.errstate(all="ignore"):
            try:
                FAMILIES[family](Draw(rng), record)
            except Exception as error:
                record("drawn", lambda error=error: _raised(error))
    return record


def _raised(error: Exception) -> None:
    raise error


def order_sums() -> None:
    """Have numba add in the order that is written, in this process and what it starts a cache for.

    With ``fastmath`` LLVM orders sums as it likes, and that is not the same every time one and the same
    function is compiled: it depends on what was compiled before.
    """
    for name in ("jit", "njit"):
        setattr(numba, name, _strict(getattr(numba, name)))


def _strict(decorate: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: decorate(*args, **{**options, "fastmath": False})


def main() -> int:
    """Answer each line of standard input, ``CODE`` or ``CODE PATH`` (to keep the values there)."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything prints is not an answer
    faulthandler.enable()
    order_sums()
    print(json.dumps({"pantile": os.path.dirname(pt.__file__)}), file=answers, flush=True)
    for line in sys.stdin:
        code, _, path = line.strip().partition(" ")
        start = time.perf_counter()
        record = made(code)
        if path:
            Path(path).write_bytes(pickle.dumps(record.found))
        steps = {
            name: [digest(each), summary(each), record.messages.get(name, "")]
            for name, each in record.found.items()
        }
        answer: dict[str, Any] = {
            "code": code,
            "seconds": time.perf_counter() - start,
            "steps": steps,
        }
        print(json.dumps(answer), file=answers, flush=True)
    answers.close()
    os._exit(0)  # clusters and pools need no farewell


if __name__ == "__main__":
    sys.exit(main())

"""Arguments that make no sense, or hardly any: what is refused must be refused in words."""

from __future__ import annotations

import linecache
import traceback
import warnings
from typing import Any

import numpy as np
from hypothesis import strategies as st

import pantile as pt

__all__ = ["CALLS", "STRANGE", "calls", "check_hostile"]

DOCUMENTED = (ValueError, TypeError, IndexError, OverflowError, MemoryError, FileNotFoundError)

# what may be given for any argument, as Python source
STRANGE = (
    *("None", "True", "False", "0", "1", "-1", "2", "3", "-3", "7", "1.0", "1.5", "-0.0", "1j"),
    *("float('nan')", "float('inf')", "'x'", "''", "b'x'", "()", "[]", "{}", "set()", "range(2)"),
    *("[[]]", "[[1], [2]]", "[1, 2]", "(1, 2)", "(2, 2)", "(0, 1)", "(-1, -2)", "[1, 2, 3]"),
    *("[None, None]", "['a', 'b']", "(2.0, 2.0)", "[[1, 2], [3, 4]]", "...", "slice(None)"),
    *("object()", "type", "len", "np.int8(2)", "np.uint64(2)", "np.float64(2)", "np.bool_(1)"),
    *("np.array(2)", "np.array([2, 2])", "np.array([2., 2.])", "np.array(['a', 'b'])"),
    *("np.zeros(0)", "np.zeros((0, 3))", "np.zeros((2, 0, 2))", "np.zeros((4, 5), object)"),
    *(
        "np.zeros((4, 5), bool)",
        "np.ones((4, 5), bool)",
        "np.ones((3, 4), bool)",
        "np.ones((2, 2))",
    ),
    *("np.full((2, 2), np.nan)", "np.arange(20.)[::-1]", "np.arange(20.).reshape(4, 5).T"),
    *("np.array([[1, None]], object)", "np.zeros((4, 5), 'M8[s]')", "np.zeros((4, 5), 'S3')"),
    *("np.zeros((4, 5), [('a', 'f4'), ('b', 'u1')])", "np.zeros((4, 5), np.longdouble)"),
    *("np.ma.masked_equal(np.arange(20.).reshape(4, 5), 3)", "np.matrix('1 2; 3 4')"),
    *("pt.PatchGrid((4, 5), 2)", "pt.PatchGrid(4, 2)", "pt.PatchGrid((4, 5), 2, pad='same')"),
    *(
        "np.zeros((12, 2, 2))",
        "np.zeros((3, 4, 2, 2))",
        "np.zeros((12, 4))",
        "np.zeros((12, 2, 2), 'c8')",
    ),
    *("'mean'", "'median'", "'vote'", "'hann'", "'trim'", "'same'", "'wrap'", "'pad'", "'feature'"),
    *(
        "('kaiser', 14.0)",
        "('kaiser',)",
        "'float7'",
        "'f2'",
        "'u1'",
        "'O'",
        "'S3'",
        "int",
        "complex",
    ),
)
# what only goes where nothing of that size is made
# messages of Python and NumPy that say well enough what is wrong
CLEAR = (
    "No such file or directory",
    "required positional argument",
    "truth value",  # bool(array)
)
BIG = ("10**9", "-10**9", "2**31", "2**63", "10**30", "(10**9, 1)", "[2**62]")
SPARSE = ("step", "indices", "axes", "channel_axis", "element", "index", "rows")

IMAGE = "np.arange(20.).reshape(4, 5)"
CALLS: dict[str, dict[str, str]] = {
    "pt.PatchGrid": {
        "shape": "(4, 5)", "patch": "2", "step": "1", "dilation": "1", "tail": "'shift'", "pad": "0",
        "pad_mode": "'constant'", "pad_value": "0",
    },
    "pt.PatchGrid((4, 5), 2).__getitem__": {"index": "3"},
    "pt.PatchGrid((4, 5), 2).locate": {"element": "(1, 2)"},
    "pt.PatchGrid((4, 5), 2).centers": {"array": IMAGE},
    "pt.PatchGrid((4, 5), 2).flat_indices": {"rows": "[0, 3]"},
    "pt.PatchGrid((4, 5), 2).nbytes": {"dtype": "'f4'"},
    "pt.PatchGrid.from_overlap": {"shape": "(4, 5)", "patch": "2", "overlap": "1"},
    "pt.patchify": {"image": IMAGE, "patch": "(2, 2)", "step": "1", "dilation": "1", "axes": "None"},
    "pt.extract": {
        "image": IMAGE, "patch": "(2, 2)", "step": "1", "axes": "None", "channel_axis": "None",
        "indices": "None", "layout": "'patch'", "out": "None",
    },
    "pt.unpatchify": {
        "patches": "np.arange(48.).reshape(12, 2, 2)", "shape": "(4, 5)", "step": "1", "axes": "None",
        "channel_axis": "None", "merge": "'mean'", "weights": "None", "patch_weights": "None",
        "fill": "None", "dtype": "None", "out": "None",
    },
    "pt.similar": {
        "image": IMAGE, "patch": "(2, 2)", "k": "2", "step": "1", "radius": "2", "other": "None",
        "exclude": "None", "normalize": "False", "where": "None", "among": "None",
        "channel_axis": "None", "axes": "None", "hours": "24",
    },
    "pt.Merger": {
        "grid": "pt.PatchGrid((4, 5), 2)", "merge": "'mean'", "weights": "None", "axes": "None",
        "channel_axis": "None", "fill": "None", "dtype": "None",
    },
    "pt.Merger(pt.PatchGrid((4, 5), 2)).add": {
        "patches": "np.ones((2, 2, 2))", "indices": "[0, 1]", "patch_weights": "None",
    },
    "pt.map_patches": {
        "func": "lambda b: b", "image": IMAGE, "patch": "(2, 2)", "step": "1", "axes": "None",
        "channel_axis": "None", "merge": "'mean'", "weights": "None", "where": "None",
        "finalize": "None", "out": "None", "dtype": "None", "fill": "None", "layout": "None",
        "batch_bytes": "None", "memory": "None", "executor": "None", "progress": "None", "scale": "1",
    },
    "pt.PatchMatrix": {
        "image": IMAGE, "patch": "(2, 2)", "step": "1", "axes": "None", "channel_axis": "None",
        "where": "None", "center": "False", "scale": "False",
    },
    f"pt.PatchMatrix({IMAGE}, 2).__getitem__": {"key": "0"},
    f"pt.PatchMatrix({IMAGE}, 2).__matmul__": {"right": "np.ones(4)"},
    f"pt.PatchMatrix({IMAGE}, 2).T.__matmul__": {"right": "np.ones(12)"},
    f"pt.PatchMatrix({IMAGE}, 2).sample": {"n": "3"},
    f"pt.PatchMatrix({IMAGE}, 2).sum": {"axis": "0"},
    f"pt.PatchMatrix({IMAGE}, 2).cov": {"ddof": "1"},
    f"pt.PatchMatrix({IMAGE}, 2).explain": {"columns": "1"},
    "pt.masked_patchify": {"image": IMAGE, "patch": "2"},
}  # fmt: skip

# functions that func may be: what they return is the caller's mistake
FUNCS = (
    *(
        "lambda b: None",
        "lambda b: 1",
        "lambda b: b[:-1]",
        "lambda b: b.sum()",
        "lambda b: b[..., :0]",
    ),
    *(
        "lambda b: (b, b)",
        "lambda b: ()",
        "lambda b: [b]",
        "lambda b: b.astype('O')",
        "lambda b: b > 1",
    ),
    *(
        "lambda b: b.astype('S3')",
        "lambda b: b[0]",
        "lambda b: b.T",
        "lambda b: b * 1j",
        "lambda b: 'x'",
    ),
    *(
        "lambda b: b.reshape(len(b), -1)",
        "lambda b: b[:, None]",
        "lambda b: (b, None)",
        "lambda: 1",
    ),
    *(
        "lambda b: np.broadcast_to(b[:1], b.shape)",
        "lambda b: b.tolist()",
        "lambda b: b.newbyteorder()",
    ),
)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """A call that makes sense, but for one to three of its arguments."""
    verb = draw(st.sampled_from(sorted(CALLS)))
    arguments = dict(CALLS[verb])
    names = draw(st.lists(st.sampled_from(sorted(arguments)), min_size=1, max_size=3, unique=True))
    for name in names:
        extra = (BIG if name in SPARSE else ()) + (FUNCS if name in ("func", "finalize") else ())
        arguments[name] = draw(st.sampled_from(STRANGE + extra))
    return {
        "verb": verb,
        "arguments": {
            n: a for n, a in arguments.items() if a != CALLS[verb][n] or not _optional(verb, n)
        },
    }


def _optional(verb: str, name: str) -> bool:
    return list(CALLS[verb]).index(name) > 1 and verb != "pt.Merger"


def check_hostile(verb: str, arguments: dict[str, str]) -> None:
    """A call works or is refused by a documented exception that pantile itself raises, in words."""
    names = {"np": np, "pt": pt}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy.matrix warns when it is made
        given = {name: eval(text, names) for name, text in arguments.items()}
    call = eval(verb, names)
    leak = ""
    try:
        with np.errstate(all="ignore"):
            call(*given.values()) if call.__name__.startswith("__") else call(**given)
    except DOCUMENTED as error:
        leak = _leak(error)
    assert not leak, leak


def _leak(error: Exception) -> str:
    """Why an exception was not raised on purpose, in words; empty if it was."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    said = f"{type(error).__name__}: {error!s:.200}"
    if len(str(error)) < 12:
        return f"{said} says too little"
    if "pantile" in last.filename and line.startswith("raise "):
        return ""
    # numpy.dtype has a message of its own for everything that is no dtype
    clear = "np.dtype(" in line or any(words in str(error) for words in CLEAR)
    return "" if clear else f"{said} was raised by {line!r} in {last.name}, {last.filename[-40:]}"

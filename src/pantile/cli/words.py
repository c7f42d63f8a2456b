"""Errors of the library in the words of the command line: ``step=4`` is ``--step 4`` there."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["speak_in_options", "spell_parameters"]

_VALUE = r"'[^']*'|\"[^\"]*\"|\([^()]*\)|[^\s,:;()'\"]+"
_ARGUMENT = re.compile(rf"(?<![\w./=-])([a-z][a-z_]*)=({_VALUE})?")
_NAME = re.compile(r"(?<![\w./=-])([a-z]+_[a-z_]+)(?![\w./=-])")  # no English word
_SUBJECT = re.compile(r"^([a-z]+)(?= (?:must|has|spans|cannot)\b)")
_LISTS = {"axes": ",", "weights": ","}  # others are shapes: 3x4
_ELSEWHERE = ", or give out= a path or an array on disk"
# Advice on arguments that the command line has not, and what has other words there.
_PHRASES = (
    (re.compile(r", or set scale="), ""),
    (re.compile(r" and patch_weights="), ""),
    (re.compile(r" or a pantile\.Merge"), " or none"),
    (re.compile(r"\bwith resume=False\b|\bwithout resume\b"), "without --resume"),
    (re.compile(r"\bcall with the same arguments\b"), "give the same arguments"),
    (re.compile(r"\bthe same call with\b"), "the same command with"),
    (re.compile(r", give \('kaiser', 14\.0\), one array per axis, .*shape"), " or kaiser,14"),
)


def spell_parameters(commands: Iterable[Any], current: Any = None) -> dict[str, str]:
    """What each parameter of the commands is called in a shell: ``--step`` for ``step``, the metavar of an argument.

    Where commands differ, ``current`` decides.
    """
    found: dict[str, str] = {}
    for command in (*commands, *([] if current is None else [current])):
        for each in command.params:
            option = next((name for name in each.opts if name.startswith("--")), None)
            found[each.name] = option or (each.metavar or each.name.upper()).rpartition("|")[2]
    return found


def speak_in_options(
    message: str, names: Mapping[str, str], typed_words: Sequence[str] = ()
) -> str:
    """``message`` with Python's arguments written as options; what the user typed is left as it is.

    >>> names = {"merge": "--merge", "step": "--step", "pad": "--pad"}
    >>> speak_in_options("merge=None takes no step=, give pad=(1, 2)", names)
    '--merge none takes no --step, give --pad 1x2'
    """
    typed = {text for each in typed_words if "=" in each for text in (each, os.path.abspath(each))}
    kept = sorted({os.path.realpath(text) for text in typed} | typed, key=len, reverse=True)
    if not kept:
        return _translate(message, names)
    parts = re.split("(" + "|".join(map(re.escape, kept)) + ")", message)
    return "".join(
        part if place % 2 else _translate(part, names) for place, part in enumerate(parts)
    )


def _translate(text: str, names: Mapping[str, str]) -> str:
    """``text``, nothing of which the user typed, with its arguments written as options."""
    if not names.get("out", "").startswith("--"):
        text = text.removesuffix(_ELSEWHERE)  # it goes to a path anyway
    for pattern, words in _PHRASES:
        text = pattern.sub(words, text)
    text = _ARGUMENT.sub(lambda found: _as_option(found, names), text)
    for bare in (_NAME, _SUBJECT):
        text = bare.sub(lambda found: names.get(found[1], found[1]), text)
    return text


def _as_option(found: re.Match[str], names: Mapping[str, str]) -> str:
    """``--name value`` for a match of ``name=value``; the match itself where no option has that name."""
    name, value = names.get(found[1]), found[2]
    if name is None:
        return found[0]
    if value is None or value == "True":
        return name
    return f"{name} {_as_typed(value, _LISTS.get(found[1], 'x'))}"


def _as_typed(text: str, between: str) -> str:
    """A value as it is typed in a shell: without the quotes and brackets of Python."""
    if text == "None":
        return "none"
    if text.startswith("("):
        return between.join(part.strip(" '\"") for part in text[1:-1].split(",") if part.strip())
    return text.strip("'\"")

"""Errors of the user as one line on stderr and exit code 2, without a traceback."""

import concurrent.futures
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperGroup

import pantile
from pantile.cli.extras import describe_missing
from pantile.cli.words import speak_in_options, spell_parameters

__all__ = ["OneLineErrors"]

# Newer typer brings its own copy of click, older typer imports click: in both the base of
# BadParameter is the usage error, which options that do not exist are as well.
USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])
BAD_INPUT = (ValueError, TypeError, IndexError, ArithmeticError, MemoryError, OSError, ImportError)
# What stands between the command line and the user's function.
OURS = tuple(
    os.path.dirname(os.path.abspath(str(module.__file__))) + os.sep
    for module in (pantile, typer, concurrent.futures)
)
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE


class OneLineErrors(TyperGroup):
    """Commands whose bad input ends in one line and exit code 2, and Ctrl-C in exit code 130."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *_rest: Any,
        **_extra: Any,
    ) -> NoReturn:
        """Run and exit, as `typer` calls it."""
        arguments = sys.argv[1:] if args is None else list(args)
        sys.exit(self._run_to_exit_code(arguments, prog_name or "pantile"))

    def _run_to_exit_code(self, arguments: list[str], prog_name: str) -> int:
        typed_words = list(arguments)  # parsing takes them out
        try:
            with self.make_context(prog_name, arguments) as context:
                self.invoke(context)
            if sys.stdout is not None:  # closed by the caller, as in >&-
                sys.stdout.flush()
        except typer.Exit as request:
            return request.exit_code
        except (KeyboardInterrupt, typer.Abort) as error:
            return _say(f"interrupted{_describe_what_is_left(error)}", INTERRUPTED)
        except BrokenPipeError:
            return _give_up_output()
        except USAGE_ERROR as error:
            return _say(cast(Any, error).format_message())
        except Exception as error:
            if _is_from_func(error) and self._find_command(typed_words) == "map":
                print(_format_traceback(error), file=sys.stderr, end="")
                return 1
            if not isinstance(error, BAD_INPUT):
                raise
            _silence_zarr()
            return _say(
                self._in_options(_describe(error), typed_words) + _describe_what_is_left(error)
            )
        return 0

    def _in_options(self, message: str, arguments: list[str]) -> str:
        """``message`` with Python's arguments written as options, those of the current command first."""
        current = self.commands.get(self._find_command(arguments))
        return speak_in_options(
            message, spell_parameters(self.commands.values(), current), arguments
        )

    def _find_command(self, arguments: list[str]) -> str:
        """The name of the command among the arguments, or an empty string."""
        return next((each for each in arguments if each in self.commands), "")


def _give_up_output() -> int:
    """The exit code when the reader of stdout has gone, as `head` does after its last line."""
    with open(os.devnull, "w") as nowhere:  # Python flushes once more when it ends
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return BROKEN_PIPE


def _silence_zarr() -> None:
    """Silence Python's warnings about zarr's unfinished tasks, which would follow our line."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def _is_from_func(error: Exception) -> bool:
    """Whether it was raised in the user's function; its traceback is printed then."""
    return any(note.startswith("pantile: in func") for note in getattr(error, "__notes__", ()))


def _is_ours(file: str) -> bool:
    """Whether a file is pantile's (also where its bytecode was compiled elsewhere), typer's or of the thread pool."""
    inside = re.search(
        r"[\\/]pantile[\\/](cli|files|geometry|kernels|merge|ops|stream|tileset)[\\/]", file
    )
    return file.startswith(OURS) or inside is not None


def _format_traceback(error: Exception) -> str:
    """The traceback of an error in the user's function, without the frames of pantile."""
    shown = traceback.TracebackException.from_exception(error)
    for each in (shown, shown.__cause__, shown.__context__):
        if each is not None:
            kept = [frame for frame in each.stack if not _is_ours(frame.filename)]
            each.stack = traceback.StackSummary.from_list(kept)
    return "".join(shown.format())


def _describe_what_is_left(error: BaseException) -> str:
    """What the notes of an error say of resuming the run, in the words of the command line."""
    notes = [n for n in getattr(error, "__notes__", ()) if "resume=True" in n]
    left = "; ".join(note.removeprefix("pantile: ") for note in notes)
    call = ("the same call with resume=True", "the same command with --resume")
    return f": {left.replace(*call)}" if left else ""


def _describe(error: BaseException) -> str:
    """The message of `error`, with the file where the operating system names one."""
    if isinstance(error, ModuleNotFoundError):
        return describe_missing(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _say(message: str, code: int = 2) -> int:
    """Print `message` as one line on stderr, and return `code`."""
    print("pantile:", " ".join(message.split()), file=sys.stderr)
    return code

"""The command line: parse, plan, print, run. Needs the extra: pip install "pantile[cli]"."""

import sys
from collections.abc import Sequence

from pantile.cli.extras import describe_missing

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of `pantile argv`: 0; 2 after a line on stderr; 130 when interrupted."""
    try:
        from pantile.cli.commands import run

        return run(argv)
    except KeyboardInterrupt:  # so early that the commands were not there yet
        print("pantile: interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "pantile":
            raise
        print(f"pantile: {describe_missing(error)}", file=sys.stderr)
        return 2

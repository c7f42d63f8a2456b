"""`python -m windrow` is the `windrow` command."""

import sys

from windrow.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())

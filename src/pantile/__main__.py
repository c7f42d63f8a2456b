"""`python -m pantile` is the `pantile` command."""

import sys

from pantile.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())

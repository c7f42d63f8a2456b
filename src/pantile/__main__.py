"""`python -m pantile` is the `pantile` command."""

import sys

__all__: list[str] = []

if __name__ == "__main__":
    try:
        from pantile.cli import main
    except KeyboardInterrupt:
        print("pantile: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(main())

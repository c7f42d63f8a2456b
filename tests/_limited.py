"""A script in a process of its own whose addresses are limited, for tests that nothing large is made."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

__all__ = ["LIMIT", "finishes"]

LIMIT = """
import resource
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {nbytes},) * 2)
"""
"""What limits a script from there on to so many bytes more than it has."""


def finishes(script: str) -> None:
    """Assert that the script runs to its end, where it prints ``done``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment["MALLOC_ARENA_MAX"] = "1"  # else a thread takes 128 MB of addresses, and uses few
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done"

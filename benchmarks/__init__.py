"""Pantile against its peers: one table of peers, timed side by side and held to one answer."""

import os

__all__: list[str] = []

# Threads of other libraries that wait by spinning would take processor time from whatever is timed
# next; both OpenMP runtimes read this when they are loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")

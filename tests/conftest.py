"""Hypothesis profiles: quick by default, repeatable in CI, `WINDROW_EXAMPLES` for more."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("WINDROW_EXAMPLES", "40"))
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

settings.register_profile(
    "windrow",
    max_examples=EXAMPLES,
    deadline=None,  # the first call of a kernel compiles it
    derandomize=IN_CI,
    print_blob=not IN_CI,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("windrow")

"""Every operation beside the plainest lines that do the same: `python -m benchmarks.plain`."""

__all__: list[str] = []

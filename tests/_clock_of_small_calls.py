"""The process of `benchmarks.versus` with its small calls only, for the tests."""

from benchmarks import clock, timed

if __name__ == "__main__":
    clock.tasks = lambda quick=False: timed._small()  # noqa: ARG005
    clock.main()

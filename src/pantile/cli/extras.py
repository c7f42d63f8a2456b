"""Packages that may not be installed, and which extra brings each."""

__all__ = ["describe_missing"]

_EXTRAS = {"h5py": "io", "tifffile": "io", "xarray": "io", "zarr": "io"}
_NAMED = {"PIL": "Pillow", "sklearn": "scikit-learn"}
_REQUIRED = ("numba", "numpy", "scipy")


def describe_missing(error: ModuleNotFoundError) -> str:
    """What to say where a package is missing: its name, and how to install it."""
    package = (error.name or "").partition(".")[0]
    wanted = "pantile" if package in _REQUIRED else f"pantile[{_EXTRAS.get(package, 'cli')}]"
    return f'this needs {_NAMED.get(package, package) or error}: pip install "{wanted}"'

"""TIFF files written by tifffile, whoever has the pixels."""

from __future__ import annotations

import os
from typing import Any

from ..extras import import_optional

__all__ = ["write_tiff"]


def write_tiff(path: str | os.PathLike[str], pixels: Any, **options: Any) -> None:
    """``pixels``, an array or an iterator of tiles in raster order, as the file at ``path``.

    ``options`` are those of `tifffile.imwrite`, which says what it does with each.
    """
    import_optional("tifffile", f"writing {os.fspath(path)}").imwrite(path, pixels, **options)

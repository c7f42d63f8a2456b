"""The door for results: which sink a path means."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

from ..protocol import Sink
from .npy_sink import NpySink
from .picture_sink import PictureSink
from .pillow import PICTURES
from .tiff_sink import TiffSink
from .zarr_sink import ZarrSink

__all__ = ["sink_of"]

_SINKS: dict[str, Any] = {
    ".npy": NpySink,
    ".zarr": ZarrSink,
    ".tif": TiffSink,
    ".tiff": TiffSink,
    **dict.fromkeys(PICTURES, PictureSink),
}


def sink_of(out: str | os.PathLike[str] | Sink, **options: Any) -> Sink:
    """The sink that ``out`` means, checked as far as that is possible before there is a result.

    ``out`` is a path whose suffix names the format (``.npy``, ``.zarr``, ``.tif``, ``.tiff``,
    ``.png``, ``.jpg``, ``.jpeg``, ``.webp``; the ``options`` are those of `NpySink`, `ZarrSink` and
    `TiffSink`), or a sink. ``result.zarr/image`` is a Zarr group that holds the array ``image``, as
    xarray opens it.

    Raises
    ------
    ValueError
        The suffix is none of these.
    TypeError
        The format has no such option; or ``out`` is no path and no sink.
    OSError
        The directory is missing or cannot be written, or something else has that name.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from pantile.files import sink_of
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "ones.npy"
    ...     writer = sink_of(path).create((4, 6), np.dtype("float32"))
    ...     writer[0:4, 0:6] = np.ones((4, 6), np.float32)
    ...     before = path.exists()
    ...     writer.commit()
    ...     before, float(np.load(path).sum())
    (False, 24.0)
    """
    if isinstance(out, (str, os.PathLike)):
        sink = _make_sink(os.fspath(out), options)
    elif options:
        raise TypeError(f"options {sorted(options)} go with a path, out is {type(out).__name__}")
    else:
        sink = out
    if not all(callable(getattr(sink, name, None)) for name in ("create", "reopen")):
        raise TypeError(f"out must be a path or a sink, got {type(out).__name__}")
    if hasattr(sink, "check"):
        sink.check()
    return sink


def _make_sink(path: str, options: dict[str, Any]) -> Sink:
    path = path.rstrip(os.sep)
    suffix, group = os.path.splitext(path)[1], os.path.dirname(path)
    if suffix.lower() not in _SINKS and group.lower().endswith(".zarr"):
        return _make_sink(group, {"name": os.path.basename(path), **options})
    kind = _SINKS.get(suffix.lower())
    if kind is None:
        known = ", ".join(_SINKS)
        raise ValueError(f"out={path!r} has the suffix {suffix!r}: the known ones are {known}")
    names = [field.name for field in fields(kind) if field.name != "path"]
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise TypeError(
            f"out={path!r}: unknown option {unknown[0]!r}, {suffix} takes {', '.join(names) or 'none'}"
        )
    sink: Sink = kind(path, **options)
    return sink

"""Reading and writing one picture of any format; a file is replaced at once or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from pantile.cli.picture import Header, Picture
from pantile.files.write.staging import check_directory

__all__ = [
    "check_output",
    "check_target",
    "is_picture",
    "is_tiff",
    "kind_to_write",
    "read",
    "read_header",
    "replaced",
    "write",
]

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
PICTURE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_header(path: Path) -> Header:
    """What the picture in `path` is, without decoding it."""
    header: Header = _library(_kind(path)).read_header(path)
    return header


def read(path: Path) -> Picture:
    """The picture in `path`."""
    picture: Picture = _library(_kind(path)).read(path)
    return picture


def write(path: Path, picture: Picture) -> None:
    """`picture` in `path`, in the format its extension names."""
    kind = kind_to_write(path)
    if kind != picture.header.kind and "TIFF" in (kind, picture.header.kind):
        picture = replace(picture, kept={})
    with replaced(path) as temporary:
        _library(kind).write(temporary, picture, kind)


def check_output(path: Path, source: Path, header: Header) -> None:
    """Raise a `ValueError` that says why, where a picture like `header` cannot go to `path`."""
    kind = kind_to_write(path)
    target = check_target(path)
    if target.exists() and target.samefile(source):
        raise ValueError(f"{path} is the input itself: name another output")
    if not _holds(kind, header):
        raise ValueError(f"{path}: a {kind} cannot hold this picture ({header}): use .tif")


def kind_to_write(path: Path) -> str:
    """The format that the extension of `path` names."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: unknown extension {path.suffix!r}: use one of {', '.join(KINDS)}"
        )
    return kind


def check_target(path: Path) -> Path:
    """Where `path` leads once links and dots are followed, if a file can be made there.

    Raises a `ValueError` or an `OSError` otherwise, saying why.
    """
    target = path.resolve()
    if not target.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {target.parent}")
    if target.exists() and not target.is_file():
        raise ValueError(f"{path} is not a file that could be replaced")
    check_directory(str(target))
    return target


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` when all went well, and goes away otherwise."""
    target = path.resolve()
    temporary = target.with_name(f".pantile-{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def is_tiff(path: Path) -> bool:
    """Whether a file starts as a TIFF does; an extension may lie."""
    return _starts(path, TIFF_MAGIC)


def is_picture(path: Path) -> bool:
    """Whether a file starts as those do that `read` takes."""
    return path.is_file() and _starts(path, (*TIFF_MAGIC, *PICTURE_MAGIC))


def _starts(path: Path, magic: tuple[bytes, ...]) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(magic)


def _kind(path: Path) -> str:
    return "TIFF" if is_tiff(path) else "PNG or JPEG"


def _library(kind: str) -> ModuleType:
    # Each is imported when it is needed only: together they take as long as everything else.
    if kind == "TIFF":
        from pantile.cli import tiff_files

        return tiff_files
    from pantile.cli import pillow_files

    return pillow_files


def _holds(kind: str, header: Header) -> bool:
    if kind == "TIFF":
        return True
    if kind == "JPEG":
        colours = {"gray", "rgb", "cmyk"}
        return header.dtype == "uint8" and header.colour in colours and not header.alpha
    if header.dtype == "uint8":
        return header.colour in {"gray", "rgb"}
    return header.dtype in ("bool", "uint16") and header.colour == "gray" and not header.alpha

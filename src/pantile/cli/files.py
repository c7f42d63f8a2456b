"""Where the command line puts a picture: the place is checked first, and a file replaced at once or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pantile.files.whole.formats import can_hold, kind_to_write, write_picture
from pantile.files.whole.picture import Header, Picture
from pantile.files.write.staging import check_directory

__all__ = ["check_output", "check_target", "replace_file", "write"]


def write(path: Path, picture: Picture) -> None:
    """`picture` in `path`, in the format its extension names."""
    kind = kind_to_write(path)
    with replace_file(path) as temporary:
        write_picture(temporary, picture, kind)


def check_output(path: Path, source: Path, header: Header) -> None:
    """Raise a `ValueError` that says why, where a picture like `header` cannot go to `path`."""
    kind = kind_to_write(path)
    target = check_target(path)
    if target.exists() and target.samefile(source):
        raise ValueError(f"{path} is the input itself: name another output")
    if not can_hold(kind, header):
        raise ValueError(f"{path}: a {kind} cannot hold this picture ({header}): use .tif")


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
def replace_file(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` when all went well, and goes away otherwise."""
    target = path.resolve()
    temporary = target.with_name(f".pantile-{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)

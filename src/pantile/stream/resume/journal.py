"""The journal of a run: which blocks are on disk for good, readable after a crash at any moment."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import threading
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...geometry.rect import Index

__all__ = ["Journal", "Record", "journal_path", "read_journal"]


@dataclass
class Record:
    """What a journal says: what the run is, which blocks of which result are done, whether all of it is."""

    header: dict[str, Any]
    done: list[set[Index]]
    whole: dict[str, Any] | None = None
    end: int = 0  # where the last line ends that can be believed
    lines: int = 0


class Journal:
    """Appends lines, each with its own checksum, and returns when they would survive a power cut.

    Two runs to one path would write into each other's staging place: while a journal is open, to
    open it again is a BlockingIOError.
    """

    _open: ClassVar[set[str]] = set()  # here; a lock of the system keeps other processes out
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: str) -> None:
        """The journal at ``path`` as it is; an empty one where there is none."""
        self.path, self._end = path, 0
        with self._opening:
            if path in self._open:
                raise _busy(path)
            self._file: int | None = _locked(path)
            self._open.add(path)
        begin = os.read(self._file, 8)
        os.lseek(self._file, 0, os.SEEK_SET)
        if not _is_journal(begin):
            self.close()
            result = path.removesuffix(".journal")
            raise FileExistsError(
                f"out={result!r} needs {path} for its journal, which is there and not one: move it away"
            )

    @classmethod
    def is_open(cls, path: str) -> bool:
        """Whether a run of this process writes there."""
        return path in cls._open

    def read(self) -> Record | None:
        """As `read_journal`; through another descriptor, closing would end the lock."""
        assert self._file is not None
        with open(self._file, "rb", closefd=False) as file:
            file.seek(0)
            return _record(file.read())

    def cut(self, end: int) -> None:
        """Go on behind ``end``: what a crash or a full disk left there is taken away."""
        assert self._file is not None
        self._end = end
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        os.fsync(self._file)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line and see it to the disk, or raise `OSError` and leave none."""
        assert self._file is not None
        line = _line(entry)
        try:
            begin = 0
            while begin < len(line):
                begin += os.write(self._file, line[begin:])
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                self.cut(self._end)
            raise
        self._end += len(line)

    def close(self) -> None:
        """Let go of it; an empty one says nothing, and goes."""
        if self._file is None:
            return
        if not os.fstat(self._file).st_size:
            self.remove()
            return
        os.close(self._file)
        self._file = None
        self._open.discard(self.path)

    def remove(self) -> None:
        """Take it away: its run is whole, or nothing of it is kept."""
        assert self._file is not None
        windows = os.name == "nt"
        if windows:  # an open file stays there
            os.close(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path)
        if not windows:  # in this order nobody finds it unlocked
            os.close(self._file)
        self._file = None
        self._open.discard(self.path)


def _is_journal(begin: bytes) -> bool:
    """Whether a file may be a journal: it begins with a checksum, torn or not, or with what a power cut has lost."""
    return set(begin) <= set(b"0123456789abcdef\0")


def _opened(path: str, flags: int) -> int:
    """The file at ``path``, itself: what a link leads to is not written to, a pipe not waited for."""
    for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"):  # where the system has them
        flags |= getattr(os, name, 0)
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _in_the_way(path) from None
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _in_the_way(path)
    return file


def _in_the_way(path: str) -> FileExistsError:
    return FileExistsError(
        errno.EEXIST, "in the way of the journal of this run: move it, or name another out", path
    )


def _locked(path: str) -> int:
    """The file at ``path``, open, kept from other processes."""
    while True:
        file = _opened(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(file, path)
            if os.path.exists(path) and os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the run before took it away in this moment


def _lock(file: int, path: str) -> None:
    """Keep other processes from this file until it is closed, where the system can; it ends with this process."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no child inherits it
    except (BlockingIOError, PermissionError):
        raise _busy(path) from None
    except OSError:  # a file system without locks
        return


def _busy(path: str) -> BlockingIOError:
    result = path.removesuffix(".journal")
    return BlockingIOError(
        errno.EAGAIN, "another run is writing this result: wait for it, or name another out", result
    )


def journal_path(path: str) -> str:
    return path + ".journal"


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_journal(path: str) -> Record | None:
    """What the journal says up to its first torn line; None where there is none, or no whole header."""
    if Journal.is_open(path):  # to close it here would end the lock that is on it
        raise _busy(path)
    try:
        with open(_opened(path, os.O_RDONLY), "rb") as file:
            return _record(file.read())
    except FileNotFoundError:
        return None


def _record(text: bytes) -> Record | None:
    record: Record | None = None
    for line in text.splitlines(keepends=True):
        entry = _entry(line)
        if entry is None or not (_is_header(entry) if record is None else _follows(entry, record)):
            break
        if record is None:
            record = Record(entry, [set() for _ in entry["results"]])
        for k, *block in entry.get("done", ()) if record.lines else ():
            record.done[k].add(tuple(block))
        record.whole = entry.get("whole", record.whole)
        record.end += len(line)
        record.lines += 1
    return record


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is torn, or none of ours."""
    with contextlib.suppress(ValueError, RecursionError):
        if line.endswith(b"\n") and int(line[:8], 16) == zlib.crc32(line[9:-1]):
            found = json.loads(line[9:-1])
            return found if isinstance(found, dict) else None
    return None


def _is_header(entry: dict[str, Any]) -> bool:
    """Whether it says all that a first line says: a checksum alone tells nothing of who wrote it."""
    results = entry.get("results")
    return (
        isinstance(entry.get("run"), dict)
        and _whole_numbers(entry.get("tiles"))
        and _whole_numbers([entry.get("batch"), entry.get("blocks")])
        and isinstance(results, list)
        and len(results) > 0
        and all(isinstance(each, dict) and _is_result(each) for each in results)
    )


def _is_result(each: dict[str, Any]) -> bool:
    kind, unit = each.get("kind"), each.get("unit", 0)
    return (
        isinstance(kind, list)
        and len(kind) in (2, 3)  # two of a version that knew no weights
        and _whole_numbers(kind[1])
        and _is_dtype(kind[0])
        and all(weights in ("", "patch", "sample") for weights in kind[2:])
        and _whole_numbers(each.get("shape"))
        and _is_dtype(each.get("dtype"))
        and (unit is None or _whole_numbers(unit))
    )


def _follows(entry: dict[str, Any], record: Record) -> bool:
    """Whether it is a later line: blocks of the results there are, or where the whole ones go."""
    done, whole, n = (
        entry.get("done", []),
        entry.get("whole", {"earlier": record.done}),
        len(record.done),
    )
    return (
        isinstance(done, list)
        and all(_whole_numbers(block, 0) and block and block[0] < n for block in done)
        and isinstance(whole, dict)
        and isinstance(whole.get("earlier"), list)
        and len(whole["earlier"]) == n
    )


def _whole_numbers(value: Any, least: int = 1) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= least for n in value)


def _is_dtype(name: Any) -> bool:
    try:
        return isinstance(name, str) and np.dtype(name).kind in "biufc"
    except TypeError:
        return False

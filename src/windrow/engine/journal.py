"""The journal of a run: which blocks are on disk for good, readable after a crash at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from dataclasses import dataclass
from typing import Any

from ..geometry.tiles import Index

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
    """Appends lines, each with its own checksum, and returns when they would survive a power cut."""

    def __init__(self, path: str, end: int | None = None) -> None:
        """A new journal, replacing an older one; or the one at ``path``, cut at ``end``."""
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if end is None else 0)
        self._file: int | None = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        self._end = end or 0
        self._cut()

    def _cut(self) -> None:
        """Take away what a crash or a full disk left behind the last whole line."""
        assert self._file is not None
        os.ftruncate(self._file, self._end)
        os.lseek(self._file, self._end, os.SEEK_SET)

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
                self._cut()
            raise
        self._end += len(line)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def journal_path(path: str) -> str:
    return path + ".journal"


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_journal(path: str) -> Record | None:
    """What the journal says up to its first torn line; None where there is none, or no whole header."""
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    record: Record | None = None
    for line in lines:
        entry = _entry(line)
        if entry is None or (record is None and "results" not in entry):
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
    """What a line says; None where it is torn."""
    with contextlib.suppress(ValueError):
        if line.endswith(b"\n") and int(line[:8], 16) == zlib.crc32(line[9:-1]):
            found: dict[str, Any] = json.loads(line[9:-1])
            return found
    return None

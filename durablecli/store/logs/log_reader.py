"""The reader of logs: what is new since the last read. An engine may write meanwhile."""

from __future__ import annotations

from durablecli.model.log_entry import LogEntry, decode_entries
from durablecli.store.disk import Disk
from durablecli.store.logs.log_files import locate_log
from durablecli.store.os_errors import translate_os_errors

_MAX_TRIES = 5
_READ_FAILED = "the log can't be read"


class LogReader:
    """Reads the log of one instance, and then what is added to it."""

    def __init__(self, disk: Disk, root: str, instance: str) -> None:
        self._disk = disk
        self._files = locate_log(root, instance)
        self._offsets: dict[tuple[int, int], int] = {}
        """How much was read of each file: a file keeps its identity when it is renamed."""

    def read_new(self) -> list[LogEntry]:
        """Return the entries that were written since the last call, in the order of their times.

        A line that is damaged, or not written to its end yet, is left out.
        """
        data = b""
        with translate_os_errors(_READ_FAILED):
            for _ in range(_MAX_TRIES):
                before = self._disk.stat(self._files.old)
                data += self._read_file(self._files.old) + self._read_file(self._files.current)
                if self._disk.stat(self._files.old) == before:
                    break  # else the current file has become the old one between the two reads
            self._forget_removed_files()
        return sorted(decode_entries(data), key=lambda entry: entry.at)

    def change_token(self) -> object:
        """Return a value, cheap to poll, that changes whenever something was added."""
        with translate_os_errors(_READ_FAILED):
            return [self._file_token(path) for path in (self._files.old, self._files.current)]

    def _file_token(self, path: str) -> object:
        info = self._disk.stat(path)
        if info is None:
            return None
        try:
            return info.identity, self._disk.size(path)
        except FileNotFoundError:  # it was removed a moment ago
            return None

    def _read_file(self, path: str) -> bytes:
        """Return the whole lines that were added to a file."""
        info = self._disk.stat(path)
        if info is None or info.kind != "file":
            return b""
        offset = self._offsets.get(info.identity, 0)
        try:
            if offset > self._disk.size(path):
                offset = 0  # another file, with the number of a removed one
            data = self._disk.read_from(path, offset)
        except FileNotFoundError:
            return b""
        now = self._disk.stat(path)
        if now is None or now.identity != info.identity:
            return b""  # replaced meanwhile: read at the next try
        data = data[: data.rfind(b"\n") + 1]
        self._offsets[info.identity] = offset + len(data)
        return data

    def _forget_removed_files(self) -> None:
        infos = [self._disk.stat(path) for path in (self._files.old, self._files.current, self._files.old)]
        if infos[0] == infos[2]:  # else the current file has just become the old one
            alive = {info.identity for info in infos if info is not None}
            self._offsets = {identity: offset for identity, offset in self._offsets.items() if identity in alive}

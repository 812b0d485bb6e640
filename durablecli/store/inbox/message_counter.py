"""The counter that numbers messages across all processes."""

from __future__ import annotations

from contextlib import suppress

from durablecli.store import layout
from durablecli.store.disk import Disk
from durablecli.store.inbox.message_files import number_in_name

_LINE_BYTES = 13
_MAX_FILE_BYTES = 4096


class MessageCounter:
    """Assigns numbers under the inbox's lock, each above all earlier ones.

    The file isn't synced: a power cut may revert it, but also ends every process that used it. So each counter checks
    the inbox once, and from then on its file can be trusted.
    """

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._path = f"{root}/{layout.COUNTER_FILE}"
        self._lock_path = f"{root}/{layout.INBOX_LOCK_FILE}"
        self._temporary = f"{root}/{layout.TEMPORARY_MESSAGES_FOLDER}/counter"
        self._new = f"{root}/{layout.NEW_MESSAGES_FOLDER}"
        self._is_checked = False

    def last(self) -> int:
        """Return the highest assigned number; 0 if it is unknown."""
        return self._read()[1] or 0

    def next(self) -> int:
        """Assign the next number."""
        with self._disk.lock(self._lock_path):
            size, last = self._read()
            if last is None or not self._is_checked:
                waiting = (number_in_name(name) for name in self._disk.listdir(self._new))
                last = max(last or 0, *waiting, 0)
            line = b"%012d\n" % (last + 1)
            if 0 < size < _MAX_FILE_BYTES:
                # Appending a line is much cheaper than a new file, which on some file systems costs as much as a sync.
                self._disk.append_once(self._path, line, create=False)
            else:
                self._replace(line)
            self._is_checked = True
        return last + 1

    def _read(self) -> tuple[int, int | None]:
        """Return the file's size and last number; 0 and None unless it ends in a complete line."""
        try:
            size = self._disk.size(self._path)
            text = self._disk.read_from(self._path, max(size - _LINE_BYTES, 0))
        except FileNotFoundError:
            return 0, None
        whole = size % _LINE_BYTES == 0 and text[:-1].isdigit() and text[-1:] == b"\n"
        return (size, int(text)) if whole else (0, None)

    def _replace(self, line: bytes) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(self._temporary)
        self._disk.create(self._temporary, line, sync=False)
        self._disk.rename(self._temporary, self._path)

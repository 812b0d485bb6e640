"""Detection of instances that may have ended since they were read: by the data written since, not by time.

The cost of reading an instance grows with its history; reading only the data after a position costs just that data.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import msgspec

from durablecli.store import layout
from durablecli.store.disk import Disk, FileInfo
from durablecli.store.history.file import history_path
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.pending_messages import STATUS_CHANGING_KINDS
from durablecli.store.journal.reader import segment_numbers, segment_path

_END_MARKERS = (b'"type":"ExecutionCompleted"', b',"purged":[')


class WritePosition(NamedTuple):
    """The sizes of an instance's file and of the live journal segment, and the last message number, at one moment."""

    file: FileInfo | None
    size: int
    segment: int
    offset: int
    message_number: int


class EndDetector:
    """Checks what was written about instances of one hub."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self._journal = f"{root}/{layout.JOURNAL_FOLDER}"
        self._inbox = InboxReader(disk, root)

    def read_position(self, instance: str) -> WritePosition:
        """Return the current position. Call this before reading the instance."""
        number = self._inbox.last_number()
        segment = max(segment_numbers(self._disk, self._journal), default=0)
        file = self._disk.stat(self._history_path(instance))
        return WritePosition(
            file, self._file_size(self._history_path(instance)), segment, self._segment_size(segment), number
        )

    def advance_if_live(self, position: WritePosition, instance: str, own_messages: int) -> WritePosition | None:
        """Return the current position if nothing written since `position` can have ended the instance; else None.

        `own_messages` counts the messages that the caller has posted since, none of which ends an instance.
        """
        now = self.read_position(instance)
        same = (now.file, now.segment) == (position.file, position.segment)
        if not same or now.size < position.size or now.offset < position.offset:
            return None
        if now.message_number - position.message_number != own_messages and self._inbox.has_newer(
            instance, position.message_number, STATUS_CHANGING_KINDS
        ):
            return None
        if _contains_end(
            self._disk.read_from(self._history_path(instance), position.size) if now.size > position.size else b""
        ):
            return None
        lines = self._read_segment(position.segment, position.offset) if now.offset > position.offset else b""
        # msgspec encodes a string in exactly one way, so the bytes can be searched.
        name = b'"instance":%b' % msgspec.json.encode(instance)
        if any(name in line and _contains_end(line) for line in lines.split(b"\n")):
            return None
        # The last line may be incomplete: it is read again next time.
        return now._replace(offset=position.offset + lines.rfind(b"\n") + 1)

    def _history_path(self, instance: str) -> str:
        return history_path(self._root, instance)

    def _segment_size(self, segment: int) -> int:
        return self._file_size(segment_path(self._journal, segment)) if segment else 0

    def _read_segment(self, segment: int, offset: int) -> bytes:
        with suppress(FileNotFoundError):
            return self._disk.read_from(segment_path(self._journal, segment), offset)
        return b""

    def _file_size(self, path: str) -> int:
        try:
            return self._disk.size(path)
        except FileNotFoundError:
            return 0


def _contains_end(data: bytes) -> bool:
    return any(each in data for each in _END_MARKERS)

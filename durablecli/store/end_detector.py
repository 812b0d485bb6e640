"""Whether an instance that was live when it was read may have ended since: by what was written meanwhile, not by time.

Reading an instance costs more with every event that it has; what came after a mark costs only what it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import msgspec

from durablecli.store import layout
from durablecli.store.disk import Disk, Facts
from durablecli.store.history import writer
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.pending_messages import CHANGING
from durablecli.store.journal.reader import segment_path, segments

_ENDS = (b'"type":"ExecutionCompleted"', b',"purged":[')


class Mark(NamedTuple):
    """How far an instance's file, the live segment of the journal, and the numbers of the messages had come."""

    file: Facts | None
    size: int
    segment: int
    offset: int
    number: int


class EndWatch:
    """Looks at what was written about instances of one hub."""

    def __init__(self, disk: Disk, root: str, inbox: Inbox) -> None:
        self._disk = disk
        self._root = root
        self._journal = f"{root}/{layout.JOURNAL}"
        self._inbox = inbox

    def mark(self, instance: str) -> Mark:
        """The present moment. Ask before the instance is read."""
        number = self._inbox.last_number()
        segment = max(segments(self._disk, self._journal), default=0)
        file = self._disk.facts(self._path(instance))
        return Mark(file, self._size(self._path(instance)), segment, self._end(segment), number)

    def since(self, mark: Mark, instance: str, own: int) -> Mark | None:
        """The present moment, if nothing since the mark can have ended the instance; else None.

        `own` counts the messages that the asker has posted since, none of which ends an instance.
        """
        now = self.mark(instance)
        same = (now.file, now.segment) == (mark.file, mark.segment)
        if not same or now.size < mark.size or now.offset < mark.offset:
            return None
        if now.number - mark.number != own and self._inbox.has_newer(instance, mark.number, CHANGING):
            return None
        if _ends(self._disk.read_from(self._path(instance), mark.size) if now.size > mark.size else b""):
            return None
        lines = self._read(mark.segment, mark.offset) if now.offset > mark.offset else b""
        # msgspec has one spelling for a string, so the bytes can be searched for.
        name = b'"instance":%b' % msgspec.json.encode(instance)
        if any(name in line and _ends(line) for line in lines.split(b"\n")):
            return None
        # The last line may not be whole yet: it is read once more.
        return now._replace(offset=mark.offset + lines.rfind(b"\n") + 1)

    def _path(self, instance: str) -> str:
        return writer.path(self._root, instance)

    def _end(self, segment: int) -> int:
        return self._size(segment_path(self._journal, segment)) if segment else 0

    def _read(self, segment: int, offset: int) -> bytes:
        with suppress(FileNotFoundError):
            return self._disk.read_from(segment_path(self._journal, segment), offset)
        return b""

    def _size(self, path: str) -> int:
        try:
            return self._disk.size(path)
        except FileNotFoundError:
            return 0


def _ends(data: bytes) -> bool:
    return any(each in data for each in _ENDS)

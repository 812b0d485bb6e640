"""Salvage: finding the intact records of a damaged file, wherever in it they are, and the lost ones.

Duplicate or misplaced lines are no loss. The consecutive records from the first one on are fully usable; of those after
the gap some are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from durablecli.model.codec import CorruptLine, crc_seed, decode_record, verify_crc
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import Record
from durablecli.store.history.file import FirstRecord, try_decode_first_record

ReadLine = Callable[[bytes], bytes]
_EDITOR_BYTES = b"\r\xef\xbb\xbf"  # bytes that editors add to lines


def keep_line(line: bytes) -> bytes:
    """Return the line: it is the record itself."""
    return line


class SalvagedHistory(NamedTuple):
    """The intact lines of a damaged history file.

    `lines` are those from record `first` on without a gap, `after_gap` the intact ones after a gap, by number. `lost`
    are the numbers of the missing records; if there are none, `unread_lines` may be records from the end.
    """

    instance: str
    execution: str
    first: int
    lines: list[bytes]
    after_gap: dict[int, bytes]
    lost: list[int]
    unread_lines: int
    read_line: ReadLine = keep_line
    """Returns the line of a record, also of one that is spilled."""

    @property
    def last(self) -> int:
        """The number of the last record before the first gap."""
        return self.first - 1 + len(self.lines)

    @property
    def is_complete(self) -> bool:
        """Whether no record is lost."""
        return not (self.lost or self.unread_lines)

    def records(self) -> list[Record]:
        """Return the records before the first gap, as far as they can be read."""
        return self._parse_records(self.lines)

    def records_after_gap(self) -> list[Record]:
        """Return the records after the first gap, in order."""
        return self._parse_records([line for _, line in sorted(self.after_gap.items())])

    def _parse_records(self, lines: list[bytes]) -> list[Record]:
        return [decode_record(self.read_line(line), self.seed) for line in lines]

    @property
    def seed(self) -> int:
        return crc_seed(self.instance, self.execution)


def salvage_history(data: bytes, read_line: ReadLine = keep_line) -> SalvagedHistory | None:
    """Salvage the content of a file; None without its first record, which the others depend on.

    A spilled record is lost if `read_line` can't read it, and raises CorruptLine.
    """
    pieces = [piece for line in data.split(b"\n") if (piece := line.strip(_EDITOR_BYTES))]
    first_record = _find_first_record(pieces)
    if first_record is None:
        return None
    first = first_record.n if is_entity_id(first_record.instance) else 1
    start = crc_seed(first_record.instance, first_record.execution)
    whole: dict[int, bytes] = {}
    unread = 0
    for piece in pieces:
        n = _record_number(piece, start, read_line)
        if n is None or n < first:
            unread += 1
        else:
            whole.setdefault(n, piece)
    if first not in whole:
        return None
    end = first
    while end in whole:
        end += 1
    lost = [n for n in range(end, max(whole) + 1) if n not in whole]
    lines = [whole[n] for n in range(first, end)]
    behind = {n: line for n, line in whole.items() if n > end}
    return SalvagedHistory(
        first_record.instance, first_record.execution, first, lines, behind, lost, max(0, unread - len(lost)), read_line
    )


def _find_first_record(lines: Iterable[bytes]) -> FirstRecord | None:
    """Find the first line that is intact by its own instance and execution."""
    for line in lines:
        head = try_decode_first_record(line)
        if head is not None:
            with suppress(CorruptLine):
                verify_crc(line, crc_seed(head.instance, head.execution))
                return head
    return None


def _record_number(line: bytes, start: int, read_line: ReadLine) -> int | None:
    """Return the `n` of an intact line of this execution."""
    try:
        verify_crc(line, start)
        return decode_record(read_line(line), start).n
    except CorruptLine:
        return None

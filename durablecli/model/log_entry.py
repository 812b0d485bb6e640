"""One entry in the log of an instance: a line that was printed, or a record of a logger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

_MAX_DIGITS = 18
"""Of the number of a record; a longer text would take long to parse, and be none."""


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A line that an orchestrator, an activity or an entity has printed, or a record that it has logged.

    `source` is `orchestrator`, `activity`, `entity`, or `engine` for a remark about the log itself; `name` is that of
    the orchestrator, the activity or the operation. `logger` is the name of the logger, or None for printed text, of
    which `stream` is `stdout` or `stderr`.
    """

    at: datetime
    level: str
    text: str
    source: str
    name: str = ""
    id: int | None = None
    """The number of the record that scheduled the activity, or of the operation in the log of its entity."""
    attempt: int | None = None
    """The attempt of the activity, from 1."""
    execution: str = ""
    logger: str | None = None
    stream: str | None = None
    retry_of: int | None = None
    """The `id` of the first attempt; None for that attempt itself."""

    def belongs_to(self, work: int | str) -> bool:
        """Whether it comes from this activity or operation: a name, or an id; the first id includes all attempts."""
        if self.source == "orchestrator":
            return False
        return work in (self.id, self.retry_of) if isinstance(work, int) else work == self.name


def parse_work(text: str) -> int | str:
    """Parse what `LogEntry.belongs_to` takes: the number of an activity or operation, or else its name."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else text


def encode_entries(entries: list[LogEntry]) -> bytes:
    """Encode entries as lines of JSON."""
    return encode_safely(entries, lambda safe: b"".join([msgspec.json.encode(entry) + b"\n" for entry in safe]))


def encode_safely(entries: list[LogEntry], encode: Callable[[list[LogEntry]], bytes]) -> bytes:
    """Encode entries; if that fails, as plain text: without lone surrogates, which have no UTF-8, and without the
    subclasses of str that loggers may be named by."""
    try:
        return encode(entries)
    except (UnicodeEncodeError, TypeError):
        return encode([_make_plain(entry) for entry in entries])


def decode_entries(data: bytes) -> list[LogEntry]:
    """Decode lines; those that are damaged are left out."""
    entries: list[LogEntry] = []
    for line in data.split(b"\n"):
        if line:
            try:
                entries.append(_decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
    return entries


_decode = msgspec.json.Decoder(LogEntry).decode


def _make_plain(entry: LogEntry) -> LogEntry:
    fields = {
        field: value.encode("utf-8", "backslashreplace").decode()
        for field in ("level", "text", "name", "logger")
        if isinstance(value := getattr(entry, field), str)
    }
    return msgspec.structs.replace(entry, **fields)

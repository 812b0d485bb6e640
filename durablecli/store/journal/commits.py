"""A commit: the decisions of one engine cycle, as one line of the journal.

It holds the records byte for byte as in the histories, with the same crc, so publishing and recovery are copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zlib import crc32

import msgspec

from durablecli.model.codec import CRC_SUFFIX_LENGTH, CorruptLine, append_crc, format_timestamp, verify_crc
from durablecli.model.events import AnyEvent
from durablecli.store.inbox.messages import MessageItem

_encode_json = msgspec.json.Encoder().encode


class HistoryWrite(msgspec.Struct):
    """Lines of one execution, encoded without line feed; `first` is the `n` of the first of them.

    `first` 1 begins a new execution, which replaces any older one. With `rewrites_file` the lines replace the file of
    an entity in the middle of its execution. `continues`: the turn continues in the next commit.
    """

    instance: str
    execution: str
    first: int
    lines: list[bytes]
    continues: bool = False
    rewrites_file: bool = False

    @property
    def begins_file(self) -> bool:
        """Whether these lines are the first of their file."""
        return self.first == 1 or self.rewrites_file


class ConsumedMessage(msgspec.Struct, omit_defaults=True):
    """A message whose effects are in the commit; of a batch the items below `upto`."""

    message: str
    upto: int | None = None


class PurgedExecution(msgspec.Struct):
    """An execution whose history is removed."""

    instance: str
    execution: str


class QuarantinedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message to a quarantined instance.

    Either an arrival (`event`, for that `execution` or for any), or one `item` of a client's `message`, of that `kind`.
    """

    instance: str
    execution: str | None = None
    event: AnyEvent | None = None
    kind: str = ""
    message: str = ""
    item: MessageItem | None = None


class DeliveryWatermark(msgspec.Struct, frozen=True):
    """Everything that commits up to `upto` kept for an instance has been delivered, or was purged with it."""

    instance: str
    upto: int


class Commit(msgspec.Struct):
    """The decisions of one cycle. `c` numbers the commits of a hub; `last_durable` was the last one on disk when it was
    written."""

    c: int
    epoch: int
    at: datetime
    writes: list[HistoryWrite]
    consumed: list[ConsumedMessage] = []
    purged: list[PurgedExecution] = []
    last_durable: int = 0
    quarantined: list[QuarantinedMessage] = []
    delivered: list[DeliveryWatermark] = []


class _RawHistoryWrite(msgspec.Struct):
    instance: str
    execution: str
    first: int
    records: list[msgspec.Raw]
    more: bool = False
    fresh: bool = False


class _RawCommit(msgspec.Struct):
    c: int
    epoch: int
    at: datetime
    writes: list[_RawHistoryWrite]
    taken: list[ConsumedMessage] = []
    purged: list[PurgedExecution] = []
    after: int = 0
    kept: list[QuarantinedMessage] = []
    delivered: list[DeliveryWatermark] = []


_decode = msgspec.json.Decoder(_RawCommit).decode


def encode_commit(commit: Commit) -> bytes:
    """Encode a commit as a sealed line, without line feed and without `after`."""
    pieces = [
        b'{"instance":%b,"execution":"%b","first":%d%b%b,"records":[%b]}'
        % (
            _encode_json(write.instance),
            write.execution.encode(),
            write.first,
            b',"more":true' if write.continues else b"",
            b',"fresh":true' if write.rewrites_file else b"",
            b",".join(write.lines),
        )
        for write in commit.writes
    ]
    tail = b""
    if commit.consumed:
        tail = b',"taken":' + _encode_json(commit.consumed)
    if commit.purged:
        tail += b',"purged":' + _encode_json(commit.purged)
    if commit.quarantined:
        tail += b',"kept":' + _encode_json(commit.quarantined)
    if commit.delivered:
        tail += b',"delivered":' + _encode_json(commit.delivered)
    head = b'{"c":%d,"epoch":%d,"at":"%b","writes":[' % (commit.c, commit.epoch, format_timestamp(commit.at).encode())
    return append_crc(b"%b%b]%b" % (head, b",".join(pieces), tail))


def seal_lines(lines: Iterable[bytes], last_durable: int) -> bytes:
    """Convert sealed lines to the bytes in the journal: each gets `after`, a new crc and a line feed."""
    mark = b',"after":%d' % last_durable
    pieces: list[bytes | memoryview] = []
    for each in lines:
        crc = crc32(mark, int(each[-10:-2], 16))
        pieces += memoryview(each)[:-CRC_SUFFIX_LENGTH], mark, b',"crc":"%08x"}\n' % crc
    return b"".join(pieces)


def decode_commit(data: bytes) -> Commit:
    """Decode a line without line feed; raise CorruptLine unless every byte is as it was written."""
    body = verify_crc(data)
    try:
        found = _decode(b"%b}" % body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptLine(str(error)) from None
    writes = [
        HistoryWrite(w.instance, w.execution, w.first, [bytes(r) for r in w.records], w.more, w.fresh)
        for w in found.writes
    ]
    return Commit(
        found.c, found.epoch, found.at, writes, found.taken, found.purged, found.after, found.kept, found.delivered
    )

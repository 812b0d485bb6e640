"""A commit: what one engine cycle decided, as one line of the journal.

The records stand in it byte for byte as in the histories, with the crc they have there, so publishing and recovering
are copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zlib import crc32

import msgspec

from durablecli.model.codec import CorruptLine, append_crc, format_timestamp, verify_crc
from durablecli.model.events import AnyEvent
from durablecli.store.inbox.messages import Item

_string = msgspec.json.Encoder().encode
_CRC = len(',"crc":"01234567"}')


class Write(msgspec.Struct):
    """Lines of one execution, framed and without line feed; `first` is the `n` of the first of them.

    `first` 1 begins a new execution, which takes the place of any older one. A `fresh` one begins the file of an entity
    anew, in the middle of its execution, and stands for all that was in it. `more` says that the turn goes on in the
    next commit.
    """

    instance: str
    execution: str
    first: int
    lines: list[bytes]
    more: bool = False
    fresh: bool = False

    @property
    def begins(self) -> bool:
        """Whether these lines are the first of their file."""
        return self.first == 1 or self.fresh


class Taken(msgspec.Struct, omit_defaults=True):
    """A message whose effects stand in the commit; of a batch the items below `upto`."""

    message: str
    upto: int | None = None


class Purged(msgspec.Struct):
    """An execution whose history goes."""

    instance: str
    execution: str


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was sent to an instance that is set aside: an arrival (`event`, for that `execution` or for any), or one
    `item` of the `message` of a client, of that `kind`."""

    instance: str
    execution: str | None = None
    event: AnyEvent | None = None
    kind: str = ""
    message: str = ""
    item: Item | None = None


class Delivered(msgspec.Struct, frozen=True):
    """All that commits up to `upto` kept for an instance has been delivered, or went with it."""

    instance: str
    upto: int


class Commit(msgspec.Struct):
    """`c` counts the commits of a hub, for ever; `after` is the last one that was on disk when this one was written."""

    c: int
    epoch: int
    at: datetime
    writes: list[Write]
    taken: list[Taken] = []
    purged: list[Purged] = []
    after: int = 0
    kept: list[Kept] = []
    delivered: list[Delivered] = []


class _Write(msgspec.Struct):
    instance: str
    execution: str
    first: int
    records: list[msgspec.Raw]
    more: bool = False
    fresh: bool = False


class _Commit(msgspec.Struct):
    c: int
    epoch: int
    at: datetime
    writes: list[_Write]
    taken: list[Taken] = []
    purged: list[Purged] = []
    after: int = 0
    kept: list[Kept] = []
    delivered: list[Delivered] = []


_decode = msgspec.json.Decoder(_Commit).decode


def line(commit: Commit) -> bytes:
    """The commit's line, sealed, without line feed and without `after`."""
    pieces = [
        b'{"instance":%b,"execution":"%b","first":%d%b%b,"records":[%b]}'
        % (
            _string(write.instance),
            write.execution.encode(),
            write.first,
            b',"more":true' if write.more else b"",
            b',"fresh":true' if write.fresh else b"",
            b",".join(write.lines),
        )
        for write in commit.writes
    ]
    rest = b""
    if commit.taken:
        rest = b',"taken":' + _string(commit.taken)
    if commit.purged:
        rest += b',"purged":' + _string(commit.purged)
    if commit.kept:
        rest += b',"kept":' + _string(commit.kept)
    if commit.delivered:
        rest += b',"delivered":' + _string(commit.delivered)
    head = b'{"c":%d,"epoch":%d,"at":"%b","writes":[' % (commit.c, commit.epoch, format_timestamp(commit.at).encode())
    return append_crc(b"%b%b]%b" % (head, b",".join(pieces), rest))


def join(lines: Iterable[bytes], after: int) -> bytes:
    """The bytes of sealed lines as the journal holds them: each says `after`, is sealed anew and ends in LF."""
    mark = b',"after":%d' % after
    pieces: list[bytes | memoryview] = []
    for each in lines:
        crc = crc32(mark, int(each[-10:-2], 16))
        pieces += memoryview(each)[:-_CRC], mark, b',"crc":"%08x"}\n' % crc
    return b"".join(pieces)


def parse_line(data: bytes) -> Commit:
    """The commit of a line without line feed; raises Damaged unless every byte is as it was written."""
    body = verify_crc(data)
    try:
        found = _decode(b"%b}" % body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptLine(str(error)) from None
    writes = [
        Write(w.instance, w.execution, w.first, [bytes(r) for r in w.records], w.more, w.fresh) for w in found.writes
    ]
    return Commit(
        found.c, found.epoch, found.at, writes, found.taken, found.purged, found.after, found.kept, found.delivered
    )

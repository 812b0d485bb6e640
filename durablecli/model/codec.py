"""One record as one line: `{"n":…,"at":"…","type":…,…,"crc":"xxxxxxxx"}`.

The envelope has one spelling only, so it is cut off by position and never parsed twice. The crc (zlib.crc32, eight hex
digits) covers every byte before `,"crc"` and is seeded with instance and execution: a whole line of another instance
is refused like a flipped byte.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zlib import crc32

import msgspec

from durablecli.model.events import AnyEvent, Record

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyEvent).decode
_TAIL = len(',"crc":"01234567"}')


class Damaged(Exception):
    """A line that is not what was written; the text says in what way."""


def seed(instance: str, execution: str) -> int:
    """The crc seed of every line of one execution."""
    return crc32(f"{instance}\0{execution}".encode("utf-8", "surrogatepass"))


@lru_cache(64)
def stamp(at: datetime) -> str:
    """`2026-11-22T21:20:47.123456Z`: `at` is UTC, and microseconds are always written."""
    return at.isoformat("T", "microseconds")[:26] + "Z"


def seal(body: bytes, start: int = 0) -> bytes:
    """Append the crc to a JSON object that lacks its closing brace."""
    return b'%b,"crc":"%08x"}' % (body, crc32(body, start))


def unseal(line: bytes, start: int = 0) -> bytes:
    """The body of a sealed line, without its closing brace; raises Damaged."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    if tail[:8] != b',"crc":"' or tail[16:] != b'"}':
        raise Damaged("the line doesn't end in a crc")
    if tail[8:16] != b"%08x" % crc32(body, start):
        raise Damaged("the crc doesn't fit the line")
    return body


def frame(record: Record, start: int) -> bytes:
    """The line of one record, without its line feed."""
    n, at, event = record
    body = b'{"n":%d,"at":"%b",%b' % (n, stamp(at).encode(), _encode(event)[1:-1])
    return b'%b,"crc":"%08x"}' % (body, crc32(body, start))


def unsealed(record: Record) -> bytes:
    """The same line without the crc, for a display."""
    return frame(record, 0)[:-_TAIL] + b"}"


def parse(line: bytes, start: int) -> Record:
    """The record of one line; raises Damaged unless every byte is as `frame` wrote it."""
    return decode(unseal(line, start))


def decode(body: bytes) -> Record:
    """The record of a body whose crc has been checked, or stands in a line whose crc has been."""
    comma = body.find(b",", 5, 30)
    if body[:5] != b'{"n":' or body[comma : comma + 7] != b',"at":"' or body[comma + 33 : comma + 36] != b'Z",':
        raise Damaged("the line doesn't begin with n and at")
    try:
        n = int(body[5:comma])
        at = datetime.fromisoformat(body[comma + 7 : comma + 34].decode("ascii"))
        return Record(n, at, _decode(b"{%b}" % body[comma + 36 :]))
    except (ValueError, RecursionError) as error:
        raise Damaged(str(error)) from None

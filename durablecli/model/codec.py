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
from durablecli.model.json_codec import encode_json

_decode_event = msgspec.json.Decoder(AnyEvent).decode
CRC_SUFFIX_LENGTH = len(',"crc":"01234567"}')


class CorruptLine(Exception):
    """A line that is not what was written; the text says in what way."""


def crc_seed(instance: str, execution: str) -> int:
    """The crc seed of every line of one execution."""
    return crc32(f"{instance}\0{execution}".encode("utf-8", "surrogatepass"))


@lru_cache(64)
def format_timestamp(at: datetime) -> str:
    """`2026-11-22T21:20:47.123456Z`: `at` is UTC, and microseconds are always written."""
    return at.isoformat("T", "microseconds")[:26] + "Z"


def append_crc(body: bytes, seed: int = 0) -> bytes:
    """Append the crc to a JSON object that lacks its closing brace."""
    return b'%b,"crc":"%08x"}' % (body, crc32(body, seed))


def verify_crc(line: bytes, seed: int = 0) -> bytes:
    """The body of a sealed line, without its closing brace; raises Damaged."""
    body, tail = line[:-CRC_SUFFIX_LENGTH], line[-CRC_SUFFIX_LENGTH:]
    if tail[:8] != b',"crc":"' or tail[16:] != b'"}':
        raise CorruptLine("the line doesn't end in a crc")
    if tail[8:16] != b"%08x" % crc32(body, seed):
        raise CorruptLine("the crc doesn't match the line")
    return body


def encode_record(record: Record, seed: int) -> bytes:
    """The line of one record, without its line feed."""
    n, at, event = record
    body = b'{"n":%d,"at":"%b",%b' % (n, format_timestamp(at).encode(), encode_json(event)[1:-1])
    return append_crc(body, seed)


def encode_record_without_crc(record: Record) -> bytes:
    """The same line without the crc, for a display."""
    return encode_record(record, 0)[:-CRC_SUFFIX_LENGTH] + b"}"


def decode_record(line: bytes, seed: int) -> Record:
    """The record of one line; raises Damaged unless every byte is as `frame` wrote it."""
    return decode_record_body(verify_crc(line, seed))


def decode_record_body(body: bytes) -> Record:
    """The record of a body whose crc has been checked, or stands in a line whose crc has been."""
    comma = body.find(b",", 5, 30)
    if body[:5] != b'{"n":' or body[comma : comma + 7] != b',"at":"' or body[comma + 33 : comma + 36] != b'Z",':
        raise CorruptLine("the line doesn't begin with n and at")
    try:
        n = int(body[5:comma])
        at = datetime.fromisoformat(body[comma + 7 : comma + 34].decode("ascii"))
        return Record(n, at, _decode_event(b"{%b}" % body[comma + 36 :]))
    except (ValueError, RecursionError) as error:
        raise CorruptLine(str(error)) from None

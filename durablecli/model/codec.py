"""Encodes and decodes records as lines, and computes and checks the crc of a line.

A record is `{"n":…,"at":"…","type":…,…,"crc":"xxxxxxxx"}`.

The envelope is always written the same way, so it is cut off by position and never parsed. The crc (zlib.crc32, eight
hex digits) covers every byte before `,"crc"` and is seeded with instance and execution, so a complete line of another
instance is rejected like a flipped byte.
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
    """A line that differs from what was written; the text says how."""


def crc_seed(instance: str, execution: str) -> int:
    """Compute the crc seed of the lines of one execution."""
    return crc32(f"{instance}\0{execution}".encode("utf-8", "surrogatepass"))


@lru_cache(64)
def format_timestamp(at: datetime) -> str:
    """`2026-11-22T21:20:47.123456Z`: `at` is UTC, and microseconds are always written."""
    return at.isoformat("T", "microseconds")[:26] + "Z"


@lru_cache(64)
def _encode_timestamp(at: datetime) -> bytes:
    return format_timestamp(at).encode()


@lru_cache(64)
def _parse_timestamp(text: bytes) -> datetime:
    """Parse what `format_timestamp` wrote. The records of one cycle have the same times."""
    return datetime.fromisoformat(text.decode("ascii"))


def append_crc(body: bytes, seed: int = 0) -> bytes:
    """Append the crc to a JSON object that lacks its closing brace."""
    return b'%b,"crc":"%08x"}' % (body, crc32(body, seed))


def verify_crc(line: bytes, seed: int = 0) -> bytes:
    """Return the body of a line, without its closing brace; raises CorruptLine."""
    body, tail = line[:-CRC_SUFFIX_LENGTH], line[-CRC_SUFFIX_LENGTH:]
    if tail == b',"crc":"%08x"}' % crc32(body, seed):
        return body
    if tail[:8] != b',"crc":"' or tail[16:] != b'"}':
        raise CorruptLine("the line doesn't end in a crc")
    raise CorruptLine("the crc doesn't match the line")


def encode_record(record: Record, seed: int) -> bytes:
    """Return the line of one record, without its line feed."""
    event = encode_json(record.event)
    body = b'{"n":%d,"at":"%b",%b' % (record.n, _encode_timestamp(record.at), event[1:-1])
    return append_crc(body, seed)


def encode_record_without_crc(record: Record) -> bytes:
    """Return the line of one record without its crc, for display."""
    return encode_record(record, 0)[:-CRC_SUFFIX_LENGTH] + b"}"


def decode_record(line: bytes, seed: int) -> Record:
    """Return the record of one line; raises CorruptLine unless every byte is as `encode_record` wrote it."""
    return decode_record_body(verify_crc(line, seed))


def decode_record_body(body: bytes) -> Record:
    """Return the record of a body whose crc has been verified, or that of the line around it."""
    comma = body.find(b",", 5, 30)
    if body[:5] != b'{"n":' or body[comma : comma + 7] != b',"at":"' or body[comma + 33 : comma + 43] != b'Z","type":':
        raise CorruptLine("the line doesn't begin with n, at and type")
    try:
        n = int(body[5:comma])
        at = _parse_timestamp(body[comma + 7 : comma + 34])
        return Record(n, at, _decode_event(b"{%b}" % body[comma + 36 :]))
    except (ValueError, RecursionError) as error:
        raise CorruptLine(str(error)) from None

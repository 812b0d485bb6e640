"""The stub of a spilled record: a short line in the place of a long one, which is in a file of its own.

A stub has the `n`, the time and the type of its record, and a crc like any line, so that journals and histories copy it
unchanged. `spilled` has the SHA-256 and the size of the file: the whole line with its line feed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from durablecli.model.codec import CRC_SUFFIX_LENGTH, CorruptLine, append_crc
from durablecli.model.json_codec import encode_json

_MARK = b'Z","spilled":'
"""What follows the time in a stub; in a record it is the type."""
_TIME_LENGTH = len(',"at":"2026-11-22T21:20:47.123456')
_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Execution = Annotated[str, Meta(pattern=r"^[0-9a-f]{1,32}\Z")]


class SpilledContent(msgspec.Struct, frozen=True):
    """What identifies the file of a spilled record. `commit` is the number of the commit that wrote it."""

    sha256: _Hash
    bytes: Annotated[int, Meta(ge=1)]
    commit: Annotated[int, Meta(ge=0)]


class SpilledRecord(msgspec.Struct, frozen=True):
    """The content of a stub."""

    n: Annotated[int, Meta(ge=1)]
    spilled: SpilledContent
    instance: str
    execution: _Execution


class Stub(NamedTuple):
    """The line of a stub, with its content."""

    line: bytes
    record: SpilledRecord


_decode_stub = msgspec.json.Decoder(SpilledRecord).decode


def is_stub(line: bytes) -> bool:
    """Whether a line is the stub of a spilled record."""
    return line.startswith(_MARK, line.find(b",", 5, 30) + _TIME_LENGTH)


def make_stub(line: bytes, instance: str, execution: str, commit: int, seed: int) -> Stub:
    """Make the stub of a record's line, which has no line feed; `seed` is that of its crc."""
    comma = line.find(b",", 5, 30)
    begin = comma + _TIME_LENGTH + len(b'Z",')
    end = line.index(b'"', begin + len(b'"type":"')) + 1
    digest = sha256(line)
    digest.update(b"\n")
    content = SpilledContent(digest.hexdigest(), len(line) + 1, commit)
    body = b'%b"spilled":%b,%b,"instance":%b,"execution":%b' % (
        line[:begin],
        encode_json(content),
        line[begin:end],
        encode_json(instance),
        encode_json(execution),
    )
    return Stub(append_crc(body, seed), SpilledRecord(int(line[5:comma]), content, instance, execution))


def parse_stub(line: bytes) -> SpilledRecord:
    """Return the content of a stub whose crc was verified; raises CorruptLine."""
    try:
        return _decode_stub(line[:-CRC_SUFFIX_LENGTH] + b"}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptLine(f"the reference to a spilled record can't be read: {error}") from None


def matches_content(data: bytes, content: SpilledContent) -> bool:
    """Whether the bytes of a file are those that a stub names."""
    return len(data) == content.bytes and sha256(data).hexdigest() == content.sha256

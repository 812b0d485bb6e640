"""Small JSON values as lines, with the crc of `model/codec.py`: `{…,"crc":"01234567"}` and a line feed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from durablecli.model.codec import CorruptLine, append_crc, verify_crc

_T = TypeVar("_T")


def encode_line(value: msgspec.Struct) -> bytes:
    """Encode a struct that has at least one field."""
    return append_crc(msgspec.json.encode(value)[:-1]) + b"\n"


def decode_line(line: bytes, decode: Callable[[bytes], _T]) -> _T:
    """Check the crc of a line, with or without its line feed, and decode it; raises CorruptLine."""
    body = verify_crc(line.removesuffix(b"\n"))
    try:
        return decode(body + b"}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptLine(str(error)) from None

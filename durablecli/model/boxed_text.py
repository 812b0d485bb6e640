"""Payloads of the Durable Task protocol, which are texts, as payloads of a history, which are JSON.

A text that is JSON, on one line and without white space around it, is kept as it is. Any other is boxed:

    {"$text": "any text"}

No text at all is null, and so the text `null` is boxed too. Code that runs here, and people, get what is in the box:
the JSON value if the text is JSON, and else the text. JSON of our own that looks like a box is boxed itself.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from durablecli.limits import MAX_NESTING_DEPTH
from durablecli.model.json_codec import decode_json, encode_json
from durablecli.model.plain_encode import is_plain

BOX_PREFIX = b'{"$text":'
_NULL = Raw(b"null")


class _Box(msgspec.Struct, forbid_unknown_fields=True):
    text: str = msgspec.field(name="$text")


_decode_box = msgspec.json.Decoder(_Box).decode


def is_boxed(payload: Raw | bytes) -> bool:
    """Whether a payload is a box."""
    return memoryview(payload)[: len(BOX_PREFIX)] == BOX_PREFIX


def box_text(text: str) -> Raw:
    """Return a text in a box."""
    return Raw(BOX_PREFIX + encode_json(text) + b"}")


def unbox(payload: Raw | bytes) -> Raw | bytes:
    """Return the content of a box as JSON; any other payload unchanged."""
    if not is_boxed(payload):
        return payload
    text = _decode_box(payload).text
    data = text.encode()
    return data if _is_json(data) else encode_json(text)


def from_text(text: str | None) -> Raw:
    """Return the payload for a text from the wire."""
    if text is None:
        return _NULL
    try:
        data = text.encode()
    except UnicodeEncodeError:  # protobuf has no such texts
        data = text.encode(errors="replace")
    if (
        data == b"null"
        or data != data.strip()
        or b"\n" in data
        or b"\r" in data
        or is_boxed(data)
        or not _is_json(data)
    ):
        return box_text(data.decode())
    return Raw(data)


def to_text(payload: Raw | bytes) -> str | None:
    """Return the text for the wire; None for null and for no payload."""
    if is_boxed(payload):
        return _decode_box(payload).text
    data = bytes(payload)
    return None if data in (b"", b"null") else data.decode()


def _is_json(data: bytes) -> bool:
    """Whether it is JSON that a history can hold."""
    try:
        value = decode_json(data)
        shallow = data.count(b"[") + data.count(b"{") <= MAX_NESTING_DEPTH
        return shallow or is_plain(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return False

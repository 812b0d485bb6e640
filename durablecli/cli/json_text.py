"""JSON as text, for people to read."""

from __future__ import annotations

import msgspec

_MAX_JSON_LENGTH = 200


def decode_raw(raw: object) -> str:
    """Return a `Raw` as the text that it was written as."""
    return bytes(memoryview(raw)).decode()  # type: ignore[arg-type]  # a Raw is a buffer, which typeshed can't say


def format_json(raw: msgspec.Raw) -> str:
    """Format a payload on one line; a long one is cut, and its size named."""
    text = decode_raw(msgspec.json.format(raw, indent=-1))
    return text if len(text) <= _MAX_JSON_LENGTH else f"{text[:_MAX_JSON_LENGTH]}… ({len(text.encode()):,} bytes)"

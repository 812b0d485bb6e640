"""JSON as text, for people to read."""

from __future__ import annotations

import msgspec

from durablecli.model.payloads import to_displayable

CUT_HINT = "; --full shows all of it"
_MAX_JSON_LENGTH = 200


def decode_raw(raw: object) -> str:
    """Return a `Raw` as the text that it was written as."""
    return bytes(memoryview(raw)).decode()  # type: ignore[arg-type]  # a Raw is a buffer, which typeshed can't say


def cut_text(text: str, limit: int) -> str:
    """Cut a text after `limit` characters, and name its size in bytes, if it is longer."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text.encode()):,} bytes)"


def format_json(raw: msgspec.Raw, limit: int | None = _MAX_JSON_LENGTH) -> str:
    """Format a payload on one line; one with more characters than the limit is cut, and its size named."""
    text = decode_raw(msgspec.json.format(to_displayable(raw), indent=-1))
    return text if limit is None else cut_text(text, limit)

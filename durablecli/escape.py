"""Escapes control characters, so that a payload or a name can't control the terminal."""

from __future__ import annotations

import re

# C0, DEL and C1 (what terminals obey), the marks that reverse or hide text, line separators, and lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_UNSAFE_EXCEPT_NEWLINE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    """Escape all control characters and line breaks."""
    return _UNSAFE.sub(_escape_character, text)


def escape_lines(text: str) -> str:
    """Escape all control characters except line feeds, for JSON or YAML of several lines."""
    return _UNSAFE_EXCEPT_NEWLINE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape_character(found: re.Match[str]) -> str:
    character = found[0]
    return _SHORT_ESCAPES.get(character) or (
        f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"
    )

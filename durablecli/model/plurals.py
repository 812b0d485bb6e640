"""Numbers with their nouns, as messages show them."""

from __future__ import annotations


def format_count(number: int, singular: str, plural: str | None = None) -> str:
    """Format a number with its noun: `1 message`, `1,234 messages`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"

"""Numbers with their nouns, for messages."""

from __future__ import annotations


def format_count(number: int, singular: str, plural: str = "") -> str:
    """Return the number with its noun: `1 call`, `1,200 entities`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"

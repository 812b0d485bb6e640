"""Numbers with their nouns or units, for messages."""

from __future__ import annotations


def format_count(number: int, singular: str, plural: str = "") -> str:
    """Return the number with its noun: `1 call`, `1,200 entities`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def format_size(size: int) -> str:
    """A size with its unit: 512 B, 1.5 KiB, 23 MiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"

"""Suggests the name that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LETTERS_PER_TYPO = 3
_MAX_TYPOS = 2


def find_closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to a word, ignoring case; None if none is similar."""
    import difflib  # only after a typo

    names = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), names, n=1)
    return names[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'order'?`, or nothing."""
    near = find_closest(word, known)
    return f"; did you mean '{near}'?" if near else ""


def find_misspelled(word: str, known: Iterable[str]) -> str | None:
    """Return the known name from which a word differs by a typo: one or two letters, a third of it at most.

    Names that differ only in their numbers are different names.
    """
    folded = word.casefold()
    for name in known:
        other = name.casefold()
        max_typos = min(_MAX_TYPOS, min(len(folded), len(other)) // _LETTERS_PER_TYPO)
        if (
            folded != other
            and _without_numbers(folded) != _without_numbers(other)
            and _edit_distance(folded, other) <= max_typos
        ):
            return name
    return None


def _without_numbers(word: str) -> str:
    return re.sub(r"[0-9]+", "0", word)


def _edit_distance(one: str, other: str) -> int:
    """Count letters that are missing, added, replaced, or swapped with a neighbour."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, opposite in enumerate(other, 1):
            least = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != opposite))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == opposite:
                least = min(least, before[j - 2] + 1)
            row.append(least)
        before, last = last, row
    return last[-1]
